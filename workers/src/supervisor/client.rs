//! The worker's end of the supervisor's socket.
//!
//! A connection is two halves, so that one task can wait for events while others ask. It is over when the last handle
//! of the asking half is dropped; whoever keeps one keeps hearing, too, because events pile up otherwise. What happens
//! to attempts does not depend on connections: who comes back asks for the list and reads the journal.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use runward_store::failpoint;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::protocol::{self, Garbled, Launch, PROTOCOL_VERSION, Refusal, Reply, Request};
use super::server::{LOCK, SOCKET};

/// How often a full socket is tried again: it holds hundreds of requests, and the supervisor is never busy for long.
const BACKLOG_POLL: Duration = Duration::from_millis(1);
/// How long a supervisor may take to be there, and how soon is looked again; later less often.
const START_MAX: Duration = Duration::from_secs(10);
const START_POLL: Duration = Duration::from_millis(5);
/// One read of news, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// A connection to a supervisor.
pub struct Supervisor {
    pub requests: Requests,
    pub events: Events,
}

/// The half that asks. Cheap to clone; nothing here waits, so nothing can be cancelled half-way.
#[derive(Clone)]
pub struct Requests {
    outgoing: Arc<Outgoing>,
    leases: Arc<AtomicBool>,
}

/// What is asked goes out at once; only what the socket does not take waits for a task.
struct Outgoing {
    socket: std::os::unix::net::UnixStream,
    /// Hangs up when the last request handle is dropped.
    _half: OwnedWriteHalf,
    backlog: Mutex<Vec<u8>>,
}

/// The half that hears.
pub struct Events {
    stream: OwnedReadHalf,
    buffer: Vec<u8>,
    process: Option<Child>,
    /// The supervisor has said that it knows leases.
    leases: Arc<AtomicBool>,
}

/// What a supervisor tells.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The attempt is over, its processes are gone, and its result is in the journal. (No result there: lost.)
    Ended { attempt: String },
    /// A `start` of this connection started nothing.
    Refused { attempt: String, reason: Refusal },
    /// The answer to a `list`.
    Live { attempts: Vec<String> },
    /// The connection is over; this is the last event, however often one asks.
    Gone { reason: Gone },
}

/// Why a connection is over.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    #[error("the supervisor closed the connection")]
    Closed,
    #[error("{0}")]
    Unusable(String),
    #[error("the supervisor speaks version {0} of the protocol, not {PROTOCOL_VERSION}")]
    OtherVersion(u32),
    #[error("the supervisor's answer is not understood: {0}")]
    Garbled(String),
}

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("the connection to the supervisor is over")]
    Gone,
    #[error(transparent)]
    Unsendable(#[from] Garbled),
}

impl Supervisor {
    /// Starts a supervisor for `dir` and is its first client. Does not wait for it: requests queue in the socket, and
    /// an unusable `dir` is told as an event. `exe` is `/proc/self/exe` of a binary whose `main` begins with
    /// [`supervise`](super::supervise) for the argument `__supervisor`.
    pub fn spawn(exe: &Path, dir: &Path) -> io::Result<Supervisor> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        let mut command = Command::new(exe);
        super::outlive_job(&mut command);
        command.arg0("runward").arg("__supervisor").arg(dir).stdin(OwnedFd::from(theirs));
        command.env_clear(); // it needs none of it, and everybody of this user could read it there for hours
        command.envs(failpoint::environment());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn()?;
        Supervisor::over(ours, Some(process))
    }

    /// The supervisor of `dir`, started if none lives there. Of two who start it at once one wins, and both find that one. It
    /// is there when this returns.
    pub async fn find_or_start(exe: &Path, dir: &Path) -> io::Result<Supervisor> {
        let give_up = Instant::now() + START_MAX;
        let mut patience = START_POLL;
        loop {
            let found = match Supervisor::connect(dir).await {
                Ok(there) => there,
                Err(_) => Supervisor::spawn(exe, dir)?,
            };
            match found.greeted().await {
                Ok(supervisor) => return Ok(supervisor),
                Err(gone @ Gone::OtherVersion(_)) => return Err(io::Error::other(gone.to_string())),
                // It has just left, or another one was faster.
                Err(gone) if Instant::now() >= give_up => return Err(io::Error::other(gone.to_string())),
                Err(_) => tokio::time::sleep(patience).await,
            }
            patience *= 2;
        }
    }

    /// Waits until it has said who it is.
    async fn greeted(mut self) -> Result<Supervisor, Gone> {
        match self.events.hello().await {
            None => Ok(self),
            Some(gone) => Err(gone),
        }
    }

    /// Connects to the supervisor that lives in `dir`. `NotFound` and `ConnectionRefused` mean that there is none.
    pub async fn connect(dir: &Path) -> io::Result<Supervisor> {
        let opened = File::open(dir)?; // the path through /proc fits a socket address however long `dir` is
        let stream = UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd())).await?;
        Supervisor::over(stream, None)
    }

    /// The process that is the supervisor of `dir` now, if one lives there.
    pub fn process(dir: &Path) -> Option<u32> {
        if !Supervisor::is_alive(dir) {
            return None;
        }
        std::fs::read_to_string(dir.join(LOCK)).ok()?.trim().parse().ok()
    }

    /// Lets the supervisor that lives in `dir` go on, if somebody has stopped it.
    pub fn wake_up(dir: &Path) {
        super::journal::wake_up(&dir.join(LOCK));
    }

    /// Whether a supervisor lives in `dir`. Not to be asked while one may be starting there.
    pub fn is_alive(dir: &Path) -> bool {
        File::open(dir.join(LOCK)).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    pub(crate) fn over(stream: UnixStream, process: Option<Child>) -> io::Result<Supervisor> {
        let socket = stream.as_fd().try_clone_to_owned()?.into();
        let (stream, _half) = stream.into_split();
        let outgoing = Arc::new(Outgoing { socket, _half, backlog: Mutex::new(Vec::new()) });
        let leases = Arc::new(AtomicBool::new(false));
        Ok(Supervisor {
            requests: Requests { outgoing, leases: Arc::clone(&leases) },
            events: Events { stream, buffer: Vec::with_capacity(READ_BYTES), process, leases },
        })
    }
}

impl Outgoing {
    /// Sends what the socket takes; `true` when nothing is left.
    fn flush(&self, backlog: &mut Vec<u8>) -> io::Result<bool> {
        while !backlog.is_empty() {
            match (&self.socket).write(backlog) {
                Ok(len) => drop(backlog.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    async fn flush_later(self: Arc<Outgoing>) {
        loop {
            tokio::time::sleep(BACKLOG_POLL).await;
            let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
            match self.flush(&mut backlog) {
                Ok(false) => {}
                Ok(true) => return,
                Err(_) => return backlog.clear(), // heard by the other half, and by the next request
            }
        }
    }
}

impl Requests {
    /// Starts an attempt. Heard of again as `Ended`, `Refused`, or `Gone`, which leaves the journal to say.
    pub fn start(&self, launch: Launch) -> Result<(), AskError> {
        self.ask(&Request::Start(Box::new(launch)))
    }

    /// TERM now, KILL after `grace_ms`; repeated, it only shortens. For what does not live here `Ended` is the answer.
    pub fn kill(&self, attempt: &str, grace_ms: u64) -> Result<(), AskError> {
        self.ask(&Request::Kill { attempt: attempt.to_owned(), grace_ms })
    }

    /// Gives an attempt that has a lease more time. An older supervisor gives none in the first place.
    pub fn lease(&self, attempt: &str, until_ms: u64) -> Result<(), AskError> {
        match self.leases.load(Ordering::Acquire) {
            true => self.ask(&Request::Lease { attempt: attempt.to_owned(), until_ms }),
            false => Ok(()),
        }
    }

    /// Asks what lives; the answer is [`Event::Live`].
    pub fn list(&self) -> Result<(), AskError> {
        self.ask(&Request::List)
    }

    fn ask(&self, request: &Request) -> Result<(), AskError> {
        let frame = protocol::encode(request)?;
        let mut backlog = self.outgoing.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        let waits_already = !backlog.is_empty();
        backlog.extend_from_slice(&frame);
        if waits_already {
            return Ok(());
        }
        match self.outgoing.flush(&mut backlog) {
            Ok(true) => {}
            Ok(false) => drop(tokio::spawn(self.outgoing.clone().flush_later())),
            Err(_) => {
                backlog.clear();
                return Err(AskError::Gone);
            }
        }
        Ok(())
    }
}

impl Events {
    /// Waits for the first word; why there is none.
    async fn hello(&mut self) -> Option<Gone> {
        loop {
            match protocol::decode::<Reply>(&mut self.buffer) {
                Ok(Some(Reply::Hello { version: PROTOCOL_VERSION, leases, .. })) => {
                    self.leases.store(leases, Ordering::Release);
                    return None;
                }
                Ok(Some(Reply::Hello { version, .. })) => return Some(Gone::OtherVersion(version)),
                Ok(Some(Reply::Unusable { reason })) => return Some(Gone::Unusable(reason)),
                Ok(Some(_)) => return Some(Gone::Garbled("it does not say who it is".to_owned())),
                Ok(None) if self.read().await => {}
                Ok(None) => return Some(Gone::Closed),
                Err(garbled) => return Some(Gone::Garbled(garbled.to_string())),
            }
        }
    }

    /// False at the end.
    async fn read(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(len) if len > 0)
    }

    /// The next event. Safe to cancel: nothing that was read is lost.
    pub async fn next_event(&mut self) -> Event {
        loop {
            match protocol::decode::<Reply>(&mut self.buffer) {
                Ok(Some(Reply::Hello { version: PROTOCOL_VERSION, leases, .. })) => {
                    self.leases.store(leases, Ordering::Release);
                }
                Ok(Some(Reply::Hello { version, .. })) => return self.gone(Gone::OtherVersion(version)),
                Ok(Some(Reply::Unusable { reason })) => return self.gone(Gone::Unusable(reason)),
                Ok(Some(Reply::Ended { attempt })) => return Event::Ended { attempt },
                Ok(Some(Reply::Refused { attempt, reason })) => return Event::Refused { attempt, reason },
                Ok(Some(Reply::Live { attempts })) => return Event::Live { attempts },
                Ok(None) if self.read().await => {}
                Ok(None) => return self.gone(Gone::Closed),
                Err(garbled) => return self.gone(Gone::Garbled(garbled.to_string())),
            }
        }
    }

    fn gone(&mut self, reason: Gone) -> Event {
        self.buffer.clear();
        self.bury();
        Event::Gone { reason }
    }

    /// A supervisor that ends before its worker must not stay a zombie; one that lives on is waited for by a thread.
    fn bury(&mut self) {
        if let Some(mut process) = self.process.take()
            && !matches!(process.try_wait(), Ok(Some(_)))
        {
            std::thread::spawn(move || process.wait());
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.bury();
    }
}
