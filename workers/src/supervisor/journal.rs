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

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::spool::LogSummary;

const CLAIMED: &str = "claimed";
const STARTED: &str = "started";
const VOID: &str = "void";
/// Room for a journal, and so for every result but one with a long list of processes in it.
const BYTES_RESERVED: u64 = 4 * 1024;
/// Processes named in a result for which there is no more room than that.
const NAMED_MAX: usize = 4;
const NAME_CHARS_MAX: usize = 64;
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

/// Opens the journal of an attempt that is about to be claimed. Before the claim is recorded: a claimed attempt without
/// a journal has lost it.
pub fn open(dir: &Path) -> io::Result<()> {
    let path = dir.with_extension(CLAIMED);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

/// The journal of an attempt that may be started; this process counts as alive until it is dropped.
#[derive(Debug)]
pub struct Started {
    _lock: File,
}

/// Declares the attempt as started, unless that was decided before: then nothing may be started.
pub fn start(dir: &Path) -> Result<Result<Started, Mark>, JournalError> {
    let path = dir.with_extension(CLAIMED);
    let io = |source| JournalError::Io { path: path.clone(), source };
    let mut file = match OpenOptions::new().append(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return decided(dir).map(Err),
        Err(error) => return Err(io(error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Err(Mark::Started)), // it is being started at this moment
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    reserve(&file, BYTES_RESERVED).map_err(io)?;
    writeln!(file, "{}", std::process::id()).map_err(io)?;
    match fs::rename(&path, dir.with_extension(STARTED)) {
        Ok(()) => Ok(Ok(Started { _lock: file })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => decided(dir).map(Err),
        Err(error) => Err(io(error)),
    }
}

/// Takes room for the journal while there is some, so that a disk that fills up later costs no outcome.
fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, bytes as i64) {
        Err(Errno::EOPNOTSUPP) => Ok(()), // a file system without reservations: the result takes its chance
        reserved => Ok(reserved?),
    }
}

/// Declares that the attempt never started and never will. `Mark::Started` means that this is not so.
pub fn try_void(dir: &Path) -> Result<Mark, JournalError> {
    let path = dir.with_extension(CLAIMED);
    match fs::rename(&path, dir.with_extension(VOID)) {
        Ok(()) => Ok(Mark::Void),
        Err(error) if error.kind() == io::ErrorKind::NotFound => decided(dir),
        Err(source) => Err(JournalError::Io { path, source }),
    }
}

/// What was decided about the attempt; `None` while nothing was.
pub fn read_mark(dir: &Path) -> Result<Option<Mark>, JournalError> {
    let decided = [(STARTED, Some(Mark::Started)), (VOID, Some(Mark::Void))];
    for (name, mark) in decided.into_iter().chain([(CLAIMED, None)]).chain(decided) {
        let path = dir.with_extension(name);
        // Looked for in this order, and once more, so that a journal that is renamed meanwhile is not missed.
        if path.try_exists().map_err(|source| JournalError::Io { path, source })? {
            return Ok(mark);
        }
    }
    Err(JournalError::Gone { path: dir.with_extension(CLAIMED) })
}

/// It is no longer only claimed: what is it?
fn decided(dir: &Path) -> Result<Mark, JournalError> {
    read_mark(dir)?.ok_or_else(|| JournalError::Damaged {
        path: dir.with_extension(CLAIMED),
        what: "it came back after it was renamed".into(),
    })
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

/// The file that the attempt's subreaper locks.
pub fn lock_path(dir: &Path) -> PathBuf {
    dir.with_extension(STARTED)
}

/// Whether the attempt's subreaper lives. Before the attempt has started, `false` proves nothing: it may be about to.
pub fn is_alive(dir: &Path) -> Result<bool, JournalError> {
    let path = lock_path(dir);
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

/// Adds the result to the journal of a started attempt, as a line of its own. One that has no room there is shortened:
/// how the attempt ended is worth more than the names of all processes it left.
pub fn write_result(dir: &Path, result: &AttemptResult) -> Result<(), JournalError> {
    let path = dir.with_extension(STARTED);
    let write = || {
        let mut file = OpenOptions::new().append(true).open(&path)?;
        let mut line = line(result)?;
        let bytes = file.metadata()?.len() + line.len() as u64;
        if bytes > BYTES_RESERVED && reserve(&file, bytes).is_err() {
            line = self::line(&shortened(result.clone()))?;
        }
        file.write_all(&line)
    };
    write().map_err(|source| JournalError::Io { path: path.clone(), source })
}

fn shortened(mut result: AttemptResult) -> AttemptResult {
    for processes in [&mut result.orphans, &mut result.unkillable] {
        processes.truncate(NAMED_MAX);
        processes
            .iter_mut()
            .for_each(|process| process.command = process.command.chars().take(NAME_CHARS_MAX).collect());
    }
    result
}

/// A result as it is written. The line begins with its own line break: what a writer before it left unfinished is no part
/// of it.
fn line(result: &AttemptResult) -> io::Result<Vec<u8>> {
    let mut line = vec![b'\n'];
    serde_json::to_writer(&mut line, result)?;
    line.push(b'\n');
    Ok(line)
}

/// The result of the attempt, if it started and ended in the boot `boot`.
pub fn read_result(dir: &Path, boot: &str) -> Result<Option<AttemptResult>, JournalError> {
    let path = dir.with_extension(STARTED);
    let text = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return read_mark(dir).map(|_| None),
        Err(source) => return Err(JournalError::Io { path, source }),
    };
    // The first line is the holder of the lock; the last one is whole only with its line break.
    let Some(line) = text.strip_suffix(b"\n").and_then(|text| text.rsplit(|byte| *byte == b'\n').next()) else {
        return Ok(None);
    };
    if line.first() != Some(&b'{') {
        return Ok(None);
    }
    match serde_json::from_slice::<AttemptResult>(line) {
        Ok(result) => Ok(Some(result).filter(|result| result.boot == boot)),
        Err(error) => Err(JournalError::Damaged { path, what: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::spool::LogSummary;

    fn attempt() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("claim");
        open(&dir).unwrap();
        (folder, dir)
    }

    fn result(boot: &str) -> AttemptResult {
        AttemptResult {
            boot: boot.into(),
            end: End::Exited { code: 0 },
            started_at_ms: 1,
            ended_at_ms: 2,
            cpu_ms: None,
            max_rss_kib: None,
            log: LogSummary::default(),
            orphans: vec![Orphan { pid: 1, command: "two\nlines".into() }],
            unkillable: Vec::new(),
        }
    }

    #[test]
    fn whoever_decides_first_wins_and_the_other_side_learns_of_it() {
        let ((_a, void_first), (_b, start_first)) = (attempt(), attempt());
        assert_eq!(read_mark(&void_first).unwrap(), None);
        assert_eq!(try_void(&void_first).unwrap(), Mark::Void);
        assert_eq!(start(&void_first).unwrap().unwrap_err(), Mark::Void);
        let started = start(&start_first).unwrap().unwrap();
        assert_eq!(start(&start_first).unwrap().unwrap_err(), Mark::Started);
        assert_eq!(try_void(&start_first).unwrap(), Mark::Started);
        drop(started);
        assert_eq!(start(&start_first).unwrap().unwrap_err(), Mark::Started, "dead is not never");
        assert_eq!(read_mark(&start_first).unwrap(), Some(Mark::Started));
        assert_eq!(fs::read_dir(start_first.parent().unwrap()).unwrap().count(), 1, "one file in all");
    }

    #[test]
    fn of_many_who_want_to_start_one_does() {
        for _ in 0..200 {
            let (_folder, dir) = attempt();
            let won: Vec<Option<Started>> = std::thread::scope(|scope| {
                let starters: Vec<_> = (0..4).map(|_| scope.spawn(|| start(&dir).unwrap().ok())).collect();
                let voider = scope.spawn(|| try_void(&dir).unwrap());
                let won = starters.into_iter().map(|starter| starter.join().unwrap()).collect();
                voider.join().unwrap();
                won
            });
            let starts = won.iter().flatten().count();
            let expected = if read_mark(&dir).unwrap() == Some(Mark::Started) { 1 } else { 0 };
            assert_eq!(starts, expected);
        }
    }

    #[test]
    fn whoever_looks_while_it_is_decided_finds_it() {
        for round in 0..400 {
            let (_folder, dir) = attempt();
            std::thread::scope(|scope| {
                let looker = scope.spawn(|| while read_mark(&dir).unwrap().is_none() {});
                let _ = if round % 2 == 0 { start(&dir).map(drop) } else { try_void(&dir).map(|_| ()) };
                looker.join().unwrap();
            });
        }
    }

    #[test]
    fn the_lock_tells_the_living_from_the_dead() {
        let (_folder, dir) = attempt();
        assert!(!is_alive(&dir).unwrap());
        let started = start(&dir).unwrap().unwrap();
        assert!(is_alive(&dir).unwrap());
        assert!(!wait_until_dead(&dir, Duration::from_millis(1)).unwrap());
        drop(started);
        assert!(wait_until_dead(&dir, Duration::ZERO).unwrap());
    }

    #[test]
    fn a_result_is_whole_or_not_there() {
        let (_folder, dir) = attempt();
        assert_eq!(read_result(&dir, "b").unwrap(), None, "claimed");
        let _started = start(&dir).unwrap().unwrap();
        assert_eq!(read_result(&dir, "b").unwrap(), None, "started");
        let mut torn = OpenOptions::new().append(true).open(lock_path(&dir)).unwrap();
        torn.write_all(b"\n{\"boot\":\"b\",").unwrap();
        assert_eq!(read_result(&dir, "b").unwrap(), None, "torn");
        write_result(&dir, &result("b")).unwrap();
        assert_eq!(read_result(&dir, "b").unwrap(), Some(result("b")));
        assert_eq!(read_result(&dir, "next boot").unwrap(), None);
        let mut many = result("b");
        many.orphans = vec![Orphan { pid: 7, command: "x".repeat(256) }; 100];
        write_result(&dir, &many).unwrap();
        assert_eq!(read_result(&dir, "b").unwrap(), Some(many.clone()), "longer than what was reserved");
        let longest = Orphan { pid: i32::MAX, command: "\u{1}".repeat(256) };
        (many.orphans, many.unkillable) = (vec![longest.clone(); 100], vec![longest; 100]);
        assert!((line(&shortened(many)).unwrap().len() as u64) < BYTES_RESERVED - 64, "fits where nothing else does");
        fs::remove_file(lock_path(&dir)).unwrap();
        assert!(matches!(read_result(&dir, "b"), Err(JournalError::Gone { .. })));
        assert!(matches!(write_result(&dir, &result("b")), Err(JournalError::Io { .. })), "nothing comes back");
    }
}
