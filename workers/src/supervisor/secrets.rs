//! What a step receives in secret, and how nothing of it stays.
//!
//! Files with secrets lie in a folder of the attempt, readable by its user alone, from just before the start of the step to
//! its end. What the step wrote to `$RUNWARD_OUTPUT` is masked in place before its result is written, so that whoever reads
//! it, perhaps a later driver that knows no secret, finds nothing.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use runward_engine::limits::OUTPUTS_BYTES_MAX;
use runward_engine::runbook::secrets::Form;

use super::exec::NotStarted;
use super::protocol::{Launch, OWN_PROGRAM};
use crate::mask::Mask;
use crate::secrets::Value;

const FOLDER: &str = "secrets";
/// The owner reads, and nobody writes.
const MODE: u32 = 0o400;

/// What takes the secrets of this attempt out of everything it prints; `None`: it has none.
pub(super) fn mask(launch: &Launch) -> Option<Mask> {
    let given = launch.secrets.iter().map(|given| &given.value);
    Mask::of(given.chain(&launch.hidden).map(Value::bytes))
}

/// Puts the files where the step finds them; returns the variables that the step receives.
pub(super) fn lay_out(launch: &Launch) -> Result<Vec<(String, OsString)>, NotStarted> {
    let mut variables = Vec::with_capacity(launch.secrets.len());
    for given in &launch.secrets {
        let value = match given.form {
            Form::Variable => given.value.variable(),
            Form::File => file(&launch.dir, &given.name, given.value.bytes()).map_err(|error| NotStarted {
                error: format!("the file for the secret {} cannot be written: {error}", given.name),
                hint: "free some space on the file system of the state folder".into(),
            })?,
        };
        variables.push((given.name.clone(), value));
    }
    Ok(variables)
}

fn file(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<OsString> {
    let folder = dir.join(FOLDER);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let path = folder.join(name);
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(&path)?.write_all(bytes)?;
    Ok(path.into_os_string())
}

/// Takes the files away again.
pub(crate) fn clear(dir: &Path) {
    let _ = fs::remove_dir_all(dir.join(FOLDER)); // never made: as wanted
}

/// Takes away what an attempt wrote that came to no end of its own: nobody reads it, and it is not masked.
pub(crate) fn forget_outputs(dir: &Path) {
    let _ = fs::remove_file(output_file(dir)); // it wrote nothing: as wanted
}

/// The file that `$RUNWARD_OUTPUT` names, beside the attempt's folder. The step makes it.
pub(crate) fn output_file(dir: &Path) -> PathBuf {
    dir.with_extension("output")
}

/// Masks what the step wrote to `$RUNWARD_OUTPUT`. Runward's own programs have done that themselves: theirs is JSON.
pub(super) fn hide_outputs(launch: &Launch, mask: &Mask) {
    if launch.argv.first().is_some_and(|program| program == OWN_PROGRAM) {
        return;
    }
    let path = output_file(&launch.dir);
    // Whatever a step put there: never wait for it, never follow it.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits();
    let Ok(file) = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path) else {
        return; // the step wrote nothing, or nothing that is read
    };
    if hide_in(file, mask).is_err() {
        let _ = fs::remove_file(&path);
    }
}

/// What is masked is never longer than it was, so it needs no room.
fn hide_in(mut file: File, mask: &Mask) -> io::Result<()> {
    if !file.metadata()?.is_file() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    (&file).take(OUTPUTS_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    let too_large = bytes.len() > OUTPUTS_BYTES_MAX;
    let hidden = mask.hide_bytes(&bytes);
    if hidden != bytes || too_large {
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&hidden)?;
        // One that is too large stays so, and nothing of it is kept.
        file.set_len(if too_large { bytes.len() } else { hidden.len() } as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask() -> Mask {
        Mask::of([&b"opensesame"[..]]).unwrap()
    }

    #[test]
    fn outputs_are_masked_in_place_and_too_large_ones_stay_too_large() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        for (wrote, left) in [
            (b"token=opensesame\nx=1\n".to_vec(), b"token=***\nx=1\n".len()),
            ([b"a=opensesame\n".to_vec(), vec![b'x'; 2 * OUTPUTS_BYTES_MAX]].concat(), OUTPUTS_BYTES_MAX + 1),
        ] {
            fs::write(&path, &wrote).unwrap();
            hide_in(OpenOptions::new().read(true).write(true).open(&path).unwrap(), &mask()).unwrap();
            let found = fs::read(&path).unwrap();
            assert_eq!(found.len(), left);
            assert!(!found.windows(10).any(|window| window == b"opensesame"));
        }
    }
}
