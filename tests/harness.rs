//! A state folder of its own for each test, and the binary in it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long a condition may take to come true. It only tells "never" from "late": the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// A folder to work in, with a state folder inside. Both go when the test ends.
pub struct Scene {
    dir: TempDir,
}

/// What a finished command left.
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub stdout_bytes: Vec<u8>,
}

impl Scene {
    pub fn new() -> Scene {
        Scene { dir: TempDir::new().expect("a temporary folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file below the scene and returns its path.
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a name below the scene")).expect("its folder");
        fs::write(&path, text).expect("a file of the scene");
        path
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The binary, not yet started: in the scene's folder, with its state folder, and without this machine's settings.
    pub fn runward(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runward"));
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        for name in ["CI", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL", "BUILDKITE", "CIRCLECI", "SUDO_USER"] {
            command.env_remove(name);
        }
        command.env_remove("XDG_STATE_HOME");
        let own = std::env::vars_os().map(|(name, _)| name);
        own.filter(|name| name.to_string_lossy().starts_with("RUNWARD_")).for_each(|name| {
            command.env_remove(name);
        });
        command.env("RUNWARD_STATE", self.path("state"));
        command
    }

    /// Runs the binary to its end.
    pub fn run(&self, args: &[&str]) -> Done {
        finish(self.runward().args(args))
    }

    /// Runs it and expects this exit code.
    pub fn expect(&self, code: i32, args: &[&str]) -> Done {
        let done = self.run(args);
        assert_eq!(done.code, code, "{args:?}\n{}\n{}", done.stdout, done.stderr);
        done
    }

    /// Starts the binary and leaves it running.
    pub fn start(&self, args: &[&str]) -> Child {
        let out = fs::File::create(self.path("started.out")).expect("a file for its output");
        let err = out.try_clone().expect("the same file");
        self.runward().args(args).stdout(out).stderr(err).spawn().expect("the binary starts")
    }

    /// What a command with `--format json` printed.
    pub fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--format", "json"]).collect();
        let done = self.run(&args);
        serde_json::from_str(&done.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}\n{}{}", done.stdout, done.stderr))
    }

    /// Everything `show` knows about the newest run.
    pub fn last(&self) -> Value {
        self.json(&["show", "last"])
    }

    /// How many runs are on the record. A scene without a ledger has none, and looking makes none.
    pub fn runs_recorded(&self) -> usize {
        match self.path("state/ledger.db").exists() {
            true => self.json(&["runs"]).as_array().expect("a list").len(),
            false => 0,
        }
    }

    /// `dir=FOLDER`, for runbooks with a parameter `dir`.
    pub fn dir(&self) -> String {
        format!("dir={}", self.dir.path().display())
    }

    /// Waits until a file below the scene contains this text.
    pub fn wait_for(&self, name: &str, text: &str) {
        wait(&format!("{name} to contain {text:?}"), || self.read(name).contains(text));
    }
}

/// The binary at a terminal of its own, and somebody who types.
pub struct Terminal {
    child: Child,
    keyboard: fs::File,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: std::thread::JoinHandle<()>,
}

impl Terminal {
    /// `setsid` makes the terminal the one that Ctrl-C is heard from.
    pub fn start(command: &Command) -> Terminal {
        let pty = nix::pty::openpty(None, None).expect("a terminal");
        let end = || Stdio::from(pty.slave.try_clone().expect("the program's end of it"));
        let mut at_terminal = Command::new("setsid");
        at_terminal.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        at_terminal.stdin(end()).stdout(end()).stderr(end());
        command.get_current_dir().map(|dir| at_terminal.current_dir(dir));
        at_terminal.env("TERM", "dumb");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => at_terminal.env(name, value),
                None => at_terminal.env_remove(name),
            };
        }
        let child = at_terminal.spawn().expect("setsid is installed");
        drop((at_terminal, pty.slave));
        let mut output = fs::File::from(pty.master);
        let keyboard = output.try_clone().expect("the same terminal");
        let screen = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&screen);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                seen.lock().expect("nobody panics with it").extend_from_slice(&bytes[..n]);
            }
        });
        Terminal { child, keyboard, screen, reader }
    }

    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("nobody panics with it")).into_owned()
    }

    /// Waits until the screen shows this, then types that.
    pub fn answer(&mut self, shown: &str, typed: &str) {
        wait(&format!("{shown:?} on the screen"), || self.screen().contains(shown));
        self.keyboard.write_all(typed.as_bytes()).expect("somebody reads");
    }

    /// Waits for the end; the exit code, or minus the signal.
    pub fn end(mut self) -> (i32, String) {
        let status = self.child.wait().expect("it ends");
        // Until nobody holds the terminal any more: what was printed last is read, too.
        let screen = Arc::clone(&self.screen);
        self.reader.join().expect("it only reads");
        let bytes = screen.lock().expect("nobody panics with it");
        let screen = String::from_utf8_lossy(&bytes).into_owned();
        (status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)), screen)
    }
}

pub fn finish(command: &mut Command) -> Done {
    let Output { status, stdout, stderr } = command.output().expect("the binary starts");
    Done {
        code: status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        stdout_bytes: stdout,
    }
}

/// One step in what `show` knows; `Null` where it was never touched.
pub fn step_of(show: &Value, unit: &str) -> Value {
    let steps = show["steps"].as_array().expect("steps");
    steps.iter().find(|step| step["unit"] == unit).cloned().unwrap_or(Value::Null)
}

/// Waits for a condition, not for a time.
pub fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `kill -9`, and the body taken away.
pub fn kill_9(child: &mut Child) {
    child.kill().expect("it was running");
    child.wait().expect("it is gone");
}

/// Whether a process with this id exists and is not a zombie.
pub fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

pub fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}

/// Processes whose parent this is.
pub fn children(parent: u32) -> Vec<u32> {
    let parent_of = |pid: &u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
    };
    processes().into_iter().filter(|pid| parent_of(pid) == Some(parent)).collect()
}

pub fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("a mounted /proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("cli lies in the repository")
}
