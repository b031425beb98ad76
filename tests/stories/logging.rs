//! What runward says about its own work: nothing in normal times, everything where it is asked for, and never a secret.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{Scene, Terminal, children, finish, wait};

const BOOK: &str = "\
params:
  word: {type: string, default: geheim-eins}
steps:
  - {id: one, run: 'echo geheim-zwei; echo \"out=geheim-drei\" >> \"$RUNWARD_OUTPUT\"', env: {W: '${{ params.word }}'}}
  - {id: two, run: 'test \"$RUNWARD_ATTEMPT\" = 2', retry: {attempts: 3, delay: 10ms}}
";

fn scene() -> Scene {
    let scene = Scene::new();
    scene.file("book.yaml", BOOK);
    scene
}

fn objects(text: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
    text.lines().map(parse).collect()
}

#[test]
fn in_normal_times_nothing_is_said() {
    let scene = scene();
    assert_eq!(scene.expect(0, &["run", "book.yaml"]).stderr, "");
    assert_eq!(scene.expect(0, &["--log-level", "off", "run", "book.yaml"]).stderr, "");
}

#[test]
fn each_line_names_run_step_attempt_and_claim_and_no_value() {
    let scene = scene();
    let done = finish(scene.runward().args(["run", "book.yaml"]).env("RUNWARD_LOG", "debug"));
    assert_eq!(done.code, 0, "{}", done.stderr);
    let show = scene.last();
    let run = show["run"]["id"].as_str().unwrap();
    for row in show["attempts"].as_array().unwrap() {
        let fields = [
            format!("run={run}"),
            format!("step={}", row["unit"]),
            format!("attempt={}", row["attempt"]),
            format!("claim={}", row["claim"].as_str().unwrap()),
        ];
        for word in ["claimed", "ended"] {
            let line = done.stderr.lines().find(|line| line.contains(word) && line.contains(&fields[3]));
            let line = line.unwrap_or_else(|| panic!("{word} {fields:?}: {}", done.stderr));
            assert!(fields.iter().all(|field| line.contains(field)), "{fields:?}: {line}");
        }
    }
    assert!(done.stderr.contains("then=\"retry\""), "{}", done.stderr);
    for secret in ["geheim", "RUNWARD_ATTEMPT", "INSERT", "SELECT"] {
        assert!(!done.stderr.contains(secret), "{secret}: {}", done.stderr);
    }
    assert!(!done.stdout.contains("claim="), "output stays output");
}

#[test]
fn for_programs_each_line_is_an_object() {
    let scene = scene();
    let env = [("RUNWARD_LOG", "info"), ("RUNWARD_LOG_FORMAT", "json")];
    let done = finish(scene.runward().args(["run", "book.yaml"]).envs(env));
    let said = objects(&done.stderr);
    let ends: Vec<_> = said.iter().filter(|line| line["message"] == "ended").collect();
    let told: Vec<_> = ends.iter().map(|line| (&line["step"], &line["attempt"], &line["outcome"])).collect();
    let value = |text: &str| Value::from(text);
    assert_eq!(
        told,
        [
            (&value("one"), &Value::from(1), &value("succeeded")),
            (&value("two"), &Value::from(1), &value("failed")),
            (&value("two"), &Value::from(2), &value("succeeded")),
        ]
    );
    let run = &scene.last()["run"]["id"];
    assert!(said.iter().all(|line| line["run"] == *run && line["level"].is_string()), "{said:#?}");
}

#[test]
fn a_run_in_the_background_logs_to_its_folder_or_to_the_file_that_is_configured() {
    let scene = scene();
    let id = scene.expect(0, &["--log-level", "info", "run", "book.yaml", "--detach"]).stdout.trim().to_owned();
    scene.wait_for(&format!("state/runs/{id}/driver.log"), "finished");
    scene.file("runward.toml", "[log]\nlevel = \"info\"\nformat = \"json\"\nfile = \"ours.log\"\n");
    let done = scene.expect(0, &["run", "book.yaml", "--detach"]);
    assert!(!done.stderr.contains("claimed"), "{}", done.stderr);
    scene.wait_for("ours.log", "finished");
    assert!(objects(&scene.read("ours.log")).len() > 5);
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let scene = scene();
    let env = [("RUNWARD_LOG", "info"), ("RUNWARD_LOG_FILE", "/nowhere/at/all.log")];
    let done = finish(scene.runward().args(["run", "book.yaml"]).envs(env));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(done.stderr.contains("/nowhere/at/all.log cannot be written") && done.stderr.contains("claimed"));
    let done = finish(scene.runward().args(["run", "book.yaml"]).envs([("RUNWARD_LOG_FILE", "/dev/full")]));
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn the_picture_on_a_terminal_is_not_torn() {
    let scene = scene();
    let (code, screen) =
        Terminal::start(scene.runward().args(["--log-level", "info", "run", "book.yaml"]).env("TERM", "xterm")).end();
    assert_eq!(code, 0, "{screen}");
    assert!(!screen.contains("claim="), "{screen}");
    let id = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    assert!(scene.read(&format!("state/runs/{id}/driver.log")).contains("claimed"));
}

#[test]
fn a_lost_supervisor_is_worth_a_warning_without_being_asked() {
    let scene = Scene::new();
    scene.file("book.yaml", "steps:\n  - {id: one, run: 'echo began; exec sleep 300'}\n");
    let mut child = scene.start(&["run", "book.yaml"]);
    scene.wait_for("started.out", "one | began");
    let supervisor = wait_for_child(child.id());
    kill(Pid::from_raw(supervisor as i32), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    let said = scene.read("started.out");
    let line = |word: &str| said.lines().find(|line| line.contains("WARN") && line.contains(word)).map(str::to_owned);
    assert!(line("a supervisor is gone").is_some(), "{said}");
    let lost = line("lost: killed with its supervisor").unwrap_or_default();
    assert!(lost.contains("step=\"one\"") && lost.contains("attempt=1"), "{said}");
}

fn wait_for_child(parent: u32) -> u32 {
    wait("a supervisor", || !children(parent).is_empty());
    children(parent)[0]
}
