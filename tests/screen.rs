//! A real terminal of a fixed size: a shell in a tmux server of its own, which ends with the test.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Scene, wait};

pub struct Terminal {
    socket: PathBuf,
}

impl Scene {
    /// A shell in the scene's folder, in which `runward` is the binary. `env`: what else is set there.
    pub fn terminal(&self, width: u32, height: u32, env: &[(&str, &str)]) -> Terminal {
        let terminal = Terminal { socket: self.path("tmux") };
        let folder = std::path::Path::new(env!("CARGO_BIN_EXE_runward")).parent().expect("the binary has a folder");
        let path = format!("PATH={}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        let state = format!("RUNWARD_STATE={}", self.path("state").display());
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&terminal.socket).args(["-f", "/dev/null", "-u", "new-session", "-d"]);
        command.args(["-x", &width.to_string(), "-y", &height.to_string()]);
        command.args(["env", "-u", "CI", "-u", "NO_COLOR", &path, &state, "LC_ALL=C.UTF-8", "PS1=$ ", "ENV="]);
        command.args(env.iter().map(|(name, value)| format!("{name}={value}"))).arg("sh");
        let done = command.current_dir(self.path(".")).output().expect("tmux");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        terminal.shows("$");
        terminal
    }
}

impl Terminal {
    fn tmux(&self, args: &[&str]) -> String {
        let done = Command::new("tmux").arg("-S").arg(&self.socket).args(args).output().expect("tmux");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Presses keys, by tmux's names for them; other text is typed.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Types a command line.
    pub fn types(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.press(&["Enter"]);
    }

    /// Changes its size, and waits until programs can know: tmux itself is faster than it says so.
    pub fn resize(&self, width: u32, height: u32) {
        self.tmux(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]);
        let tty = self.tmux(&["display-message", "-p", "#{pane_tty}"]);
        wait("the new size", || {
            let done = Command::new("stty").args(["-F", tty.trim(), "size"]).output().expect("stty");
            String::from_utf8_lossy(&done.stdout).trim() == format!("{height} {width}")
        });
    }

    /// What can be seen.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// What can be seen and what was scrolled away.
    pub fn scrollback(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-S", "-"])
    }

    /// Waits until the screen shows this text, and returns it.
    pub fn shows(&self, text: &str) -> String {
        let mut screen = String::new();
        wait(&format!("the screen to show {text:?}"), || {
            screen = self.screen();
            screen.contains(text)
        });
        screen
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
