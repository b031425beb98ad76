//! People who agree to a plan before it goes on, and people who do not.

use std::process::{Child, Stdio};

use crate::harness::{Done, Scene, Terminal, finish, step_of, wait};

const DEPLOY: &str = "params: {dir: {type: path, required: true}}\nsteps:\n  - id: agree\n    approve: {not: requester}\n  - \
                      id: deploy\n    run: echo ${{ steps.agree.outputs.who }} said ${{ steps.agree.outputs.comment }} >> \
                      ${{ params.dir }}/deployed\n";

/// Somebody else than who started the test: the owner of the state folder is believed who came to it by `sudo`.
fn by(scene: &Scene, person: &str, args: &[&str]) -> Done {
    finish(scene.runward().env("SUDO_USER", person).args(args))
}

fn expect(scene: &Scene, person: &str, code: i32, args: &[&str]) -> Done {
    let done = by(scene, person, args);
    assert_eq!(done.code, code, "{person} {args:?}\n{}\n{}", done.stdout, done.stderr);
    done
}

/// A run of this runbook that waits for somebody.
fn asked(text: &str) -> Scene {
    let scene = Scene::new();
    scene.file("deploy.yaml", text);
    ask(&scene);
    scene
}

fn ask(scene: &Scene) {
    let done = expect(scene, "alice", 8, &["run", "deploy.yaml", "-p", &scene.dir()]);
    assert!(done.stdout.contains("runward approve") && done.stdout.contains("runward resume"), "{}", done.stdout);
}

#[test]
fn without_a_terminal_a_run_says_what_it_waits_for_and_goes_on_when_it_is_resumed() {
    let scene = asked(DEPLOY);
    assert_eq!(scene.last()["run"]["waits"], "agree: approval by anybody, not who asked for the run, 0 of 1");
    assert!(scene.expect(0, &["runs"]).stdout.contains("agree: approval by anybody"));
    let mine = expect(&scene, "alice", 2, &["approve", "last"]);
    assert!(mine.stderr.contains("alice asked for this run"), "{}", mine.stderr);
    let said = expect(&scene, "bob", 0, &["approve", "last", "--comment", "go; $(touch pwned)"]).stdout;
    let plan = scene.last()["events"][0]["event"]["plan"].as_str().unwrap().to_owned();
    assert!(said.contains(&plan) && said.contains("runward resume"), "{said}");
    let twice = expect(&scene, "carol", 2, &["approve", "last", "agree"]);
    assert!(twice.stderr.contains("already approved by") && twice.stderr.contains("sudo from bob"), "{}", twice.stderr);
    scene.expect(0, &["resume", "last"]);
    assert_eq!(scene.read("deployed"), "bob said go; $(touch pwned)\n");
}

#[test]
fn a_group_of_the_machine_may_and_others_are_told_who() {
    let scene = asked(&DEPLOY.replace("{not: requester}", "{by: [nogroup, dora], count: 2}"));
    let told = expect(&scene, "mallory", 2, &["approve", "last"]).stderr;
    assert!(told.contains("mallory may not decide") && told.contains("nogroup or dora"), "{told}");
    expect(&scene, "mallory", 2, &["reject", "last", "--comment", "no"]);
    let one = expect(&scene, "nobody", 0, &["approve", "last"]).stdout;
    assert!(one.contains("more have to agree: nogroup or dora, 1 of 2"), "{one}");
    let again = expect(&scene, "nobody", 2, &["approve", "last"]).stderr;
    assert!(again.contains("already approved agree"), "{again}");
    expect(&scene, "dora", 0, &["approve", "last", "--resume"]);
    wait("the end", || scene.last()["run"]["status"] == "succeeded");
    assert_eq!(step_of(&scene.last(), "agree")["outputs"]["who"], "nobody, dora");
}

#[test]
fn what_was_rejected_ends_with_3_and_resume_asks_again() {
    let scene = asked(DEPLOY);
    assert_eq!(by(&scene, "bob", &["reject", "last"]).code, 2, "without a comment");
    let said = expect(&scene, "bob", 0, &["reject", "last", "--comment", "not on a Friday"]).stdout;
    assert!(said.contains("the run is failed"), "{said}");
    assert_eq!(scene.last()["exit_code"], 3);
    assert!(scene.expect(0, &["show", "last"]).stdout.contains("rejected by bob: not on a Friday"));
    scene.expect(8, &["resume", "last"]);
    expect(&scene, "bob", 0, &["approve", "last"]);
    scene.expect(0, &["resume", "last"]);
}

#[test]
fn an_approval_of_one_plan_does_not_hold_for_another() {
    let scene = asked(DEPLOY);
    let seen = scene.last()["events"][0]["event"]["plan"].as_str().unwrap().to_owned();
    scene.file("deploy.yaml", DEPLOY.replace("said", "agreed to"));
    ask(&scene);
    let other = expect(&scene, "bob", 2, &["approve", "last", "--plan", &seen]);
    assert!(other.stderr.contains(&seen), "{}", other.stderr);
    let now = scene.last()["events"][0]["event"]["plan"].as_str().unwrap().to_owned();
    assert_ne!(seen, now);
    expect(&scene, "bob", 0, &["approve", "last", "--plan", &now[..12]]);
}

#[test]
fn nobody_agreed_in_time() {
    let scene = asked(&DEPLOY.replace("{not: requester}", "{expires: 1s}"));
    wait("the end of patience", || by(&scene, "bob", &["resume", "last"]).code == 3);
    let late = expect(&scene, "bob", 2, &["approve", "last", "agree"]);
    assert!(late.stderr.contains("not approved in time"), "{}", late.stderr);
}

fn start(scene: &Scene, person: &str, args: &[&str]) -> Child {
    let mut command = scene.runward();
    command.env("SUDO_USER", person).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn of_two_who_decide_at_the_same_moment_one_wins_and_the_other_is_told_who_and_when() {
    let scene = Scene::new();
    scene.file("deploy.yaml", DEPLOY);
    for round in 0..8 {
        ask(&scene);
        let yes = ["approve", "last"].as_slice();
        let no = ["reject", "last", "--comment", "no"].as_slice();
        // The first to start often wins: each is it in turn.
        let (first, second) = if round % 2 == 0 { (yes, no) } else { (no, yes) };
        let (first, second) = (start(&scene, "bob", first), start(&scene, "carol", second));
        let (first, second) = (first.wait_with_output().unwrap(), second.wait_with_output().unwrap());
        let codes = [first.status.code(), second.status.code()];
        assert!(codes == [Some(0), Some(2)] || codes == [Some(2), Some(0)], "{codes:?}");
        let loser = if codes[0] == Some(2) { first } else { second };
        let told = String::from_utf8_lossy(&loser.stderr).into_owned();
        let winner = if codes[0] == Some(0) { "bob" } else { "carol" };
        assert!(
            told.contains("already") && told.contains(&format!("sudo from {winner}")) && told.contains(" at 20"),
            "{told}"
        );
        let decided = scene.last()["events"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|e| e["event"]["kind"] == "approval_decided")
            .count();
        assert_eq!(decided, 1);
        scene.expect(0, &["audit", "verify"]);
    }
}

#[test]
fn a_cancel_and_an_approval_at_the_same_moment_leave_one_of_them() {
    let scene = Scene::new();
    scene.file("deploy.yaml", DEPLOY);
    for round in 0..6 {
        ask(&scene);
        let (yes, stop) = (["approve", "last"].as_slice(), ["cancel", "last"].as_slice());
        let (first, second) = if round % 2 == 0 { (yes, stop) } else { (stop, yes) };
        let (first, second) = (start(&scene, "bob", first), start(&scene, "carol", second));
        let (first, second) = (first.wait_with_output().unwrap(), second.wait_with_output().unwrap());
        let (approve, cancel) = if round % 2 == 0 { (first, second) } else { (second, first) };
        // A cancel that comes second still stops the run: what was approved has not begun. An approval that comes second is refused.
        assert_eq!(cancel.status.code(), Some(0), "{}", String::from_utf8_lossy(&cancel.stderr));
        let agreed = step_of(&scene.last(), "agree")["status"] == "succeeded";
        assert_eq!(approve.status.code(), Some(if agreed { 0 } else { 2 }));
        assert_eq!(scene.last()["run"]["status"], "cancelled");
        assert!(!scene.path("deployed").exists());
    }
}

#[test]
fn a_driver_in_the_background_stays_and_goes_on() {
    let scene = Scene::new();
    scene.file("deploy.yaml", DEPLOY);
    expect(&scene, "alice", 0, &["run", "deploy.yaml", "-p", &scene.dir(), "--detach"]);
    wait("the question", || step_of(&scene.last(), "agree")["status"] == "waiting");
    let said = expect(&scene, "bob", 0, &["approve", "last", "--comment", "fine"]).stdout;
    assert!(said.contains("the run goes on"), "{said}");
    wait("the end", || scene.last()["run"]["status"] == "succeeded");
    assert_eq!(scene.read("deployed"), "bob said fine\n");
}

#[test]
fn at_a_terminal_the_run_stays_and_says_what_is_needed() {
    let scene = Scene::new();
    scene.file("deploy.yaml", DEPLOY);
    let mut command = scene.runward();
    command.env("SUDO_USER", "alice").args(["run", "deploy.yaml", "-p", &scene.dir()]);
    let terminal = Terminal::start(&command);
    wait("the question", || terminal.screen().contains("agree asks for approval of plan"));
    expect(&scene, "bob", 0, &["approve", "last", "--comment", "fine"]);
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("agree approved by bob"), "{screen}");
}

#[test]
fn a_question_survives_the_death_of_its_driver() {
    let scene = Scene::new();
    scene.file("deploy.yaml", DEPLOY);
    expect(&scene, "alice", 0, &["run", "deploy.yaml", "-p", &scene.dir(), "--detach"]);
    wait("the question", || step_of(&scene.last(), "agree")["status"] == "waiting");
    let driver = scene.last()["driver_pid"].as_str().unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(driver), nix::sys::signal::Signal::SIGKILL).unwrap();
    wait("its death", || scene.last()["driver_pid"].is_null());
    let said = expect(&scene, "bob", 0, &["approve", "last", "--comment", "fine"]).stdout;
    assert!(said.contains("nobody drives the run"), "{said}");
    scene.expect(0, &["resume", "last"]);
    assert_eq!(scene.read("deployed"), "bob said fine\n");
}
