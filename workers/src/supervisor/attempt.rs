//! The subreaper: it starts the step of an attempt, sees it to its end, writes down what happened, and then is there for
//! the next attempt.
//!
//! It is a fork of the supervisor with nothing left of it but one socket. To know before changing anything: lock, name,
//! exec, in this order; the result after the last process is gone; one attempt at a time, and the next one only when
//! nothing of the one before is left; the end of the socket means that the supervisor died, and then everything here dies
//! too. How the step is watched is in `watch`.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::unistd::setsid;
use runward_store::failpoint::{self, Point};
use serde::{Deserialize, Serialize};

use super::exec::NotStarted;
use super::journal::{self, AttemptResult, End, Mark, Orphan, Started};
use super::lease;
use super::protocol::{self, Launch, Refusal};
use super::secrets;
use super::spool::{Spool, now_ms};
use super::watch::{self, Usage};

/// Exit codes of a subreaper, for its supervisor: every other one, and every signal, is an accident.
pub(super) const EXIT_ENDED: i32 = 0;
pub(super) const EXIT_REFUSED: i32 = 3;
const EXIT_UNPUBLISHED: i32 = 4;

/// How long a result is tried to be written to a full disk.
const RESULT_RETRY_MAX: Duration = Duration::from_secs(30);
const RESULT_RETRY: Duration = Duration::from_millis(500);
/// One read of output, in bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// What a supervisor tells its subreaper, as frames of the protocol.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// Only after the word that ended the attempt before.
    Start(Box<Launch>),
    /// May come late, when the attempt is over and the next one runs: that one is not meant.
    Kill { attempt: String, grace_ms: u64 },
    /// The attempt may live until then.
    Lease { attempt: String, until_ms: u64 },
}

/// What a subreaper tells its supervisor, one JSON line each: one word an attempt, and its last.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    Refused(Refusal),
    /// The result is written, nothing of the attempt is left, and I can take another.
    Ended,
    /// The result is written, and processes live on that must not be killed: let go of them and of me.
    Leaving,
}

/// What a subreaper keeps from one attempt to the next.
pub(super) struct Subreaper {
    pub(super) control: Control,
    /// Says that a child died.
    pub(super) signals: SignalFd,
    pub(super) buffer: Vec<u8>,
    /// The file mode mask of the steps.
    pub(super) mode: Mode,
}

/// What becomes of the subreaper after an attempt.
enum After {
    Next,
    Exit(i32),
}

/// The whole life of a subreaper; returns its exit code.
pub(super) fn run(first: Launch, control: UnixStream, mode: Mode) -> i32 {
    let _ = nix::sys::prctl::set_name(c"runward-attempt");
    let mut control = Control { stream: Some(control), heard: Vec::new() };
    let signals = match become_subreaper() {
        Ok(signals) => signals,
        Err(error) => {
            control.tell(&Word::Refused(Refusal::Fork(error.to_string())));
            return EXIT_REFUSED;
        }
    };
    let mut subreaper = Subreaper { control, signals, buffer: vec![0; BUFFER_BYTES], mode };
    let mut next = Some(first);
    while let Some(launch) = next {
        if let After::Exit(code) = subreaper.carry_out(&launch) {
            return code;
        }
        next = subreaper.control.next_launch();
    }
    EXIT_ENDED
}

fn become_subreaper() -> nix::Result<SignalFd> {
    set_child_subreaper(true)?;
    setsid()?;
    SignalFd::with_flags(&SigSet::from(Signal::SIGCHLD), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

impl Subreaper {
    fn carry_out(&mut self, launch: &Launch) -> After {
        if launch.lease.is_some_and(|lease| lease.until_ms <= lease::now_ms()) {
            return self.refuse(Refusal::TooLate);
        }
        if let Err(error) = failpoint::fails_at(Point::BeforeMark) {
            return self.refuse(Refusal::Directory(error.to_string()));
        }
        // From here on the journal says "started", and "dead" as soon as this process is, or lets go.
        let started = match journal::start(&launch.dir) {
            Ok(Ok(started)) => started,
            Ok(Err(Mark::Started)) => return self.refuse(Refusal::AlreadyStarted),
            Ok(Err(Mark::Void)) => return self.refuse(Refusal::Void),
            Err(error) => return self.refuse(Refusal::Directory(error.to_string())),
        };
        failpoint::reach(Point::AfterMark);
        let started_at_ms = now_ms();
        let mask = secrets::mask(launch);
        let mut attempt = match watch::start(launch, self, mask.clone()) {
            Ok(attempt) => attempt,
            Err(NotStarted { error, hint }) => {
                let spool = Spool::new(&launch.dir, launch.log_bytes_max);
                let hide = |text: String| mask.as_ref().map_or(text.clone(), |mask| mask.hide(&text));
                let end = End::NotStarted { error: hide(error), hint: hide(hint) };
                let result = result(launch, end, started_at_ms, &spool, Usage::default(), Vec::new(), Vec::new());
                return self.conclude(launch, started, &result, true);
            }
        };
        failpoint::reach(Point::AfterSpawn);
        let unkillable = attempt.watch();
        attempt.drain();
        attempt.finish_output();
        let orphans = std::mem::take(&mut attempt.orphans);
        let (left, alone) = (attempt.left, attempt.alone);
        let end = attempt.end();
        let result = result(launch, end, started_at_ms, &attempt.spool, attempt.usage, orphans, unkillable);
        if let Some(mask) = &mask {
            secrets::hide_outputs(launch, mask);
        }
        failpoint::reach(Point::BeforeResult);
        if left { self.leave(launch, &result) } else { self.conclude(launch, started, &result, alone) }
    }

    fn refuse(&mut self, reason: Refusal) -> After {
        self.control.tell(&Word::Refused(reason));
        After::Next
    }

    /// Nothing is left, or only what nobody can kill: then this process must not take anything else.
    fn conclude(&mut self, launch: &Launch, started: Started, result: &AttemptResult, alone: bool) -> After {
        let published = publish(launch, result);
        failpoint::reach(Point::AfterResult);
        drop(started);
        if published != EXIT_ENDED || !alone || !self.control.is_open() {
            return After::Exit(published);
        }
        self.control.tell(&Word::Ended);
        After::Next
    }

    /// Stays as the parent of what is left until it is killed: see `Server::let_go`.
    fn leave(&mut self, launch: &Launch, result: &AttemptResult) -> After {
        let published = publish(launch, result);
        if published == EXIT_ENDED {
            self.control.tell(&Word::Leaving);
            while self.control.next_launch().is_some() {} // killed here, or the supervisor died
        }
        After::Exit(published)
    }
}

/// The subreaper's end of the socket to its supervisor.
pub(super) struct Control {
    /// `None` when the supervisor is dead.
    stream: Option<UnixStream>,
    heard: Vec<u8>,
}

/// What was heard about a step while it runs.
#[derive(Default)]
pub(super) struct Heard {
    /// It is to end, within this time.
    pub(super) kill: Option<Duration>,
    /// It may live until then.
    pub(super) lease_until_ms: Option<u64>,
    /// The supervisor is dead.
    pub(super) gone: bool,
}

impl Control {
    pub(super) fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }

    /// Whether something has arrived and was not looked at yet.
    pub(super) fn has_more(&self) -> bool {
        !self.heard.is_empty()
    }

    /// What has arrived about `attempt`, without waiting.
    pub(super) fn hear(&mut self, attempt: &str) -> Heard {
        match self.fill(true) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(len) if len > 0 => {}
            Ok(_) | Err(_) => {
                self.stream = None;
                return Heard { gone: true, ..Heard::default() };
            }
        }
        let mut heard = Heard::default();
        while let Ok(Some(order)) = protocol::decode::<Order>(&mut self.heard) {
            match order {
                Order::Kill { attempt: meant, grace_ms } if meant == attempt => {
                    let grace = Duration::from_millis(grace_ms);
                    heard.kill = Some(heard.kill.map_or(grace, |sooner| sooner.min(grace)));
                }
                Order::Lease { attempt: meant, until_ms } if meant == attempt => {
                    heard.lease_until_ms = heard.lease_until_ms.max(Some(until_ms));
                }
                _ => {} // of the attempt before
            }
        }
        heard
    }

    /// Waits for the next attempt; `None` when there will be none.
    fn next_launch(&mut self) -> Option<Launch> {
        loop {
            match protocol::decode::<Order>(&mut self.heard) {
                Ok(Some(Order::Start(launch))) => return Some(*launch),
                Ok(Some(Order::Kill { .. } | Order::Lease { .. })) => {} // of the attempt before
                Ok(None) => match self.fill(false) {
                    Ok(len) if len > 0 => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(_) | Err(_) => return None,
                },
                Err(_) => return None,
            }
        }
    }

    fn fill(&mut self, nonblocking: bool) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else { return Ok(0) };
        let mut bytes = [0; 16 * 1024];
        stream.set_nonblocking(nonblocking)?;
        let len = stream.read(&mut bytes)?;
        self.heard.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn tell(&mut self, word: &Word) {
        if let (Some(stream), Ok(mut line)) = (&mut self.stream, serde_json::to_vec(word)) {
            line.push(b'\n');
            let _ = stream.write_all(&line); // nobody there to hear it: nothing else to do
        }
    }
}

fn result(
    launch: &Launch,
    end: End,
    started_at_ms: u64,
    spool: &Spool,
    usage: Usage,
    orphans: Vec<Orphan>,
    unkillable: Vec<Orphan>,
) -> AttemptResult {
    AttemptResult {
        boot: launch.boot.clone(),
        end,
        started_at_ms,
        ended_at_ms: now_ms(),
        cpu_ms: Some(usage.cpu.as_millis() as u64),
        max_rss_kib: Some(usage.max_rss_kib),
        log: spool.summary(),
        orphans,
        unkillable,
    }
}

/// Writes the result, with patience for a full disk; if it cannot be, this counts as an accident.
fn publish(launch: &Launch, result: &AttemptResult) -> i32 {
    secrets::clear(&launch.dir);
    let give_up = Instant::now() + RESULT_RETRY_MAX;
    while journal::write_result(&launch.dir, result).is_err() {
        if journal::read_mark(&launch.dir).is_err() || Instant::now() >= give_up {
            return EXIT_UNPUBLISHED; // the supervisor tells the end; the journal says started, dead, and no result
        }
        std::thread::sleep(RESULT_RETRY);
    }
    EXIT_ENDED
}
