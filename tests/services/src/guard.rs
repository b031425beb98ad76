//! A server process that cannot outlive whoever started it.
//!
//! Between the two stands a shell that reads a pipe. The end of the pipe is the end of the test, by whatever cause: then it
//! ends the server, waits for it and removes its folder. It stands in a process group of its own, so that what ends
//! the group of a test leaves it its work. (A parent-death signal would follow the thread that started the server, and is
//! lost where the server runs as another user.)

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::unistd::Pid;

/// `$1` ends the server when nobody says how; `$2` is its folder; what follows is its command line.
const SCRIPT: &str = r#"
end=$1 folder=$2
shift 2
"$@" </dev/null >>"$folder/log" 2>&1 &
server=$!
echo "$server"
if read -r signal; then remove=; else signal=$end remove=yes; fi
kill -s "$signal" "$server" && kill -s CONT "$server"
wait "$server"
if [ -n "$remove" ]; then rm -rf "$folder"; fi
"#;

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Interrupt,
    Quit,
    Terminate,
    Kill,
}

/// See the module; anything that is started in the foreground can be guarded.
pub struct Guard {
    shell: Child,
    server: Pid,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Interrupt => "INT",
            Signal::Quit => "QUIT",
            Signal::Terminate => "TERM",
            Signal::Kill => "KILL",
        }
    }
}

impl Guard {
    /// What the server prints is in `folder/log`. `end` is how it ends with the guard.
    pub fn start(folder: &Path, end: Signal, command: &[&OsStr]) -> Guard {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "guard", end.name()])
            .arg(folder)
            .args(command)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("/bin/sh can be started");
        let mut line = String::new();
        let said = BufReader::new(shell.stdout.take().expect("it was asked for")).read_line(&mut line);
        said.expect("the guard says what it has started");
        Guard { shell, server: Pid::from_raw(line.trim().parse().expect("the number of a process")) }
    }

    pub fn server(&self) -> Pid {
        self.server
    }

    /// Whether the server ended by itself. The guard lets it lie until it is asked to end it.
    pub fn is_alone(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.server)).unwrap_or_default();
        stat.rsplit(") ").next().is_none_or(|state| state.is_empty() || state.starts_with('Z'))
    }

    /// Ends the server; its folder stays.
    pub fn end(mut self, signal: Signal) {
        let mut pipe = self.shell.stdin.take().expect("it is taken at the end only");
        writeln!(pipe, "{}", signal.name()).expect("the guard reads");
        self.shell.wait().expect("the guard is a child of this process");
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait(); // ended before: there is nothing to wait for
    }
}
