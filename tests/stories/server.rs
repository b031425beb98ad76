//! `runward server` on one machine: schedules fire at their minute, what was missed is made up for as each says, and files change
//! under it. Time is told to it by `faketime`, so nobody waits for a minute.

use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runward_services::clock;
use runward_store::SqliteLedger;
use runward_store::timetable::{Outcome, TickRow, Timetable};
use serde_json::Value;

use crate::harness::{Scene, kill_9, wait};

/// A machine with runbooks on it, whose clock the story sets.
pub struct Machine {
    pub scene: Scene,
}

/// Its server, killed when the story is over.
pub struct Server {
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    pub fn kill_9(mut self) {
        kill_9(&mut self.process);
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }

    /// Asks it to end, and waits until it has.
    pub fn end(mut self) -> i32 {
        kill(self.pid(), Signal::SIGTERM).expect("it runs");
        self.process.wait().expect("it ends").code().unwrap_or(-1)
    }
}

impl Machine {
    pub fn new() -> Machine {
        Machine { scene: Scene::new() }
    }

    /// A runbook with these schedules, whose step leaves a line.
    pub fn runbook(&self, name: &str, schedules: &str) {
        self.runbook_that(name, schedules, "echo $RUNWARD_RUN_ID >> \"$DIR/effects\"");
    }

    /// The same, with another step.
    pub fn runbook_that(&self, name: &str, schedules: &str, run: &str) {
        let dir = self.scene.path("").display().to_string();
        let text = format!(
            "on:\n  schedule:\n{schedules}steps:\n  - id: a\n    env: {{DIR: {dir}}}\n    run: |\n      {run}\n"
        );
        self.scene.file(&format!("runbooks/{name}.yaml"), text);
    }

    pub fn runward(&self) -> Command {
        let mut command = self.scene.runward();
        command.env("TZ", "UTC");
        command
    }

    /// At this time of its clock, `2026-03-02 11:59:57`. Returns when it has taken up the files.
    pub fn server_at(&self, time: &str) -> Server {
        self.server_by(clock(&format!("@{time}")), &[])
    }

    pub fn server_by(&self, clock: Vec<(String, String)>, args: &[&str]) -> Server {
        let before = self.log().matches("took up what the files say").count();
        let server = self.start(clock, args);
        wait(&format!("the server to take up the files\n{}", self.log()), || {
            self.log().matches("took up what the files say").count() > before
        });
        server
    }

    pub fn start(&self, clock: Vec<(String, String)>, args: &[&str]) -> Server {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.scene.path("server.log"));
        let log = log.expect("a log");
        let mut command = self.runward();
        command.arg("server").args(args).envs(clock).env("RUNWARD_TEST_PACE", "10");
        command.stdout(log.try_clone().expect("the same file")).stderr(log);
        Server { process: command.spawn().expect("the binary starts") }
    }

    pub fn log(&self) -> String {
        self.scene.read("server.log")
    }

    pub fn effects(&self) -> usize {
        self.scene.read("effects").lines().count()
    }

    pub fn runs(&self) -> Vec<Value> {
        self.scene.json(&["runs", "--limit", "1000"]).as_array().cloned().expect("a list")
    }

    /// The newest first.
    pub fn ticks(&self, schedule: &str) -> Vec<TickRow> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let ledger = SqliteLedger::open(&self.scene.path("state/ledger.db")).await.expect("its ledger");
            ledger.ticks(Some(schedule), 10_000).await.expect("its ticks")
        })
    }

    pub fn wait_for_ticks(&self, schedule: &str, count: usize) -> Vec<TickRow> {
        wait(&format!("{count} ticks of {schedule}"), || self.ticks(schedule).len() >= count);
        self.ticks(schedule)
    }
}

pub fn reason(row: &TickRow) -> &str {
    match &row.outcome {
        Outcome::Skipped { reason, .. } => reason,
        Outcome::Run { .. } | Outcome::Waits { .. } => "",
    }
}

pub fn is_run(row: &TickRow) -> bool {
    matches!(row.outcome, Outcome::Run { .. })
}

const EVERY_MINUTE: &str = "    - {id: often, cron: \"* * * * *\"}\n";

#[test]
fn a_schedule_fires_at_its_minute_and_its_run_is_carried_out() {
    let machine = Machine::new();
    machine.runbook("backup", EVERY_MINUTE);
    let server = machine.server_at("2026-03-02 11:59:57");
    wait("the step", || machine.effects() == 1);
    wait("the run to end", || machine.runs()[0]["status"] == "succeeded");
    let ticks = machine.ticks("backup/often");
    assert_eq!(ticks[0].tick.key(), "2026-03-02T12:00 UTC");
    let show = machine.scene.last();
    assert_eq!(show["run"]["trigger"], "schedule", "{show}");
    assert_eq!(show["run"]["actor"], "schedule backup/often", "{show}");
    assert_eq!(server.end(), 0);
    assert!(machine.log().contains("fired"), "{}", machine.log());
    machine.scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_server_that_was_down_over_twenty_ticks_makes_up_for_them_as_each_schedule_says() {
    let machine = Machine::new();
    for missed in ["latest", "all", "none"] {
        let schedule = format!("    - {{id: s, cron: \"* * * * *\", missed: {missed}, overlap: allow}}\n");
        machine.runbook(missed, &schedule);
    }
    machine.server_at("2026-03-02 11:59:10").kill_9();
    // The ticks of 12:00 to 12:19 are more than a minute ago, and the next one is a while away.
    let server = machine.server_at("2026-03-02 12:20:05");
    for (name, runs) in [("latest", 1), ("all", 10), ("none", 0)] {
        let ticks = machine.wait_for_ticks(&format!("{name}/s"), 21);
        assert_eq!(ticks.len(), 21, "{name}");
        // The tick of 12:20 is on time: it fires whatever the policy says of those that were missed.
        let on_time = usize::from(name == "none");
        assert_eq!(ticks.iter().filter(|row| is_run(row)).count(), runs + on_time, "{name}: {ticks:?}");
        assert!(is_run(&ticks[0]), "{name}: the newest");
        let skipped: Vec<_> = ticks.iter().filter(|row| !is_run(row)).collect();
        assert!(skipped.iter().all(|row| !reason(row).is_empty()), "{skipped:?}");
    }
    server.end();
    machine.scene.expect(0, &["audit", "verify"]);
}

#[test]
fn what_is_edited_removed_broken_or_mended_counts_from_then_on() {
    let machine = Machine::new();
    machine.runbook("kept", EVERY_MINUTE);
    machine.runbook("edited", "    - {id: s, cron: \"* * * * *\"}\n");
    machine.runbook("removed", EVERY_MINUTE);
    machine.server_at("2026-03-02 11:59:10").end();
    // While no server runs: one is edited, one is removed, one is broken.
    machine.runbook("edited", "    - {id: s, cron: \"*/30 * * * *\"}\n");
    std::fs::remove_file(machine.scene.path("runbooks/removed.yaml")).expect("it was there");
    let whole = machine.scene.read("runbooks/kept.yaml");
    let server = machine.server_at("2026-03-02 12:10:05");
    machine.wait_for_ticks("kept/often", 11);
    assert!(machine.ticks("edited/s").is_empty(), "it begins now, as another one");
    assert!(machine.ticks("removed/often").is_empty(), "it never fires again");
    server.end();
    machine
        .scene
        .file("runbooks/kept.yaml", "on: {schedule: [{id: often, cron: \"* * * * *\"}]}\nsteps: [{runn: a}]\n");
    let server = machine.server_at("2026-03-02 12:10:58");
    let ticks = machine.wait_for_ticks("kept/often", 12);
    assert!(reason(&ticks[0]).contains("kept.yaml") && reason(&ticks[0]).contains("runn"), "{ticks:?}");
    // Mended under its eyes.
    machine.scene.file("runbooks/kept.yaml", whole);
    wait("it to be taken up", || machine.log().contains("its schedules are fired again"));
    server.end();
    let server = machine.server_at("2026-03-02 12:11:58");
    assert!(is_run(&machine.wait_for_ticks("kept/often", 13)[0]));
    server.end();
    machine.scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_file_that_is_written_while_the_server_runs_is_taken_up_without_a_restart() {
    let machine = Machine::new();
    machine.runbook("first", "    - {id: s, cron: \"0 3 * * *\"}\n");
    let server = machine.server_at("2026-03-02 11:59:00");
    let before = machine.log().matches("took up").count();
    machine.runbook("second", EVERY_MINUTE);
    wait("the second file", || machine.log().matches("took up").count() > before);
    server.end();
    let _server = machine.server_at("2026-03-02 12:00:02");
    machine.wait_for_ticks("second/often", 1);
}

#[test]
fn a_runbook_that_cannot_run_is_skipped_with_the_reason_and_the_others_fire() {
    let machine = Machine::new();
    machine.runbook("good", EVERY_MINUTE);
    machine
        .scene
        .file("runbooks/bad.yaml", "on: {schedule: [{id: s, cron: \"* * * * *\"}]}\nsteps: [{script: ./nowhere.sh}]\n");
    let _server = machine.server_at("2026-03-02 11:59:57");
    assert!(is_run(&machine.wait_for_ticks("good/often", 1)[0]));
    let bad = machine.wait_for_ticks("bad/s", 1);
    assert!(reason(&bad[0]).contains("nowhere.sh"), "{bad:?}");
}
