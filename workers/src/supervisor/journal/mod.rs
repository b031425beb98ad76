//! The proof of what happened to one attempt: a file beside its folder, under one of three names.
//!
//! - `<claim>.claimed`: made by the worker before the claim is recorded. Nothing was started.
//! - `<claim>.started`: a process may have been started. The attempt's subreaper locks the file before it gives it this
//!   name, and holds the lock for as long as it carries out this attempt. Nobody else inherits it.
//! - `<claim>.void`: nothing was started and nothing ever will be.
//!
//! A file has one name, and of two who rename it exactly one succeeds: the supervisor that wants to start, or the worker
//! that wants to declare "this never started". How the attempt ended is a line added to the file after the last process
//! is gone; its room is taken before the start.
//!
//! The order is lock, name, exec: whoever finds `started` and the lock free has proof that the attempt is dead.
//! Nothing is synced to disk, because a journal is trusted only within the boot that claimed it: the page cache
//! survives every process. After a reboot a claimed attempt is lost, whatever these files say.
//!
//! The protocol itself is in [`rules`], over the few things it asks of a file system; here is the disk.

mod disk;
pub mod rules;
#[cfg(test)]
mod tests;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use self::disk::Disk;
use super::spool::LogSummary;

pub use self::rules::{Looked, lock_path};

/// How often [`wait_until_dead`] looks: the kernel has no lock with a timeout.
const DEAD_POLL: Duration = Duration::from_millis(5);

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is damaged: {what}")]
    Damaged { path: PathBuf, what: String },
    /// Under none of its names: somebody took it away, and nothing is proven.
    #[error("{path} is gone")]
    Gone { path: PathBuf },
}

/// What the name of the journal says, once it was decided.
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
    /// Ended because nobody was heard who wants it to go on: it may start elsewhere.
    LeaseOver { reported: Option<Reported> },
    /// The program could not be executed: what happened and what to do about it.
    NotStarted { error: String, hint: String },
    /// The supervisor or the subreaper died; the step was killed at an unknown point.
    Interrupted,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Exited { code } => write!(f, "it ended with exit code {code}"),
            End::Signaled { signal } => write!(f, "signal {signal} ended it"),
            End::TimedOut { .. } => f.write_str("it took too long and was ended"),
            End::Killed { .. } => f.write_str("it was killed by request"),
            End::LeaseOver { .. } => f.write_str("its worker was silent for too long, and it was ended"),
            End::NotStarted { error, hint } => write!(f, "it could not be started: {error}: {hint}"),
            End::Interrupted => f.write_str("its supervisor died, and it was killed with it"),
        }
    }
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

/// Opens the journal of an attempt that is about to be claimed. Before the claim is recorded: a claimed attempt without
/// a journal has lost it.
pub fn open(dir: &Path) -> io::Result<()> {
    rules::open(&Disk, dir)
}

/// The journal of an attempt that may be started; this process counts as alive until it is dropped.
#[derive(Debug)]
pub struct Started {
    _lock: File,
}

/// Declares the attempt as started, unless that was decided before: then nothing may be started.
pub fn start(dir: &Path) -> Result<Result<Started, Mark>, JournalError> {
    let started = rules::start(&Disk, dir, std::process::id())?;
    Ok(started.map(|lock| Started { _lock: lock }))
}

/// Declares that the attempt never started and never will. `Mark::Started` means that this is not so.
pub fn try_void(dir: &Path) -> Result<Mark, JournalError> {
    rules::try_void(&Disk, dir)
}

/// What was decided about the attempt; `None` while nothing was.
pub fn read_mark(dir: &Path) -> Result<Option<Mark>, JournalError> {
    rules::read_mark(&Disk, dir)
}

/// How the attempt ended, as far as it can be known in the boot `boot`; decides that it never started if nobody decided.
pub fn look(dir: &Path, boot: &str) -> Result<Looked, JournalError> {
    rules::look(&Disk, dir, boot)
}

/// Whether the attempt's subreaper lives. Before the attempt has started, `false` proves nothing: it may be about to.
pub fn is_alive(dir: &Path) -> Result<bool, JournalError> {
    rules::is_alive(&Disk, dir)
}

/// Adds the result to the journal of a started attempt, as a line of its own. One that has no room there is shortened:
/// how the attempt ended is worth more than the names of all processes it left.
pub fn write_result(dir: &Path, result: &AttemptResult) -> Result<(), JournalError> {
    rules::write_result(&Disk, dir, result)
}

/// The result of the attempt, if it started and ended in the boot `boot`.
pub fn read_result(dir: &Path, boot: &str) -> Result<Option<AttemptResult>, JournalError> {
    rules::read_result(&Disk, dir, boot)
}

/// Lets a stopped process go on (somebody sent it STOP): it cannot end its step otherwise. No other process is meant,
/// because its number is read from a lock that it holds, and for one that runs the signal means nothing.
pub fn wake_up(lock: &Path) {
    let held = File::open(lock).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
    let holder = fs::read_to_string(lock).ok().and_then(|text| text.lines().next()?.trim().parse().ok());
    if let (true, Some(pid)) = (held, holder) {
        let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGCONT); // gone meanwhile: nobody to wake
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
