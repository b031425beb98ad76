//! Probes: what is in place is not started, and a lost start is looked at before it is tried again.

use std::fs;

use crate::flow::scene;
use crate::harness::{Scene, children, kill_9, step_of, wait};

/// Adds a line to a file. The probe counts how often it is asked, and says what it finds.
const LINE: &str = "  - id: line\n    check: |\n      echo asked >> \"$DIR/asked\"\n      \
    grep -qx wanted \"$DIR/file\"\n    run: |\n      echo start >> \"$DIR/effects\"\n      echo wanted >> \"$DIR/file\"\n";

fn lines(scene: &Scene, file: &str) -> usize {
    scene.read(file).lines().count()
}

#[test]
fn what_is_in_place_is_not_started_and_what_is_not_is() {
    let scene = scene(&format!("steps:\n{LINE}  - {{id: after, run: 'echo after >> \"$DIR/effects\"'}}\n"));
    scene.file("file", "something else\n");
    let done = scene.expect(0, &["run", "book.yaml", "-p", &scene.dir()]).stdout;
    assert!(done.contains("line.check: not in place") && done.contains("✓ line succeeded"), "{done}");
    assert_eq!((scene.read("effects").as_str(), lines(&scene, "asked")), ("start\nafter\n", 1));

    let again = scene.expect(0, &["run", "book.yaml", "-p", &scene.dir()]).stdout;
    assert!(again.contains("✓ line.check says that it is in place"), "{again}");
    assert_eq!(scene.read("effects"), "start\nafter\nafter\n");
    let show = scene.last();
    assert_eq!(
        (&step_of(&show, "line")["status"], &show["in_place"]),
        (&"succeeded".into(), &serde_json::json!(["line"]))
    );
    assert_eq!(step_of(&show, "line")["attempts"], 0);
    let told = scene.expect(0, &["show", "last"]).stdout;
    assert!(told.contains("already in place"), "{told}");
    scene.expect(0, &["logs", "last", "line.check"]);
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn the_plan_says_what_is_checked_first_and_asks_nothing() {
    let scene = scene(&format!("steps:\n{LINE}"));
    let plan = scene.expect(0, &["plan", "book.yaml", "-p", &scene.dir()]).stdout;
    assert!(plan.contains("check first") && plan.contains("grep -qx wanted"), "{plan}");
    assert!(!scene.path("asked").exists());
}

#[test]
fn a_probe_that_cannot_say_it_fails_the_step() {
    let scene = scene(
        "steps:\n  - {id: line, check: exit 2, run: 'touch \"$DIR/started\"', retry: {attempts: 3, delay: 10ms}}\n",
    );
    let done = scene.expect(1, &["run", "book.yaml", "-p", &scene.dir()]).stdout;
    assert!(done.contains("line failed: `check`: exit code 2"), "{done}");
    assert!(!scene.path("started").exists());
    assert_eq!(scene.last()["attempts"].as_array().unwrap().len(), 1, "asked once");
}

#[test]
fn outputs_of_a_step_that_was_in_place_come_from_its_probe() {
    let book = |check: &str| {
        scene(&format!(
            "steps:\n  - id: find\n    check: '{check}'\n    outputs: {{port: int}}\n    run: 'exit 9'\n  \
             - {{id: uses, run: 'echo ${{{{ steps.find.outputs.port }}}} > \"$DIR/port\"'}}\n"
        ))
    };
    let found = book("echo port=5432 >> \"$RUNWARD_OUTPUT\"");
    found.book(0);
    assert_eq!(found.read("port"), "5432\n");

    let silent = book("true");
    let done = silent.expect(1, &["run", "book.yaml", "-p", &silent.dir()]).stdout;
    assert!(done.contains("`port` is declared but was not written") && done.contains("the probe writes"), "{done}");
}

/// Kills the supervisor under a step that has written `start`, and lets the run go on.
fn lose(scene: &Scene, driver: &mut std::process::Child) -> Option<i32> {
    scene.wait_for("effects", "start");
    for supervisor in children(driver.id()) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(supervisor as i32), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
    }
    driver.wait().unwrap().code()
}

/// A step that takes effect and then hangs, or ends at once where `go` is there. It says `start` when all that it does is
/// done and decided, so that whoever has read that may kill it and lay `go` down.
fn risky(check: &str) -> Scene {
    scene(&format!(
        "steps:\n  - id: risky\n    check: '{check}'\n    retry: {{attempts: 2, delay: 10ms}}\n    \
         run: 'then=\"sleep 600\"; if test -e \"$DIR/go\"; then then=true; else touch \"$DIR/done\"; fi; \
         echo start >> \"$DIR/effects\"; exec $then'\n"
    ))
}

#[test]
fn a_lost_start_that_took_effect_is_done_and_one_that_did_not_is_tried_again() {
    let took_effect = risky("test -e \"$DIR/done\"");
    let mut driver = took_effect.start_book();
    assert_eq!(lose(&took_effect, &mut driver), Some(0), "{}", took_effect.read("started.out"));
    assert_eq!(took_effect.read("effects"), "start\n");
    let show = took_effect.last();
    assert_eq!(
        (&step_of(&show, "risky")["status"], &show["in_place"]),
        (&"succeeded".into(), &serde_json::json!(["risky"]))
    );
    assert_eq!(show["attempts"].as_array().unwrap().len(), 3, "asked, lost, asked");

    let did_not = risky("test -e \"$DIR/never\"");
    let mut driver = did_not.start_book();
    did_not.wait_for("effects", "start");
    did_not.file("go", "");
    assert_eq!(lose(&did_not, &mut driver), Some(0), "{}", did_not.read("started.out"));
    assert_eq!(did_not.read("effects"), "start\nstart\n");
}

#[test]
fn a_lost_start_of_which_the_probe_knows_nothing_stays_lost() {
    let scene = risky("test ! -e \"$DIR/done\" || exit 7; exit 1");
    let mut driver = scene.start_book();
    assert_eq!(lose(&scene, &mut driver), Some(8), "{}", scene.read("started.out"));
    assert_eq!(step_of(&scene.last(), "risky")["status"], "lost");
    assert_eq!(scene.read("effects"), "start\n");
}

#[test]
fn a_probe_survives_its_driver_and_is_not_asked_twice() {
    let scene = scene(
        "steps:\n  - id: slow\n    check: 'echo asked >> \"$DIR/asked\"; until test -e \"$DIR/go\"; do sleep 0.02; done'\n    \
         run: 'touch \"$DIR/started\"'\n",
    );
    let mut driver = scene.start_book();
    scene.wait_for("asked", "asked");
    kill_9(&mut driver);
    let mut resumed = scene.start(&["resume", "last"]);
    scene.wait_for("started.out", "still runs");
    scene.file("go", "");
    wait("the end", || resumed.try_wait().unwrap().is_some());
    assert!(resumed.wait().unwrap().success(), "{}", scene.read("started.out"));
    assert_eq!(scene.read("asked"), "asked\n");
    assert!(!scene.path("started").exists());
}

#[test]
fn a_probe_that_was_lost_is_asked_again_for_it_changes_nothing() {
    let scene = scene(
        "steps:\n  - id: slow\n    check: 'then=\"sleep 600\"; test -e \"$DIR/go\" && then=true; \
         echo start >> \"$DIR/effects\"; exec $then'\n    \
         run: 'touch \"$DIR/started\"'\n",
    );
    let mut driver = scene.start_book();
    scene.wait_for("effects", "start");
    scene.file("go", "");
    assert_eq!(lose(&scene, &mut driver), Some(0), "{}", scene.read("started.out"));
    assert_eq!(scene.read("effects"), "start\nstart\n");
    assert!(!scene.path("started").exists());
}

#[test]
fn asking_a_probe_that_is_not_there_is_refused() {
    let scene = Scene::new();
    for (step, words) in [
        ("{run: a, on-lost: check, retry: {attempts: 2}}", "a `check` that the step does not have"),
        ("{run: a, check: b, on-lost: check}", "starts the step again, which it may not"),
        ("{wait: 5m, check: a}", "`check` means nothing for a step of the kind `wait`"),
    ] {
        scene.file("x.yaml", format!("steps:\n  - {step}\n"));
        let done = scene.expect(2, &["validate", "x.yaml"]);
        assert!(done.stderr.contains(words), "{}", done.stderr);
    }
    assert!(fs::read_dir(scene.path("")).unwrap().count() == 1, "nothing was started");
}
