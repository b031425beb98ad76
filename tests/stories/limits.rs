//! What lies at a limit is done, and what goes beyond it is refused with the limit in its words (docs/reference/limits.md).
//! Those of output and of queues are in `logs` and `groups`.

use nix::sys::resource::{UsageWho, getrusage};

use crate::harness::{Scene, step_of};

const MIB: usize = 1024 * 1024;

/// A runbook that reads its one parameter.
const READS: &str =
    "params: {text: {type: string, default: \"\"}}\nsteps:\n  - {id: a, if: 'params.text != \"\"', run: \"true\"}\n";

#[test]
fn parameters_have_256_kib_together() {
    let scene = Scene::new();
    scene.file("book.yaml", READS);
    // As JSON: {"text":"..."}
    let most = 256 * 1024 - 11;
    let give = |chars: usize| scene.file("values.yaml", format!("text: {}\n", "x".repeat(chars)));
    give(most);
    scene.expect(0, &["run", "book.yaml", "--params-file", "values.yaml"]);
    give(most + 1);
    let refused = scene.expect(2, &["run", "book.yaml", "--params-file", "values.yaml"]).stderr;
    for words in ["262145 bytes together", "at most 262144", "pass large data in a file"] {
        assert!(refused.replace("\n  │ ", " ").contains(words), "{refused}");
    }
    assert_eq!(scene.runs_recorded(), 1, "nothing was started");
}

/// What a step says that writes so many lines of so many letters to its outputs; its exit code is the run's.
fn writes(code: i32, lines: usize, letters: usize) -> String {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        format!(
            "steps:\n  - id: a\n    run: |\n      value=$(head -c {letters} /dev/zero | tr '\\0' x)\n      \
             for n in $(seq 10 {last}); do printf 'k%s=%s\\n' \"$n\" \"$value\"; done > \"$RUNWARD_OUTPUT\"\n",
            last = 9 + lines
        ),
    );
    let done = scene.expect(code, &["run", "book.yaml"]);
    let error = step_of(&scene.last(), "a")["error"].as_str().unwrap_or_default().to_owned();
    assert!(done.stdout.contains(&error), "{}", done.stdout);
    error
}

#[test]
fn an_output_has_64_kib_and_all_of_a_step_1_mib() {
    writes(0, 1, 64 * 1024);
    let error = writes(1, 1, 64 * 1024 + 1);
    assert!(error.contains("k10") && error.contains("65537") && error.contains("65536"), "{error}");
    // `k10=`, the value and the end of the line.
    let letters = MIB / 16 - 5;
    writes(0, 16, letters);
    let error = writes(1, 16, letters + 1);
    assert!(error.contains("1048592 bytes together") && error.contains("1048576 are possible"), "{error}");
}

/// Items that execute nothing, so that ten thousand of them are soon through.
const ITEMS: &str = "params: {items: {type: list, required: true}}\nsteps:\n  - id: each\n    \
                     for-each: ${{ params.items }}\n    wait: {until: 2020-01-01 00:00 UTC}\n";

#[test]
fn a_for_each_has_10_000_items_and_little_memory() {
    let scene = Scene::new();
    scene.file("book.yaml", ITEMS);
    let give = |count: usize| {
        let items: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        scene.file("values.yaml", format!("items: [{}]\n", items.join(", ")));
    };
    give(10_001);
    let refused = scene.expect(1, &["run", "book.yaml", "--params-file", "values.yaml"]).stdout;
    assert!(refused.contains("`for-each` has 10001 items; at most 10000 are possible"), "{refused}");
    give(10_000);
    scene.expect(0, &["run", "book.yaml", "--quiet", "--params-file", "values.yaml"]);
    let show = scene.last();
    assert_eq!(show["steps"].as_array().unwrap().len(), 10_001, "the step and its items");
    assert!(show["steps"].as_array().unwrap().iter().all(|step| step["status"] == "succeeded"));
    scene.expect(0, &["audit", "verify"]);
    // The largest of all processes this test has waited for; each test is a process of its own.
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    assert!(peak < 200 * 1024, "{peak} KiB");
}

#[test]
fn runbooks_call_each_other_8_levels_deep() {
    let scene = Scene::new();
    let call = |n: usize| {
        let step = match n {
            9 => "run: \"true\"".to_owned(),
            n => format!("runbook: ./b{}.yaml", n + 1),
        };
        scene.file(&format!("b{n}.yaml"), format!("steps:\n  - {{id: a, {step}}}\n"));
    };
    (0..=9).for_each(call);
    scene.expect(0, &["run", "b1.yaml"]);
    let refused = scene.expect(2, &["run", "b0.yaml"]).stderr;
    assert!(refused.contains("calls go more than 8 levels deep"), "{refused}");
    assert!(refused.contains("one after the other"), "{refused}");
}

#[test]
fn a_step_starts_100_times_at_most_and_waits_30_days_at_most() {
    let scene = Scene::new();
    for (step, fits, beyond, words) in [
        ("run: \"true\", retry: {attempts: N}", "100", "101", "100"),
        ("wait: N", "30d", "31d", "this waits for 31d; at most 30d 0h are possible"),
        ("approve: {expires: N}", "30d", "31d", "this waits for 31d; at most 30d 0h are possible"),
    ] {
        scene.file("book.yaml", format!("steps:\n  - {{id: a, {}}}\n", step.replace('N', fits)));
        scene.expect(0, &["validate", "book.yaml"]);
        scene.file("book.yaml", format!("steps:\n  - {{id: a, {}}}\n", step.replace('N', beyond)));
        let refused = scene.expect(2, &["run", "book.yaml"]).stderr;
        assert!(refused.contains(words), "{step}: {refused}");
    }
    assert_eq!(scene.runs_recorded(), 0);
}

#[test]
fn a_step_that_may_start_100_times_does() {
    let scene = Scene::new();
    scene.file("book.yaml", "steps:\n  - {id: a, run: exit 1, retry: {attempts: 100, delay: 0s, jitter: none}}\n");
    scene.expect(1, &["run", "book.yaml", "--quiet"]);
    assert_eq!(step_of(&scene.last(), "a")["attempts"], 100);
}

#[test]
fn a_point_in_time_is_30_days_away_at_most() {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        "params: {at: {type: string, required: true}}\nsteps:\n  - {id: a, wait: {until: \"${{ params.at }}\"}}\n",
    );
    let refused = scene.expect(1, &["run", "book.yaml", "-p", "at=2999-01-01 00:00 UTC"]).stdout;
    assert!(refused.contains("at most 30d 0h are possible"), "{refused}");
}
