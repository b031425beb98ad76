//! Starting the step's own process, and saying in words why it could not be started.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};

use super::protocol::{Launch, OWN_PROGRAM};
use super::secrets;

/// Where programs are searched when the environment of the step has no `PATH`.
const PATH_DEFAULT: &str = "/usr/local/bin:/usr/bin:/bin";

/// Why nothing runs, and what to do about it.
#[derive(Debug)]
pub(super) struct NotStarted {
    pub error: String,
    pub hint: String,
}

/// Starts the process of the step: own group, no input, both outputs piped, nothing inherited but the `mode` mask.
pub(super) fn spawn(launch: &Launch, mode: Mode) -> Result<Child, NotStarted> {
    let program = find(launch)?;
    let secrets = secrets::lay_out(launch)?;
    let mut command = Command::new(&program);
    command.args(launch.argv.iter().skip(1)).env_clear().envs(launch.env.iter().map(|(key, value)| (key, value)));
    command.envs(secrets);
    if let Some(name) = launch.argv.first() {
        command.arg0(if name == OWN_PROGRAM { "runward" } else { name });
    }
    command.current_dir(&launch.cwd).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (ours, blocked) = (umask(mode), SigSet::from(Signal::SIGCHLD));
    // The step would inherit the mask. A SIGCHLD missed here does no harm: the dead are looked for before any wait.
    let _ = blocked.thread_unblock();
    let child = command.spawn();
    let _ = blocked.thread_block();
    umask(ours);
    child.map_err(|error| explain(launch, &program, &error))
}

/// The program's path, by the step's `PATH` and not ours. (Also what lets std use posix_spawn.)
fn find(launch: &Launch) -> Result<PathBuf, NotStarted> {
    let Some(name) = launch.argv.first().filter(|name| !name.is_empty()) else {
        return Err(NotStarted { error: "no program is given".into(), hint: "give the step a command".into() });
    };
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let path = launch.env.iter().rev().find(|(key, _)| key == "PATH").map_or(PATH_DEFAULT, |(_, value)| value);
    let candidates = path.split(':').map(|dir| launch.cwd.join(dir).join(name));
    candidates.into_iter().find(|candidate| is_executable(candidate)).ok_or_else(|| NotStarted {
        error: format!("{name}: no such program in PATH={path}"),
        hint: format!("install {name} on this worker, or set PATH in the step's `env`"),
    })
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn explain(launch: &Launch, program: &Path, error: &io::Error) -> NotStarted {
    let (cwd, shown) = (launch.cwd.display(), program.display());
    let told = |error: String, hint: &str| NotStarted { error, hint: hint.to_owned() };
    if let Err(error) = std::fs::read_dir(&launch.cwd) {
        return told(format!("the working directory {cwd}: {error}"), "create it, or correct `cwd` of the step");
    }
    match error.kind() {
        io::ErrorKind::NotFound if program.exists() => {
            told(format!("{shown}: its interpreter is missing"), "install the program that its first line (#!) names")
        }
        io::ErrorKind::NotFound => told(format!("{shown}: no such program"), "install it on this worker"),
        io::ErrorKind::PermissionDenied => told(
            format!("{shown}: {error}"),
            "make it executable (chmod +x) for the worker's user, on a file system that is not mounted noexec",
        ),
        io::ErrorKind::ArgumentListTooLong => {
            told(format!("{shown}: {error}"), "one argument or variable may have 128 KiB; pass large values in a file")
        }
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => {
            told(format!("{shown}: {error}"), "the machine or the worker's user is at its limit of processes or memory")
        }
        _ if error.raw_os_error() == Some(nix::libc::ENOEXEC) => {
            told(format!("{shown}: {error}"), "it is not a program of this machine; a script needs a first line (#!)")
        }
        _ => told(format!("{shown}: {error}"), "run the same command by hand as the worker's user"),
    }
}
