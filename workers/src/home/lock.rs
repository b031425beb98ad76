//! The locks of a state folder: the kernel gives each back when its holder dies, however it dies.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use runward_engine::run::RunId;

use super::{DRIVER_LOCK, Home, HomeError, make_dir};

const WORKER_LOCK: &str = "worker.lock";
/// How often, and how far apart, a taken lock is tried again: somebody may just look who has it.
const LOOKS: u32 = 5;
const LOOK_FOR: Duration = Duration::from_millis(10);
/// How often where its holder is dying: it has the lock until the kernel has taken it apart.
const LOOKS_DYING: u32 = 1_000;
/// How often where its holder has not said yet who it is.
const LOOKS_UNNAMED: u32 = 100;
/// A process that did not say its name.
const UNKNOWN: &str = "unknown";

/// The right to drive a run. The kernel gives it back when its holder dies, however it dies.
#[derive(Debug)]
pub struct DriverLock {
    _file: Flock<File>,
}

/// Who holds a lock, as they say: the lock itself is the kernel's, these are words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub pid: String,
    /// Of the lock of an older runward nothing more is known.
    pub by: Option<String>,
    /// Epoch milliseconds.
    pub since: Option<i64>,
}

impl Holder {
    /// The process on the first line, then when it began, then who it works for.
    fn read(text: &str) -> Holder {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let pid = lines.next().unwrap_or(UNKNOWN).to_owned();
        let since = lines.next().and_then(|line| line.parse().ok());
        Holder { pid, since, by: lines.next().map(str::to_owned) }
    }

    /// What the holder of a lock has written.
    fn of(file: &mut File) -> io::Result<Holder> {
        let mut text = String::new();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        Ok(Holder::read(&text))
    }

    fn is_named(&self) -> bool {
        self.pid != UNKNOWN
    }

    fn own(by: &str) -> String {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        format!("{}\n{since}\n{}\n", std::process::id(), by.replace(char::is_control, " "))
    }
}

/// Why a run cannot be driven by this process.
#[derive(Debug, thiserror::Error)]
pub enum DriverLockError {
    #[error("the run is already being driven by process {}", .holder.pid)]
    Taken { run: RunId, holder: Holder },
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl DriverLock {
    /// `by`: for whom, for those who want it meanwhile.
    pub fn take(home: &Home, run: &RunId, by: &str) -> Result<DriverLock, DriverLockError> {
        make_dir(&home.run(run))?;
        match lock(&home.run(run).join(DRIVER_LOCK), by)? {
            Ok(file) => Ok(DriverLock { _file: file }),
            Err(holder) => Err(DriverLockError::Taken { run: run.clone(), holder }),
        }
    }

    /// For the member of a cluster that lives in the state folder: it has said there who it is, and a folder that the run
    /// has anyway is enough.
    pub(crate) fn take_as_member(home: &Home, run: &RunId) -> Result<DriverLock, DriverLockError> {
        let folder = home.attempts(run);
        make_dir(&folder)?;
        let broken = |error| HomeError::new("cannot use the folder", &folder, error);
        match Flock::lock(File::open(&folder).map_err(broken)?, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(DriverLock { _file: file }),
            Err((_, Errno::EWOULDBLOCK)) => {
                let holder = WorkerLock::holder(home).unwrap_or_else(|| Holder::read(""));
                Err(DriverLockError::Taken { run: run.clone(), holder })
            }
            Err((_, error)) => Err(broken(error.into()).into()),
        }
    }

    /// Who drives the run now, where no member of a cluster lives.
    pub fn holder(home: &Home, run: &RunId) -> Option<Holder> {
        holder(&home.run(run).join(DRIVER_LOCK))
    }
}

/// The right to be the member of a cluster that lives in a state folder.
#[derive(Debug)]
pub struct WorkerLock {
    _file: Flock<File>,
}

/// Why this process cannot be a member of a cluster here.
#[derive(Debug, thiserror::Error)]
pub enum WorkerLockError {
    #[error("process {} lives in this state folder", .holder.pid)]
    Taken { folder: PathBuf, holder: Holder },
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl WorkerLock {
    /// `by`: what it is, for those who want to be it meanwhile.
    pub fn take(home: &Home, by: &str) -> Result<WorkerLock, WorkerLockError> {
        match lock(&home.root().join(WORKER_LOCK), by)? {
            Ok(file) => Ok(WorkerLock { _file: file }),
            Err(holder) => Err(WorkerLockError::Taken { folder: home.root().to_owned(), holder }),
        }
    }

    /// Who lives here now.
    pub fn holder(home: &Home) -> Option<Holder> {
        holder(&home.root().join(WORKER_LOCK))
    }
}

/// Locks a file and writes down for whom; or who has it.
fn lock(path: &Path, by: &str) -> Result<Result<Flock<File>, Holder>, HomeError> {
    let broken = |error| HomeError::new("cannot use the file", path, error);
    let mut open = OpenOptions::new();
    open.create(true).truncate(false).read(true).write(true).mode(0o600);
    let mut file = open.open(path).map_err(broken)?;
    let mut look = 0;
    loop {
        match Flock::lock(file.try_clone().map_err(broken)?, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                // A file that was truncated is written to disk when it is closed.
                if lock.metadata().map_err(broken)?.len() > 0 {
                    lock.set_len(0).map_err(broken)?;
                }
                lock.rewind().map_err(broken)?;
                lock.write_all(Holder::own(by).as_bytes()).map_err(broken)?;
                return Ok(Ok(lock));
            }
            Err(_) => std::thread::sleep(LOOK_FOR),
        }
        look += 1;
        let holder = Holder::of(&mut file).map_err(broken)?;
        let patience = match holder.is_named() {
            true if is_dying(&holder.pid) => LOOKS_DYING,
            true => LOOKS,
            false => LOOKS_UNNAMED,
        };
        if look >= patience {
            return Ok(Err(holder));
        }
    }
}

fn holder(path: &Path) -> Option<Holder> {
    let file = File::open(path).ok()?;
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => None,
        Err((mut file, _)) => Holder::of(&mut file).ok(),
    }
}

/// Whether a process has been killed, or is past its end, as far as the kernel says.
pub(crate) fn is_dying(pid: &str) -> bool {
    const EXITING: u64 = 0x4;
    const KILL: u64 = 1 << (9 - 1);
    if pid.parse::<u32>().is_err() {
        return false;
    }
    let read = |what: &str| std::fs::read_to_string(format!("/proc/{pid}/{what}"));
    let (Ok(stat), Ok(status)) = (read("stat"), read("status")) else { return true };
    // Of `pid (name) state ppid pgrp session tty tpgid flags`, whatever the name has in it.
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let (state, flags) = (fields.next(), fields.nth(5).and_then(|flags| flags.parse::<u64>().ok()));
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let pending = pending.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    matches!(state, Some("Z" | "X"))
        || flags.is_some_and(|it| it & EXITING > 0)
        || pending.is_some_and(|it| it & KILL > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_member_one_drives_a_run_and_the_other_is_told_who_lives_there() {
        let dir = tempfile::tempdir().unwrap();
        let (home, run) = (Home::open(dir.path()).unwrap(), RunId::from("run-1"));
        let _lives = WorkerLock::take(&home, "worker of ann").unwrap();
        let first = DriverLock::take_as_member(&home, &run).unwrap();
        let DriverLockError::Taken { holder, .. } = DriverLock::take_as_member(&home, &run).unwrap_err() else {
            panic!("it is taken");
        };
        assert_eq!((holder.pid, holder.by.as_deref()), (std::process::id().to_string(), Some("worker of ann")));
        DriverLock::take_as_member(&home, &"run-2".into()).unwrap();
        drop(first);
        DriverLock::take_as_member(&home, &run).unwrap();
    }
}
