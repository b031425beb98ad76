//! The order of steps, and what a failure leads to.

use std::fs;

use serde_json::Value;

use crate::harness::{Scene, finish, step_of, wait};

/// A scene with one runbook; its steps find the scene's folder in `$DIR`.
pub fn scene(steps: &str) -> Scene {
    with_top("", steps)
}

fn with_top(top: &str, steps: &str) -> Scene {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        format!(
            "params: {{dir: {{type: path, required: true}}}}\ndefaults: {{env: {{DIR: '${{{{ params.dir }}}}'}}}}\n\
             {top}{steps}"
        ),
    );
    scene
}

impl Scene {
    /// Runs the scene's runbook to its end and expects this exit code.
    pub fn book(&self, code: i32) {
        self.expect(code, &["run", "book.yaml", "-p", &self.dir()]);
    }

    pub fn start_book(&self) -> std::process::Child {
        self.start(&["run", "book.yaml", "-p", &self.dir()])
    }
}

fn statuses(show: &Value) -> Vec<(&str, &str)> {
    let steps = show["steps"].as_array().unwrap();
    steps.iter().map(|step| (step["unit"].as_str().unwrap(), step["status"].as_str().unwrap())).collect()
}

#[test]
fn steps_follow_each_other_and_needs_say_otherwise() {
    let scene = scene(
        "steps:\n  \
         - {id: a, run: 'echo a >> \"$DIR/order\"'}\n  \
         - {id: b, run: 'echo b >> \"$DIR/order\"'}\n  \
         - {id: d, run: 'echo d >> \"$DIR/order\"', needs: [c]}\n  \
         - {id: c, run: 'echo c >> \"$DIR/order\"', needs: [b]}\n  \
         - {id: e, run: 'test -e \"$DIR/order\" && echo e >> \"$DIR/order\"', needs: [a, d]}\n",
    );
    scene.book(0);
    assert_eq!(scene.read("order"), "a\nb\nc\nd\ne\n");
}

const MEET: &str = "until test -e \"$DIR/OTHER\"; do sleep 0.02; done";

#[test]
fn steps_that_do_not_need_each_other_run_at_once() {
    // Each waits for what only the other makes.
    let scene = scene(&format!(
        "steps:\n  - {{id: left, run: 'touch \"$DIR/l\"; {}'}}\n  - {{id: right, run: 'touch \"$DIR/r\"; {}', needs: []}}\n",
        MEET.replace("OTHER", "r"),
        MEET.replace("OTHER", "l"),
    ));
    scene.book(0);
}

#[test]
fn max_parallel_of_the_run_holds_for_independent_steps() {
    let step =
        |n: u32| format!("  - {{id: s{n}, needs: [], run: 'mkdir \"$DIR/lock\"; sleep 0.05; rmdir \"$DIR/lock\"'}}\n");
    let steps: String = (1..=5).map(step).collect();
    let scene = with_top("max-parallel: 1\n", &format!("steps:\n{steps}"));
    scene.book(0);
}

#[test]
fn a_step_whose_condition_does_not_hold_is_skipped_and_satisfies_the_next() {
    let scene = with_top(
        "",
        "steps:\n  \
         - {id: dump, run: 'echo kind=full >> \"$RUNWARD_OUTPUT\"'}\n  \
         - {id: incremental, run: 'touch \"$DIR/wrong\"', if: 'steps.dump.outputs.kind == \"delta\"'}\n  \
         - {id: upload, run: 'touch \"$DIR/right\"'}\n  \
         - {id: full, run: 'touch \"$DIR/full\"', if: 'steps.dump.outputs.kind == \"full\"'}\n",
    );
    scene.book(0);
    assert_eq!(
        statuses(&scene.last()),
        [("dump", "succeeded"), ("incremental", "skipped"), ("upload", "succeeded"), ("full", "succeeded")]
    );
    assert!(!scene.path("wrong").exists() && scene.path("right").exists() && scene.path("full").exists());
}

#[test]
fn a_step_that_may_fail_does_not_stop_the_run() {
    let scene =
        scene("steps:\n  - {id: clean, run: exit 3, allow-failure: true}\n  - {id: go, run: 'touch \"$DIR/went\"'}\n");
    let end = scene.expect(0, &["run", "book.yaml", "-p", &scene.dir()]).stdout;
    assert!(end.contains("  clean failed: exit code 3 (its failure is allowed)\n"), "{end}");
    let show = scene.last();
    assert_eq!(statuses(&show), [("clean", "failed"), ("go", "succeeded")]);
    assert_eq!(show["attempts"][0]["code"], 3);
    assert!(scene.path("went").exists());
}

#[test]
fn the_first_failure_stops_the_run_and_finally_is_told() {
    let scene = scene(
        "steps:\n  \
         - {id: one, run: 'exit 7'}\n  \
         - {id: two, run: 'touch \"$DIR/two\"'}\n\
         finally:\n  \
         - {id: tell, run: 'echo ${{ run.status }} ${{ steps.one.status }} >> \"$DIR/told\"'}\n  \
         - {id: alarm, run: 'echo alarm >> \"$DIR/told\"', if: failure()}\n  \
         - {id: cheer, run: 'echo cheer >> \"$DIR/told\"', if: success()}\n",
    );
    scene.book(1);
    assert_eq!(scene.read("told"), "failed failed\nalarm\n");
    assert!(!scene.path("two").exists());
    let show = scene.last();
    assert_eq!((&show["run"]["status"], &show["verdict"]), (&"failed".into(), &"failed".into()));
    assert_eq!(show["exit_code"], 1);
    assert!(step_of(&show, "one")["error"].as_str().unwrap().contains("exit code 7"));
}

#[test]
fn steps_that_run_beside_a_failure_finish() {
    let scene = scene(
        "steps:\n  \
         - {id: slow, run: 'until test -e \"$DIR/failed\"; do sleep 0.02; done; touch \"$DIR/finished\"'}\n  \
         - {id: bad, needs: [], run: 'touch \"$DIR/failed\"; exit 1'}\n  \
         - {id: never, needs: [slow], run: 'touch \"$DIR/never\"'}\n",
    );
    scene.book(1);
    assert!(scene.path("finished").exists());
    assert_eq!(step_of(&scene.last(), "slow")["status"], "succeeded");
    assert!(!scene.path("never").exists());
}

#[test]
fn finally_knows_of_a_success_and_its_own_failure_counts() {
    let scene = scene(
        "steps:\n  - run: 'true'\n\
         finally:\n  - {id: tell, run: 'echo ${{ run.status }} > \"$DIR/told\"'}\n  - {id: tidy, run: exit 1}\n",
    );
    scene.book(1);
    assert_eq!(scene.read("told"), "succeeded\n");
    assert_eq!(scene.last()["run"]["status"], "failed");
}

const COUNTS: &str = "echo . >> \"$DIR/starts\"; n=$(grep -c . \"$DIR/starts\")";

#[test]
fn a_step_is_tried_again_as_often_as_it_says() {
    let scene = scene(&format!(
        "steps:\n  - id: flaky\n    run: '{COUNTS}; test $n -eq 3 || exit 75'\n    \
         retry: {{attempts: 5, delay: 10ms, jitter: none}}\n"
    ));
    scene.book(0);
    let show = scene.last();
    let attempts = show["attempts"].as_array().unwrap();
    let ends: Vec<(u64, &str)> =
        attempts.iter().map(|a| (a["attempt"].as_u64().unwrap(), a["status"].as_str().unwrap())).collect();
    assert_eq!(ends, [(1, "failed"), (2, "failed"), (3, "succeeded")]);
}

#[test]
fn the_last_attempt_is_the_last() {
    let scene =
        scene(&format!("steps:\n  - {{id: bad, run: '{COUNTS}; exit 1', retry: {{attempts: 3, delay: 10ms}}}}\n"));
    scene.book(1);
    assert_eq!(scene.read("starts"), ".\n.\n.\n");
}

#[test]
fn only_the_exit_codes_that_are_named_are_tried_again() {
    let scene = scene(&format!(
        "steps:\n  - {{id: bad, run: '{COUNTS}; test $n -eq 1 && exit 75; exit 1', \
         retry: {{attempts: 9, delay: 10ms, on-exit: [75]}}}}\n"
    ));
    scene.book(1);
    assert_eq!(scene.read("starts"), ".\n.\n");
}

#[test]
fn a_step_that_takes_too_long_times_out() {
    let scene = scene(
        "steps:\n  - {id: hangs, run: 'exec sleep 600', timeout: 200ms, grace: 1s}\n\
         finally:\n  - run: 'echo ${{ run.status }} > \"$DIR/told\"'\n",
    );
    scene.book(1);
    let show = scene.last();
    assert_eq!(step_of(&show, "hangs")["status"], "timed_out");
    assert!(step_of(&show, "hangs")["error"].as_str().unwrap().contains("timed out after"));
    assert_eq!(scene.read("told"), "failed\n");
}

#[test]
fn a_run_that_takes_too_long_times_out_and_finally_still_runs() {
    let scene = with_top(
        "timeout: 500ms\n",
        "steps:\n  - {id: hangs, run: 'exec sleep 600', grace: 1s}\n  - {id: after, run: 'touch \"$DIR/after\"'}\n\
         finally:\n  - run: 'echo ${{ run.status }} > \"$DIR/told\"'\n",
    );
    scene.book(1);
    assert_eq!(scene.last()["run"]["status"], "timed_out");
    assert_eq!(scene.read("told"), "timed_out\n");
    assert!(!scene.path("after").exists());
}

#[test]
fn items_run_side_by_side_but_never_more_than_allowed() {
    // A place is a folder that only one step can make at a time; there are two places.
    let scene = scene(
        "steps:\n  - id: each\n    for-each: [1, 2, 3, 4, 5, 6, 7, 8]\n    max-parallel: 2\n    run: |\n      \
         if mkdir \"$DIR/p1\" 2>&-; then p=p1; elif mkdir \"$DIR/p2\" 2>&-; then p=p2; else touch \"$DIR/three\"; exit 1; fi\n      \
         test $p = p1 || touch \"$DIR/two\"\n      \
         until test -e \"$DIR/two\"; do sleep 0.02; done\n      \
         sleep 0.1\n      \
         rmdir \"$DIR/$p\"\n",
    );
    scene.book(0);
    assert!(!scene.path("three").exists(), "three at once");
    assert!(scene.path("two").exists(), "never two at once");
}

#[test]
fn a_for_each_stops_after_the_failures_it_allows() {
    let scene = scene(
        "steps:\n  - id: each\n    for-each: [a, b, c, d, e]\n    max-parallel: 1\n    stop-after-failures: 2\n    \
         run: 'echo ${{ item }} >> \"$DIR/done\"; case ${{ item }} in b|c) exit 1;; esac'\n",
    );
    scene.book(1);
    assert_eq!(scene.read("done"), "a\nb\nc\n");
    assert_eq!(step_of(&scene.last(), "each[1]")["status"], "failed");
}

#[test]
fn a_for_each_that_was_stopped_says_how_far_it_came() {
    let scene = scene(
        "steps:\n  - {id: bad, needs: [], run: 'until test -e \"$DIR/3\"; do sleep 0.02; done; exit 3'}\n  \
         - {id: each, needs: [], max-parallel: 1, for-each: [0, 1, 2, 3, 4, 5],\n     \
         run: 'touch \"$DIR/\"${{ item }}; test ${{ item }} != 3 || until test -e \"$DIR/go\"; do sleep 0.02; done'}\n",
    );
    let mut driver = scene.start_book();
    scene.wait_for("started.out", "bad failed");
    scene.file("go", "");
    driver.wait().unwrap();
    let printed = scene.read("started.out");
    let end = printed.split_once("✗ book failed").unwrap().1;
    assert!(end.contains("  each skipped: 4/6 items\n"), "{printed}");
    assert!(!end.contains("each[4]"), "what never had its turn did not go wrong: {printed}");
}

#[test]
fn outputs_of_a_for_each_are_lists_in_the_order_of_the_items() {
    let scene = scene(
        "steps:\n  - id: each\n    for-each: [c, a, b]\n    outputs: {size: int}\n    \
         run: |\n      test ${{ item }} = a || until test -e \"$DIR/a\"; do sleep 0.02; done\n      touch \"$DIR/\"${{ item }}\n      \
         echo \"name=${{ item }}!\" >> \"$RUNWARD_OUTPUT\"\n      echo \"size=${{ index }}\" >> \"$RUNWARD_OUTPUT\"\n  \
         - run: 'echo ${{ steps.each.outputs.name | join(sep=\",\") }} ${{ steps.each.outputs.size | json }} > \"$DIR/list\"'\n",
    );
    scene.book(0);
    assert_eq!(scene.read("list"), "c!,a!,b! [0,1,2]\n");
}

#[test]
fn a_declared_output_must_be_written_and_an_undeclared_one_is_kept() {
    let scene = scene(
        "steps:\n  - id: dump\n    outputs: {bytes: int}\n    \
         run: 'echo \"note=kept too\" >> \"$RUNWARD_OUTPUT\"; echo bytes=42 >> \"$RUNWARD_OUTPUT\"'\n  \
         - {id: forgets, outputs: {file: path}, run: 'true'}\n",
    );
    scene.book(1);
    let show = scene.last();
    assert_eq!(step_of(&show, "dump")["outputs"], serde_json::json!({"bytes": 42, "note": "kept too"}));
    assert_eq!(step_of(&show, "forgets")["status"], "failed");
    let error = step_of(&show, "forgets")["error"].clone();
    assert!(error.as_str().unwrap().contains("`file` is declared but was not written"), "{error}");
}

#[test]
fn resume_keeps_what_succeeded_and_the_definition_it_started_with() {
    let scene = scene(
        "files: [lib.sh]\n\
         steps:\n  \
         - {id: one, run: 'echo one >> \"$DIR/effects\"'}\n  \
         - {id: two, run: '. ./lib.sh; test -e \"$DIR/ready\"; echo \"two $WORD\" >> \"$DIR/effects\"'}\n  \
         - {id: three, script: three.sh}\n\
         finally:\n  - run: 'echo finally $RUNWARD_GENERATION >> \"$DIR/effects\"'\n",
    );
    scene.file("lib.sh", "WORD=old\n");
    scene.file("three.sh", "echo three old >> \"$DIR/effects\"\n");
    scene.book(1);
    assert_eq!(scene.read("effects"), "one\nfinally 1\n");

    scene.file("book.yaml", "steps:\n  - run: exit 99\n");
    scene.file("lib.sh", "WORD=new\n");
    fs::remove_file(scene.path("three.sh")).unwrap();
    scene.file("ready", "");
    scene.expect(0, &["resume", "last"]);
    assert_eq!(scene.read("effects"), "one\nfinally 1\ntwo old\nthree old\nfinally 2\n");
    let show = scene.last();
    assert_eq!((&show["run"]["generation"], &show["run"]["status"]), (&2.into(), &"succeeded".into()));
    scene.expect(0, &["audit", "verify"]);
    let again = scene.expect(2, &["resume", "last"]);
    assert!(again.stderr.contains("succeeded"), "{}", again.stderr);
}

#[test]
fn a_runbook_that_is_deleted_while_it_runs_changes_nothing() {
    let scene = scene(
        "steps:\n  \
         - {id: one, run: 'touch \"$DIR/began\"; until test -e \"$DIR/go\"; do sleep 0.02; done'}\n  \
         - {id: two, script: two.sh}\n",
    );
    scene.file("two.sh", "touch \"$DIR/two\"\n");
    let mut driver = scene.start_book();
    wait("the first step", || scene.path("began").exists());
    fs::remove_file(scene.path("book.yaml")).unwrap();
    fs::remove_file(scene.path("two.sh")).unwrap();
    scene.file("go", "");
    assert!(driver.wait().unwrap().success());
    assert!(scene.path("two").exists());
}

#[test]
fn a_plan_shows_the_steps_and_does_nothing() {
    let scene = scene(
        "steps:\n  - {id: dump, run: 'touch \"$DIR/dumped\"'}\n  - {id: wipe, irreversible: true, if: 'params.dir != \"\"', \
         cmd: [touch, '${{ params.dir }}/wiped']}\nfinally:\n  - {id: tidy, run: 'touch \"$DIR/tidied\"'}\n",
    );
    let plan = scene.expect(0, &["plan", "book.yaml", "-p", &scene.dir()]).stdout;
    let wiped = format!("{}wiped", scene.path("").display());
    for word in ["dump", "wipe", "irreversible", "if params.dir", "tidy", "finally", &wiped] {
        assert!(plan.contains(word), "{word}: {plan}");
    }
    let json = scene.json(&["plan", "book.yaml", "-p", &scene.dir()]);
    assert_eq!(json["steps"].as_array().unwrap().len(), 3);
    assert_eq!(scene.runs_recorded(), 0);
    for name in ["dumped", "wiped", "tidied"] {
        assert!(!scene.path(name).exists(), "{name}");
    }
}

#[test]
fn one_key_is_one_run() {
    let scene = scene("steps:\n  - {id: one, run: 'echo one >> \"$DIR/effects\"'}\n");
    for _ in 0..2 {
        scene.expect(0, &["run", "book.yaml", "-p", &scene.dir(), "--key", "build-17"]);
    }
    assert_eq!((scene.read("effects").as_str(), scene.runs_recorded()), ("one\n", 1));
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir(), "--key", "build-18"]);
    assert_eq!(scene.runs_recorded(), 2);
    let other = scene.expect(2, &["run", "book.yaml", "-p", "dir=/tmp", "--key", "build-17"]);
    assert!(other.stderr.contains("use a new key"), "{}", other.stderr);
}

#[test]
fn a_detached_run_says_its_id_and_can_be_followed() {
    let scene = scene("steps:\n  - {id: one, run: 'until test -e \"$DIR/go\"; do sleep 0.02; done; echo seen'}\n");
    let said = scene.expect(0, &["run", "book.yaml", "-p", &scene.dir(), "--detach"]);
    let id = said.stdout.trim();
    assert_eq!(scene.last()["run"]["id"], id);
    assert!(said.stderr.contains("logs -f"), "{}", said.stderr);
    let json = scene.json(&["runs", "--unfinished"]);
    assert_eq!(json[0]["id"], id);
    scene.file("go", "");
    let followed = finish(scene.runward().args(["logs", "-f", id]));
    assert!(followed.code == 0 && followed.stdout.contains("seen"), "{}{}", followed.stdout, followed.stderr);
    wait("the run to end", || scene.last()["run"]["status"] == "succeeded");
}

#[test]
fn a_run_can_be_named_by_the_end_of_its_id() {
    let scene = scene("steps:\n  - run: 'true'\n");
    scene.book(0);
    let id = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    scene.expect(0, &["show", &id]);
    scene.expect(0, &["show", id.rsplit('-').next().unwrap()]);
}
