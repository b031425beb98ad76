//! `runward server` on one machine, and what can happen to it: it is killed, stopped, started twice, and its clock is set.

use runward_services::{clock, clock_of};
use serde_json::Value;

use crate::harness::{Scene, finish, is_alive, step_of, wait};
use crate::server::{Machine, is_run};

const EVERY_MINUTE: &str = "    - {id: often, cron: \"* * * * *\"}\n";
/// Says that it began, and ends when it may.
const WAITS: &str =
    "echo begun >> \"$DIR/effects\"; until test -e \"$DIR/go\"; do sleep 0.05; done; echo done >> \"$DIR/effects\"";

#[test]
fn a_server_that_is_killed_in_the_middle_of_a_step_finds_it_again() {
    let machine = Machine::new();
    machine.runbook_that("slow", EVERY_MINUTE, WAITS);
    let server = machine.server_at("2026-03-02 11:59:58");
    wait("the step", || machine.effects() == 1);
    server.kill_9();
    let _again = machine.server_at("2026-03-02 12:00:30");
    machine.scene.file("go", "");
    wait("the run to end", || machine.runs().iter().all(|run| run["status"] == "succeeded"));
    assert_eq!(machine.scene.read("effects"), "begun\ndone\n", "once");
    assert_eq!(machine.ticks("slow/often").len(), 1);
}

#[test]
fn a_server_that_is_asked_to_end_leaves_its_steps_running_and_the_next_one_takes_them_up() {
    let machine = Machine::new();
    machine.runbook_that("slow", EVERY_MINUTE, WAITS);
    let server = machine.server_at("2026-03-02 11:59:58");
    wait("the step", || machine.effects() == 1);
    assert_eq!(server.end(), 0);
    assert!(machine.log().contains("the next server carries them on"), "{}", machine.log());
    assert_eq!(machine.runs()[0]["status"], "running");
    machine.scene.file("go", "");
    wait("the step to end without anybody", || machine.effects() == 2);
    let _again = machine.server_at("2026-03-02 12:00:30");
    wait("the run to end", || machine.runs()[0]["status"] == "succeeded");
    assert_eq!(machine.effects(), 2);
}

#[test]
fn a_server_that_is_killed_while_a_hundred_schedules_fire_fires_each_once() {
    const SCHEDULES: usize = 100;
    let machine = Machine::new();
    for n in 0..SCHEDULES {
        machine.runbook(&format!("r{n}"), "    - {id: s, cron: \"0 12 * * *\"}\n");
    }
    machine.server_at("2026-03-02 11:59:00").kill_9();
    let mut kills = 0;
    // Each is killed once it has done something that the one before it had not.
    for fired in [1, 20, 50, 90] {
        let server = machine.server_at("2026-03-02 12:00:01");
        wait("some to fire", || machine.runs().len() >= fired);
        server.kill_9();
        kills += 1;
    }
    let _last = machine.server_at("2026-03-02 12:00:20");
    wait("all runs to end", || {
        let runs = machine.scene.json(&["runs", "--limit", "1000"]);
        let runs = runs.as_array().expect("a list");
        runs.len() >= SCHEDULES && runs.iter().all(|run| run["status"] == "succeeded")
    });
    let ticks: Vec<_> = (0..SCHEDULES).flat_map(|n| machine.ticks(&format!("r{n}/s"))).collect();
    assert_eq!(ticks.len(), SCHEDULES);
    assert!(ticks.iter().all(is_run), "{ticks:?}");
    assert_eq!((machine.effects(), kills), (SCHEDULES, 4), "each step once");
    machine.scene.expect(0, &["audit", "verify"]);
}

#[test]
fn two_servers_of_one_state_folder_are_one_too_many() {
    let machine = Machine::new();
    machine.runbook("backup", EVERY_MINUTE);
    let server = machine.server_at("2026-03-02 11:00:00");
    let second = machine.scene.expect(2, &["server"]);
    assert!(second.stderr.contains(&format!("process {}", server.pid())), "{}", second.stderr);
    assert!(second.stderr.contains("--state"), "{}", second.stderr);
}

#[test]
fn people_act_on_the_runs_of_a_server_as_on_any_other() {
    let machine = Machine::new();
    machine.runbook_that("slow", EVERY_MINUTE, WAITS);
    let server = machine.server_at("2026-03-02 11:59:58");
    wait("the step", || machine.effects() == 1);
    let refused = machine.scene.expect(2, &["resume", "last"]);
    assert!(refused.stderr.contains(&format!("process {}", server.pid())), "{}", refused.stderr);
    machine.scene.expect(0, &["cancel", "last"]);
    wait("the run to end", || machine.runs()[0]["status"] == "cancelled");
    assert_eq!(machine.scene.read("effects"), "begun\n");
}

#[test]
fn a_run_that_waits_for_somebody_goes_on_when_they_have_spoken() {
    let machine = Machine::new();
    let dir = machine.scene.path("").display().to_string();
    let schedule = "on: {schedule: [{id: s, cron: \"0 12 * * *\"}]}\n";
    let steps = format!("steps:\n  - {{id: agree, approve: {{}}}}\n  - {{id: a, run: echo done >> {dir}/effects}}\n");
    machine.scene.file("runbooks/asks.yaml", format!("{schedule}{steps}"));
    let _server = machine.server_at("2026-03-02 11:59:58");
    wait("the run", || !machine.runs().is_empty());
    // For whoever agrees it is the same day.
    let said = finish(machine.runward().args(["approve", "last"]).envs(clock("@2026-03-02 12:00:20")));
    assert_eq!(said.code, 0, "{}", said.stderr);
    wait("the step after it", || machine.effects() == 1);
    wait("the run to end", || machine.runs()[0]["status"] == "succeeded");
}

#[test]
fn a_clock_that_is_set_repeats_nothing_and_loses_nothing() {
    let machine = Machine::new();
    machine.runbook("hourly", "    - {id: s, cron: \"0 * * * *\", missed: all, overlap: allow}\n");
    let time = machine.scene.file("clock", "@2026-03-02 11:59:58\n");
    let server = machine.server_by(clock_of(&time), &[]);
    machine.wait_for_ticks("hourly/s", 1);
    // Three hours back: what has fired does not fire again. Then on to where four more are due.
    machine.scene.file("clock", "@2026-03-02 08:59:59\n");
    wait("it to be noticed", || machine.log().contains("the clock was set back"));
    machine.scene.file("clock", "@2026-03-02 16:00:10\n");
    wait("it to be noticed", || machine.log().contains("the clock was set forward"));
    let ticks = machine.wait_for_ticks("hourly/s", 5);
    let keys: Vec<String> = ticks.iter().rev().map(|row| row.tick.key()).collect();
    let hours = [12, 13, 14, 15, 16].map(|hour| format!("2026-03-02T{hour}:00 UTC"));
    assert_eq!(keys, hours);
    server.end();
}

#[test]
fn a_server_says_how_it_is() {
    let machine = Machine::new();
    machine.runbook("backup", EVERY_MINUTE);
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let _server = machine.server_by(clock("@2026-03-02 11:00:01"), &["--listen", &address]);
    wait("it to be ready", || ask(&address, "/readyz").is_some_and(|(status, _)| status == 200));
    let (_, ready) = ask(&address, "/readyz").expect("an answer");
    assert_eq!((&ready["ready"], &ready["scheduler"]["schedules"]), (&true.into(), &1.into()), "{ready}");
    assert_eq!(ask(&address, "/healthz").map(|(status, _)| status), Some(200));
}

#[test]
fn without_runbooks_it_says_so_and_waits_for_them() {
    let scene = Scene::new();
    let machine = Machine { scene };
    let server = machine.server_at("2026-03-02 11:00:01");
    assert!(machine.log().contains("the folder runbooks cannot be read"), "{}", machine.log());
    assert!(is_alive(server.pid().as_raw() as u32));
    machine.runbook("backup", EVERY_MINUTE);
    wait("them to be taken up", || machine.log().contains("schedules=1"));
}

/// Nobody else takes it in between, as good as always: a test that finds it taken would see another answer.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port()
}

fn ask(address: &str, path: &str) -> Option<(u16, Value)> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split("\r\n\r\n").nth(1)?;
    Some((status, serde_json::from_str(body).ok()?))
}

#[test]
fn a_step_that_cannot_be_known_is_left_to_people_and_goes_on_after_their_word() {
    let machine = Machine::new();
    let dir = machine.scene.path("").display().to_string();
    let schedule = "on: {schedule: [{id: s, cron: \"0 12 * * *\"}]}\n";
    let steps = format!(
        "steps:\n  - {{id: a, on-lost: hold, run: 'kill -9 $PPID; sleep 600'}}\n  - {{id: b, run: echo done >> {dir}/effects}}\n"
    );
    machine.scene.file("runbooks/held.yaml", format!("{schedule}{steps}"));
    let _server = machine.server_at("2026-03-02 11:59:58");
    wait("the run", || !machine.runs().is_empty());
    wait("the step to be held", || step_of(&machine.scene.last(), "a")["status"] == "held");
    machine.scene.expect(0, &["resolve", "last", "a", "--as", "succeeded", "--reason", "looked"]);
    wait("the step after it", || machine.effects() == 1);
}
