//! The small process that owns running steps and outlives the worker that started them.
//!
//! ```text
//! worker ──socket── supervisor ──fork── subreaper of attempt A ── step A and everything it starts
//!                              └─fork── subreaper of attempt B ── step B ...
//! ```
//!
//! The supervisor ([`supervise`]) is the same binary, started through `/proc/self/exe` so that it survives the
//! replacement of the file; one thread, no async. For each attempt that runs there is one subreaper, forked without
//! exec, and the kernel gives that subreaper every orphan below it, so that two attempts are never confused, whatever
//! their processes do with groups and sessions. When nothing of its attempt is left it may carry out another one. A
//! worker may die: it connects again and reads the journal. A subreaper may die: its processes fall to the supervisor,
//! which kills them. The supervisor may die: each subreaper kills its own.
//! It ends by itself when nothing runs and nobody is connected.
//!
//! - [`protocol`]: the words on the socket; [`client`]: the worker's end of it
//! - [`journal`]: what is proven about an attempt; [`spool`] and [`log`]: its output, written and read
//! - [`lease`]: until when an attempt may live whose worker may have fallen silent
//! - `server`, `peer`: the supervisor; `attempt`, `watch`, `secrets`: the subreaper; `exec`, `tree`: the step's
//!   process and all processes below

mod attempt;
pub mod client;
mod exec;
pub mod journal;
pub mod lease;
pub mod log;
mod peer;
pub mod protocol;
pub(crate) mod secrets;
mod server;
pub mod spool;
pub(crate) mod tree;
mod watch;

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::stat::{Mode, SFlag, fstat, umask};

use self::protocol::Reply;
use self::server::{Served, Server};

/// By these CI systems find what a job left behind, and kill it: GitHub, Jenkins, Azure.
const JOB_MARKS: &[&str] = &[
    "RUNNER_TRACKING_ID",
    "JENKINS_NODE_COOKIE",
    "JENKINS_SERVER_COOKIE",
    "HUDSON_SERVER_COOKIE",
    "VSTS_PROCESS_LOOKUP_ID",
];

/// For a process that is meant to outlive the job in which it is started.
pub fn outlive_job(command: &mut std::process::Command) {
    JOB_MARKS.iter().for_each(|mark| _ = command.env_remove(mark));
}

/// Runs the supervisor of `dir` and returns the exit code of the process. To be called first thing in `main`, before
/// any thread exists and any file is open: it closes every descriptor but standard input, which is its first client.
///
/// It stays until no attempt lives and no client is connected. The directory is created if need be and closed to
/// others. If it cannot be used, the first client is told ([`Reply::Unusable`]) and the exit code is 1.
pub fn supervise(dir: &Path) -> i32 {
    let _ = nix::sys::prctl::set_name(c"runward-superv");
    let _ = nix::unistd::setsid(); // fails only for a leader of a group, who is detached enough
    close_inherited();
    let mode = umask(Mode::from_bits_truncate(0o077));
    let (signals, first) = (own_signals(), first_client());
    let served = match Server::open(dir, signals, first.as_ref().and_then(|first| first.try_clone().ok())) {
        Ok(server) => {
            drop(first);
            server.serve()
        }
        Err(reason) => {
            let told = protocol::encode(&Reply::Unusable { reason });
            if let (Some(mut first), Ok(frame)) = (first, told) {
                let _ = first.write_all(&frame); // the client is gone: nobody needs to know
            }
            return 1;
        }
    };
    match served {
        Served::Idle => 0,
        Served::Forked { launch, control } => attempt::run(*launch, control, mode),
    }
}

/// Descriptors the worker forgot to mark must not be held open for hours: its locks, its pipes, its terminal.
fn close_inherited() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        let _ = nix::unistd::close(fd); // the listing itself is among them, closed already
    }
}

/// Standard input as a client, if it is a socket. Afterwards all three standard descriptors lead nowhere.
fn first_client() -> Option<UnixStream> {
    let stdin = std::io::stdin();
    let is_socket = fstat(stdin.as_fd())
        .is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFSOCK);
    let first: Option<OwnedFd> = stdin.as_fd().try_clone_to_owned().ok().filter(|_| is_socket);
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdin(&null);
        let _ = nix::unistd::dup2_stdout(&null);
        let _ = nix::unistd::dup2_stderr(&null);
    }
    first.map(UnixStream::from)
}

/// Signals that would end or stop the supervisor do nothing. TERM too: a service manager that stops the worker sends it
/// to everybody, and the steps are to outlive the worker. They are caught and not ignored or blocked, because steps
/// inherit what is ignored or blocked, and get the default of what is caught. Returns what to read from a signalfd.
#[allow(unsafe_code)]
fn own_signals() -> SigSet {
    extern "C" fn nothing(_: nix::libc::c_int) {}
    let caught = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator() {
        let action = match signal {
            Signal::SIGKILL | Signal::SIGSTOP => continue,
            Signal::SIGHUP | Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTERM | Signal::SIGPIPE => &caught,
            Signal::SIGALRM | Signal::SIGVTALRM | Signal::SIGPROF | Signal::SIGUSR1 | Signal::SIGUSR2 => &caught,
            Signal::SIGTSTP | Signal::SIGTTIN | Signal::SIGTTOU => &caught,
            _ => &default,
        };
        // SAFETY: the only handler does nothing, which is safe at any moment.
        let _ = unsafe { sigaction(signal, action) }; // fails only for a signal that does not exist
    }
    let read = SigSet::from(Signal::SIGCHLD);
    let _ = read.thread_set_mask(); // fails only for an invalid argument
    read
}
