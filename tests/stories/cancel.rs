//! A run is stopped: by its operator, from elsewhere, with its driver gone.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::flow::scene;
use crate::harness::{kill_9, step_of, wait};

const HANGS: &str = "steps:\n  \
    - {id: hangs, run: 'touch \"$DIR/began\"; exec sleep 600'}\n  \
    - {id: after, run: 'touch \"$DIR/after\"'}\n\
    finally:\n  - {id: tidy, run: 'echo ${{ run.status }} > \"$DIR/told\"'}\n";

#[test]
fn a_cancel_from_elsewhere_ends_the_steps_and_finally_runs() {
    // The run does not end before whoever cancels it has been told who carries it out.
    let scene = scene(&HANGS.replace("run: 'echo", "run: 'until test -e \"$DIR/go\"; do sleep 0.02; done; echo"));
    let mut driver = scene.start_book();
    wait("the first step", || scene.path("began").exists());
    let said = scene.expect(0, &["cancel", "last", "--reason", "wrong database"]);
    scene.file("go", "");
    assert!(said.stdout.contains(&format!("process {}", driver.id())), "{}", said.stdout);
    assert_eq!(driver.wait().unwrap().code(), Some(4));
    let show = scene.last();
    assert_eq!(
        (&show["run"]["status"], &step_of(&show, "hangs")["status"]),
        (&"cancelled".into(), &"cancelled".into())
    );
    assert_eq!(scene.read("told"), "cancelled\n");
    assert!(!scene.path("after").exists());
    let events = scene.expect(0, &["show", "last", "--events"]).stdout;
    assert!(events.contains("wrong database"), "{events}");
    let twice = scene.expect(0, &["cancel", "last"]);
    assert!(
        twice.stdout.contains("was already cancelled, by ") && twice.stdout.contains("wrong database"),
        "{}",
        twice.stdout
    );
}

#[test]
fn a_forced_cancel_needs_no_consent_of_the_step() {
    let scene = scene(
        "steps:\n  - {id: deaf, grace: 10m, run: 'trap \"\" TERM; touch \"$DIR/began\"; while :; do sleep 0.1; done'}\n",
    );
    let mut driver = scene.start_book();
    wait("the first step", || scene.path("began").exists());
    scene.expect(0, &["cancel", "last", "--force"]);
    assert_eq!(driver.wait().unwrap().code(), Some(4));
}

#[test]
fn an_interrupt_cancels_and_a_second_one_does_not_wait() {
    let scene = scene(HANGS);
    let mut driver = scene.start_book();
    wait("the first step", || scene.path("began").exists());
    kill(Pid::from_raw(driver.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(driver.wait().unwrap().code(), Some(4));
    assert_eq!(scene.read("told"), "cancelled\n");

    let scene = self::scene(
        "steps:\n  - {id: deaf, grace: 10m, run: 'trap \"\" TERM; touch \"$DIR/began\"; while :; do sleep 0.1; done'}\n",
    );
    let mut driver = scene.start_book();
    wait("the first step", || scene.path("began").exists());
    kill(Pid::from_raw(driver.id() as i32), Signal::SIGTERM).unwrap();
    scene.wait_for("started.out", "cancelled by");
    kill(Pid::from_raw(driver.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(driver.wait().unwrap().code(), Some(4));
}

#[test]
fn a_cancel_reaches_a_run_without_a_driver() {
    let scene = scene(HANGS);
    let mut driver = scene.start_book();
    wait("the first step", || scene.path("began").exists());
    kill_9(&mut driver);
    scene.expect(0, &["cancel", "last"]);
    let show = scene.last();
    assert_eq!((&show["run"]["status"], &show["exit_code"]), (&"cancelled".into(), &4.into()));
    assert_eq!(scene.read("told"), "cancelled\n");
}

#[test]
fn a_run_that_was_cancelled_goes_on_when_it_is_resumed() {
    let scene = scene(
        "steps:\n  - {id: one, run: 'echo one >> \"$DIR/effects\"'}\n  \
         - {id: two, run: 'touch \"$DIR/began\"; test -e \"$DIR/go\" || exec sleep 600; echo two >> \"$DIR/effects\"'}\n",
    );
    let mut driver = scene.start_book();
    wait("the second step", || scene.path("began").exists());
    scene.expect(0, &["cancel", "last"]);
    assert_eq!(driver.wait().unwrap().code(), Some(4));
    scene.file("go", "");
    scene.expect(0, &["resume", "last"]);
    assert_eq!(scene.read("effects"), "one\ntwo\n");
}
