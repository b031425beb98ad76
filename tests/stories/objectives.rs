//! Runs that have to be quick enough and must not lose too much: measured, on the record, told when missed.

use crate::harness::{Scene, kill_9, wait};

const RESTORE: &str = "name: restore\nseverity: P1\nparams: {lost: {type: string, default: 30m}}\nobjectives: {rto: 4h, rpo: 1h}\noutputs: {rpo: \"${{ steps.restore.outputs.lost }}\"}\nsteps:\n  - id: restore\n    run: echo \"lost=${{ params.lost }}\" >> \"$RUNWARD_OUTPUT\"\n    outputs: {lost: duration}\n";

fn restored(lost: &[&str]) -> Scene {
    let scene = Scene::new();
    scene.file("restore.yaml", RESTORE);
    for lost in lost {
        scene.expect(0, &["run", "restore.yaml", "-p", &format!("lost={lost}")]);
    }
    scene
}

fn standing(scene: &Scene, n: usize) -> (String, Option<i64>) {
    let one = &scene.last()["objectives"][n];
    (one["standing"].as_str().unwrap_or("none").to_owned(), one["measured_ms"].as_i64())
}

#[test]
fn every_run_says_how_it_stands_against_its_objectives() {
    let scene = restored(&["30m"]);
    assert_eq!(standing(&scene, 0).0, "met");
    assert_eq!(standing(&scene, 1), ("met".to_owned(), Some(1_800_000)));
    let shown = scene.expect(0, &["show", "last"]).stdout;
    assert!(shown.contains("rto 4h 00m met: ") && shown.contains("rpo 1h 00m met: 30m 00s"), "{shown}");
    let said = scene.expect(0, &["run", "restore.yaml", "-p", "lost=2h"]).stdout;
    assert!(said.contains("rpo 1h 00m missed: 2h 00m"), "{said}");
    assert_eq!(standing(&scene, 1), ("missed".to_owned(), Some(7_200_000)));
    let report = scene.expect(0, &["report", "last"]).stdout;
    assert!(report.contains("recovery point objective (rpo):** at most 1h 00m, missed 2h 00m"), "{report}");
}

#[test]
fn what_is_missed_is_told_once_with_its_severity() {
    let scene = restored(&["30m", "2h"]);
    let told = scene.json(&["notify", "list"]);
    let told: Vec<&serde_json::Value> = told.as_array().unwrap().iter().collect();
    assert_eq!(told.iter().filter(|it| it["event"] == "objective").count(), 1, "{told:?}");
    let one = told.iter().find(|it| it["event"] == "objective").unwrap();
    assert_eq!((&one["severity"], &one["runbook"]), (&"P1".into(), &"restore".into()));
    assert_eq!(one["reason"], "rpo 1h 00m was missed: 2h 00m of the data was lost");
}

#[test]
fn the_last_runs_of_a_runbook_are_shown_as_a_trend() {
    let scene = restored(&["10m", "2h", "30m"]);
    let text = scene.expect(0, &["runs", "restore", "--objectives"]).stdout;
    assert!(text.contains("rpo: met by 2 of 3 that ended; newest 30m 00s, longest 2h 00m"), "{text}");
    let json = scene.json(&["runs", "restore", "--objectives"]);
    let lost: Vec<i64> =
        json.as_array().unwrap().iter().map(|run| run["objectives"][1]["measured_ms"].as_i64().unwrap()).collect();
    assert_eq!(lost, [1_800_000, 7_200_000, 600_000]);
    scene.file("plain.yaml", "steps:\n  - {id: a, run: 'true'}\n");
    scene.expect(0, &["run", "plain.yaml"]);
    assert!(scene.expect(0, &["runs", "plain", "--objectives"]).stdout.contains("none of these runs has `objectives`"));
    assert!(scene.expect(2, &["runs", "--objectives"]).stderr.contains("<NAME>"));
}

#[test]
fn a_run_that_failed_may_still_make_it_and_its_time_counts_from_the_first_trigger() {
    let scene = Scene::new();
    scene.file("r.yaml", "objectives: {rto: 4h}\nsteps:\n  - {id: a, run: test -e ../../../../world}\n");
    scene.expect(1, &["run", "r.yaml"]);
    assert_eq!(standing(&scene, 0), ("not_reached".to_owned(), None));
    scene.file("world", "");
    scene.expect(0, &["resume", "last"]);
    let last = scene.last();
    let whole = last["run"]["finished_at"].as_i64().unwrap() - last["run"]["created_at"].as_i64().unwrap();
    assert_eq!(standing(&scene, 0), ("met".to_owned(), Some(whole)));
}

#[test]
fn that_its_time_is_over_is_told_while_it_still_runs_and_whoever_drives_it() {
    let scene = Scene::new();
    let wait_for_it = "until test -e ../../../../go; do sleep 0.05; done";
    scene.file("r.yaml", format!("objectives: {{rto: 1ms}}\nsteps:\n  - {{id: a, run: '{wait_for_it}'}}\n"));
    let mut driver = scene.start(&["run", "r.yaml"]);
    let missed = || {
        scene.json(&["notify", "list"]).as_array().is_some_and(|all| all.iter().any(|it| it["event"] == "objective"))
    };
    wait("the first word of it", || scene.runs_recorded() > 0 && missed());
    kill_9(&mut driver);
    assert!(scene.expect(0, &["show", "last"]).stdout.contains("rto 1 ms missed"));
    scene.file("go", "");
    let done = scene.expect(0, &["resume", "last"]);
    assert!(done.stdout.contains("rto 1 ms missed: "), "{}", done.stdout);
    let told = scene.json(&["notify", "list"]);
    assert_eq!(told.as_array().unwrap().iter().filter(|it| it["event"] == "objective").count(), 1);
}

#[test]
fn what_nobody_measures_is_said_before_and_after() {
    let scene = Scene::new();
    scene.file("r.yaml", "objectives: {rpo: 1h}\nsteps:\n  - {id: a, run: 'true'}\n");
    let plan = scene.expect(0, &["plan", "r.yaml"]).stdout;
    assert!(plan.contains("nothing measures it") && plan.contains("outputs: {rpo: ...}"), "{plan}");
    let said = scene.expect(0, &["run", "r.yaml"]).stdout;
    assert!(said.contains("rpo 1h 00m not measured: the runbook hands back no output `rpo`"), "{said}");
    scene.file("w.yaml", "objectives: {rpo: 1h}\noutputs: {rpo: a little}\nsteps:\n  - {id: a, run: 'true'}\n");
    let said = scene.expect(0, &["run", "w.yaml"]).stdout;
    assert!(said.contains("rpo 1h 00m not measured: the output `rpo`: "), "{said}");
}

#[test]
fn an_rto_that_is_missed_by_a_run_that_does_not_succeed_is_told_too() {
    for (more, code) in
        [("finally:\n  - {id: z, run: sleep 0.3}\n", 1), ("timeout: 50ms\n", 1), ("on-failure: {rollback: auto}\n", 6)]
    {
        let scene = Scene::new();
        let rto = if more.starts_with("timeout") { "50ms" } else { "10ms" };
        scene.file("r.yaml", format!("objectives: {{rto: {rto}}}\nsteps:\n  - {{id: a, run: 'true', undo: sleep 0.3}}\n  - {{id: b, run: sleep 0.2; exit 1}}\n{more}"));
        let done = scene.run(&["run", "r.yaml"]);
        assert!(done.code == code || done.code == 6, "{}", done.stdout);
        let told = scene.json(&["notify", "list"]);
        assert_eq!(
            told.as_array().unwrap().iter().filter(|it| it["event"] == "objective").count(),
            1,
            "{more}: {told}"
        );
    }
}

#[test]
fn a_number_without_a_unit_is_no_measure_of_what_was_lost() {
    let scene = Scene::new();
    let text = RESTORE.replace("{lost: duration}", "{lost: int}").replace("30m", "\"7200\"");
    scene.file("restore.yaml", text);
    let said = scene.expect(0, &["run", "restore.yaml"]).stdout;
    assert!(said.contains("rpo 1h 00m not measured") && said.contains("declare it as `duration`"), "{said}");
}
