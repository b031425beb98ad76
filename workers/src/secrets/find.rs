//! Finds the values of secrets on this machine: in the environment, in files, from programs, in the sealed file.
//!
//! What goes wrong names the secret and its place, what to do, and never a value: what a program said is masked with what
//! it printed.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::Uid;
use runward_engine::limits;
use runward_engine::runbook::secrets::{Form, Provider};
use runward_engine::units::format_size;

use super::exec;
use super::sealed::Store;
use super::{Given, Value};
use crate::mask::forms::WHOLE_BYTES_MIN;

/// A secret that a step receives, and where it is.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub name: String,
    pub form: Form,
    pub provider: Provider,
}

/// Where secrets are looked for, besides what the providers name.
#[derive(Debug, Clone)]
pub struct Place {
    /// Programs are started here.
    pub cwd: PathBuf,
    pub sealed: Store,
}

/// All of them, or why the step cannot have one. Blocks for as long as a program takes.
pub fn find(wanted: &[Wanted], place: &Place) -> Result<Vec<Given>, String> {
    let mut given = Vec::with_capacity(wanted.len());
    let mut bytes = 0;
    for Wanted { name, form, provider } in wanted {
        let told = |why: String| format!("the secret {name} cannot be had from {provider}: {why}");
        let value = ask(provider, place).and_then(|value| fit(value, name, *form)).map_err(told)?;
        bytes += value.bytes().len();
        given.push(Given { name: name.clone(), form: *form, value });
    }
    if bytes > limits::SECRETS_BYTES_MAX {
        let max = format_size(limits::SECRETS_BYTES_MAX as u64);
        return Err(format!("the secrets of this step have {bytes} bytes together; at most {max} are possible"));
    }
    Ok(given)
}

/// One that a step receives in another way than by its own name.
pub fn one(provider: &Provider, place: &Place) -> Result<Value, String> {
    ask(provider, place).and_then(|value| fit(value, "", Form::Variable))
}

fn ask(provider: &Provider, place: &Place) -> Result<Value, String> {
    match provider {
        Provider::Env(name) => match std::env::var_os(name) {
            Some(value) => Ok(Value::new(value.into_vec())),
            None => Err("it is not set. Set it for the runward that carries out this run, on this machine".to_owned()),
        },
        Provider::File(path) => {
            read_private(Path::new(path), limits::SECRET_BYTES_MAX).map(Value::new).map_err(|wrong| wrong.to_string())
        }
        Provider::Exec(argv) => exec::ask(argv, &place.cwd),
        Provider::Sealed(name) => place.sealed.get(name).map_err(|error| error.to_string()),
    }
}

/// A file with a key, which only we may read.
pub(crate) fn read_key(path: &Path) -> Result<Value, String> {
    read_private(path, limits::SECRET_BYTES_MAX).map(Value::new).map_err(|wrong| wrong.to_string())
}

/// Whether a step can receive it, and what it prints be masked.
pub(crate) fn fit(value: Value, name: &str, form: Form) -> Result<Value, String> {
    let (whole, line) = (value.bytes(), value.line());
    if line.is_empty() {
        return Err("it is empty".to_owned());
    }
    if line.len() < WHOLE_BYTES_MIN {
        return Err(format!(
            "it has {} bytes, and from {WHOLE_BYTES_MIN} on it can be told from other text and masked: make it longer",
            line.len()
        ));
    }
    if whole.len() > limits::SECRET_BYTES_MAX {
        let max = format_size(limits::SECRET_BYTES_MAX as u64);
        return Err(format!("it has more than {max}, which is the most that is possible"));
    }
    if form == Form::Variable && line.contains(&0) {
        return Err(format!(
            "it has a NUL byte, which no environment variable can hold. Receive it as a file: `secrets: [{{file: {name}}}]`"
        ));
    }
    Ok(value)
}

/// Why a file may not or cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Wrong {
    #[error("{}", said(.0))]
    Io(io::Error),
    #[error("it is not a regular file")]
    NotAFile,
    #[error("it belongs to user {owner}, and may be changed by them: it has to belong to root or to user {us}")]
    Owner { owner: u32, us: u32 },
    #[error("others may {what} it (mode {mode:04o}): `chmod {wanted}` it")]
    Open { what: &'static str, mode: u32, wanted: &'static str },
    #[error("it has more than {}, which is the most that is possible", format_size(*.0 as u64))]
    TooLarge(usize),
}

fn said(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist on this machine".to_owned(),
        io::ErrorKind::PermissionDenied => format!("user {} may not read it", Uid::effective()),
        _ => error.to_string(),
    }
}

/// Reads a file that belongs to us or to root, that others cannot read, and that nobody else can change.
pub(super) fn read_private(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Wrong> {
    // A pipe must not be waited for.
    let opened = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
    let file = opened.map_err(Wrong::Io)?;
    let meta = file.metadata().map_err(Wrong::Io)?;
    if !meta.is_file() {
        return Err(Wrong::NotAFile);
    }
    let (owner, us, mode) = (meta.uid(), Uid::effective().as_raw(), meta.mode() & 0o7777);
    if owner != 0 && owner != us {
        return Err(Wrong::Owner { owner, us });
    }
    if mode & 0o007 != 0 {
        return Err(Wrong::Open { what: "reach", mode, wanted: "o=" });
    }
    if mode & 0o020 != 0 {
        return Err(Wrong::Open { what: "change", mode, wanted: "g-w" });
    }
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(Wrong::Io)?;
    if bytes.len() > bytes_max {
        return Err(Wrong::TooLarge(bytes_max));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn found(provider: Provider, form: Form) -> Result<Value, String> {
        let dir = tempfile::tempdir().unwrap();
        let sealed = Store { file: dir.path().join("none"), key_file: None };
        let wanted = Wanted { name: "TOKEN".into(), form, provider };
        let given = find(&[wanted], &Place { cwd: dir.path().to_owned(), sealed })?;
        Ok(given.into_iter().next().unwrap().value)
    }

    fn exec(script: &str) -> Result<Value, String> {
        found(Provider::Exec(["sh", "-c", script].map(str::to_owned).into()), Form::Variable)
    }

    #[test]
    fn a_file_is_read_only_where_nobody_else_can() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "opensesame\n").unwrap();
        let read = |mode: u32| {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            found(Provider::File(path.display().to_string()), Form::Variable)
        };
        assert_eq!(read(0o400).unwrap().bytes(), b"opensesame\n");
        assert_eq!(read(0o640).unwrap().line(), b"opensesame");
        for (mode, wanted) in [(0o644, "(mode 0644): `chmod o=` it"), (0o660, "`chmod g-w` it")] {
            let why = read(mode).unwrap_err();
            assert!(why.starts_with("the secret TOKEN cannot be had from the file /") && why.contains(wanted), "{why}");
        }
        let folder = found(Provider::File(dir.path().display().to_string()), Form::File).unwrap_err();
        assert!(folder.contains("not a regular file"), "{folder}");
        let missing = found(Provider::File("/nowhere/token".into()), Form::File).unwrap_err();
        assert!(missing.contains("does not exist on this machine"), "{missing}");
    }

    #[test]
    fn a_program_prints_it_and_its_errors_do_not() {
        assert_eq!(exec("echo opensesame").unwrap().line(), b"opensesame");
        let why = exec("echo opensesame; echo \"cannot renew opensesame\" >&2; exit 3").unwrap_err();
        assert!(why.contains("the program sh: it ended with exit code 3: cannot renew ***"), "{why}");
        let why = found(Provider::Exec(vec!["no-such-vault".into()]), Form::Variable).unwrap_err();
        assert!(why.contains("no-such-vault") && why.contains("install it"), "{why}");
        assert!(exec("true").unwrap_err().contains("it is empty"));
        assert!(exec("head -c 100000 /dev/zero | tr '\\0' x").unwrap_err().contains("more than 64"));
    }

    #[test]
    fn what_cannot_be_masked_or_received_is_refused_with_what_to_do() {
        assert!(exec("echo abc").unwrap_err().contains("make it longer"));
        let why = exec("printf 'ab\\0cd'").unwrap_err();
        assert!(why.contains("secrets: [{file: TOKEN}]"), "{why}");
        let why = found(Provider::Env("RUNWARD_TEST_NOT_SET".into()), Form::Variable).unwrap_err();
        assert!(why.contains("the environment variable RUNWARD_TEST_NOT_SET: it is not set"), "{why}");
    }
}
