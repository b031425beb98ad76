//! The supervisor's loop: clients on one side, one subreaper per attempt on the other.
//!
//! Its children are its subreapers, at work or waiting for it, and nothing else. Whatever else appears among them fell
//! from a subreaper that was killed: strays, to be killed too. Processes left on purpose never come here, see
//! [`Server::let_go`].

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};

use runward_store::failpoint::{self, Point};

use super::attempt::{EXIT_ENDED, Order, Word};
use super::journal::{self, AttemptResult, End, Reported};
use super::peer::Peer;
use super::protocol::{self, Launch, PROTOCOL_VERSION, Refusal, Reply, Request};
use super::secrets;
use super::spool::{LogSummary, now_ms};
use super::tree::{self, Buried};

pub(super) const SOCKET: &str = "sock";
/// Held for as long as the supervisor of a directory lives: there is one.
pub(super) const LOCK: &str = "supervisor.lock";
/// Strays that survive KILL for this long hang in the kernel.
const STRAYS_MAX: Duration = Duration::from_secs(5);
const STRAYS_POLL: Duration = Duration::from_millis(2);
/// Subreapers that wait for an attempt.
const IDLE_MAX: usize = 16;
/// A longer order might not fit into a socket at once; a new subreaper gets it by being forked.
const ORDER_BYTES_MAX: usize = 64 * 1024;

/// Why the loop ended.
pub(super) enum Served {
    /// Nothing runs and nobody is connected.
    Idle,
    /// This is the new process of an attempt; everything of the supervisor is closed.
    Forked { launch: Box<Launch>, control: UnixStream },
}

pub(super) struct Server {
    _lock: File,
    listener: UnixListener,
    signals: SignalFd,
    boot: String,
    peers: BTreeMap<u64, Peer>,
    next_peer: u64,
    live: BTreeMap<String, Live>,
    /// Subreapers without an attempt.
    idle: Vec<Idle>,
    /// Attempts whose subreaper died by accident; told as ended when no stray is left.
    fallen: Vec<(String, Live, Instant)>,
}

/// A running subreaper.
struct Live {
    pid: Pid,
    control: UnixStream,
    heard: Vec<u8>,
    /// It will say no more: its end is next, and comes as a signal. Polling it would spin until then.
    silent: bool,
    dir: PathBuf,
    /// Its processes may have secrets in their arguments.
    discreet: bool,
    started_at_ms: u64,
    asked_by: u64,
}

/// A subreaper that has nothing left of its attempt and can take another.
struct Idle {
    pid: Pid,
    control: UnixStream,
}

/// What the last poll found.
struct Ready {
    peers: Vec<u64>,
    live: Vec<String>,
}

impl Server {
    /// Moves into `dir`, alone, and listens. The error is a sentence for the client.
    pub(super) fn open(dir: &Path, wanted: SigSet, first: Option<UnixStream>) -> Result<Server, String> {
        let told = |error: io::Error| format!("the supervisor cannot use {}: {error}", dir.display());
        fs::create_dir_all(dir).map_err(told)?;
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(told)?;
        std::env::set_current_dir(dir).map_err(told)?; // and from here short names: a socket's path has 107 bytes
        let mut lock = File::options().write(true).create(true).truncate(false).open(LOCK).map_err(told)?;
        lock.try_lock().map_err(|_| format!("another supervisor lives in {}", dir.display()))?;
        lock.set_len(0).map_err(told)?;
        write!(lock, "{}", std::process::id()).map_err(told)?;
        let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(|errno| told(errno.into()))?;
        set_child_subreaper(true).map_err(|errno| told(errno.into()))?;
        let mut server = Server {
            _lock: lock,
            listener: listen().map_err(told)?,
            signals,
            boot: journal::boot_id().map_err(told)?,
            peers: BTreeMap::new(),
            next_peer: 0,
            live: BTreeMap::new(),
            idle: Vec::new(),
            fallen: Vec::new(),
        };
        if let Some(first) = first {
            server.welcome(first);
        }
        Ok(server)
    }

    /// The loop. Returns twice for every attempt started, as fork does: in the parent only at the very end.
    pub(super) fn serve(mut self) -> Served {
        loop {
            if self.is_idle() && self.close() {
                return Served::Idle;
            }
            let ready = self.wait();
            // First let them in, then look who died.
            self.accept();
            self.bury();
            for attempt in &ready.live {
                self.hear(attempt);
            }
            self.sweep();
            for peer in ready.peers {
                if let Some(forked) = self.answer(peer) {
                    return forked;
                }
            }
            self.peers.retain(|_, peer| !peer.is_gone());
        }
    }

    fn is_idle(&self) -> bool {
        self.peers.is_empty() && self.live.is_empty() && self.fallen.is_empty()
    }

    /// Takes the name away, then looks whether somebody came through it at the last moment.
    fn close(&mut self) -> bool {
        let _ = fs::remove_file(SOCKET); // gone already: as wanted
        self.accept();
        if self.peers.is_empty() {
            // The directory goes with its last inhabitant: nobody starts a second supervisor in it.
            let _ = fs::remove_file(LOCK);
            let _ = std::env::current_dir().and_then(fs::remove_dir);
            return true;
        }
        if let Ok(listener) = listen() {
            self.listener = listener; // otherwise: without a door, until this client leaves
        }
        false
    }

    fn wait(&self) -> Ready {
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.peers.values().map(|peer| {
            let writing = if peer.wants_to_write() { PollFlags::POLLOUT } else { PollFlags::empty() };
            PollFd::new(peer.stream().as_fd(), PollFlags::POLLIN | writing)
        }));
        fds.extend(
            self.live
                .values()
                .filter(|live| !live.silent)
                .map(|live| PollFd::new(live.control.as_fd(), PollFlags::POLLIN)),
        );
        let deadline = self.peers.values().filter_map(Peer::deadline).min();
        let timeout = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            _ if !self.fallen.is_empty() => PollTimeout::try_from(STRAYS_POLL),
            Some(left) => PollTimeout::try_from(left + Duration::from_millis(1)),
            None => Ok(PollTimeout::NONE),
        };
        let _ = poll(&mut fds, timeout.unwrap_or(PollTimeout::MAX)); // interrupted: nothing is ready, and we look again
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect::<Vec<_>>().into_iter();
        if ready.next() == Some(true) {
            let _ = self.signals.read_signal(); // the news is in waitpid
        }
        let _ = ready.next(); // the listener: looked at in any case
        Ready {
            peers: self.peers.keys().filter(|_| ready.next() == Some(true)).copied().collect(),
            live: {
                let heard = self.live.iter().filter(|(_, live)| !live.silent);
                heard.filter(|_| ready.next() == Some(true)).map(|(attempt, _)| attempt.clone()).collect()
            },
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            self.welcome(stream);
        }
    }

    fn welcome(&mut self, stream: UnixStream) {
        if let Ok(mut peer) = Peer::new(stream) {
            peer.say(&Reply::Hello { version: PROTOCOL_VERSION, pid: Pid::this().as_raw(), leases: true });
            self.peers.insert(self.next_peer, peer);
            self.next_peer += 1;
        }
    }

    /// Reads from a client and does what it asks; what it asked before it left counts.
    fn answer(&mut self, id: u64) -> Option<Served> {
        let peer = self.peers.get_mut(&id)?;
        peer.flush();
        peer.fill();
        while let Some(request) = self.peers.get_mut(&id)?.next_request() {
            match request {
                Request::Start(launch) => match self.start(*launch, id) {
                    Ok(None) => {}
                    Ok(forked) => return forked,
                    Err((attempt, reason)) => {
                        self.listens(id); // it may live here, started by somebody else
                        self.tell(id, &Reply::Refused { attempt, reason });
                    }
                },
                // Told when the last of it is gone.
                Request::Kill { attempt, .. } if self.has_fallen(&attempt) => self.listens(id),
                Request::Kill { attempt, grace_ms } => {
                    self.listens(id);
                    match self.live.get_mut(&attempt) {
                        Some(live) => live.kill(attempt, grace_ms),
                        None => self.tell(id, &Reply::Ended { attempt }),
                    }
                }
                Request::Lease { attempt, until_ms } => {
                    if let Some(live) = self.live.get_mut(&attempt) {
                        live.lease(attempt, until_ms);
                    }
                }
                Request::List => {
                    self.listens(id);
                    let fallen = self.fallen.iter().map(|(attempt, ..)| attempt);
                    let attempts = self.live.keys().chain(fallen).cloned().collect();
                    self.tell(id, &Reply::Live { attempts });
                }
            }
        }
        None
    }

    fn start(&mut self, launch: Launch, asked_by: u64) -> Result<Option<Served>, (String, Refusal)> {
        let known = self.live.contains_key(&launch.attempt) || self.has_fallen(&launch.attempt);
        let refusal = if known {
            Some(Refusal::Live)
        } else if launch.boot != self.boot {
            Some(Refusal::OtherBoot)
        } else if !launch.dir.is_absolute() {
            Some(Refusal::Directory(format!("{} is not an absolute path", launch.dir.display())))
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return Err((launch.attempt, refusal));
        }
        if let Err(error) = failpoint::fails_at(Point::BeforeFork) {
            return Err((launch.attempt, Refusal::Fork(error.to_string())));
        }
        if let Some(Idle { pid, control }) = self.hand_over(&launch) {
            self.begin(launch, pid, control, asked_by);
            return Ok(None);
        }
        let forked = UnixStream::pair().and_then(|(ours, theirs)| {
            ours.set_nonblocking(true)?;
            Ok((fork_attempt()?, ours, theirs))
        });
        match forked {
            Ok((ForkResult::Child, _, control)) => Ok(Some(Served::Forked { launch: Box::new(launch), control })),
            Ok((ForkResult::Parent { child: pid }, control, _)) => {
                self.begin(launch, pid, control, asked_by);
                Ok(None)
            }
            Err(error) => Err((launch.attempt, Refusal::Fork(error.to_string()))),
        }
    }

    fn has_fallen(&self, attempt: &str) -> bool {
        self.fallen.iter().any(|(it, ..)| it == attempt)
    }

    fn begin(&mut self, launch: Launch, pid: Pid, control: UnixStream, asked_by: u64) {
        let (heard, dir, started_at_ms) = (Vec::new(), launch.dir, now_ms());
        let discreet = !launch.secrets.is_empty() || !launch.hidden.is_empty();
        let live = Live { pid, control, heard, silent: false, dir, discreet, started_at_ms, asked_by };
        self.live.insert(launch.attempt, live);
    }

    /// Gives the attempt to a subreaper that waits for one. One that does not take it is dead, or as good as dead.
    fn hand_over(&mut self, launch: &Launch) -> Option<Idle> {
        let order =
            protocol::encode(&Order::Start(Box::new(launch.clone()))).ok().filter(|it| it.len() <= ORDER_BYTES_MAX)?;
        while let Some(mut idle) = self.idle.pop() {
            if matches!(idle.control.write(&order), Ok(len) if len == order.len()) {
                let _ = kill(idle.pid, Signal::SIGCONT); // somebody may have stopped it while it waited
                return Some(idle);
            }
            let _ = kill(idle.pid, Signal::SIGKILL); // our child, not yet waited for: nobody else's pid
            let _ = waitpid(idle.pid, None);
        }
        None
    }

    /// A subreaper spoke: it is through with its attempt.
    fn hear(&mut self, attempt: &str) {
        let Some(word) = self.live.get_mut(attempt).and_then(Live::word) else { return };
        let Some(live) = self.live.remove(attempt) else { return };
        let attempt = attempt.to_owned();
        let (pid, control, asked_by) = (live.pid, live.control, live.asked_by);
        failpoint::reach(Point::BeforeTold);
        match word {
            Word::Ended => self.tell_ended(attempt, asked_by),
            Word::Refused(reason) => self.tell_refused(attempt, reason, asked_by),
            Word::Leaving => {
                self.let_go(pid);
                return self.tell_ended(attempt, asked_by);
            }
        }
        // One too many is told by the end of its socket.
        if self.idle.len() < IDLE_MAX {
            self.idle.push(Idle { pid, control });
        }
    }

    fn tell_refused(&mut self, attempt: String, reason: Refusal, asked_by: u64) {
        self.tell(asked_by, &Reply::Refused { attempt: attempt.clone(), reason });
        // Who asked may be dead, and another may have adopted it.
        let others = self.peers.iter_mut().filter(|(peer, it)| **peer != asked_by && it.listens);
        others.for_each(|(_, peer)| peer.say(&Reply::Ended { attempt: attempt.clone() }));
    }

    /// What a step leaves on purpose must go to init, as a daemon does, and never look like a stray of ours. So for
    /// the moment in which its subreaper ends we are no subreaper ourselves. The subreaper waits to be killed.
    fn let_go(&self, subreaper: Pid) {
        let _ = set_child_subreaper(false); // fails only for an invalid argument
        let _ = kill(subreaper, Signal::SIGKILL); // our child, not yet waited for: nobody else's pid
        let _ = waitpid(subreaper, None);
        let _ = set_child_subreaper(true);
    }

    /// Buries dead children. A subreaper that did not end as agreed leaves its attempt to us.
    fn bury(&mut self) {
        loop {
            let Ok(Some(Buried { pid, reported, .. })) = tree::bury_one() else { return };
            self.idle.retain(|idle| idle.pid != pid);
            let Some(attempt) = self.live.iter().find(|(_, live)| live.pid == pid).map(|(attempt, _)| attempt.clone())
            else {
                continue; // it waited for work, or is a stray
            };
            let Some(mut live) = self.live.remove(&attempt) else { continue };
            match (reported, live.word()) {
                (_, Some(Word::Ended)) | (Reported::Exited { code: EXIT_ENDED }, None) => {
                    self.tell_ended(attempt, live.asked_by)
                }
                (_, Some(Word::Refused(reason))) => self.tell_refused(attempt, reason, live.asked_by),
                _ => self.fallen.push((attempt, live, Instant::now())),
            }
        }
    }

    /// Kills the strays of fallen subreapers; when none is left, their attempts are over.
    fn sweep(&mut self) {
        if self.fallen.is_empty() {
            return;
        }
        // The kernel's list of children may miss one while another one ends: none is none only when seen twice.
        for _ in 0..2 {
            let ours = self.subreapers();
            let strays: Vec<Pid> = tree::children(Pid::this()).into_iter().filter(|pid| !ours.contains(pid)).collect();
            for stray in &strays {
                tree::kill_below(*stray);
                let _ = kill(*stray, Signal::SIGKILL);
            }
            let patient = self.fallen.iter().all(|(.., since)| since.elapsed() < STRAYS_MAX);
            if !strays.is_empty() && patient {
                return;
            }
        }
        let ours = self.subreapers();
        let unkillable = tree::children(Pid::this()).into_iter().filter(|pid| !ours.contains(pid));
        // Which of them belongs to which attempt is not known any more.
        let discreet = self.fallen.iter().any(|(_, live, _)| live.discreet);
        let describe = |pid| if discreet { tree::describe_by_name(pid) } else { tree::describe(pid, None) };
        let unkillable: Vec<_> = unkillable.map(describe).collect();
        for (attempt, live, _) in std::mem::take(&mut self.fallen) {
            secrets::clear(&live.dir);
            if !matches!(journal::read_result(&live.dir, &self.boot), Ok(Some(_))) {
                if live.discreet {
                    secrets::forget_outputs(&live.dir);
                }
                let result = AttemptResult {
                    boot: self.boot.clone(),
                    end: End::Interrupted,
                    started_at_ms: live.started_at_ms,
                    ended_at_ms: now_ms(),
                    cpu_ms: None,
                    max_rss_kib: None,
                    log: LogSummary::default(),
                    orphans: Vec::new(),
                    unkillable: unkillable.clone(),
                };
                // Where it cannot be written the journal says: started, dead, no result. That is true as well.
                let _ = journal::write_result(&live.dir, &result);
            }
            self.tell_ended(attempt, live.asked_by);
        }
    }

    fn subreapers(&self) -> Vec<Pid> {
        self.live.values().map(|live| live.pid).chain(self.idle.iter().map(|idle| idle.pid)).collect()
    }

    fn tell(&mut self, peer: u64, reply: &Reply) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.say(reply);
        }
    }

    /// To who started it, and to all who have asked about attempts that others started.
    fn tell_ended(&mut self, attempt: String, asked_by: u64) {
        let reply = Reply::Ended { attempt };
        let told = self.peers.iter_mut().filter(|(peer, it)| **peer == asked_by || it.listens);
        told.for_each(|(_, peer)| peer.say(&reply));
    }

    fn listens(&mut self, peer: u64) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.listens = true;
        }
    }
}

impl Live {
    /// Passes a kill on. A socket full of such orders has one that says it, and one that was stopped has to hear it.
    fn kill(&mut self, attempt: String, grace_ms: u64) {
        if let Ok(order) = protocol::encode(&Order::Kill { attempt, grace_ms }) {
            let _ = self.control.write(&order);
            let _ = kill(self.pid, Signal::SIGCONT); // our child, not yet waited for: nobody else's pid
        }
    }

    /// Passes more time on. One that does not arrive is made good by the next.
    fn lease(&mut self, attempt: String, until_ms: u64) {
        if let Ok(order) = protocol::encode(&Order::Lease { attempt, until_ms }) {
            let _ = self.control.write(&order);
        }
    }

    /// The word the subreaper has said, once it is complete. It says one an attempt.
    fn word(&mut self) -> Option<Word> {
        let mut bytes = [0; 4096];
        while let Ok(len) = self.control.read(&mut bytes) {
            if len == 0 {
                self.silent = true;
                break;
            }
            self.heard.extend_from_slice(&bytes[..len]);
        }
        serde_json::from_slice(self.heard.strip_suffix(b"\n")?).ok()
    }
}

/// Listens on [`SOCKET`] in the current directory. A file of that name is left over: the lock proves it.
fn listen() -> io::Result<UnixListener> {
    match fs::remove_file(SOCKET) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(SOCKET)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[allow(unsafe_code)]
fn fork_attempt() -> nix::Result<ForkResult> {
    // SAFETY: the supervisor never has a second thread, so no lock can be held by one that does not exist in the
    // child, and the child may do whatever the parent may.
    unsafe { fork() }
}
