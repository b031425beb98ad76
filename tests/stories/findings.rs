//! What is wrong with a runbook is said before anything happens: all of it, at its place, in a bounded time.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Done, Scene};

/// It tells an answer from none; how the work grows with the file is counted in the engine's own tests.
const SOON: Duration = Duration::from_secs(300);

const TEN: &str = "\
# 备份与恢复：十个错误
name: 数据库
params:
  env: {type: strng}
  count: {type: int, default: ten}
steps:
  - id: 备份
    run: echo \"备份 ${{ params.evn }}\"
  - id: copy
    rnu: echo
  - id: copy
    run: echo
    needs: [bakup]
  - id: wait_long
    run: echo
    timeout: 30
  - id: again
    run: echo
    on-lost: retry
  - id: cond
    run: echo
    if: ${{ params.env }}
";

const TEN_PLACES: [(u64, u64, &str); 10] = [
    (4, 15, "strng"),
    (5, 31, "ten"),
    (7, 9, "备份"),
    (8, 23, "evn"),
    (10, 5, "rnu"),
    (11, 9, "copy"),
    (13, 13, "bakup"),
    (16, 14, "timeout"),
    (19, 14, "on-lost"),
    (22, 9, "bare expression"),
];

/// `validate`, `plan` and `run` refuse the file, soon, and nothing is executed.
fn refused(scene: &Scene, file: &str) -> Done {
    let mut last = None;
    for command in ["validate", "plan", "run"] {
        let began = Instant::now();
        let done = scene.expect(2, &[command, file]);
        assert!(began.elapsed() < SOON, "{command} took {:?}", began.elapsed());
        assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
        assert!(!done.stderr.is_empty(), "{command} says why");
        last = Some(done);
    }
    assert_eq!(scene.runs_recorded(), 0, "nothing was executed");
    last.unwrap()
}

#[test]
fn ten_mistakes_after_chinese_text_are_ten_findings_at_their_places() {
    let scene = Scene::new();
    scene.file("ten.yaml", TEN);
    let report = scene.json(&["validate", "ten.yaml"]);
    assert_eq!(report[0]["valid"], false);
    let findings = report[0]["findings"].as_array().unwrap();
    let places: Vec<(u64, u64)> = findings
        .iter()
        .map(|finding| (finding["line"].as_u64().unwrap(), finding["column"].as_u64().unwrap()))
        .collect();
    assert_eq!(places, TEN_PLACES.map(|(line, column, _)| (line, column)), "{report:#}");
    for (finding, (line, _, word)) in findings.iter().zip(TEN_PLACES) {
        assert!(finding["message"].as_str().unwrap().contains(word), "line {line}: {finding}");
    }
}

#[test]
fn the_report_for_people_has_the_same_ten_places() {
    let scene = Scene::new();
    scene.file("ten.yaml", TEN);
    let report = refused(&scene, "ten.yaml").stderr;
    assert!(report.contains("ten.yaml: 10 problems"), "{report}");
    for (line, column, word) in TEN_PLACES {
        assert!(report.contains(&format!("[ten.yaml:{line}:{column}]")), "line {line}, column {column}: {report}");
        assert!(report.contains(word), "{word}: {report}");
    }
}

#[test]
fn a_misspelt_name_comes_with_the_one_that_was_meant() {
    let scene = Scene::new();
    scene.file("ten.yaml", TEN);
    let report = scene.expect(2, &["validate", "ten.yaml"]).stderr;
    for meant in ["`string`", "`env`", "`run`"] {
        assert!(report.contains(&format!("did you mean {meant}?")), "{report}");
    }
    scene.file("need.yaml", "steps:\n  - {id: backup, run: echo}\n  - {id: copy, run: echo, needs: [bakup]}\n");
    let report = scene.expect(2, &["validate", "need.yaml"]).stderr;
    assert!(report.contains("did you mean `backup`?"), "{report}");
}

#[test]
fn a_billion_laughs_end_early() {
    let scene = Scene::new();
    let mut bomb = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for n in 1..10 {
        let before = vec![format!("*a{}", n - 1); 9].join(", ");
        bomb += &format!("a{n}: &a{n} [{before}]\n");
    }
    scene.file("bomb.yaml", bomb + "steps: [{run: echo}]\n");
    refused(&scene, "bomb.yaml");
}

#[test]
fn twenty_thousand_nested_brackets_are_refused() {
    let scene = Scene::new();
    scene.file("deep.yaml", format!("steps: {}{}\n", "[".repeat(20_000), "]".repeat(20_000)));
    scene.file("open.yaml", format!("steps: {}", "[".repeat(20_000)));
    scene.file("maps.yaml", format!("steps: {}", "{a: ".repeat(20_000)));
    for file in ["deep.yaml", "open.yaml", "maps.yaml"] {
        refused(&scene, file);
    }
}

#[test]
fn a_file_of_two_mebibytes_is_refused_with_the_limit() {
    let scene = Scene::new();
    let step = "  - run: echo a step among very many others\n";
    scene.file("long.yaml", format!("steps:\n{}", step.repeat(2 * 1024 * 1024 / step.len() + 1)));
    let report = refused(&scene, "long.yaml").stderr;
    assert!(report.contains("has 2.0 MiB; a runbook has at most 1.0 MiB"), "{report}");
}

#[test]
fn a_circle_is_named_with_its_path() {
    let scene = Scene::new();
    scene.file(
        "circle.yaml",
        "steps:\n  - {id: dump, run: echo, needs: [upload]}\n  - {id: pack, run: echo, needs: [dump]}\n  \
         - {id: upload, run: echo, needs: [pack]}\n",
    );
    let report = refused(&scene, "circle.yaml").stderr;
    assert!(report.contains("dump -> upload -> pack -> dump"), "{report}");
}

#[test]
fn files_that_are_no_text_or_not_there_are_refused() {
    let scene = Scene::new();
    scene.file("nul.yaml", b"steps:\n  - run: echo \"a\0b\"\n");
    scene.file("bytes.yaml", b"steps:\n  - run: echo \xff\xfe\n");
    scene.file("empty.yaml", "");
    scene.file("comment.yaml", "# nothing but this\n");
    scene.file("list.yaml", "- one\n- two\n");
    scene.file("half.yaml", "steps:\n  - run: \"echo\n");
    for file in ["nul.yaml", "bytes.yaml", "empty.yaml", "comment.yaml", "list.yaml", "half.yaml"] {
        let report = refused(&scene, file).stderr;
        assert!(report.contains(file), "{report}");
    }
    let report = refused(&scene, "nowhere.yaml").stderr;
    assert!(report.contains("`nowhere.yaml` does not exist"), "{report}");
    let report = refused(&scene, ".").stderr;
    assert!(report.contains("is a folder"), "{report}");
}

/// A complete runbook for each key that is not built yet, the key's path, and its line.
fn unbuilt() -> Vec<(&'static str, u32, String)> {
    let top = |path: &'static str, text: &str| (path, 1, format!("{text}\nsteps:\n  - run: touch pwned\n"));
    vec![top("on.webhook", "on: {webhook: {secret: hook}}")]
}

#[test]
fn keys_that_are_not_built_yet_are_refused_by_name_and_line_and_nothing_is_executed() {
    for (path, line, text) in unbuilt() {
        let scene = Scene::new();
        scene.file("later.yaml", text);
        for command in ["plan", "run"] {
            let done = scene.expect(2, &[command, "later.yaml"]);
            assert!(done.stderr.contains(path), "{path}: {}", done.stderr);
            assert!(done.stderr.contains("not built yet"), "{path}: {}", done.stderr);
            assert!(done.stderr.contains(&format!("[later.yaml:{line}:")), "{path}: {}", done.stderr);
        }
        assert_eq!(scene.runs_recorded(), 0, "{path}");
        assert!(!scene.path("pwned").exists(), "{path}");
    }
}

#[test]
fn the_schema_is_json_and_knows_the_steps() {
    let printed = Scene::new().expect(0, &["schema"]).stdout;
    let schema: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(schema["type"], "object");
    assert!(schema["properties"]["steps"].is_object());
}

#[test]
fn yaml_words_that_look_like_something_else_stay_text() {
    let scene = Scene::new();
    scene.file(
        "norway.yaml",
        "steps:\n  - run: printf '%s ' \"$A\" \"$B\" \"$C\" \"$D\" > \"$RUNWARD_WORKSPACE/out\"; cat \"$RUNWARD_WORKSPACE/out\"\n    \
         env: {A: NO, B: on, C: 012, D: 1_000}\n",
    );
    scene.expect(0, &["run", "norway.yaml"]);
    assert_eq!(scene.expect(0, &["logs", "last", "--raw"]).stdout, "NO on 012 1_000 ");
}
