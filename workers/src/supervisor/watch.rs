//! Watching a running step from its start to the moment when nothing of it is left.
//!
//! [`Watch::decide`] says what is due, the rest does it: reads output, buries the dead, asks, kills. Only processes below
//! this one are ever touched. What is written down before and after is in `attempt`.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runward_engine::runbook::model::Orphans;

use super::attempt::Subreaper;
use super::exec::{self, NotStarted};
use super::journal::{End, Orphan, Reported};
use super::lease;
use super::protocol::Launch;
use super::spool::{Spool, Stream};
use super::tree::{self, Buried};
use crate::mask::{self, Mask};

/// A pipe as the kernel makes it; a read that fills it asks for a larger one.
const PIPE_BYTES: usize = 64 * 1024;
const PIPE_BYTES_LARGE: i32 = 1024 * 1024;
/// After a read smaller than this, output may gather for [`GATHER`], so that it is not kept in frames of a few bytes.
const GATHER_BYTES: usize = 4 * 1024;
const GATHER: Duration = Duration::from_millis(1);
/// When the step has ended, what it left behind may go on for this long after its last output ...
const SETTLE: Duration = Duration::from_millis(100);
/// ... but not longer than this in all.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// Between TERM and KILL for processes a finished step left behind.
const ORPHAN_GRACE: Duration = Duration::from_secs(1);
/// A process that survives KILL for this long hangs in the kernel.
const SWEEP_MAX: Duration = Duration::from_secs(5);
/// The longest single wait; timeouts may be longer.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The same where there is a lease: a wait does not go on while the machine sleeps, and a lease does.
const LEASE_TICK: Duration = Duration::from_secs(1);
/// Between TERM and KILL when a lease is over, at most: not long after, the step may start elsewhere.
const LEASE_GRACE: Duration = Duration::from_secs(2);

/// What all processes of an attempt used together, as far as they were waited for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub cpu: Duration,
    /// The largest resident set of any one process, in KiB.
    pub max_rss_kib: u64,
}

/// Starts the step and everything needed to watch it.
pub(super) fn start<'a>(
    launch: &'a Launch,
    subreaper: &'a mut Subreaper,
    mask: Option<Mask>,
) -> Result<Watch<'a>, NotStarted> {
    let mut child = exec::spawn(launch, subreaper.mode)?;
    let now = Instant::now();
    Ok(Watch {
        launch,
        subreaper,
        main: Pid::from_raw(child.id() as i32),
        timeout_at: now.checked_add(Duration::from_millis(launch.timeout_ms)),
        lease_until_ms: launch.lease.filter(|lease| lease.strict).map(|lease| lease.until_ms),
        spool: Spool::new(&launch.dir, launch.log_bytes_max),
        masked: mask.as_ref().map(|mask| [mask.stream(), mask.stream()]),
        mask,
        out: child.stdout.take().and_then(|pipe| nonblocking(pipe.into())),
        err: child.stderr.take().and_then(|pipe| nonblocking(pipe.into())),
        last_output: now,
        gather_until: now,
        reported: None,
        usage: Usage::default(),
        ended: None,
        alone: false,
        why: None,
        kill_at: None,
        orphans: Vec::new(),
        left: false,
    })
}

/// A running step.
pub(super) struct Watch<'a> {
    launch: &'a Launch,
    subreaper: &'a mut Subreaper,
    main: Pid,
    /// `None` if it is beyond what the clock can say.
    timeout_at: Option<Instant>,
    /// Until when it may live, by [`lease::now_ms`]; `None`: as long as it takes, or it has been told to end for it.
    lease_until_ms: Option<u64>,
    pub(super) spool: Spool,
    mask: Option<Mask>,
    /// Of output and errors, where there are secrets.
    masked: Option<[mask::Stream; 2]>,
    out: Option<File>,
    err: Option<File>,
    last_output: Instant,
    gather_until: Instant,
    reported: Option<Reported>,
    pub(super) usage: Usage,
    /// When the step's own process ended.
    ended: Option<Instant>,
    /// Not one process of the attempt is left: the kernel's word, and the only proof there is. A list of processes is
    /// none: it can miss one, and one whose first thread has ended looks dead.
    pub(super) alone: bool,
    /// Why the step's own process had to end; `None` if it ended by itself.
    why: Option<Why>,
    /// TERM has been sent; KILL is due then.
    kill_at: Option<Instant>,
    pub(super) orphans: Vec<Orphan>,
    /// Processes live on, as the step wants it.
    pub(super) left: bool,
}

#[derive(Clone, Copy)]
enum Why {
    TimedOut,
    Killed,
    LeaseOver,
    Interrupted,
}

/// What is due now.
enum Due {
    Wait(Instant),
    TimeOut,
    EndLease,
    EndOrphans,
    LeaveOrphans,
    Sweep,
    Nothing,
}

impl Watch<'_> {
    /// Until no process is left, or only such as may be left; returns those that cannot be killed.
    pub(super) fn watch(&mut self) -> Vec<Orphan> {
        if self.subreaper.control.has_more() {
            self.hear(); // it came together with the order to start
        }
        loop {
            self.reap();
            if self.alone {
                self.drain();
            }
            match self.decide(Instant::now()) {
                Due::Wait(until) => self.wait(until),
                Due::EndLease => {
                    self.lease_until_ms = None;
                    self.stop(Why::LeaseOver, LEASE_GRACE.min(Duration::from_millis(self.launch.grace_ms)));
                }
                Due::TimeOut => self.stop(Why::TimedOut, Duration::from_millis(self.launch.grace_ms)),
                Due::EndOrphans => {
                    self.orphans = tree::living(Pid::this(), self.mask.as_ref());
                    self.terminate(ORPHAN_GRACE);
                }
                // The kernel says that there are some, even where none is found by name.
                Due::LeaveOrphans => {
                    self.orphans = tree::living(Pid::this(), self.mask.as_ref());
                    self.left = true;
                    return Vec::new();
                }
                Due::Sweep => return self.sweep(),
                Due::Nothing => return Vec::new(),
            }
        }
    }

    fn decide(&self, now: Instant) -> Due {
        if !self.subreaper.control.is_open() && !self.alone {
            return Due::Sweep;
        }
        if self.lease_left() == Some(Duration::ZERO) && !self.alone {
            return Due::EndLease;
        }
        let settled_at = self.ended.map(|ended| (self.last_output.max(ended) + SETTLE).min(ended + SETTLE_MAX));
        let silent = self.out.is_none() && self.err.is_none();
        match (settled_at, self.kill_at) {
            (Some(_), _) if self.alone && silent => Due::Nothing,
            // Somebody outside the attempt was handed its pipe.
            (Some(settled_at), _) if self.alone => {
                if now >= settled_at {
                    Due::Nothing
                } else {
                    Due::Wait(settled_at)
                }
            }
            (_, Some(kill_at)) => {
                if now >= kill_at {
                    Due::Sweep
                } else {
                    Due::Wait(kill_at)
                }
            }
            (None, None) => match self.timeout_at {
                Some(timeout_at) if now >= timeout_at => Due::TimeOut,
                Some(timeout_at) => Due::Wait(timeout_at),
                None => Due::Wait(now + WAIT_MAX),
            },
            (Some(settled_at), None) if now < settled_at => Due::Wait(settled_at),
            (Some(_), None) => match self.launch.orphans {
                Orphans::Kill => Due::EndOrphans,
                Orphans::Leave => Due::LeaveOrphans,
            },
        }
    }

    fn lease_left(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.lease_until_ms?.saturating_sub(lease::now_ms())))
    }

    /// Sleeps until something happens, at most until `until`, and takes in what happened.
    fn wait(&mut self, until: Instant) {
        let now = Instant::now();
        let gathering = now < self.gather_until;
        let until = if gathering { until.min(self.gather_until) } else { until };
        let longest = self.lease_left().map_or(WAIT_MAX, |left| left.min(LEASE_TICK));
        let timeout = until.saturating_duration_since(now).min(longest) + Duration::from_micros(999);
        let pipes = [&self.out, &self.err].map(|pipe| pipe.as_ref().filter(|_| !gathering).map(AsFd::as_fd));
        let Subreaper { signals, control, .. } = &*self.subreaper;
        let sources = [Some(signals.as_fd()), control.as_fd(), pipes[0], pipes[1]];
        let mut fds: Vec<PollFd> = sources.iter().flatten().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        if poll(&mut fds, timeout).is_err() {
            return; // interrupted: the caller looks again
        }
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect::<Vec<_>>().into_iter();
        let [signals, control, out, err] =
            sources.map(|source| source.is_some()).map(|polled| polled && ready.next().unwrap_or(false));
        if signals {
            let _ = self.subreaper.signals.read_signal(); // the news is in waitpid
        }
        if control {
            self.hear();
        }
        if out {
            self.pump(Stream::Out);
        }
        if err {
            self.pump(Stream::Err);
        }
    }

    /// One read from one pipe into the spool; `false` when there was nothing to read.
    fn pump(&mut self, stream: Stream) -> bool {
        let slot = match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        };
        let Some(pipe) = slot else { return false };
        match pipe.read(&mut self.subreaper.buffer) {
            Ok(0) => *slot = None,
            Ok(len) => {
                if len == PIPE_BYTES {
                    let _ = fcntl(&*pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES_LARGE)); // only faster
                }
                let came = &self.subreaper.buffer[..len];
                let kept = self.masked.as_mut().map_or(came, |masked| masked[stream as usize].push(came));
                self.spool.append(stream, kept);
                self.last_output = Instant::now();
                self.gather_until = if len < GATHER_BYTES { self.last_output + GATHER } else { self.last_output };
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => *slot = None,
        }
        false
    }

    /// Takes what is in the pipes, but does not wait for more, nor follow a writer that never stops.
    pub(super) fn drain(&mut self) {
        let give_up = Instant::now() + SETTLE_MAX;
        while (self.pump(Stream::Out) | self.pump(Stream::Err)) && Instant::now() < give_up {}
    }

    /// Nothing more comes: what was held back, because a secret might have begun there, was none.
    pub(super) fn finish_output(&mut self) {
        for (stream, masked) in [Stream::Out, Stream::Err].into_iter().zip(self.masked.iter_mut().flatten()) {
            self.spool.append(stream, masked.finish());
        }
    }

    /// What the supervisor says; the end of its socket is its death.
    fn hear(&mut self) {
        let heard = self.subreaper.control.hear(&self.launch.attempt);
        if let (Some(known), Some(until)) = (self.lease_until_ms, heard.lease_until_ms) {
            self.lease_until_ms = Some(known.max(until));
        }
        if heard.gone {
            self.stop(Why::Interrupted, Duration::ZERO);
        } else if let Some(grace) = heard.kill {
            self.stop(Why::Killed, grace);
        }
    }

    fn stop(&mut self, why: Why, grace: Duration) {
        if self.ended.is_none() {
            self.why.get_or_insert(why);
            // Such a program has a longer time than its grace, so it is told that there is none.
            if self.launch.far_ms > 0 && grace.is_zero() {
                let _ = kill(self.main, Signal::SIGQUIT); // not waited for yet: nobody else's pid
            }
        }
        let grace = grace.saturating_add(Duration::from_millis(self.launch.far_ms));
        let kill_at = Instant::now().checked_add(grace);
        match self.kill_at {
            Some(earlier) => self.kill_at = Some(kill_at.map_or(earlier, |kill_at| kill_at.min(earlier))),
            None => self.terminate(grace),
        }
    }

    fn terminate(&mut self, grace: Duration) {
        tree::terminate(Pid::this(), self.main);
        let now = Instant::now();
        self.kill_at = Some(now.checked_add(grace).unwrap_or(now + Duration::from_secs(365 * 86_400)));
    }

    /// Buries every dead child, adopted ones too.
    fn reap(&mut self) {
        loop {
            let Buried { pid, reported, usage } = match tree::bury_one() {
                Ok(Some(buried)) => buried,
                Ok(None) => return,
                Err(Errno::ECHILD) => return self.alone = true,
                Err(_) => continue,
            };
            self.usage.cpu += usage.cpu;
            self.usage.max_rss_kib = self.usage.max_rss_kib.max(usage.max_rss_kib);
            if pid == self.main && self.ended.is_none() {
                self.reported = Some(reported);
                self.ended = Some(Instant::now());
            }
        }
    }

    /// KILL until nobody is left; returns who is left nevertheless.
    fn sweep(&mut self) -> Vec<Orphan> {
        let give_up = Instant::now() + SWEEP_MAX;
        loop {
            tree::kill_below(Pid::this());
            self.reap();
            if self.alone {
                return Vec::new();
            }
            if Instant::now() >= give_up {
                return tree::living(Pid::this(), self.mask.as_ref());
            }
            self.wait(Instant::now() + Duration::from_millis(1));
        }
    }

    pub(super) fn end(&self) -> End {
        match (self.why, self.reported) {
            (Some(Why::TimedOut), reported) => End::TimedOut { reported },
            (Some(Why::Killed), reported) => End::Killed { reported },
            (Some(Why::LeaseOver), reported) => End::LeaseOver { reported },
            (None, Some(reported)) => reported.into(),
            (Some(Why::Interrupted), _) | (None, None) => End::Interrupted,
        }
    }
}

fn nonblocking(pipe: OwnedFd) -> Option<File> {
    fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).ok().map(|_| File::from(pipe))
}
