//! Plan, agree, run: a saved plan runs exactly so, or says what has moved on.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::harness::{Done, Scene, finish};

const BOOK: &str = "\
name: deploy
params: {env: {enum: [staging, prod], required: true}, wait: {type: duration, default: 2s}, nodes: {type: list, default: [a]}}
files: ['*.sh']
steps:
  - {id: go, env: {E: '${{ params.env }}', W: '${{ params.wait }}', N: '${{ params.nodes | json }}'}, run: sh go.sh}
";

fn scene() -> Scene {
    let scene = Scene::new();
    scene.file("book.yaml", BOOK);
    scene.file("go.sh", "echo went\n");
    scene
}

fn planned(scene: &Scene) -> Value {
    scene.expect(0, &["plan", "book.yaml", "-p", "env=prod", "--out", "plan.json"]);
    serde_json::from_str(&scene.read("plan.json")).unwrap()
}

/// A report as one text: without the frame and the line breaks of the terminal.
fn said(done: &Done) -> String {
    done.stderr.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn refused(scene: &Scene, args: &[&str], words: &str) {
    let before = scene.runs_recorded();
    let done = scene.expect(2, args);
    assert!(said(&done).contains(words), "{words}: {}", done.stderr);
    assert_eq!(scene.runs_recorded(), before, "{words}: nothing was started");
}

#[test]
fn a_saved_plan_runs_exactly_so_and_only_once() {
    let scene = scene();
    let plan = planned(&scene);
    assert_eq!(fs::metadata(scene.path("plan.json")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(scene.runs_recorded(), 0);
    let text = scene.expect(0, &["plan", "book.yaml", "-p", "env=prod", "--out", "plan.json"]).stdout;
    assert!(text.contains("saved to plan.json: `runward run --plan plan.json` runs exactly this"), "{text}");
    let run = scene.expect(0, &["run", "--plan", "plan.json"]).stdout;
    let hash = plan["plan"].as_str().unwrap();
    assert!(run.contains("went") && run.contains(&format!("plan {}", &hash[..12])), "{run}");
    let show = scene.last();
    assert_eq!((&show["plan"], &show["run"]["params"]), (&plan["plan"], &plan["params"]));
    assert_eq!(show["run"]["params"], json!({"env": "prod", "wait": 2000, "nodes": ["a"]}));
    assert!(show["planned"]["at"].is_i64() && show["planned"]["by"].is_string(), "{show}");
    assert_eq!(show["events"][0]["event"]["planned"], show["planned"]);
    let id = show["run"]["id"].as_str().unwrap();
    refused(&scene, &["run", "--plan", "plan.json"], &format!("run {id} by"));
    assert!(scene.expect(0, &["show", "last"]).stdout.contains("saved by"));
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn what_moved_on_is_named() {
    let scene = scene();
    let plan = planned(&scene);
    scene.file("go.sh", "echo other\n");
    refused(&scene, &["run", "--plan", "plan.json"], "go.sh: content changed");
    scene.file("go.sh", "echo went\n");
    scene.file("book.yaml", format!("{BOOK}# a word\n"));
    refused(&scene, &["run", "--plan", "plan.json"], "book.yaml was changed");
    scene.file("other.yaml", "steps:\n  - run: 'true'\n");
    refused(&scene, &["run", "other.yaml", "--plan", "plan.json"], "plan.json plans the runbook `deploy`");
    fs::remove_file(scene.path("book.yaml")).unwrap();
    refused(&scene, &["run", "--plan", "plan.json"], "does not exist");
    scene.file("book.yaml", BOOK);
    let mut old = plan;
    old["saved"]["valid_until"] = json!(1_000);
    scene.file("plan.json", old.to_string());
    refused(&scene, &["run", "--plan", "plan.json"], "to be run until 1970-01-01");
    planned(&scene);
    scene.expect(0, &["run", "book.yaml", "-q", "-p", "env=staging"]);
    refused(&scene, &["run", "--plan", "plan.json"], "is the newest one now");
    refused(&scene, &["run", "--plan", "plan.json", "-p", "env=staging"], "the plan says already what `env` is");
    planned(&scene);
    scene.expect(0, &["run", "--plan", "plan.json", "-q"]);
}

#[test]
fn what_changed_where_a_file_will_be_written_is_named() {
    let scene = Scene::new();
    scene.file("t.tera", "port {{ params.port }}\n");
    let to = scene.path("app.conf").display().to_string();
    scene.file(
        "book.yaml",
        format!("params: {{port: {{type: int, default: 80}}}}\nsteps:\n  - render: {{template: t.tera, to: {to}}}\n"),
    );
    let save = || scene.expect(0, &["plan", "book.yaml", "--out", "plan.json"]);
    save();
    scene.file("app.conf", "somebody's own\n");
    refused(&scene, &["run", "--plan", "plan.json"], "app.conf, which a `render` step writes, was changed");
    save();
    fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
    refused(&scene, &["run", "--plan", "plan.json"], "app.conf, which a `render` step writes, was changed");
    save();
    let args = ["run", "--plan", "plan.json", "-q", "--key", "k"];
    scene.expect(0, &args);
    assert_eq!(scene.read("app.conf"), "port 80\n");
    scene.expect(0, &args);
    assert_eq!(scene.runs_recorded(), 1, "the same call again is the same run, although its file is there now");
}

#[test]
fn a_sensitive_value_is_not_in_the_file_and_has_to_be_the_same_again() {
    let scene = Scene::new();
    scene.file(
        "book.yaml",
        "params: {env: {default: prod}, pin: {sensitive: true, required: true}}\nsteps:\n  \
         - {env: {P: '${{ params.pin }}', E: '${{ params.env }}'}, run: 'echo \"$E\" > out'}\n",
    );
    let with = |pin: &str, args: &[&str]| finish(scene.runward().args(args).env("RUNWARD_PARAM_PIN", pin));
    let saved = with("48151623", &["plan", "book.yaml", "--out", "plan.json"]);
    assert_eq!(saved.code, 0, "{}", saved.stderr);
    let text = scene.read("plan.json");
    assert!(!text.contains("48151623") && !saved.stdout.contains("48151623"), "{text}");
    refused(&scene, &["run", "--plan", "plan.json"], "`pin` is required");
    let other = with("48151624", &["run", "--plan", "plan.json"]);
    assert!(
        other.code == 2 && said(&other).contains("the values of pin are not those of the plan"),
        "{}",
        other.stderr
    );
    // What the environment says of others does not count: the plan does.
    let command = ["run", "--plan", "plan.json", "-q"];
    let done =
        finish(scene.runward().args(command).envs([("RUNWARD_PARAM_PIN", "48151623"), ("RUNWARD_PARAM_ENV", "x")]));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(scene.last()["run"]["params"], json!({"env": "prod", "pin": "(sensitive)"}));
}

#[test]
fn of_two_that_run_a_saved_plan_at_once_one_does() {
    let scene = scene();
    planned(&scene);
    let begin =
        || scene.runward().args(["run", "--plan", "plan.json", "-q"]).stderr(std::process::Stdio::piped()).spawn();
    let both: Vec<_> = (0..4).map(|_| begin().unwrap()).collect();
    let mut ends: Vec<_> = both.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    ends.sort_by_key(|end| end.status.code());
    let codes: Vec<_> = ends.iter().map(|end| end.status.code().unwrap()).collect();
    assert_eq!((codes, scene.runs_recorded()), (vec![0, 2, 2, 2], 1));
    let id = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    for end in &ends[1..] {
        assert!(String::from_utf8_lossy(&end.stderr).contains(&id), "the others are told which run it was");
    }
}

#[test]
fn a_hostile_file_is_answered_in_words_and_starts_nothing() {
    let scene = scene();
    let plan = planned(&scene);
    let text = scene.read("plan.json");
    let run = ["run", "--plan", "bad.json"];
    for cut in [0, 1, text.len() / 3, text.len() / 2, text.len() - 3] {
        scene.file("bad.json", &text[..cut]);
        refused(&scene, &run, "is no plan, or not all of it");
    }
    let edits: [(&str, Value, &str); 10] = [
        ("/params/env", json!("staging"), "changed after it was saved"),
        ("/plan", json!("0".repeat(64)), "changed after it was saved"),
        ("/params/wait", json!("$(reboot)"), "is no duration"),
        ("/params/env", json!("other"), "is not one of"),
        ("/params", json!({"env": "prod", "x": 1}), "no parameter `x`"),
        ("/definition", json!("1"), "book.yaml was changed"),
        ("/version", json!(2), "version 2; this runward knows version 1"),
        ("/version", json!("one"), "says no version"),
        ("/runward", json!("events"), "is no plan of runward"),
        ("/saved/last_run", json!({"id": 1}), "is no whole plan"),
    ];
    for (place, value, words) in edits {
        let mut edited = plan.clone();
        *edited.pointer_mut(place).unwrap() = value;
        scene.file("bad.json", edited.to_string());
        refused(&scene, &run, words);
    }
    scene.file("bad.json", "[".repeat(1_000_000));
    refused(&scene, &run, "is no plan, or not all of it");
    scene.file("bad.json", [0xff, 0xfe, 0x00]);
    refused(&scene, &run, "is no plan, or not all of it");
    fs::File::create(scene.path("bad.json")).unwrap().set_len(1 << 40).unwrap();
    refused(&scene, &run, "a plan has at most");
    fs::remove_file(scene.path("bad.json")).unwrap();
    nix::unistd::mkfifo(&scene.path("bad.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&scene, &run, "is no regular file");
    refused(&scene, &["run", "--plan", "missing.json"], "cannot be read");
    scene.file("bare.json", scene.expect(0, &["plan", "book.yaml", "-p", "env=prod", "--format", "json"]).stdout);
    refused(&scene, &["run", "--plan", "bare.json"], "was printed, not saved");
}

#[test]
fn a_plan_is_not_written_through_a_link_nor_readable_to_others() {
    let scene = scene();
    scene.file("precious", "keep me");
    symlink(scene.path("precious"), scene.path("plan.json")).unwrap();
    let save = ["plan", "book.yaml", "-p", "env=prod", "--out"];
    refused(&scene, &[&save[..], &["plan.json"]].concat(), "is a link");
    refused(&scene, &[&save[..], &["/dev/null"]].concat(), "no regular file");
    refused(&scene, &[&save[..], &["no/such/folder.json"]].concat(), "cannot be written");
    assert_eq!(scene.read("precious"), "keep me");
    scene.file("open.json", "{}");
    fs::set_permissions(scene.path("open.json"), fs::Permissions::from_mode(0o644)).unwrap();
    scene.expect(0, &[&save[..], &["open.json"]].concat());
    assert_eq!(fs::metadata(scene.path("open.json")).unwrap().permissions().mode() & 0o777, 0o600);
}
