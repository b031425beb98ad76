//! A running step survives the death of the program that started it, and never starts twice.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Scene, children, kill_9, wait};

/// Three steps; the middle one waits for a file `go` and counts its own starts and ends in `effects`.
const CHAIN: &str = "\
name: chain
params: {dir: {type: path, required: true}}
defaults: {env: {DIR: '${{ params.dir }}'}}
steps:
  - id: first
    run: echo first >> \"$DIR/effects\"
  - id: slow
    run: |
      echo \"start\" >> \"$DIR/effects\"
      until test -e \"$DIR/go\"; do sleep 0.05; done
      echo \"end\" >> \"$DIR/effects\"
  - id: third
    run: echo third >> \"$DIR/effects\"
";

const WHOLE: &str = "first\nstart\nend\nthird\n";

fn chain() -> (Scene, String) {
    let scene = Scene::new();
    scene.file("chain.yaml", CHAIN);
    let dir = format!("dir={}", scene.path("").display());
    (scene, dir)
}

#[test]
fn a_killed_driver_leaves_the_step_running_and_resume_adopts_it() {
    let (scene, dir) = chain();
    let mut driver = scene.start(&["run", "chain.yaml", "-p", &dir]);
    scene.wait_for("effects", "start");
    kill_9(&mut driver);
    let status = scene.last();
    assert_eq!((&status["run"]["status"], &status["driver_pid"]), (&"running".into(), &serde_json::Value::Null));

    let mut resumed = scene.start(&["resume", "last"]);
    scene.wait_for("started.out", "still runs");
    scene.file("go", "");
    assert!(resumed.wait().unwrap().success());
    assert_eq!(scene.read("effects"), WHOLE);
    let show = scene.expect(0, &["show", "last", "--events"]).stdout;
    assert!(show.contains("attempt_adopted"), "{show}");
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_step_that_ended_while_nobody_watched_is_settled_and_not_started_again() {
    let (scene, dir) = chain();
    let mut driver = scene.start(&["run", "chain.yaml", "-p", &dir]);
    scene.wait_for("effects", "start");
    kill_9(&mut driver);
    scene.file("go", "");
    scene.wait_for("effects", "end");
    scene.expect(0, &["resume", "last"]);
    assert_eq!(scene.read("effects"), WHOLE);
}

#[test]
fn a_run_can_be_taken_over_in_the_moment_its_driver_is_killed() {
    let (scene, dir) = chain();
    let mut drivers = vec![scene.start(&["run", "chain.yaml", "-p", &dir])];
    scene.wait_for("effects", "start");
    for _ in 0..20 {
        // Killed and not waited for: the kernel may still be taking it apart.
        drivers.last_mut().unwrap().kill().unwrap();
        let next = scene.start(&["resume", "last"]);
        let pid = next.id().to_string();
        drivers.push(next);
        wait("the next driver", || scene.last()["driver_pid"] == *pid);
    }
    scene.file("go", "");
    assert!(drivers.pop().unwrap().wait().unwrap().success());
    assert_eq!(scene.read("effects"), WHOLE);
    drivers.iter_mut().for_each(|driver| drop(driver.wait()));
}

#[test]
fn a_driver_that_dies_again_and_again_changes_nothing() {
    let (scene, dir) = chain();
    let mut driver = scene.start(&["run", "chain.yaml", "-p", &dir]);
    scene.wait_for("effects", "start");
    kill_9(&mut driver);
    for _ in 0..5 {
        let mut again = scene.start(&["resume", "last"]);
        scene.wait_for("started.out", "still runs");
        kill_9(&mut again);
    }
    scene.file("go", "");
    scene.expect(0, &["resume", "last"]);
    assert_eq!(scene.read("effects"), WHOLE);
}

#[test]
fn only_one_driver_drives_a_run() {
    let (scene, dir) = chain();
    let mut driver = scene.start(&["run", "chain.yaml", "-p", &dir]);
    scene.wait_for("effects", "start");
    let second = scene.expect(2, &["resume", "last"]);
    assert!(
        second.stderr.contains(&format!("already being driven, by process {} of ", driver.id())),
        "{}",
        second.stderr
    );
    scene.file("go", "");
    assert!(driver.wait().unwrap().success());
    assert_eq!(scene.read("effects"), WHOLE);
}

/// A power cut can leave a file under its name and without its content, and an empty script succeeds.
#[test]
fn a_script_that_lost_its_content_is_written_again() {
    let (scene, dir) = chain();
    scene.file("x.yaml", CHAIN.replace("echo first >>", "test -e \"$DIR/second\"; echo first >>"));
    scene.file("go", "");
    scene.expect(1, &["run", "x.yaml", "-p", &dir]);
    let folder = scene.last()["run"]["id"].as_str().map(|run| scene.path(&format!("state/runs/{run}"))).unwrap();
    let beside = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let scripts: Vec<_> =
        beside.filter(|path| path.extension().is_some_and(|extension| extension == "script")).collect();
    assert!(!scripts.is_empty());
    for path in scripts {
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
    }
    scene.file("second", "");
    scene.expect(0, &["resume", "last"]);
    assert_eq!(scene.read("effects"), WHOLE);
}

#[test]
fn a_lost_terminal_changes_nothing() {
    let (scene, dir) = chain();
    let mut driver = scene.start(&["run", "chain.yaml", "-p", &dir]);
    scene.wait_for("effects", "start");
    kill(Pid::from_raw(driver.id() as i32), Signal::SIGHUP).unwrap();
    scene.file("go", "");
    assert!(driver.wait().unwrap().success());
    assert_eq!(scene.read("effects"), WHOLE);
}

#[test]
fn a_detached_run_goes_on_without_its_starter() {
    let (scene, dir) = chain();
    let id = scene.expect(0, &["run", "chain.yaml", "-p", &dir, "--detach"]).stdout.trim().to_owned();
    scene.file("go", "");
    wait("the run to end", || scene.last()["run"]["status"] == "succeeded");
    assert_eq!(scene.last()["run"]["id"], id.as_str());
    assert_eq!(scene.read("effects"), WHOLE);
}

#[test]
fn a_supervisor_that_is_killed_takes_its_step_along_and_the_step_is_lost() {
    let (scene, dir) = chain();
    let mut driver = scene.start(&["run", "chain.yaml", "-p", &dir]);
    scene.wait_for("effects", "start");
    let supervisor = children(driver.id());
    assert_eq!(supervisor.len(), 1, "one child: the supervisor");
    kill(Pid::from_raw(supervisor[0] as i32), Signal::SIGKILL).unwrap();
    assert_eq!(driver.wait().unwrap().code(), Some(8));
    assert_eq!(scene.last()["steps"][1]["status"], "lost");
    scene.file("go", "");
    // Whoever resumes says that it may start once more, and it does so exactly once.
    scene.expect(0, &["resume", "last"]);
    assert_eq!(scene.read("effects"), "first\nstart\nstart\nend\nthird\n");
}

#[test]
fn a_run_that_is_resumed_while_its_step_ends_does_not_wait_for_ever() {
    let scene = Scene::new();
    scene.file("x.yaml", "steps:\n  - id: a\n    run: echo start >> ../../../../effects; sleep 0.25\n");
    for round in 1..=12 {
        let mut driver = scene.start(&["run", "x.yaml"]);
        wait("the step", || scene.read("effects").lines().count() == round);
        kill_9(&mut driver);
        let killed = std::time::Instant::now();
        // Where the driver was quicker than whoever killed it, there is nothing left to resume.
        let code = if scene.last()["run"]["status"] == "succeeded" { 2 } else { 0 };
        let pause = std::time::Duration::from_millis(180 + 10 * (round as u64 % 6));
        std::thread::sleep(pause.saturating_sub(killed.elapsed()));
        let mut resumed = scene.start(&["resume", "last"]);
        wait("the resumed run to end", || resumed.try_wait().unwrap().is_some());
        assert_eq!(resumed.wait().unwrap().code(), Some(code), "{}", scene.read("started.out"));
    }
    assert_eq!(scene.read("effects").lines().count(), 12);
}
