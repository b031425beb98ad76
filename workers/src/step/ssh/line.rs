//! One connection: a process of the system's ssh, and what crosses it. It waits for several things at once and decides nothing.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;

use super::wire::{self, Errand, Garbled, Parser, Word};

/// The system's ssh, as a program that nobody watches has to call it. What the configuration says is kept, but for what would
/// ask somebody, take a new host on trust, change what is run there, or hide what went wrong.
const OPTIONS: &[&str] = &[
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "ConnectTimeout=20",
    "ServerAliveInterval=10",
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    // One that is open already may be used; the first of several steps must not become the master of the others.
    "ControlMaster=no",
    // What is known of a host changes by nobody's hand but yours.
    "UpdateHostKeys=no",
    // Its words are all that anybody learns: neither none, nor lost among hundreds.
    "LogLevel=INFO",
];
/// The same, for what an ssh before 8.7 knows only by flags that no configuration can set.
const OPTIONS_SINCE_8_7: &[&str] = &["SessionType=default", "StdinNull=no", "ForkAfterAuthentication=no"];
/// The variables of this process that are ssh's business.
const ENVIRONMENT: &[&str] = &["PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "SSH_AUTH_SOCK"];
/// Of what ssh says itself, in bytes: the last of it, because a banner of the host comes first.
const SAID_BYTES_MAX: usize = 16 * 1024;
/// How long it may take to be gone after the last word.
const GOODBYE: Duration = Duration::from_secs(2);

pub(super) struct Line {
    child: Child,
    stdin: Option<File>,
    stdout: Option<File>,
    stderr: Option<File>,
    outbox: Vec<u8>,
    parser: Parser,
    said: Vec<u8>,
    heard_at: Instant,
}

/// What happened.
pub(super) enum Heard {
    Word(Word),
    /// The step is to end: at once, or with its grace.
    Stop {
        at_once: bool,
    },
    /// Nothing until then.
    Nothing,
    /// The connection is over.
    Over,
    Garbled(Garbled),
}

impl Line {
    pub(super) fn open(host: &str, errand: Errand) -> io::Result<Line> {
        let mut command = Command::new("ssh");
        command.arg("-T");
        let newer = if is_since_8_7() { OPTIONS_SINCE_8_7 } else { &[] };
        OPTIONS.iter().chain(newer).for_each(|option| _ = command.args(["-o", option]));
        command.args(["--", host, &wire::command(errand)]).env_clear();
        let own = ENVIRONMENT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        command.envs(own);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let file = |pipe: Option<OwnedFd>| {
            let file = File::from(pipe.ok_or(ErrorKind::BrokenPipe)?);
            fcntl(&file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(io::Error::from)?;
            io::Result::Ok(Some(file))
        };
        Ok(Line {
            stdin: file(child.stdin.take().map(OwnedFd::from))?,
            stdout: file(child.stdout.take().map(OwnedFd::from))?,
            stderr: file(child.stderr.take().map(OwnedFd::from))?,
            child,
            outbox: wire::FAR.as_bytes().to_vec(),
            parser: Parser::default(),
            said: Vec::new(),
            heard_at: Instant::now(),
        })
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.outbox.extend_from_slice(bytes);
    }

    /// Since when nothing was heard.
    pub(super) fn silence(&self) -> Duration {
        self.heard_at.elapsed()
    }

    /// What ssh itself said, and what the far side said before it was ours.
    pub(super) fn said(&self) -> (String, String) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        (text(&self.said), text(self.parser.noise()))
    }

    /// The next thing that happens, at most until `until`.
    pub(super) fn next(&mut self, signals: &SignalFd, until: Instant) -> Heard {
        loop {
            match self.parser.word() {
                Ok(Some(word)) => return Heard::Word(word),
                Ok(None) => {}
                Err(garbled) => return Heard::Garbled(garbled),
            }
            self.flush();
            if self.stdout.is_none() && self.stderr.is_none() {
                return Heard::Over;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Heard::Nothing;
            }
            self.wait(signals, left);
            if let Some(at_once) = asked_to_stop(signals) {
                return Heard::Stop { at_once };
            }
            self.read();
        }
    }

    fn wait(&self, signals: &SignalFd, left: Duration) {
        let reading =
            [Some(signals.as_fd()), self.stdout.as_ref().map(AsFd::as_fd), self.stderr.as_ref().map(AsFd::as_fd)];
        let writing = self.stdin.as_ref().filter(|_| !self.outbox.is_empty()).map(AsFd::as_fd);
        let mut fds: Vec<PollFd> = reading.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        fds.extend(writing.map(|fd| PollFd::new(fd, PollFlags::POLLOUT)));
        let timeout = PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut fds, timeout); // interrupted: the caller looks again
    }

    fn read(&mut self) {
        let mut bytes = vec![0; 64 * 1024];
        if let Some(len) = take(&mut self.stdout, &mut bytes) {
            self.parser.push(&bytes[..len]);
            self.heard_at = Instant::now();
        }
        if let Some(len) = take(&mut self.stderr, &mut bytes) {
            self.said.extend_from_slice(&bytes[..len]);
            self.said.drain(..self.said.len().saturating_sub(SAID_BYTES_MAX));
        }
    }

    fn flush(&mut self) {
        while !self.outbox.is_empty() {
            let Some(stdin) = &mut self.stdin else { return self.outbox.clear() };
            match stdin.write(&self.outbox) {
                Ok(len) => drop(self.outbox.drain(..len)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.stdin = None, // its end is heard where it is read
            }
        }
    }

    /// Says the last word: the far side removes the attempt.
    pub(super) fn let_go(mut self) {
        self.send(b"done\n");
        let until = Instant::now() + GOODBYE;
        while Instant::now() < until {
            self.flush();
            if self.outbox.is_empty() {
                self.stdin = None;
            }
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.child.kill(); // gone already: as wanted
        let _ = self.child.wait();
    }
}

/// Asked once: an option that it does not know is an error.
fn is_since_8_7() -> bool {
    static NEW: OnceLock<bool> = OnceLock::new();
    *NEW.get_or_init(|| {
        let said = Command::new("ssh").arg("-V").stdin(Stdio::null()).output().map(|said| said.stderr);
        version(&String::from_utf8_lossy(&said.unwrap_or_default())).is_some_and(|version| version >= (8, 7))
    })
}

/// `OpenSSH_9.2p1 Debian-2, ...`
fn version(said: &str) -> Option<(u32, u32)> {
    let (major, rest) = said.trim().strip_prefix("OpenSSH_")?.split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// One read; `None`: nothing came. The end of a pipe closes it.
fn take(pipe: &mut Option<File>, bytes: &mut [u8]) -> Option<usize> {
    match pipe.as_mut()?.read(bytes) {
        Ok(0) => *pipe = None,
        Ok(len) => return Some(len),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
        Err(_) => *pipe = None,
    }
    None
}

/// Whether somebody wants the step to end since this was asked last; `true`: at once.
pub(super) fn asked_to_stop(signals: &SignalFd) -> Option<bool> {
    let mut asked = None;
    while let Ok(Some(signal)) = signals.read_signal() {
        let at_once = signal.ssi_signo == Signal::SIGQUIT as u32;
        asked = Some(asked.unwrap_or(false) || at_once);
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_ssh_says_it() {
        assert_eq!(version("OpenSSH_9.2p1 Debian-2+deb12u7, OpenSSL 3.0.17\n"), Some((9, 2)));
        assert_eq!(version("OpenSSH_10.0p2, LibreSSL"), Some((10, 0)));
        assert_eq!(version("OpenSSH_for_Windows_8.1p1"), None);
    }
}
