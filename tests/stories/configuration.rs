//! What is configured: in a file, in the environment, by flags; and what becomes of a file that is wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::{Done, Scene, finish, repository};

const BOOK: &str = "steps:\n  - run: echo hello\n";

impl Scene {
    /// Runs the binary in a folder of the scene, without the harness's own state folder in the environment.
    fn run_in(&self, folder: &str, args: &[&str], env: &[(&str, &str)]) -> Done {
        fs::create_dir_all(self.path(folder)).unwrap();
        let mut command = self.runward();
        command.env_remove("RUNWARD_STATE").env("XDG_STATE_HOME", self.path("xdg"));
        finish(command.current_dir(self.path(folder)).args(args).envs(env.iter().copied()))
    }

    /// Value and origin of a setting.
    fn setting(&self, folder: &str, args: &[&str], env: &[(&str, &str)], key: &str) -> (Value, Value) {
        let args: Vec<&str> = args.iter().chain(&["config", "show", "--format", "json"]).copied().collect();
        let done = self.run_in(folder, &args, env);
        let shown: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{}", done.stderr));
        let rows = shown["settings"].as_array().unwrap();
        let row = rows.iter().find(|row| row["key"] == key).unwrap();
        (row["value"].clone(), row["from"].clone())
    }
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
    let scene = Scene::new();
    let (value, from) = scene.setting("a/b", &[], &[], "state");
    assert_eq!((value, from), (json!(scene.path("xdg/runward")), json!({"is": "default"})));
    let file = scene.file("a/runward.toml", "# ours\nstate = \"状态\"\n");
    let (value, from) = scene.setting("a/b", &[], &[], "state");
    assert_eq!(value, json!(scene.path("a/状态")), "relative to the file, not to where it is run");
    assert_eq!(from, json!({"is": "file", "file": file, "line": 2}));
    let env = [("RUNWARD_STATE", "/env")];
    let (value, from) = scene.setting("a/b", &[], &env, "state");
    assert_eq!((value, from), (json!("/env"), json!({"is": "environment", "name": "RUNWARD_STATE"})));
    let (value, from) = scene.setting("a/b", &["--state", "/flag"], &env, "state");
    assert_eq!((value, from), (json!("/flag"), json!({"is": "flag", "name": "--state"})));
    let cleared = scene.setting("a/b", &[], &[("RUNWARD_STATE", "")], "state").0;
    assert_eq!(cleared, json!(scene.path("a/状态")), "a variable that is empty is not set");
}

#[test]
fn the_nearest_file_counts_and_one_that_is_named_counts_more() {
    let scene = Scene::new();
    scene.file("runward.toml", "retention.keep = 1\n");
    scene.file("a/runward.toml", "retention.keep = 2\n");
    let other = scene.file("other.toml", "retention.keep = 3\n");
    let other = other.to_str().unwrap();
    let keep = |folder: &str, args: &[&str], env: &[(&str, &str)]| scene.setting(folder, args, env, "retention.keep").0;
    assert_eq!(keep("b", &[], &[]), 1);
    assert_eq!(keep("a/b", &[], &[]), 2);
    assert_eq!(keep("a/b", &[], &[("RUNWARD_CONFIG", other)]), 3);
    assert_eq!(keep("a/b", &["--config", "../runward.toml"], &[("RUNWARD_CONFIG", other)]), 2);
    assert_eq!(keep("a/b", &["--config", "/dev/null"], &[]), Value::Null, "nothing at all");
    let done = scene.run_in("a", &["--config", "no.toml", "runs"], &[]);
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("no.toml cannot be read") && done.stderr.contains("/dev/null"), "{}", done.stderr);
}

#[test]
fn runbooks_are_found_in_the_folders_that_are_configured_and_named_by_their_place_there() {
    let scene = Scene::new();
    scene.file("runward.toml", "state = \"state\"\nrunbooks = [\"ops\", \"库\"]\n");
    scene.file("ops/db/vacuum.yaml", BOOK);
    scene.file("库/deploy.yml", BOOK);
    for name in ["db/vacuum", "deploy"] {
        let done = scene.run_in("deep/below", &["run", name], &[]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        let runs = scene.run_in("deep", &["runs", name], &[]);
        assert!(runs.stdout.contains(name), "{}", runs.stdout);
    }
    let list = scene.run_in("deep", &["list"], &[]).stdout;
    assert!(list.contains("db/vacuum") && list.contains("deploy"), "{list}");
    let detached = scene.run_in("deep", &["run", "deploy", "--detach"], &[]);
    assert_eq!(detached.code, 0, "{}", detached.stderr);
    let done = scene.run_in("deep", &["run", "no"], &[]);
    assert!(done.stderr.contains("ops/no.yaml") && done.stderr.contains("/库/"), "{}", done.stderr);
    let env = [("RUNWARD_RUNBOOKS", "../ops:../库")];
    assert_eq!(scene.run_in("deep", &["--config", "/dev/null", "validate", "deploy"], &env).code, 0);
}

#[test]
fn every_mistake_of_a_file_is_in_one_report_with_its_place() {
    let scene = Scene::new();
    scene.file("runward.toml", "# 我们的\nstat = \"x\"\n[log]\nlevel = \"debgu\"\n[retention]\nkeep = \"20\"\n");
    let env = [("RUNWARD_LOG_FORMAT", "xml")];
    let done = scene.run_in("a", &["runs"], &env);
    assert_eq!(done.code, 2, "{}", done.stdout);
    for word in [
        "runward.toml:2:1",
        "did you mean `state`?",
        "runward.toml:4:9",
        "did you mean `debug`?",
        "runward.toml:6:8",
        "a whole number, not a text",
        "3 problems",
        "RUNWARD_LOG_FORMAT: xml is none of text, json",
        "--config /dev/null",
    ] {
        assert!(done.stderr.contains(word), "{word}: {}", done.stderr);
    }
    assert_eq!(scene.run_in("a", &["--config", "/dev/null", "runs"], &[]).code, 0, "the way out of it");
    assert_eq!(scene.run_in("a", &["schema"], &[]).code, 0, "what needs no configuration works all the same");
}

#[test]
fn what_is_no_toml_is_shown_and_never_panics() {
    let scene = Scene::new();
    for text in [&b"state = \"x\n"[..], b"\xff\xfe", b"[[[", b"state = 1e9999", b"\x1b]0;title\x07"] {
        scene.file("runward.toml", text);
        let done = scene.run_in("a", &["runs"], &[]);
        assert_eq!(done.code, 2, "{}", done.stderr);
        assert!(done.stderr.contains("runward.toml") && !done.stderr.contains("panicked"), "{}", done.stderr);
        assert!(!done.stderr.contains('\u{1b}'), "{}", done.stderr);
    }
    scene.file("runward.toml", "#".repeat(70_000));
    assert!(scene.run_in("a", &["runs"], &[]).stderr.contains("more than 64 KiB"));
    fs::remove_file(scene.path("runward.toml")).unwrap();
    fs::create_dir(scene.path("runward.toml")).unwrap();
    assert!(scene.run_in("a", &["runs"], &[]).stderr.contains("is not a file"));
}

/// What somebody else left in a folder above does not steer anything.
#[test]
fn a_file_that_others_may_write_is_not_trusted() {
    let scene = Scene::new();
    let file = scene.file("runward.toml", "state = \"/somewhere\"\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = |why: &str| {
        let done = scene.run_in("a", &["runs"], &[]);
        assert_eq!(done.code, 2, "{}", done.stdout);
        assert!(done.stderr.contains("is not trusted") && done.stderr.contains(why), "{}", done.stderr);
        assert!(!scene.path("xdg").exists(), "nothing was done");
    };
    refused("everybody may write to it");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    if nix::unistd::Uid::effective().is_root() {
        std::os::unix::fs::chown(&file, Some(65_534), None).unwrap();
        refused("it belongs to user 65534");
    }
    let value = scene.setting("a", &["--config", file.to_str().unwrap()], &[], "state").0;
    assert_eq!(value, "/somewhere", "whoever names it means it");
}

#[test]
fn less_output_is_kept_where_less_is_configured() {
    let scene = Scene::new();
    scene.file("book.yaml", "steps:\n  - run: head -c 1000000 /dev/zero | tr '\\0' x\n");
    scene.file("runward.toml", "[limits]\nlog-bytes = \"100KiB\"\n");
    scene.expect(0, &["run", "book.yaml", "--quiet"]);
    let attempt = scene.last()["attempts"][0].clone();
    assert_eq!(attempt["log_bytes"], 1_000_000);
    let dropped = attempt["log_dropped"].as_u64().unwrap();
    assert!((800_000..1_000_000).contains(&dropped), "{attempt}");
}

#[test]
fn pruning_keeps_what_is_configured_where_no_flag_says_otherwise() {
    let scene = Scene::new();
    scene.file("book.yaml", BOOK);
    (0..3).for_each(|_| _ = scene.expect(0, &["run", "book.yaml"]));
    assert!(scene.expect(2, &["db", "prune"]).stderr.contains("[retention] in runward.toml"));
    scene.file("runward.toml", "[retention]\nolder-than = \"1d\"\nkeep = 2\n");
    let pruned = |args: &[&str]| scene.json(args)["pruning"]["pruned"].as_array().unwrap().len();
    assert_eq!(pruned(&["db", "prune", "--dry-run"]), 0, "both have to let a run go");
    assert_eq!(pruned(&["db", "prune", "--dry-run", "--older-than", "0s"]), 1);
    assert_eq!(pruned(&["db", "prune", "--dry-run", "--older-than", "0s", "--keep", "0"]), 3);
}

/// The page has one row a setting, made of the same words.
#[test]
fn the_page_says_what_the_program_says() {
    let scene = Scene::new();
    let shown = scene.json(&["config", "show"]);
    let page = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let rows: Vec<String> = shown["settings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|setting| {
            let word = |name: &str| setting[name].as_str().unwrap_or_default().to_owned();
            let flag = setting["flag"].as_str().map(|flag| format!(", `{flag}`")).unwrap_or_default();
            let (key, env) = (word("key"), word("env"));
            format!("| `{key}` | {} | {} | `{env}`{flag} | {} |", word("takes"), word("default"), word("about"))
        })
        .collect();
    let written: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| `") && line.contains("`RUNWARD_")).collect();
    assert_eq!(written, rows, "the rows of docs/configuration.md should be:\n{}", rows.join("\n"));
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    scene.file("runward.toml", example);
    scene.expect(0, &["config", "show"]);
}

#[test]
fn the_table_for_people_shows_each_value_with_its_origin() {
    let scene = Scene::new();
    scene.file("runward.toml", "[log]\nlevel = \"info\"\n");
    let shown = scene.expect(0, &["config", "show"]).stdout;
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    assert!(line("log.level").contains("info") && line("log.level").ends_with("runward.toml:2"), "{shown}");
    assert!(line("state").ends_with("RUNWARD_STATE") && line("log.format").ends_with("default"), "{shown}");
}
