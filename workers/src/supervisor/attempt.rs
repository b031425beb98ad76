//! One attempt: the subreaper that starts the step, sees it to its end, and writes down what happened.
//!
//! It is a fork of the supervisor with nothing left of it but one socket. To know before changing anything: lock, mark,
//! exec, in this order; the result after the last process is gone; the end of the socket means that the supervisor
//! died, and then everything here dies too. How the step is watched is in `watch`.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::stat::Mode;
use nix::unistd::setsid;
use serde::{Deserialize, Serialize};

use super::exec::NotStarted;
use super::journal::{self, AttemptResult, End, JournalError, Mark, Orphan};
use super::protocol::{Launch, Refusal};
use super::spool::{Spool, now_ms};
use super::watch;

/// Exit codes of a subreaper, for its supervisor: every other one, and every signal, is an accident.
pub(super) const EXIT_ENDED: i32 = 0;
pub(super) const EXIT_REFUSED: i32 = 3;
const EXIT_UNPUBLISHED: i32 = 4;

/// How long a result is tried to be written to a full disk.
const RESULT_RETRY_MAX: Duration = Duration::from_secs(30);
const RESULT_RETRY: Duration = Duration::from_millis(500);

/// What a subreaper tells its supervisor, one JSON line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    Refused(Refusal),
    /// The result is written, and processes live on that must not be killed: let go of them and of me.
    Leaving,
}

/// The whole life of a subreaper; returns its exit code. `mode` is the file mode mask of the step.
pub(super) fn run(launch: &Launch, mut control: UnixStream, mode: Mode) -> i32 {
    let _ = nix::sys::prctl::set_name(c"runward-attempt");
    let lock = match prepare(launch) {
        Ok(lock) => lock,
        Err(refusal) => {
            tell(&mut control, &Word::Refused(refusal));
            return EXIT_REFUSED;
        }
    };
    let started_at_ms = now_ms();
    let mut attempt = match watch::start(launch, control, mode) {
        Ok(attempt) => attempt,
        Err(NotStarted { error, hint }) => {
            let spool = Spool::new(&launch.dir, launch.log_bytes_max);
            let end = End::NotStarted { error, hint };
            return publish(launch, &result(launch, end, started_at_ms, &spool, Vec::new(), Vec::new()));
        }
    };
    let unkillable = attempt.watch();
    attempt.drain();
    let orphans = std::mem::take(&mut attempt.orphans);
    let left = attempt.left;
    let code = publish(launch, &result(launch, attempt.end(), started_at_ms, &attempt.spool, orphans, unkillable));
    if left
        && code == EXIT_ENDED
        && let Some(control) = &mut attempt.control
    {
        tell(control, &Word::Leaving);
        let _ = control.set_nonblocking(false);
        while control.read(&mut [0; 64]).is_ok_and(|len| len > 0) {} // killed here, or the supervisor died
    }
    drop(lock);
    code
}

/// Lock, then mark: from here on the journal says "started", and "dead" as soon as this process is.
fn prepare(launch: &Launch) -> Result<File, Refusal> {
    let directory = |error: JournalError| Refusal::Directory(error.to_string());
    let fork = |error: Errno| Refusal::Fork(error.to_string());
    set_child_subreaper(true).map_err(fork)?;
    setsid().map_err(fork)?;
    let lock = journal::hold_lock(&launch.dir).map_err(directory)?;
    journal::reserve_result(&launch.dir).map_err(directory)?;
    match journal::mark_started(&launch.dir, &launch.boot).map_err(directory)? {
        Ok(()) => Ok(lock),
        Err(Mark::Started) => Err(Refusal::AlreadyStarted),
        Err(Mark::Void) => Err(Refusal::Void),
    }
}

fn tell(control: &mut UnixStream, word: &Word) {
    if let Ok(mut line) = serde_json::to_vec(word) {
        line.push(b'\n');
        let _ = control.write_all(&line); // nobody there to hear it: nothing else to do
    }
}

fn result(
    launch: &Launch,
    end: End,
    started_at_ms: u64,
    spool: &Spool,
    orphans: Vec<Orphan>,
    unkillable: Vec<Orphan>,
) -> AttemptResult {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok();
    let cpu_ms = usage.map(|usage| {
        let (user, system) = (usage.user_time(), usage.system_time());
        let micros = (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec();
        (micros / 1_000).unsigned_abs()
    });
    AttemptResult {
        boot: launch.boot.clone(),
        end,
        started_at_ms,
        ended_at_ms: now_ms(),
        cpu_ms,
        max_rss_kib: usage.map(|usage| usage.max_rss().unsigned_abs()),
        log: spool.summary(),
        orphans,
        unkillable,
    }
}

/// Writes the result, with patience for a full disk; if it cannot be, this counts as an accident.
fn publish(launch: &Launch, result: &AttemptResult) -> i32 {
    let give_up = Instant::now() + RESULT_RETRY_MAX;
    while journal::write_result(&launch.dir, result).is_err() {
        if !launch.dir.is_dir() || Instant::now() >= give_up {
            return EXIT_UNPUBLISHED; // the supervisor tells the end; the journal says started, dead, and no result
        }
        std::thread::sleep(RESULT_RETRY);
    }
    EXIT_ENDED
}
