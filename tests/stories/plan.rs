//! Seeing before doing: what a plan says of the runs before, and that it does nothing.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::harness::{Scene, finish};

const BOOK: &str = "\
params: {nodes: {type: list, default: [a, b, c, d, e]}, fail: {type: bool, default: false}}
steps:
  - {id: one, run: 'head -c 200000 /dev/urandom | sha256sum'}
  - {id: other, needs: [], run: 'head -c 3000000 /dev/urandom | sha256sum'}
  - {id: each, needs: [one], for-each: '${{ params.nodes }}', max-parallel: 2, run: 'echo ${{ item }}'}
  - {id: join, needs: [each, other], env: {F: '${{ params.fail }}'}, run: 'test \"$F\" = false'}
finally:
  - {id: tell, run: 'true'}
";

fn scene(book: &str) -> Scene {
    let scene = Scene::new();
    scene.file("book.yaml", book);
    scene
}

/// What every run of the scene measured, by step, from the newest twenty that succeeded.
fn measured(scene: &Scene) -> (BTreeMap<String, Vec<u64>>, Vec<u64>) {
    let runs = scene.json(&["runs", "--limit", "100"]);
    let succeeded = runs.as_array().unwrap().iter().filter(|run| run["status"] == "succeeded").take(20);
    let (mut times, mut totals) = (BTreeMap::<String, Vec<u64>>::new(), Vec::new());
    for run in succeeded {
        let show = scene.json(&["show", run["id"].as_str().unwrap()]);
        let between = |from: &Value, to: &Value| (to.as_i64().unwrap() - from.as_i64().unwrap()) as u64;
        totals.push(between(&show["run"]["started_at"], &show["run"]["finished_at"]));
        for attempt in show["attempts"].as_array().unwrap().iter().filter(|attempt| attempt["status"] == "succeeded") {
            let step = attempt["unit"].as_str().unwrap().split('[').next().unwrap().to_owned();
            times.entry(step).or_default().push(between(&attempt["started_at"], &attempt["ended_at"]));
        }
    }
    (times, totals)
}

/// The smallest that was measured of which so many percent are not larger.
fn brute_force(times: &[u64], percent: usize) -> u64 {
    let fits = |value: &&u64| times.iter().filter(|time| time <= value).count() * 100 >= percent * times.len();
    *times.iter().filter(fits).min().unwrap()
}

#[test]
fn a_plan_says_how_long_it_takes_by_what_was_measured() {
    let scene = scene(BOOK);
    for _ in 0..3 {
        scene.expect(0, &["run", "book.yaml", "-q"]);
    }
    scene.expect(0, &["run", "book.yaml", "-q", "-p", "nodes=x"]);
    scene.expect(1, &["run", "book.yaml", "-q", "-p", "fail=true"]);
    let (times, totals) = measured(&scene);
    assert_eq!((times["one"].len(), times["each"].len()), (4, 16), "a run that failed does not count");
    let plan = scene.json(&["plan", "book.yaml"]);
    let median = |step: &str| brute_force(&times[step], 50);
    for (step, times) in &times {
        let planned = plan["steps"].as_array().unwrap().iter().find(|planned| planned["id"] == **step).unwrap();
        let expected = json!({"n": times.len(), "median_ms": median(step), "p90_ms": brute_force(times, 90)});
        assert_eq!(planned["usual"], expected, "{step}: {times:?}");
    }
    let total = json!({"n": 4, "median_ms": brute_force(&totals, 50), "p90_ms": brute_force(&totals, 90)});
    let expected = &plan["expected"];
    assert_eq!((&expected["total"], &expected["runs"], &expected["unknown"]), (&total, &json!(4), &json!([])));
    // Five items, two at a time, are three waves.
    let ways = [("other", median("other")), ("one", median("one") + 3 * median("each"))];
    let longest = ways.iter().map(|(_, ms)| *ms).max().unwrap();
    assert_eq!(expected["ms"], longest + median("join") + median("tell"), "{expected}");
    let first = expected["path"][0].as_str().unwrap();
    assert!(ways.iter().any(|(step, ms)| *step == first && *ms == longest), "{expected}");
    let text = scene.expect(0, &["plan", "book.yaml"]).stdout;
    for words in ["usually takes", "an item usually takes", "the last 4 runs that succeeded", "→ join → tell"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn what_never_succeeded_is_not_guessed() {
    let scene = scene(BOOK);
    scene.expect(1, &["run", "book.yaml", "-q", "-p", "fail=true"]);
    let plan = scene.json(&["plan", "book.yaml"]);
    assert_eq!((&plan["expected"], &plan["steps"][0]["usual"]), (&Value::Null, &Value::Null));
    let text = scene.expect(0, &["plan", "book.yaml"]).stdout;
    assert!(text.contains("not known: no run of it has succeeded here"), "{text}");
    scene.expect(0, &["run", "book.yaml", "-q"]);
    scene.file("book.yaml", BOOK.replace("finally:", "  - {id: fresh, run: 'true'}\nfinally:"));
    let plan = scene.json(&["plan", "book.yaml"]);
    assert_eq!(plan["expected"]["unknown"], json!(["fresh"]));
    let text = scene.expect(0, &["plan", "book.yaml"]).stdout;
    assert!(text.contains("at least") && text.contains("never succeeded before: fresh"), "{text}");
}

#[test]
fn a_plan_makes_no_ledger_and_no_folder() {
    let scene = scene("params: {pin: {sensitive: true, default: '1'}}\nsteps:\n  - cmd: [echo, '${{ params.pin }}']\n");
    let text = scene.expect(0, &["plan", "book.yaml"]).stdout;
    assert!(text.contains("it never ran here") && text.contains("no hash yet"), "{text}");
    assert!(text.contains("Nothing was executed, not even a `check`"), "{text}");
    assert!(!scene.path("state").exists());
    scene.file("state/ledger.db", "this is no database, but somebody's notes");
    let text = scene.expect(0, &["plan", "book.yaml"]).stdout;
    assert!(text.contains("not known: the ledger"), "{text}");
    assert_eq!(scene.read("state/ledger.db"), "this is no database, but somebody's notes");
}

#[test]
fn a_plan_says_what_differs_from_the_last_run() {
    const BOOK: &str = "\
params: {env: {default: staging}, word: {sensitive: true, required: true}, same: {default: x}}
files: ['*.sh']
steps:
  - {id: go, env: {W: '${{ params.word }}', E: '${{ params.env }}', S: '${{ params.same }}'}, run: sh a.sh}
";
    let scene = scene(BOOK);
    scene.file("a.sh", "true\n");
    scene.file("b.sh", "true\n");
    let with = |word: &str, args: &[&str]| finish(scene.runward().args(args).env("RUNWARD_PARAM_WORD", word));
    assert_eq!(with("open sesame", &["run", "book.yaml", "-q"]).code, 0);
    let same = with("open sesame", &["plan", "book.yaml"]).stdout;
    assert!(same.contains("with the same runbook, files and parameters"), "{same}");
    scene.file("book.yaml", BOOK.replace("id: go", "id: gone"));
    scene.file("a.sh", "echo other\n");
    fs::remove_file(scene.path("b.sh")).unwrap();
    scene.file("c.sh", "");
    let args = ["plan", "book.yaml", "-p", "env=prod"];
    let plan = with("close sesame", &args).stdout;
    for words in [
        "env: \"staging\" -> \"prod\"",
        "word: changed (sensitive)",
        "a.sh: content changed",
        "b.sh: no longer pinned",
        "c.sh: added",
        "-  - {id: go,",
        "+  - {id: gone,",
        ": succeeded",
    ] {
        assert!(plan.contains(words), "{words}: {plan}");
    }
    assert!(!plan.contains("sesame") && !plan.contains("same: \""), "{plan}");
    let json = with("close sesame", &[&args[..], &["--format", "json"]].concat());
    assert!(!json.stdout.contains("sesame"), "{}", json.stdout);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    let params = json!([{"name": "env", "was": "staging", "is": "prod"},
                        {"name": "word", "was": "(sensitive)", "is": "(sensitive)"}]);
    assert_eq!(json["changes"]["params"], params);
    assert_eq!(json["last_run"]["id"], scene.last()["run"]["id"]);
}

#[test]
fn the_same_plan_has_the_same_hash_before_and_after_it_ran() {
    let scene = scene(
        "params: {n: {type: int, default: 1}, pin: {sensitive: true, default: '1'}}\nsteps:\n  - cmd: [echo, '${{ params.n }}', '${{ params.pin }}']\n",
    );
    scene.expect(0, &["run", "book.yaml", "-q"]);
    let hash = |args: &[&str]| scene.json(&[&["plan", "book.yaml"], args].concat())["plan"].clone();
    let first = hash(&[]);
    assert_eq!(first, scene.last()["plan"]);
    assert!(scene.expect(0, &["show", "last"]).stdout.contains(first.as_str().unwrap()));
    let others = [hash(&["-p", "n=2"]), hash(&["-p", "pin=2"])];
    assert!(!others.contains(&first) && others[0] != others[1], "{first} {others:?}");
}

#[test]
fn a_plan_names_the_programs_that_are_not_pinned() {
    let scene = scene(
        "files: [own.sh]\nsteps:\n  - run: |\n      wait_for() { curl -fsS \"$1\"; }\n      cd /tmp\n      ./own.sh | tee log\n  \
         - {cmd: [/usr/bin/psql, --version]}\n  - {shell: python3, run: print()}\n",
    );
    scene.file("own.sh", "");
    let plan = scene.json(&["plan", "book.yaml"]);
    assert_eq!(plan["unpinned"], json!(["/usr/bin/psql", "curl", "python3", "tee"]));
    let text = scene.expect(0, &["plan", "book.yaml"]).stdout;
    assert!(text.contains("not pinned  /usr/bin/psql, curl, python3, tee"), "{text}");
}
