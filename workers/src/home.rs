//! Where things lie on this machine: the state folder.
//!
//! ```text
//! ledger.db                          the ledger
//! home-id                            its name among the members of a cluster
//! runs/<run>/driver.lock             held by the one process that drives the run
//! runs/<run>/files/                  the pinned files, the default folder of its steps
//! runs/<run>/workspace/              scratch, `$RUNWARD_WORKSPACE`
//! runs/<run>/scripts/                the texts of its scripts, named by their content
//! runs/<run>/attempts/<claim>.*      the journal and the outputs of one attempt
//! runs/<run>/attempts/<claim>/       what it printed, once it did
//! supervisors/<session>/             the socket of a supervisor
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg};
use runward_engine::run::{ClaimId, RunId, SessionId};

mod id;

/// The name of the lock in the folder of a run.
pub(crate) const DRIVER_LOCK: &str = "driver.lock";

#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
}

/// A folder or file of the state folder that cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[error("{what} {path}: {source}")]
pub struct HomeError {
    pub what: &'static str,
    pub path: String,
    pub source: io::Error,
}

impl HomeError {
    pub(crate) fn new(what: &'static str, path: &Path, source: io::Error) -> HomeError {
        HomeError { what, path: path.display().to_string(), source }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::StorageFull => "free some space on that file system and repeat the command",
            io::ErrorKind::ReadOnlyFilesystem => {
                "that file system is mounted read-only: name another state folder with --state or RUNWARD_STATE"
            }
            io::ErrorKind::PermissionDenied => {
                "check owner and mode of that folder, or name another state folder with --state or RUNWARD_STATE"
            }
            _ => "name another state folder with --state or RUNWARD_STATE",
        }
    }
}

impl Home {
    /// The state folder at `root` (made absolute); creates it, private to this user.
    pub fn open(root: &Path) -> Result<Home, HomeError> {
        let root =
            std::path::absolute(root).map_err(|error| HomeError::new("cannot use the state folder", root, error))?;
        make_dir(&root)?;
        Ok(Home { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger.db")
    }

    pub fn run(&self, run: &RunId) -> PathBuf {
        self.root.join("runs").join(&run.0)
    }

    /// Removes the folder of a run that never came to be. One with anything but its lock in it stays.
    pub fn forget(&self, run: &RunId) {
        let _ = std::fs::remove_file(self.run(run).join(DRIVER_LOCK));
        let _ = std::fs::remove_dir(self.run(run));
    }

    pub fn files(&self, run: &RunId) -> PathBuf {
        self.run(run).join("files")
    }

    pub fn workspace(&self, run: &RunId) -> PathBuf {
        self.run(run).join("workspace")
    }

    pub fn scripts(&self, run: &RunId) -> PathBuf {
        self.run(run).join("scripts")
    }

    pub fn attempts(&self, run: &RunId) -> PathBuf {
        self.run(run).join("attempts")
    }

    /// The folder of an attempt, which need not exist; its other files are beside it, with an extension.
    pub fn attempt(&self, run: &RunId, claim: &ClaimId) -> PathBuf {
        self.attempts(run).join(&claim.0)
    }

    pub fn supervisor(&self, session: &SessionId) -> PathBuf {
        self.root.join("supervisors").join(&session.0)
    }
}

/// Creates a folder and its parents, mode 0700.
pub(crate) fn make_dir(path: &Path) -> Result<(), HomeError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| HomeError::new("cannot create the folder", path, error))
}

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

/// Who drives a run, as they say: the lock itself is the kernel's, these are words for people.
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
        let path = home.run(run).join(DRIVER_LOCK);
        let broken = |error| HomeError::new("cannot use the file", &path, error);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(broken)?;
        let mut look = 0;
        loop {
            match Flock::lock(file.try_clone().map_err(broken)?, FlockArg::LockExclusiveNonblock) {
                Ok(mut lock) => {
                    lock.set_len(0).map_err(broken)?;
                    lock.rewind().map_err(broken)?;
                    lock.write_all(Holder::own(by).as_bytes()).map_err(broken)?;
                    return Ok(DriverLock { _file: lock });
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
                return Err(DriverLockError::Taken { run: run.clone(), holder });
            }
        }
    }

    /// Who drives the run now.
    pub fn holder(home: &Home, run: &RunId) -> Option<Holder> {
        let file = File::open(home.run(run).join(DRIVER_LOCK)).ok()?;
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => None,
            Err((mut file, _)) => Holder::of(&mut file).ok(),
        }
    }
}

/// Whether a process has been killed, or is past its end, as far as the kernel says.
fn is_dying(pid: &str) -> bool {
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
