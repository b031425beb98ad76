//! The far side by itself: `far.sh` as a shell of this machine runs it, spoken to without any ssh.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::wire::{FAR, Parser, Word};

/// One connection.
struct There {
    shell: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    parser: Parser,
}

impl There {
    fn connect(state: &Path, text: &str, before: &str) -> There {
        let mut shell = Command::new("sh")
            .args(["-c", &format!("{before}\ntext=$1\neval \"$text\""), "sh", text])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("XDG_STATE_HOME", state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
        There { shell, stdin, stdout, parser: Parser::default() }
    }

    fn send(&mut self, text: &str) {
        self.stdin.write_all(text.as_bytes()).unwrap();
    }

    /// The next word but for beats.
    fn word(&mut self) -> Word {
        loop {
            match self.parser.word().unwrap() {
                Some(Word::Beat) => {}
                Some(word) => return word,
                None => {
                    let mut byte = [0; 4096];
                    let len = self.stdout.read(&mut byte).unwrap();
                    assert!(len > 0, "it ended without a word");
                    self.parser.push(&byte[..len]);
                }
            }
        }
    }
}

impl Drop for There {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

fn state() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let attempts = dir.path().join("runward/attempts");
    (dir, attempts)
}

fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("{what} never came");
}

/// An order but for its last word.
fn order(id: &str, step: &str, workspace: &str) -> String {
    format!(
        "start {id} unit-{id}\nworkspace {workspace}\ntimeout 120\nsecret CERT certificate\nfile CERT\narg sh\narg -c\narg {step}\n",
        step = super::wire::encode(step.as_bytes())
    )
}

fn number(file: &Path) -> i32 {
    let text = fs::read_to_string(file).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn is_gone(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

fn end(pid: i32) {
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    until("its end", || is_gone(pid));
}

#[test]
fn an_order_that_was_cut_is_never_carried_out_and_leaves_no_secret() {
    let (dir, attempts) = state();
    let mut first = There::connect(dir.path(), FAR, "");
    let Word::Ready(machine) = first.word() else { panic!("it is not ready") };
    let pwned = dir.path().join("pwned");
    first.send(&order("a-1", &format!("touch {}", pwned.display()), "w"));
    until("the secret", || attempts.join("a-1/secrets/CERT").exists());
    let mut second = There::connect(dir.path(), FAR, "");
    assert_eq!(second.word(), Word::Ready(machine), "one machine is one machine");
    second.send("follow a-1\nfrom 0 0\n");
    assert_eq!(second.word(), Word::Void(String::new()));
    assert!(!attempts.join("a-1/secrets").exists());
    first.send("go\nfrom 0 0\n");
    assert!(matches!(first.word(), Word::Void(_)));
    assert!(!pwned.exists() && !attempts.join("a-1/starting").exists());
}

#[test]
fn an_order_whose_rest_never_comes_is_given_up() {
    let (dir, attempts) = state();
    let hasty = FAR.replace("order_seconds=600", "order_seconds=5");
    assert_ne!(hasty, FAR);
    let mut there = There::connect(dir.path(), &hasty, "");
    assert!(matches!(there.word(), Word::Ready(_)));
    there.send(&order("a-1", "true", "w"));
    until("the end of it", || attempts.join("a-1/void").exists() && !attempts.join("a-1/secrets").exists());
    let runner = number(&attempts.join("a-1/runner"));
    until("the end of the runner", || is_gone(runner));
}

#[test]
fn what_keeps_a_step_from_starting_is_said() {
    let (dir, _) = state();
    // As on a full disk: nothing more can be written.
    let full = "trap '' XFSZ; ulimit -f 0";
    let mut there = There::connect(dir.path(), FAR, full);
    let Word::Unfit(why) = there.word() else { panic!("it is fit") };
    assert!(why.contains("is the disk full?"), "{why}");
    assert!(matches!(There::connect(dir.path(), FAR, "").word(), Word::Ready(_)));
    let mut there = There::connect(dir.path(), FAR, full);
    assert!(matches!(there.word(), Word::Ready(_)));
    there.send(&(order("a-1", "true", "w") + "go\nfrom 0 0\n"));
    let Word::Unfit(why) = there.word() else { panic!("it was started") };
    assert!(why.contains("is its disk full?"), "{why}");
    // Something stands where the folder of the run is to be made.
    fs::write(dir.path().join("runward/workspaces/taken"), "").unwrap();
    let mut there = There::connect(dir.path(), FAR, "");
    assert!(matches!(there.word(), Word::Ready(_)));
    there.send(&(order("a-2", "true", "taken") + "go\nfrom 0 0\n"));
    let Word::Void(why) = there.word() else { panic!("it was started") };
    assert!(why.contains("mkdir") && why.contains("taken"), "{why}");
}

#[test]
fn what_the_dead_left_goes_and_what_the_living_use_stays() {
    let (dir, attempts) = state();
    let start = |id: &str, workspace: &str| {
        let mut there = There::connect(dir.path(), FAR, "");
        assert!(matches!(there.word(), Word::Ready(_)));
        there.send(&(order(id, "exec sleep 3600", workspace) + "go\nfrom 0 0\n"));
        assert_eq!(there.word(), Word::There);
        until("its process", || attempts.join(id).join("main").exists());
        there
    };
    let (dead, _alive) = (start("dead-1", "w-dead"), start("alive-1", "w-alive"));
    drop(dead); // or it would see to it
    for name in ["runner", "main"] {
        end(number(&attempts.join("dead-1").join(name)));
    }
    let workspaces = dir.path().join("runward/workspaces");
    let age = |path: &Path, days: u32| {
        let aged = Command::new("touch").args(["-d", &format!("{days} days ago")]).arg(path).status().unwrap();
        assert!(aged.success());
    };
    ["w-dead", "w-alive"].iter().for_each(|name| age(&workspaces.join(name), 40));
    let third = start("third-1", "w-alive");
    assert!(!attempts.join("dead-1/secrets").exists() && attempts.join("alive-1/secrets/CERT").exists());
    assert!(attempts.join("dead-1").exists(), "somebody may still ask for it");
    assert!(!workspaces.join("w-dead").exists() && workspaces.join("w-alive").exists());
    drop(third);
    ["dead-1", "alive-1"].iter().for_each(|id| age(&attempts.join(id), 8));
    let _fourth = start("fourth-1", "w-alive");
    assert!(!attempts.join("dead-1").exists() && attempts.join("alive-1").exists());
    for id in ["alive-1", "third-1", "fourth-1"] {
        end(number(&attempts.join(id).join("runner")));
        end(number(&attempts.join(id).join("main")));
    }
}

#[test]
fn of_two_that_come_at_the_same_moment_at_most_one_goes_on() {
    let (dir, attempts) = state();
    // It saw nothing of the other one when it came.
    let blind = FAR.replace("if earlier; then say \"busy", "if false; then say \"busy");
    assert_ne!(blind, FAR);
    let start = |id: &str| {
        let mut there = There::connect(dir.path(), &blind, "");
        assert!(matches!(there.word(), Word::Ready(_)));
        let order = order(id, "exec sleep 3600", "w").replace(&format!("unit-{id}"), "unit");
        there.send(&(order + "go\nfrom 0 0\n"));
        there
    };
    let mut first = start("a-1");
    assert_eq!(first.word(), Word::There);
    until("its process", || attempts.join("a-1/main").exists());
    let Word::Void(why) = start("a-2").word() else { panic!("two of them run") };
    assert!(why.contains("at the same moment"), "{why}");
    assert!(!attempts.join("a-2/starting").exists() && !attempts.join("a-2/secrets").exists());
    let (runner, main) = (number(&attempts.join("a-1/runner")), number(&attempts.join("a-1/main")));
    drop(first);
    end(runner);
    end(main);
}

#[test]
fn who_looks_starts_nothing_and_hears_the_time_or_what_is_in_the_way() {
    let (dir, _) = state();
    let text = format!("set -- look\n{FAR}");
    let look = |before: &str| There::connect(dir.path(), &text, before).word();
    assert!(matches!(look(""), Word::Clock(1..)));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "it leaves nothing");
    let Word::Unfit(why) = look("trap '' XFSZ; ulimit -f 0") else { panic!("it is fit") };
    assert!(why.contains("is its disk full?"), "{why}");
}

#[test]
fn who_is_in_the_way_is_named_with_what_ends_all_of_it() {
    let (dir, attempts) = state();
    let unit = |id: &str| order(id, "exec sleep 3600", "w").replace(&format!("unit-{id}"), "unit") + "go\nfrom 0 0\n";
    let mut first = There::connect(dir.path(), FAR, "");
    assert!(matches!(first.word(), Word::Ready(_)));
    first.send(&unit("a-1"));
    assert_eq!(first.word(), Word::There);
    until("its process", || attempts.join("a-1/main").exists());
    let (runner, main) = (number(&attempts.join("a-1/runner")), number(&attempts.join("a-1/main")));
    let busy = |id: &str| {
        let mut there = There::connect(dir.path(), FAR, "");
        assert!(matches!(there.word(), Word::Ready(_)));
        there.send(&unit(id));
        there.word()
    };
    assert_eq!(busy("a-2"), Word::Busy(runner.to_string(), format!("kill {runner}")));
    drop(first); // or it would end the rest
    end(runner);
    assert_eq!(busy("a-3"), Word::Busy(main.to_string(), format!("kill -- -{main}")));
    end(main);
}
