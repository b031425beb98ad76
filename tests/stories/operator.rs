//! What an operator does to a run that is under way, or that failed.

use serde_json::Value;

use crate::harness::{Scene, kill_9, step_of, wait};

/// `a` waits for a file `go`, `b` fails until there is a file `mended`; each step counts its starts in `starts`.
const BOOK: &str = "\
name: book
params: {dir: {type: path, required: true}}
defaults: {env: {DIR: '${{ params.dir }}'}}
steps:
  - id: a
    run: |
      echo a >> \"$DIR/starts\"
      until test -e \"$DIR/go\"; do sleep 0.05; done
  - id: b
    run: echo b >> \"$DIR/starts\"; test -e \"$DIR/mended\"
  - id: c
    run: echo c >> \"$DIR/starts\"
finally:
  - id: z
    run: echo z >> \"$DIR/starts\"
";

fn book() -> Scene {
    let scene = Scene::new();
    scene.file("book.yaml", BOOK);
    scene
}

/// A run whose step `b` failed.
fn failed() -> Scene {
    let scene = book();
    scene.file("go", "");
    scene.expect(1, &["run", "book.yaml", "-p", &scene.dir()]);
    scene
}

fn started(scene: &Scene) -> std::process::Child {
    let driver = scene.start(&["run", "book.yaml", "-p", &scene.dir()]);
    scene.wait_for("starts", "a\n");
    driver
}

fn status(show: &Value, step: &str) -> String {
    step_of(show, step)["status"].as_str().unwrap_or("pending").to_owned()
}

#[test]
fn a_paused_run_starts_nothing_until_it_is_unpaused() {
    let scene = book();
    scene.file("mended", "");
    let mut driver = started(&scene);
    let paused = scene.expect(0, &["pause", "last", "--reason", "数据库 failover"]).stdout;
    assert!(paused.contains("nothing new starts") && paused.contains("goes on to its end: a"), "{paused}");
    scene.wait_for("started.out", "数据库 failover; nothing new starts until `runward unpause`");
    scene.file("go", "");
    wait("a to end", || status(&scene.last(), "a") == "succeeded");
    let show = scene.expect(0, &["show", "last"]).stdout;
    assert!(show.contains("status      paused, driven by process"), "{show}");
    assert!(show.contains("数据库 failover") && show.contains("`runward unpause"), "{show}");
    assert!(scene.expect(0, &["runs"]).stdout.contains(" paused "));
    let again = scene.expect(0, &["pause", "last"]).stdout;
    assert!(again.contains("is already paused, by ") && again.contains("数据库 failover"), "{again}");
    assert_eq!(scene.read("starts"), "a\n");
    assert!(scene.expect(0, &["unpause", "last"]).stdout.contains("unpaused"));
    assert!(driver.wait().unwrap().success());
    assert_eq!(scene.read("starts"), "a\nb\nc\nz\n");
    let late = scene.expect(0, &["unpause", "last"]).stdout;
    assert!(late.contains("was already unpaused, by ") && late.contains("the run succeeded"), "{late}");
    let over = scene.expect(2, &["pause", "last"]).stderr;
    assert!(over.contains("already succeeded") && over.contains("starts a new one"), "{over}");
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn of_two_who_pause_and_unpause_at_once_one_is_told_who_was_faster() {
    let scene = book();
    let mut driver = started(&scene);
    for (command, field) in [("pause", "paused"), ("unpause", "unpaused")] {
        let answers: Vec<Value> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..2).map(|_| scope.spawn(|| scene.json(&[command, "last"]))).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        let changed = answers.iter().filter(|answer| answer["changed"] == true).count();
        assert_eq!(changed, 1, "{answers:?}");
        let who = |answer: &Value| (answer[field]["by"].clone(), answer[field]["at"].clone());
        assert_eq!(who(&answers[0]), who(&answers[1]));
    }
    scene.file("mended", "");
    scene.file("go", "");
    assert!(driver.wait().unwrap().success());
}

#[test]
fn a_paused_run_whose_driver_died_stays_paused_when_it_is_resumed() {
    let scene = book();
    scene.file("mended", "");
    let mut driver = started(&scene);
    scene.expect(0, &["pause", "last"]);
    kill_9(&mut driver);
    scene.file("go", "");
    assert!(scene.expect(0, &["runs"]).stdout.contains("paused (no driver)"));
    let mut resumed = scene.start(&["resume", "last"]);
    scene.wait_for("started.out", "nothing new starts until");
    wait("a to be settled", || status(&scene.last(), "a") == "succeeded");
    assert_eq!(scene.read("starts"), "a\n");
    scene.expect(0, &["unpause", "last"]);
    assert!(resumed.wait().unwrap().success());
    assert_eq!(scene.read("starts"), "a\nb\nc\nz\n");
}

#[test]
fn a_cancel_ends_a_pause_and_finally_runs() {
    let scene = book();
    let mut driver = started(&scene);
    scene.expect(0, &["pause", "last"]);
    scene.file("go", "");
    wait("a to end", || status(&scene.last(), "a") == "succeeded");
    scene.expect(0, &["cancel", "last"]);
    assert_eq!(driver.wait().unwrap().code(), Some(4));
    assert_eq!(scene.read("starts"), "a\nz\n");
}

#[test]
fn a_step_that_is_skipped_is_left_out_when_its_turn_comes() {
    let scene = book();
    let mut driver = started(&scene);
    let running = scene.expect(2, &["skip", "last", "a", "--reason", "no"]).stderr;
    assert!(running.contains("a is running") && running.contains("runward cancel"), "{running}");
    let skipped = scene.expect(0, &["skip", "last", "b", "--reason", "the index is there"]).stdout;
    assert!(skipped.contains("b is left out when its turn comes"), "{skipped}");
    let again = scene.expect(0, &["skip", "last", "b", "--reason", "me too"]).stdout;
    assert!(again.contains("already skipped, by ") && again.contains("the index is there"), "{again}");
    assert!(scene.expect(0, &["show", "last"]).stdout.contains("to be skipped: by "));
    scene.file("go", "");
    assert!(driver.wait().unwrap().success());
    assert_eq!(scene.read("starts"), "a\nc\nz\n");
    let show = scene.last();
    assert_eq!(status(&show, "b"), "skipped");
    assert!(step_of(&show, "b")["error"].as_str().unwrap().ends_with(": the index is there"));
    let succeeded = scene.expect(2, &["skip", "last", "b", "--reason", "again"]).stderr;
    assert!(succeeded.contains("already succeeded"), "{succeeded}");
}

#[test]
fn a_failed_step_is_skipped_by_the_resume() {
    let scene = failed();
    let recorded = scene.expect(0, &["skip", "last", "b", "--reason", "done by hand"]).stdout;
    assert!(recorded.contains("b is not tried again") && recorded.contains("runward resume"), "{recorded}");
    assert_eq!(scene.last()["run"]["status"], "failed", "an end stays an end");
    let late = scene.expect(0, &["skip", "last", "c", "--reason", "nor c"]).stdout;
    assert!(late.contains("c is not tried again"), "{late}");
    let show = scene.expect(0, &["show", "last"]).stdout;
    assert_eq!(show.matches("to be skipped: by ").count(), 2, "{show}");
    scene.expect(0, &["resume", "last"]);
    assert_eq!(scene.read("starts"), "a\nb\nz\nz\n");
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_retry_starts_one_step_once_more_and_what_follows_it() {
    let scene = failed();
    let first = scene.expect(2, &["retry", "last", "c"]).stderr;
    assert!(first.contains("c needs `b`, which is failed") && first.contains("runward retry"), "{first}");
    let fine = scene.expect(2, &["retry", "last", "a"]).stderr;
    assert!(fine.contains("a did not fail (it is succeeded)"), "{fine}");
    scene.expect(1, &["retry", "last", "b", "--reason", "a try"]);
    scene.file("mended", "");
    scene.expect(0, &["retry", "last", "b", "--reason", "mended"]);
    assert_eq!(scene.read("starts"), "a\nb\nz\nb\nz\nb\nc\nz\n");
    let show = scene.expect(0, &["show", "last", "--events"]).stdout;
    assert!(show.contains("\"only\":\"b\"") && show.contains("\"reason\":\"mended\""), "{show}");
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_retry_of_a_step_that_waits_ends_its_wait_in_the_run_that_goes_on() {
    let scene = book();
    scene.file("go", "");
    let waits = BOOK.replace("- id: b\n", "- id: b\n    retry: {attempts: 2, delay: 1h, jitter: none}\n");
    // Else whoever is told slowly would find nobody who drives it, and look at its end.
    let waits = waits.replace("run: echo c", "run: until test -e \"$DIR/told\"; do sleep 0.02; done; echo c");
    scene.file("book.yaml", waits);
    let mut driver = scene.start(&["run", "book.yaml", "-p", &scene.dir()]);
    scene.wait_for("starts", "b\n");
    wait("b to wait", || status(&scene.last(), "b") == "backoff");
    scene.file("mended", "");
    let recorded = scene.expect(0, &["retry", "last", "b", "--reason", "it is mended"]).stdout;
    assert!(recorded.contains("b starts once more"), "{recorded}");
    scene.file("told", "");
    assert!(driver.wait().unwrap().success());
    assert_eq!(scene.read("starts"), "a\nb\nb\nc\nz\n");
}

#[test]
fn a_retry_of_a_held_step_drives_the_run_that_waited() {
    let scene = book();
    scene.file("book.yaml", BOOK.replace("- id: a\n", "- id: a\n    on-lost: hold\n"));
    scene.file("mended", "");
    let mut driver = started(&scene);
    let supervisor = crate::harness::children(driver.id())[0];
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(supervisor as i32), nix::sys::signal::SIGKILL).unwrap();
    assert_eq!(driver.wait().unwrap().code(), Some(8));
    scene.file("go", "");
    scene.expect(0, &["retry", "last", "a", "--reason", "nothing was done"]);
    assert_eq!(scene.read("starts"), "a\na\nb\nc\nz\n");
}

#[test]
fn resuming_from_a_step_does_it_and_all_after_it_once_more() {
    let scene = failed();
    scene.file("mended", "");
    let done = scene.expect(0, &["resume", "last", "--from", "a", "--reason", "wrong host"]);
    assert!(done.stderr.contains("from a on, what runs again: a, b, c, z; had succeeded: a, z"), "{}", done.stderr);
    assert_eq!(scene.read("starts"), "a\nb\nz\na\nb\nc\nz\n");
    let over = scene.expect(2, &["resume", "last", "--from", "a"]).stderr;
    assert!(over.contains("only a failed") && over.contains("starts a new one"), "{over}");
}

#[test]
fn what_cannot_be_done_says_what_can() {
    let scene = failed();
    for (args, said) in [
        (&["skip", "last", "nope", "--reason", "x"][..], "its steps: a, b, c, z"),
        (&["skip", "last", "b[0]", "--reason", "x"], "has no `for-each`"),
        (&["skip", "last", "b"], "--reason"),
        (&["skip", "last", "b", "--reason", " "], "say why"),
        (&["skip", "last", "a", "--reason", "x"], "what is done stays done"),
        (&["retry", "last", "nope"], "its steps: a, b, c, z"),
        (&["resume", "last", "--from", "nope"], "its steps: a, b, c, z"),
        (&["pause", "last"], "already failed"),
        (&["pause", "abcdef"], "no run has the id"),
    ] {
        let refused = scene.expect(2, args).stderr;
        assert!(refused.contains(said), "{args:?}: {refused}");
    }
    assert_eq!(scene.last()["run"]["status"], "failed");
}
