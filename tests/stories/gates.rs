//! Steps that wait for a time, and runs that wait for their window.

use crate::harness::{Scene, kill_9, step_of, wait};

/// A marker file lets the step after the wait see that it was waited for.
const WAITS: &str = "params: {dir: {type: path, required: true}}\nsteps:\n  - id: pause\n    wait: 3s\n  - id: after\n    \
                     run: date +%s%3N > ${{ params.dir }}/after\n";

fn waiting(scene: &Scene) -> bool {
    scene.path("state/ledger.db").exists() && step_of(&scene.last(), "pause")["status"] == "waiting"
}

#[test]
fn a_wait_survives_the_death_of_its_driver_and_ends_when_it_was_to_end() {
    let scene = Scene::new();
    scene.file("waits.yaml", WAITS);
    let mut driver = scene.start(&["run", "waits.yaml", "-p", &scene.dir()]);
    wait("the wait", || scene.runs_recorded() > 0 && waiting(&scene));
    kill_9(&mut driver);
    let events = scene.json(&["show", "last", "--events"]);
    let started = events["events"].as_array().unwrap().iter().find(|it| it["event"]["kind"] == "wait_started");
    let until = started.expect("it is on the record")["event"]["until"].as_i64().unwrap();
    assert!(scene.expect(0, &["resume", "last"]).stdout.contains("pause: its wait is over"));
    assert!(scene.read("after").trim().parse::<i64>().unwrap() >= until);
    let show = scene.last();
    assert!(step_of(&show, "pause")["ended_at"].as_i64().unwrap() >= until);
    assert_eq!(show["attempts"].as_array().unwrap().len(), 1, "a wait is no attempt");
}

#[test]
fn a_wait_whose_time_is_over_does_not_wait() {
    let scene = Scene::new();
    scene.file(
        "over.yaml",
        "params: {at: {type: string, required: true}}\nsteps:\n  - {id: pause, wait: {until: \"${{ params.at }}\"}}\n  - {id: b, run: echo on}\n",
    );
    scene.expect(0, &["run", "over.yaml", "-p", "at=2020-01-01 02:30 Europe/Berlin"]);
    let refused = scene.expect(1, &["run", "over.yaml", "-p", "at=02:30"]);
    assert!(refused.stdout.contains("`02:30` names no zone"), "{}", refused.stdout);
    assert!(scene.expect(0, &["plan", "over.yaml", "-p", "at=02:30 UTC"]).stdout.contains("wait until 02:30 UTC"));
}

#[test]
fn somebody_skips_a_wait_and_somebody_cancels_one() {
    let scene = Scene::new();
    let text = WAITS.replace("3s", "7d");
    scene.file("waits.yaml", &text);
    let mut driver = scene.start(&["run", "waits.yaml", "-p", &scene.dir()]);
    wait("the wait", || scene.runs_recorded() > 0 && waiting(&scene));
    scene.expect(0, &["skip", "last", "pause", "--reason", "we are in a hurry"]);
    assert!(driver.wait().unwrap().success());
    let mut driver = scene.start(&["run", "waits.yaml", "-p", &scene.dir()]);
    wait("the wait", || waiting(&scene));
    scene.expect(0, &["cancel", "last"]);
    assert_eq!(driver.wait().unwrap().code(), Some(4));
    assert_eq!(step_of(&scene.last(), "pause")["status"], "cancelled");
}

const FROZEN: &str = "windows: {deny: [{from: 2020-01-01, to: 2099-12-31, reason: year-end freeze}]}\nsteps:\n  - {id: a, run: echo on}\n";

#[test]
fn a_closed_window_holds_a_run_until_somebody_overrides_it() {
    let scene = Scene::new();
    scene.file("frozen.yaml", FROZEN);
    let mut driver = scene.start(&["run", "frozen.yaml"]);
    scene.wait_for("started.out", "the window is closed, year-end freeze, from 2020-01-01 to 2099-12-31");
    assert!(scene.expect(0, &["runs"]).stdout.contains("window: closed until 2100-01-01T00:00:00Z"));
    kill_9(&mut driver);
    scene.expect(2, &["override-window", "last"]);
    let said = scene.expect(0, &["override-window", "last", "--reason", "the disk is full"]).stdout;
    assert!(said.contains("runward resume"), "{said}");
    let again = scene.expect(0, &["override-window", "last", "--reason", "another"]).stdout;
    assert!(again.contains("already overridden") && again.contains("the disk is full"), "{again}");
    scene.expect(0, &["resume", "last"]);
    let events = scene.last()["events"].as_array().unwrap().clone();
    let reason = events.iter().find(|it| it["event"]["kind"] == "window_overridden").unwrap();
    assert_eq!(reason["event"]["reason"], "the disk is full");
}

#[test]
fn who_does_not_wait_for_a_window_gets_5_and_who_may_not_wait_overrides_it() {
    let scene = Scene::new();
    scene.file("frozen.yaml", FROZEN);
    let refused = scene.expect(5, &["run", "frozen.yaml", "--fail-if-closed"]);
    assert!(
        refused.stderr.contains("year-end freeze") && refused.stderr.contains("nothing was started"),
        "{}",
        refused.stderr
    );
    assert_eq!(scene.runs_recorded(), 0);
    scene.expect(2, &["run", "frozen.yaml", "--override-window"]);
    scene.expect(0, &["run", "frozen.yaml", "--override-window", "--reason", "an emergency"]);
    scene.file(
        "open.yaml",
        FROZEN
            .replace("deny: [{from: 2020-01-01, to: 2099-12-31, reason: year-end freeze}]", "allow: ['* 00:00-24:00']"),
    );
    scene.expect(0, &["run", "open.yaml", "--fail-if-closed"]);
}

#[test]
fn a_plan_says_whether_the_window_is_open_and_who_may_not_overlap() {
    let scene = Scene::new();
    scene.file("frozen.yaml", FROZEN);
    scene.file("open.yaml", "concurrency: {group: deploys, limit: 2, when-busy: fail}\nwindows: {allow: [\"* 00:00-24:00\"]}\nsteps:\n  - run: 'true'\n");
    let frozen = scene.expect(0, &["plan", "frozen.yaml"]).stdout;
    assert!(
        frozen.contains("window      closed now, ")
            && frozen.contains("year-end freeze")
            && frozen.contains("2100-01-01"),
        "{frozen}"
    );
    let open = scene.expect(0, &["plan", "open.yaml"]).stdout;
    for line in ["deploys, at most 2 runs at once; one that finds it busy fails", "free now", "window      open now"] {
        assert!(open.contains(line), "{line} is not in:\n{open}");
    }
    let json = scene.json(&["plan", "frozen.yaml"]);
    assert_eq!((&json["window"]["open"], &json["group"]), (&false.into(), &serde_json::Value::Null));
    assert_eq!(scene.json(&["plan", "open.yaml"])["window"]["open"], true);
}
