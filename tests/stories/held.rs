//! What became of a step is not known: it is held until somebody says it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::flow::scene;
use crate::harness::{Scene, children, step_of};

/// A run whose step `risky` is held because its supervisor was killed under it.
fn held() -> Scene {
    held_with("")
}

fn held_with(finally: &str) -> Scene {
    let scene = scene(&format!(
        "steps:\n  \
         - {{id: risky, on-lost: hold, run: 'echo start >> \"$DIR/effects\"; until test -e \"$DIR/go\"; do sleep 0.02; done'}}\n  \
         - {{id: after, run: 'echo after >> \"$DIR/effects\"'}}\n{finally}",
    ));
    let mut driver = scene.start_book();
    scene.wait_for("effects", "start");
    for supervisor in children(driver.id()) {
        kill(Pid::from_raw(supervisor as i32), Signal::SIGKILL).unwrap();
    }
    assert_eq!(driver.wait().unwrap().code(), Some(8));
    let show = scene.last();
    assert_eq!((&show["run"]["held"], &step_of(&show, "risky")["status"]), (&true.into(), &"held".into()));
    assert_eq!((&show["verdict"], &show["exit_code"]), (&"unknown".into(), &8.into()));
    scene.file("go", "");
    scene
}

#[test]
fn a_held_step_waits_for_a_person() {
    let scene = held();
    scene.expect(8, &["resume", "last"]);
    assert_eq!(scene.read("effects"), "start\n", "nobody said it may start again");
    let wrong = scene.expect(2, &["resolve", "last", "rsky", "--as", "retry"]);
    assert!(wrong.stderr.contains("held: risky"), "{}", wrong.stderr);
    let wrong = scene.expect(2, &["resolve", "last", "after", "--as", "retry"]);
    assert!(wrong.stderr.contains("after"), "{}", wrong.stderr);
}

#[test]
fn a_held_step_that_succeeded_is_not_started_again() {
    let scene = held();
    scene.expect(0, &["resolve", "last", "risky", "--as", "succeeded", "--reason", "seen in the database"]);
    scene.expect(0, &["resume", "last"]);
    assert_eq!(scene.read("effects"), "start\nafter\n");
    assert!(scene.expect(0, &["show", "last", "--events"]).stdout.contains("seen in the database"));
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_held_step_that_failed_fails_the_run() {
    let scene = held();
    let said = scene.expect(0, &["resolve", "last", "risky", "--as", "failed"]);
    assert_eq!(scene.last()["run"]["status"], "failed");
    assert!(said.stdout.contains("failed") && said.stdout.contains("tries again"), "{}", said.stdout);
    assert_eq!(scene.read("effects"), "start\n");
}

#[test]
fn a_held_step_that_was_the_last_needs_no_resume() {
    let scene = Scene::new();
    scene.file("book.yaml", "steps:\n  - {id: risky, on-lost: hold, run: 'kill -9 $PPID; sleep 60'}\n");
    scene.expect(8, &["run", "book.yaml"]);
    let said = scene.expect(0, &["resolve", "last", "risky", "--as", "succeeded"]).stdout;
    assert_eq!(said, "recorded; the run succeeded\n");
}

#[test]
fn a_held_step_that_failed_leads_to_finally() {
    let scene = held_with("finally:\n  - run: 'echo ${{ run.status }} >> \"$DIR/effects\"'\n");
    let said = scene.expect(0, &["resolve", "last", "risky", "--as", "failed"]);
    assert!(said.stdout.contains("carries the run on"), "{}", said.stdout);
    scene.expect(1, &["resume", "last"]);
    assert_eq!(scene.read("effects"), "start\nfailed\n");
}

#[test]
fn a_held_step_that_may_retry_starts_exactly_once_more() {
    let scene = held();
    scene.expect(0, &["resolve", "last", "risky", "--as", "retry"]);
    scene.expect(0, &["resume", "last"]);
    assert_eq!(scene.read("effects"), "start\nstart\nafter\n");
}
