//! Runs that must not overlap: `concurrency`, over any number of processes, whoever dies in between.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::harness::{Done, PATIENCE, Scene, finish, kill_9, step_of, wait};

/// Every step writes when it begins and when it is over, however it is ended. `$1` says how it behaves.
const WORK: &str = "trap 'echo \"end $RUNWARD_RUN_ID\" >> \"$EFFECTS\"' EXIT\n\
                    echo \"start $RUNWARD_RUN_ID\" >> \"$EFFECTS\"\n\
                    case $HOW in fail) sleep 0.1; exit 1;; hang) sleep 60;; wait) until test -e \"$EFFECTS\".go; do sleep 0.02; done;; *) sleep \"$HOW\";; esac\n";

fn book(scene: &Scene, name: &str, concurrency: &str) {
    let work = WORK.replace('\n', "\n      ");
    scene.file(
        name,
        format!(
            "params: {{dir: {{type: path, required: true}}, how: {{type: string, default: \"0.05\"}}}}\n\
             concurrency: {{{concurrency}}}\nsteps:\n  - id: work\n    \
             env: {{EFFECTS: \"${{{{ params.dir }}}}/effects\", HOW: \"${{{{ params.how }}}}\"}}\n    run: |\n      {work}\n\
             finally:\n  - id: last\n    run: echo last >> \"${{{{ params.dir }}}}\"/last\n"
        ),
    );
}

fn run(scene: &Scene, book: &str, how: &str, more: &[&str]) -> Command {
    let mut command = scene.runward();
    command.args(["run", book, "-p", &scene.dir(), "-p", &format!("how={how}")]).args(more);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Starts a run in the background; its id.
fn detached(scene: &Scene, book: &str, how: &str, more: &[&str]) -> String {
    let mut command = run(scene, book, how, more);
    let done = finish(command.arg("--detach").stdout(Stdio::piped()).stderr(Stdio::piped()));
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    done.stdout.trim().to_owned()
}

/// At most so many at any moment; how many began, and how many were over.
fn never_more_than(scene: &Scene, limit: usize) -> usize {
    let (mut now, mut began) = (BTreeSet::new(), 0);
    for line in scene.read("effects").lines() {
        let (what, run) = line.split_once(' ').unwrap();
        if what == "start" {
            began += 1;
            assert!(now.insert(run.to_owned()), "{run} runs twice at once");
            assert!(now.len() <= limit, "{} at once: {now:?}", now.len());
        } else {
            assert!(now.remove(run), "{run} ended twice");
        }
    }
    assert!(now.is_empty(), "still running: {now:?}");
    began
}

fn status(scene: &Scene, id: &str) -> String {
    scene.json(&["show", id])["run"]["status"].as_str().unwrap().to_owned()
}

fn is_over(status: &str) -> bool {
    ["succeeded", "failed", "cancelled", "timed_out"].contains(&status)
}

/// Until this run holds its permit.
fn holds(scene: &Scene, id: &str) {
    wait("the permit", || scene.json(&["show", id])["run"]["permit"] == "holds");
}

#[test]
fn thirty_runs_in_thirty_processes_never_overlap_beyond_the_limit() {
    for limit in [1, 3] {
        let scene = Scene::new();
        book(&scene, "one.yaml", &format!("group: shared, limit: {limit}"));
        book(&scene, "two.yaml", &format!("group: \"sha${{{{ 'red' }}}}\", limit: {limit}"));
        let start = |n: usize| run(&scene, ["one.yaml", "two.yaml"][n % 2], "0.05", &[]).spawn().unwrap();
        let mut runs: Vec<Child> = (0..30).map(start).collect();
        assert!(runs.iter_mut().all(|run| run.wait().unwrap().success()));
        assert_eq!(never_more_than(&scene, limit), 30);
        assert_eq!(scene.read("last").lines().count(), 30);
        scene.expect(0, &["audit", "verify"]);
    }
}

#[test]
fn whatever_ends_and_whoever_dies_they_never_overlap() {
    let scene = Scene::new();
    book(&scene, "book.yaml", "group: shared, limit: 2");
    let text = scene.read("book.yaml");
    scene.file("slow.yaml", text.replace("  - id: work\n", "  - id: work\n    timeout: 1s\n"));
    // The first two stay until enough drivers have died; then some fail, some time out, one is cancelled.
    let how = |n: usize| if n < 2 { "wait" } else { ["0.2", "fail", "0.1", "hang"][n % 4] };
    let book = |n: usize| if n % 4 == 3 { "slow.yaml" } else { "book.yaml" };
    let runs: Vec<String> = (0..12).map(|n| detached(&scene, book(n), how(n), &[])).collect();
    let mut kills = 0;
    let mut over = BTreeSet::new();
    wait_long("every run to end", || {
        for (n, run) in runs.iter().enumerate().filter(|(_, run)| !over.contains(*run)).collect::<Vec<_>>() {
            let show = scene.json(&["show", run]);
            match show["driver_pid"].as_str() {
                _ if is_over(show["run"]["status"].as_str().unwrap()) => _ = over.insert(run.clone()),
                None => _ = scene.run(&["resume", run, "--detach"]),
                Some(pid) if kills < KILLS => {
                    let _ = Command::new("kill").args(["-9", pid]).stderr(Stdio::null()).status();
                    kills += 1;
                }
                Some(_) if n == 7 => _ = scene.run(&["cancel", run, "--reason", "enough"]),
                Some(_) => drop(scene.file("effects.go", "")),
            }
        }
        over.len() == runs.len()
    });
    assert_eq!(kills, KILLS);
    assert!(never_more_than(&scene, 2) >= 11, "each began, but for one that may have been cancelled before");
    for (n, run) in runs.iter().enumerate() {
        let (found, wanted) = (status(&scene, run), ["succeeded", "failed", "succeeded", "failed"][n % 4]);
        let wanted = if n < 2 { "succeeded" } else { wanted };
        assert!(found == wanted || (n == 7 && found == "cancelled"), "{n}: {found}");
    }
    scene.expect(0, &["audit", "verify"]);
}

/// How many drivers are killed.
const KILLS: usize = 30;

/// Many processes, one after the other, on a machine that may be slow.
fn wait_long(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + 10 * PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
    }
}

#[test]
fn who_waits_is_told_for_whom_and_goes_on_by_itself() {
    let scene = Scene::new();
    book(&scene, "book.yaml", "group: \"pg-${{ params.how }}\"");
    let first = detached(&scene, "book.yaml", "wait", &[]);
    holds(&scene, &first);
    let second = scene.start(&["run", "book.yaml", "-p", &scene.dir(), "-p", "how=wait"]);
    scene.wait_for("started.out", "held by run");
    let said = scene.read("started.out");
    let short = first.rsplit('-').next().unwrap();
    assert!(said.contains("waits for the group `pg-wait`") && said.contains(short), "{said}");
    let show = scene.json(&["show", "last"]);
    assert_eq!((show["run"]["status"].as_str(), show["run"]["permit"].as_str()), (Some("queued"), Some("waits")));
    assert_eq!(show["group"]["members"][0]["run"], Value::from(first.as_str()));
    assert!(scene.expect(0, &["show", "last"]).stdout.contains(&format!("held by run {short}")));
    assert!(scene.expect(0, &["runs"]).stdout.contains("queued (waits)"));
    let plan = ["plan", "book.yaml", "-p", &scene.dir(), "-p", "how=wait"];
    let planned = scene.expect(0, &plan).stdout;
    for line in
        ["pg-wait, at most 1 run at once; one that finds it busy waits", &format!("held by run {short}"), "1 run waits"]
    {
        assert!(planned.contains(line), "{line} is not in:\n{planned}");
    }
    let json = scene.json(&plan);
    assert_eq!((&json["group"]["members"][0]["run"], &json["window"]), (&Value::from(first.as_str()), &Value::Null));
    // Another group has nothing to do with it.
    finish(run(&scene, "book.yaml", "0.01", &["--quiet"]).stdout(Stdio::piped()).stderr(Stdio::piped()));
    assert_eq!(status(&scene, "last"), "succeeded");
    scene.file("effects.go", "");
    assert!(second.wait_with_output().unwrap().status.success());
    assert_eq!(never_more_than(&scene, 2), 3);
}

#[test]
fn a_holder_without_a_driver_is_named_with_what_helps_and_one_that_waits_keeps_nobody_out() {
    let scene = Scene::new();
    book(&scene, "book.yaml", "group: shared");
    let mut first = scene.start(&["run", "book.yaml", "-p", &scene.dir(), "-p", "how=wait"]);
    wait("the first run", || scene.runs_recorded() == 1);
    let id = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    holds(&scene, &id);
    let dead = detached(&scene, "book.yaml", "0.01", &[]);
    let pid = scene.json(&["show", &dead])["driver_pid"].as_str().unwrap().to_owned();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    kill_9(&mut first);
    let third = detached(&scene, "book.yaml", "0.01", &[]);
    let short = id.rsplit('-').next().unwrap();
    wait("advice", || {
        let told = scene.run(&["show", &third]).stdout;
        told.contains("nobody drives it") && told.contains(&format!("runward resume {short}"))
    });
    scene.file("effects.go", "");
    scene.expect(0, &["resume", &id]);
    wait("the third run", || status(&scene, &third) == "succeeded");
    assert_eq!(status(&scene, &dead), "queued", "nobody drives it, and nobody waits for it");
    scene.expect(0, &["resume", &dead]);
    assert_eq!(never_more_than(&scene, 1), 3);
}

#[test]
fn who_does_not_wait_ends_with_exit_code_5_and_has_done_nothing() {
    let scene = Scene::new();
    book(&scene, "book.yaml", "group: shared");
    book(&scene, "skip.yaml", "group: shared, when-busy: skip");
    book(&scene, "fail.yaml", "group: shared, when-busy: fail");
    let first = detached(&scene, "book.yaml", "wait", &[]);
    holds(&scene, &first);
    for (book, status) in [("skip.yaml", "cancelled"), ("fail.yaml", "failed")] {
        let done: Done = finish(run(&scene, book, "0.01", &[]).stdout(Stdio::piped()).stderr(Stdio::piped()));
        assert_eq!(done.code, 5, "{}{}", done.stdout, done.stderr);
        assert!(done.stdout.contains(first.rsplit('-').next().unwrap()), "{}", done.stdout);
        let show = scene.last();
        assert_eq!((show["run"]["status"].as_str(), show["verdict"].as_str()), (Some(status), Some("busy")));
        assert_eq!(step_of(&show, "last")["status"], "cancelled");
        assert_eq!(show["attempts"], Value::Array(vec![]));
    }
    scene.file("effects.go", "");
    wait("the first run", || status(&scene, &first) == "succeeded");
    assert!(run(&scene, "skip.yaml", "0.01", &[]).status().unwrap().success(), "there is room again");
    assert_eq!((never_more_than(&scene, 1), scene.read("last").lines().count()), (2, 2));
}

#[test]
fn the_newer_run_takes_the_place_of_the_one_before() {
    let scene = Scene::new();
    book(&scene, "book.yaml", "group: shared, when-busy: cancel-running");
    let first = detached(&scene, "book.yaml", "wait", &[]);
    holds(&scene, &first);
    let second = detached(&scene, "book.yaml", "0.05", &[]);
    wait("the second run", || is_over(&status(&scene, &second)));
    assert_eq!((status(&scene, &first).as_str(), status(&scene, &second).as_str()), ("cancelled", "succeeded"));
    let events = scene.json(&["show", &first])["events"].to_string();
    assert!(events.contains(&format!("run {second} takes its place in the group `shared`")), "{events}");
    assert_eq!(never_more_than(&scene, 1), 2);
    assert_eq!(scene.read("last").lines().count(), 2, "what was begun was cleaned up");
}

#[test]
fn in_the_queue_priority_goes_before_age_and_a_cancel_ends_it_at_once() {
    let scene = Scene::new();
    book(&scene, "book.yaml", "group: shared");
    let first = detached(&scene, "book.yaml", "wait", &[]);
    holds(&scene, &first);
    let normal = detached(&scene, "book.yaml", "0.01", &[]);
    let low = detached(&scene, "book.yaml", "0.01", &["--priority", "low"]);
    let high = detached(&scene, "book.yaml", "0.01", &["--priority", "high"]);
    let gone = detached(&scene, "book.yaml", "0.01", &[]);
    let all = scene.json(&["show", &first])["group"]["members"].clone();
    let turn: Vec<&str> = all.as_array().unwrap().iter().map(|member| member["run"].as_str().unwrap()).collect();
    assert_eq!(turn, [&first, &high, &normal, &gone, &low]);
    assert!(scene.expect(0, &["show", &high]).stdout.contains("priority    high"));
    scene.expect(0, &["cancel", &gone]);
    wait("the cancelled run", || status(&scene, &gone) == "cancelled");
    assert_eq!(status(&scene, &first), "running", "nobody else was disturbed");
    scene.expect(0, &["pause", &first]);
    assert!(scene.expect(0, &["show", &high]).stdout.contains("it is paused: `runward unpause"));
    scene.file("effects.go", "");
    wait("its step", || scene.read("effects").contains("end"));
    assert_eq!(scene.json(&["show", &first])["run"]["permit"], "holds", "a pause gives nothing back");
    scene.expect(0, &["unpause", &first]);
    wait("the last run", || status(&scene, &low) == "succeeded");
    let began: Vec<String> =
        scene.read("effects").lines().filter_map(|line| Some(line.strip_prefix("start ")?.to_owned())).collect();
    assert_eq!(began, [first, high, normal, low]);
}

#[test]
fn a_full_queue_refuses_the_next_run() {
    let scene = Scene::new();
    book(&scene, "book.yaml", "group: shared");
    let first = detached(&scene, "book.yaml", "wait", &[]);
    holds(&scene, &first);
    let second = detached(&scene, "book.yaml", "0.01", &[]);
    let mut refused = run(&scene, "book.yaml", "0.01", &[]);
    let refused = finish(refused.env("RUNWARD_LIMITS_QUEUED_RUNS", "1").stderr(Stdio::piped()));
    assert_eq!(refused.code, 5, "{}", refused.stderr);
    for word in ["1 runs wait for the group `shared`", "nothing was started", "limits.queued-runs"] {
        assert!(refused.stderr.contains(word), "{}", refused.stderr);
    }
    assert_eq!(scene.runs_recorded(), 2);
    scene.file("effects.go", "");
    wait("the second run", || status(&scene, &second) == "succeeded");
}

#[test]
fn a_group_is_named_by_parameters_only_and_its_name_is_no_secret() {
    let scene = Scene::new();
    let wrong = |concurrency: &str, says: &str| {
        scene.file(
            "wrong.yaml",
            format!(
                "params: {{name: {{type: string, default: x, sensitive: true}}, empty: {{type: string, default: \"\"}}}}\n\
                 concurrency: {{{concurrency}}}\nsteps:\n  - run: echo ${{{{ params.name }}}} ${{{{ params.empty }}}}\n"
            ),
        );
        let done = scene.expect(2, &["run", "wrong.yaml"]);
        assert!(done.stderr.contains(says), "{concurrency}: {}", done.stderr);
    };
    wrong("group: \"a-${{ params.name }}\"", "`params.name` is sensitive");
    wrong("group: \"a-${{ run.id }}\"", "it can read parameters only");
    wrong("group: \"a-${{ steps.step_1.status }}\"", "no step has run yet");
    wrong("group: \" \"", "is empty");
    wrong("group: \"${{ params.empty }}\"", "its name comes out empty");
    wrong("limit: 1", "needs `group`");
    wrong("group: a, limit: 0", "at least 1");
    wrong("group: a, when-busy: wait", "one of: queue, skip, fail, cancel-running");
    wrong(&format!("group: {}", "x".repeat(201)), "at most 200 are possible");
    assert_eq!(scene.runs_recorded(), 0);
}
