//! Somebody who runs runbooks, and notes what they saw of them from outside.

use std::cell::{Cell, RefCell};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runward_library::covers::Covers;
use runward_library::evidence::{self, Sighting};
use serde_json::Value;

use crate::harness::{Scene, finish, repository, step_of, wait};

pub struct Operator {
    pub scene: Scene,
    /// Words before each `runward run`: what puts it somewhere else.
    pub within: Vec<String>,
    test: String,
    runs: Cell<u32>,
    seen: RefCell<Vec<Sighting>>,
    /// What the environment of the commands has besides.
    pub env: RefCell<Vec<(String, String)>>,
}

/// A run that has ended, as the ledger tells it.
pub struct Run {
    pub code: i32,
    /// What the command printed.
    pub text: String,
    pub show: Value,
}

/// A server, for as long as somebody has it.
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM); // it may have ended
        let _ = self.0.wait();
    }
}

impl Operator {
    /// What an earlier run of this test saw is forgotten.
    pub fn new() -> Operator {
        let test = std::thread::current().name().expect("tests have names").to_owned();
        evidence::forget(&test);
        Operator {
            scene: Scene::new(),
            within: Vec::new(),
            test,
            runs: Cell::new(0),
            seen: RefCell::default(),
            env: RefCell::default(),
        }
    }

    /// `runward run` of this runbook of the library, not yet started, and the name its run has in every command.
    pub fn command(&self, runbook: &str, params: &[(&str, &str)]) -> (Command, String) {
        self.runs.set(self.runs.get() + 1);
        let key = format!("{runbook}-{}", self.runs.get());
        let mut command = self.within(self.scene.runward());
        command
            .arg("run")
            .arg(repository().join(format!("runbooks/{runbook}.yaml")))
            .args(["--key", &key])
            .envs(self.env.borrow().iter().cloned());
        for (name, value) in params {
            command.arg("-p").arg(format!("{name}={value}"));
        }
        (command, format!("key:{key}"))
    }

    fn within(&self, command: Command) -> Command {
        let Some((program, words)) = self.within.split_first() else { return command };
        let mut outer = Command::new(program);
        outer.args(words).arg(command.get_program()).stdin(Stdio::null());
        command.get_current_dir().map(|dir| outer.current_dir(dir));
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => outer.env(name, value),
                None => outer.env_remove(name),
            };
        }
        outer
    }

    /// Runs a runbook to its end.
    pub fn run(&self, runbook: &str, params: &[(&str, &str)]) -> Run {
        let (mut command, name) = self.command(runbook, params);
        let done = finish(&mut command);
        let text = format!("{}{}", done.stdout, done.stderr);
        let show = if done.code == 2 { Value::Null } else { self.scene.json(&["show", &name]) };
        Run { code: done.code, text, show }
    }

    /// Runs it and expects this exit code.
    pub fn expect(&self, code: i32, runbook: &str, params: &[(&str, &str)]) -> Run {
        let run = self.run(runbook, params);
        assert_eq!(run.code, code, "{runbook} {params:?}\n{}", run.text);
        run
    }

    /// Runs the drill of a runbook, and expects this exit code.
    pub fn drill(&self, code: i32, runbook: &str, params: &[(&str, &str)]) -> Run {
        let (mut command, name) = self.command(runbook, params);
        let done = finish(command.arg("--drill"));
        assert_eq!(done.code, code, "{runbook} {params:?}\n{}{}", done.stdout, done.stderr);
        Run { code, text: done.stdout + &done.stderr, show: self.scene.json(&["show", &name]) }
    }

    /// Starts it, and leaves it running once it is on the record; the name its run has.
    pub fn start(&self, runbook: &str, params: &[(&str, &str)]) -> (Child, String) {
        let (mut command, name) = self.command(runbook, params);
        let out = std::fs::File::create(self.scene.path(&format!("{}.out", self.runs.get()))).expect("a file");
        command.stderr(out.try_clone().expect("the same file")).stdout(out);
        let child = command.spawn().expect("the binary starts");
        wait("the run to be on the record", || self.scene.run(&["show", &name]).code == 0);
        (child, name)
    }

    /// `runward server` on the runbooks of the scene, by this clock, once it has taken them up. It ends when it is dropped.
    pub fn server(&self, clock: Vec<(String, String)>) -> Server {
        let log = std::fs::File::create(self.scene.path("server.log")).expect("a file");
        let mut server = self.scene.runward();
        server.arg("server").env("TZ", "UTC").envs(clock).stdout(log.try_clone().expect("the same file")).stderr(log);
        let server = Server(server.spawn().expect("the binary starts"));
        self.scene.wait_for("server.log", "took up what the files say");
        server
    }

    /// The run of a name, as the ledger tells it now.
    pub fn look(&self, name: &str) -> Run {
        let show = self.scene.json(&["show", name]);
        Run { code: show["exit_code"].as_i64().map_or(-1, |code| code as i32), text: String::new(), show }
    }

    /// The assertion before this line saw from outside what these rows say, and this step did it: the ledger agrees.
    pub fn saw(&self, rows: &str, run: &Run, step: &str) {
        let runbook = run.show["run"]["name"].as_str().expect("a run that was recorded");
        let runbook = runbook.strip_suffix(".drill").unwrap_or(runbook); // the same steps
        let status = run.status(step);
        let covers = Covers::of(runbook).unwrap();
        for row in rows.split_whitespace() {
            covers.check(row, step, &status).unwrap_or_else(|why| panic!("{runbook}: {why}"));
            let [runbook, step] = [runbook, step].map(str::to_owned);
            let (row, status, test) = (row.to_owned(), status.clone(), self.test.clone());
            self.seen.borrow_mut().push(Sighting { row, runbook, step, status, test });
        }
    }
}

impl Drop for Operator {
    /// Only a test that passed is evidence.
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.seen.borrow().is_empty() {
            evidence::keep(&self.test, &self.seen.borrow()).expect("the target folder can be written");
        }
    }
}

impl Run {
    /// What a step came to; `` where it was never touched.
    pub fn status(&self, step: &str) -> String {
        step_of(&self.show, step)["status"].as_str().unwrap_or_default().to_owned()
    }

    /// An output of a step, as text.
    pub fn output(&self, step: &str, key: &str) -> String {
        match &step_of(&self.show, step)["outputs"][key] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}
