//! The proof of what happened to one attempt: three names in its directory.
//!
//! - `mark.<boot id>`: a symbolic link to `started` or `void`. One name, created only if it does not exist, so of a
//!   supervisor that wants to start and a worker that wants to declare "this never started" exactly one wins.
//! - `lock`: the attempt's subreaper holds it exclusively for as long as it lives. Nobody else inherits it.
//! - `result.json`: how it ended, by rename, written after the last process is gone.
//!
//! The order is lock, mark, exec: whoever reads `started` and finds the lock free has proof that the attempt is dead.
//! Nothing is synced to disk, because a journal is trusted only within the boot that wrote it: the page cache
//! survives every process. After a reboot a started attempt is lost, whatever these files say.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::posix_fallocate;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::spool::LogSummary;

const LOCK: &str = "lock";
const RESULT: &str = "result.json";
const DRAFT: &str = "result.draft";
/// Room for a result with many orphans in it.
const RESULT_BYTES_RESERVED: i64 = 16 * 1024;
/// How often [`wait_until_dead`] looks: the kernel has no lock with a timeout.
const DEAD_POLL: Duration = Duration::from_millis(5);

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is damaged: {what}")]
    Damaged { path: PathBuf, what: String },
}

/// What the mark of an attempt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A process may have been started.
    Started,
    /// No process was started and none ever will be.
    Void,
}

/// How a process ended, as the kernel reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reported {
    Exited { code: i32 },
    Signaled { signal: i32 },
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The step ended by itself.
    Exited { code: i32 },
    /// Somebody else's signal ended the step (the kernel's, when memory ran out).
    Signaled { signal: i32 },
    /// Ended because its time was over; with what the step reported before it was killed, if it did.
    TimedOut { reported: Option<Reported> },
    /// Ended by request.
    Killed { reported: Option<Reported> },
    /// The program could not be executed: what happened and what to do about it.
    NotStarted { error: String, hint: String },
    /// The supervisor or the subreaper died; the step was killed at an unknown point.
    Interrupted,
}

impl From<Reported> for End {
    fn from(reported: Reported) -> End {
        match reported {
            Reported::Exited { code } => End::Exited { code },
            Reported::Signaled { signal } => End::Signaled { signal },
        }
    }
}

/// A process that outlived the step it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    pub pid: i32,
    /// Its command line, shortened, as it was when it was found.
    pub command: String,
}

/// Everything known about a finished attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptResult {
    /// The boot that wrote it; in any other boot it proves nothing.
    pub boot: String,
    pub end: End,
    /// Wall clock, milliseconds since the epoch.
    pub started_at_ms: u64,
    pub ended_at_ms: u64,
    /// User and system time of all processes of the attempt, in milliseconds; unknown when interrupted.
    pub cpu_ms: Option<u64>,
    /// The largest resident set of any one process, in KiB; unknown when interrupted.
    pub max_rss_kib: Option<u64>,
    pub log: LogSummary,
    /// Processes found alive after the step had ended: killed or left, as the step says.
    pub orphans: Vec<Orphan>,
    /// Processes that survived KILL (they hang in the kernel).
    pub unkillable: Vec<Orphan>,
}

/// The id of this boot of the machine.
pub fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

/// Marks the attempt as started, unless it has a mark: then that one is returned and nothing may be started.
pub fn mark_started(dir: &Path, boot: &str) -> Result<Result<(), Mark>, JournalError> {
    mark(dir, boot, Mark::Started)
}

/// Declares that the attempt never started and never will. `Mark::Started` means that this is not so.
pub fn try_void(dir: &Path, boot: &str) -> Result<Mark, JournalError> {
    mark(dir, boot, Mark::Void).map(|won| won.err().unwrap_or(Mark::Void))
}

/// The mark of the attempt in this boot, if it has one.
pub fn read_mark(dir: &Path, boot: &str) -> Result<Option<Mark>, JournalError> {
    let path = mark_path(dir, boot);
    match fs::read_link(&path).map(PathBuf::into_os_string) {
        Ok(text) if text == "started" => Ok(Some(Mark::Started)),
        Ok(text) if text == "void" => Ok(Some(Mark::Void)),
        Ok(what) => Err(JournalError::Damaged { path, what: what.display().to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(JournalError::Io { path, source }),
    }
}

/// A symbolic link appears with its content or not at all, in one call: nobody ever reads an empty mark.
fn mark(dir: &Path, boot: &str, mark: Mark) -> Result<Result<(), Mark>, JournalError> {
    let path = mark_path(dir, boot);
    let text = match mark {
        Mark::Started => "started",
        Mark::Void => "void",
    };
    match std::os::unix::fs::symlink(text, &path) {
        Ok(()) => Ok(Ok(())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match read_mark(dir, boot)? {
            Some(theirs) => Ok(Err(theirs)),
            None => Err(JournalError::Damaged { path, what: "it vanished".into() }),
        },
        Err(source) => Err(JournalError::Io { path, source }),
    }
}

fn mark_path(dir: &Path, boot: &str) -> PathBuf {
    dir.join(format!("mark.{boot}"))
}

/// Whether a subreaper ever got as far as taking the lock.
pub fn was_locked(dir: &Path) -> bool {
    dir.join(LOCK).exists()
}

/// Takes the lock that says "alive"; it is held until the returned file is closed. Waits for a passing reader.
pub fn hold_lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join(LOCK);
    let locked = OpenOptions::new().write(true).create(true).truncate(false).open(&path).and_then(|mut file| {
        file.lock()?;
        write!(file, "{}", std::process::id())?;
        Ok(file)
    });
    locked.map_err(|source| JournalError::Io { path, source })
}

/// Lets a stopped process go on (somebody sent it STOP): it cannot end its step otherwise. No other process is meant,
/// because its number is read from a lock that it holds, and for one that runs the signal means nothing.
pub fn wake_up(lock: &Path) {
    let held = File::open(lock).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
    let holder = fs::read_to_string(lock).ok().and_then(|pid| pid.trim().parse().ok());
    if let (true, Some(pid)) = (held, holder) {
        let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGCONT); // gone meanwhile: nobody to wake
    }
}

/// The file that the attempt's subreaper locks.
pub fn lock_path(dir: &Path) -> PathBuf {
    dir.join(LOCK)
}

/// Whether the attempt's subreaper lives. Before the mark is set, `false` proves nothing: it may be about to start.
pub fn is_alive(dir: &Path) -> Result<bool, JournalError> {
    let path = dir.join(LOCK);
    // Readers share the lock for a moment, so that they never take one another for the subreaper.
    match File::open(&path).map(|file| file.try_lock_shared()) {
        Ok(Ok(())) => Ok(false),
        Ok(Err(TryLockError::WouldBlock)) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Ok(Err(TryLockError::Error(source))) | Err(source) => Err(JournalError::Io { path, source }),
    }
}

/// Blocks until the attempt's subreaper is dead; `false` if it still lives after `timeout`.
pub fn wait_until_dead(dir: &Path, timeout: Duration) -> Result<bool, JournalError> {
    let deadline = Instant::now() + timeout;
    while is_alive(dir)? {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(DEAD_POLL);
    }
    Ok(true)
}

/// Takes the room for a result while there is some, so that a disk that fills up later costs no outcome.
pub fn reserve_result(dir: &Path) -> Result<(), JournalError> {
    let path = dir.join(DRAFT);
    let reserved = File::create(&path).and_then(|file| Ok(posix_fallocate(file, 0, RESULT_BYTES_RESERVED)?));
    reserved.map_err(|source| JournalError::Io { path, source })
}

/// Writes the result into the room reserved for it, and gives it its name.
pub fn write_result(dir: &Path, result: &AttemptResult) -> Result<(), JournalError> {
    let (path, draft) = (dir.join(RESULT), dir.join(DRAFT));
    let written = serde_json::to_vec(result).map_err(io::Error::other).and_then(|bytes| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&draft)?;
        file.write_all(&bytes)?;
        file.set_len(bytes.len() as u64)?;
        fs::rename(&draft, &path)
    });
    written.map_err(|source| JournalError::Io { path, source })
}

/// The result of the attempt, if it ended in the boot `boot`.
pub fn read_result(dir: &Path, boot: &str) -> Result<Option<AttemptResult>, JournalError> {
    if read_mark(dir, boot)? != Some(Mark::Started) {
        return Ok(None); // whatever is there is of an earlier boot, and perhaps torn by its end
    }
    let path = dir.join(RESULT);
    match fs::read(&path) {
        Ok(bytes) => match serde_json::from_slice::<AttemptResult>(&bytes) {
            Ok(result) => Ok(Some(result).filter(|result| result.boot == boot)),
            Err(error) => Err(JournalError::Damaged { path, what: error.to_string() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(JournalError::Io { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_mark_wins_and_the_other_side_learns_of_it() {
        let (void_first, start_first) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(read_mark(void_first.path(), "b").unwrap(), None);
        assert_eq!(try_void(void_first.path(), "b").unwrap(), Mark::Void);
        assert_eq!(mark_started(void_first.path(), "b").unwrap(), Err(Mark::Void));
        assert_eq!(mark_started(start_first.path(), "b").unwrap(), Ok(()));
        assert_eq!(try_void(start_first.path(), "b").unwrap(), Mark::Started);
        assert_eq!(read_mark(start_first.path(), "b").unwrap(), Some(Mark::Started));
        assert_eq!(read_mark(start_first.path(), "next-boot").unwrap(), None);
        assert_eq!(fs::read_dir(start_first.path()).unwrap().count(), 1, "no drafts stay");
    }

    #[test]
    fn the_lock_tells_the_living_from_the_dead() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_alive(dir.path()).unwrap());
        let held = hold_lock(dir.path()).unwrap();
        assert!(is_alive(dir.path()).unwrap());
        assert!(!wait_until_dead(dir.path(), Duration::from_millis(1)).unwrap());
        drop(held);
        assert!(wait_until_dead(dir.path(), Duration::ZERO).unwrap());
    }
}
