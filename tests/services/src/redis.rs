//! A temporary Redis that keeps nothing on disk.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{self, kill};
use tempfile::TempDir;

use crate::guard::{Guard, Signal};
use crate::proxy::{Proxy, Target};
use crate::until_up;

pub struct Redis {
    guard: Option<Guard>,
    folder: TempDir,
    settings: Vec<String>,
}

impl Redis {
    pub fn start() -> Redis {
        Redis::start_with(&[])
    }

    /// With settings as on its command line: `&["--maxmemory", "4mb"]`.
    pub fn start_with(settings: &[&str]) -> Redis {
        let folder = tempfile::Builder::new().prefix("runward-redis-").tempdir().expect("a temporary folder");
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut redis = Redis { guard: None, folder, settings };
        redis.start_again();
        redis
    }

    /// After [`Redis::stop`]: empty, as after every start.
    pub fn start_again(&mut self) {
        let socket = self.socket();
        let own = ["--port", "0", "--save", "", "--appendonly", "no", "--enable-debug-command", "local"];
        let mut command: Vec<&OsStr> = vec!["redis-server".as_ref(), "--unixsocket".as_ref(), socket.as_ref()];
        command.extend(["--dir".as_ref(), self.folder.path().as_os_str()]);
        command.extend(own.iter().map(|word| OsStr::new(*word)));
        command.extend(self.settings.iter().map(|word| OsStr::new(word.as_str())));
        let guard = Guard::start(self.folder.path(), Signal::Kill, &command);
        until_up(&guard, || self.log(), || self.ask(&["ping"]));
        self.guard = Some(guard);
    }

    pub fn stop(&mut self, signal: Signal) {
        if let Some(guard) = self.guard.take() {
            guard.end(signal);
        }
    }

    /// It is there, and answers nobody until [`Redis::thaw`].
    pub fn freeze(&self) {
        self.signal(signal::Signal::SIGSTOP);
    }

    pub fn thaw(&self) {
        self.signal(signal::Signal::SIGCONT);
    }

    fn signal(&self, signal: signal::Signal) {
        let guard = self.guard.as_ref().expect("it runs");
        kill(guard.server(), signal).expect("it is a process of this test");
    }

    /// By the socket.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Through a proxy for which [`Redis::target`] is the target.
    pub fn url_through(&self, proxy: &Proxy) -> String {
        format!("redis://{}/", proxy.address())
    }

    pub fn target(&self) -> Target {
        Target::Unix(self.socket())
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// One command as `redis-cli` sends it, and what it prints.
    pub fn command(&self, words: &[&str]) -> String {
        self.ask(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// As [`Redis::command`], for what may fail.
    pub fn ask(&self, words: &[&str]) -> Result<String, String> {
        let done = Command::new("redis-cli").arg("-e").arg("-s").arg(self.socket()).args(words).output();
        let done = done.expect("redis-cli can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
    }

    /// The number of its process, while it runs.
    pub fn process(&self) -> Option<i32> {
        self.guard.as_ref().map(|guard| guard.server().as_raw())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}
