//! Asks a program for a secret: `vault kv get ...`, `pass show ...`, `op read ...`.
//!
//! It gets the environment of runward, because that is where such programs find their own credentials, but nothing that
//! belongs to runward. It has a group of its own, no input and little time.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use runward_engine::limits;
use runward_engine::units::format_duration;
use zeroize::Zeroizing;

use super::Value;
use crate::mask::Mask;

const TIME_MAX: Duration = Duration::from_millis(limits::SECRET_EXEC_MS_MAX);
/// What it says about itself, in bytes.
const SAID_BYTES_MAX: usize = 16 * 1024;
/// Of that, what is repeated, in characters.
const SHOWN_CHARS_MAX: usize = 400;
/// It is looked whether it has ended at least so often.
const TICK: Duration = Duration::from_millis(20);
/// When it has ended, whoever holds its output is not waited for any longer.
const SETTLE: Duration = Duration::from_millis(500);

/// What the program prints.
pub(super) fn ask(argv: &[String], cwd: &Path) -> Result<Value, String> {
    let Some((program, arguments)) = argv.split_first() else { return Err("no program is named".to_owned()) };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(cwd).process_group(0);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"RUNWARD_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| not_started(program, &error))?;
    let heard = hear(&mut child);
    if !matches!(heard, Ok(Heard { status: Some(_), .. })) {
        let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL); // our child, not yet waited for
        let _ = child.wait();
    }
    let Heard { status, out, err } = heard.map_err(|error| format!("its output cannot be read: {error}"))?;
    let Some(status) = status else {
        return Err(format!("it took longer than {}{}", format_duration(TIME_MAX), said(&out, &err)));
    };
    if !status.success() {
        return Err(format!("it ended with {}{}", how(status), said(&out, &err)));
    }
    Ok(Value::new(out.to_vec()))
}

fn not_started(program: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("there is no program {program} on this machine: install it, or correct `exec`")
        }
        _ => format!("it cannot be started: {error}"),
    }
}

struct Heard {
    /// `None`: its time was over.
    status: Option<ExitStatus>,
    out: Zeroizing<Vec<u8>>,
    err: Zeroizing<Vec<u8>>,
}

fn hear(child: &mut Child) -> io::Result<Heard> {
    let give_up = Instant::now() + TIME_MAX;
    // One that reads what is longer stops, and the length says so.
    let room = |max: usize| Zeroizing::new(Vec::with_capacity(max + 1));
    let (mut out, mut err) = (room(limits::SECRET_BYTES_MAX), room(SAID_BYTES_MAX));
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let (mut status, mut ended) = (None, None::<Instant>);
    loop {
        if status.is_none() {
            status = child.try_wait()?;
            ended = status.map(|_| Instant::now());
        }
        let settled = ended.is_some_and(|ended| ended.elapsed() >= SETTLE);
        if Instant::now() >= give_up || settled || stdout.is_none() && stderr.is_none() && status.is_some() {
            return Ok(Heard { status, out, err });
        }
        let fds = [stdout.as_ref().map(AsFd::as_fd), stderr.as_ref().map(AsFd::as_fd)];
        let mut fds: Vec<PollFd> = fds.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let _ = poll(&mut fds, PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO)); // interrupted: we look again
        take(&mut stdout, &mut out, limits::SECRET_BYTES_MAX)?;
        take(&mut stderr, &mut err, SAID_BYTES_MAX)?;
    }
}

/// What is there now; what is more than `max` is let go, but for one byte that tells.
fn take<R: Read + AsFd>(from: &mut Option<R>, into: &mut Vec<u8>, max: usize) -> io::Result<()> {
    let Some(pipe) = from else { return Ok(()) };
    fcntl(&*pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut bytes = Zeroizing::new([0; 4096]);
    loop {
        match pipe.read(&mut bytes[..]) {
            Ok(0) => {
                *from = None;
                return Ok(());
            }
            Ok(len) => into.extend_from_slice(&bytes[..len.min(max + 1 - into.len().min(max + 1))]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

/// The end of what it said about itself, without what it printed.
fn said(out: &[u8], err: &[u8]) -> String {
    let text = String::from_utf8_lossy(err);
    // Where there is more than was read, its end may be the beginning of what is hidden.
    let hide = |mask: Mask| if err.len() > SAID_BYTES_MAX { mask.hide_beginning(&text) } else { mask.hide(&text) };
    let text = Mask::of([out]).map_or_else(|| text.to_string(), hide);
    let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let from = text.char_indices().rev().nth(SHOWN_CHARS_MAX).map_or(0, |(at, _)| at);
    if text.is_empty() { String::new() } else { format!(": {}", &text[from..]) }
}
