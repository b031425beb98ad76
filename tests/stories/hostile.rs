//! Steps, files and names that mean harm.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Scene, children, is_alive, wait};

#[test]
fn a_step_that_removes_its_own_journal_is_lost_and_never_starts_again() {
    let scene = Scene::new();
    scene.file(
        "x.yaml",
        "steps:\n  - id: a\n    run: echo start >> ../../../../effects; rm -rf \"$(dirname \"$RUNWARD_OUTPUT\")\"\n",
    );
    let done = scene.expect(8, &["run", "x.yaml"]);
    assert_eq!(scene.read("effects"), "start\n", "{}", done.stdout);
    assert_eq!(scene.last()["steps"][0]["status"], "lost");
}

#[test]
fn a_journal_that_was_taken_away_proves_nothing() {
    let scene = Scene::new();
    let script = "echo start >> ../../../../effects; rm -f \"$(dirname \"$RUNWARD_OUTPUT\")\"/*.started";
    scene.file("x.yaml", format!("steps:\n  - id: a\n    run: {script}\n"));
    scene.expect(8, &["run", "x.yaml"]);
    assert_eq!(scene.read("effects"), "start\n");
}

#[test]
fn outputs_are_read_from_a_regular_file_and_nothing_else() {
    for (what, error) in [
        ("rm -f \"$RUNWARD_OUTPUT\"; mkfifo \"$RUNWARD_OUTPUT\"", "no longer a regular file"),
        ("rm -f \"$RUNWARD_OUTPUT\"; mkdir \"$RUNWARD_OUTPUT\"", "no longer a regular file"),
        ("ln -sf /dev/zero \"$RUNWARD_OUTPUT\"", "cannot be read"),
        ("ln -sf /etc/hostname \"$RUNWARD_OUTPUT\"", "cannot be read"),
        ("head -c 2000000 /dev/zero > \"$RUNWARD_OUTPUT\"", "at most 1048576 are possible"),
    ] {
        let scene = Scene::new();
        scene.file("x.yaml", format!("steps:\n  - id: a\n    run: {what}\n"));
        let done = scene.expect(1, &["run", "x.yaml"]);
        assert!(done.stdout.contains(error), "{what}: {}", done.stdout);
    }
}

#[test]
fn nothing_that_was_given_drives_the_terminal() {
    let scene = Scene::new();
    let escape = "\u{1b}[2J";
    scene.file(
        "key.yaml",
        format!("\"{escape}stepz\": 1\nsteps:\n  - id: a\n    run: \"true\"\n").replace('\u{1b}', "\\e"),
    );
    scene.file("raw.yaml", "steps:\n  - id: a\n    run: echo \u{85}\u{202e}hi\n    shel: x\n");
    let named = format!("q{escape}.yaml");
    scene.file(&named, "steps:\n  - id: a\n    name: \"\\e[2J\"\n    run: printf '\\033[2J\\033]0;x\\007'; exit 3\n");
    scene.file("p.yaml", "\"\\e[2Jk\": 1\n");
    let nope = format!("nope{escape}");
    let state = format!("/proc/{escape}");
    for args in [
        vec!["validate", "key.yaml"],
        vec!["validate", "raw.yaml"],
        vec!["validate", &named],
        vec!["run", &nope],
        vec!["show", &nope],
        vec!["runs", "--state", &state],
        vec!["run", "raw.yaml", "--params-file", "p.yaml"],
        vec!["run", &named, "--params-file", "p.yaml"],
        vec!["run", &named],
        vec!["show", "last", "--events"],
        vec!["logs", "last"],
        vec!["list", "."],
        vec!["runs"],
    ] {
        let done = scene.run(&args);
        let shown = format!("{}{}", done.stdout, done.stderr);
        let bad = |c: char| (c.is_control() && !"\n\t".contains(c)) || c == '\u{202e}';
        assert!(!shown.contains(bad), "{args:?}: {shown:?}");
        assert!(!shown.is_empty(), "{args:?}");
    }
}

#[test]
fn a_repeated_key_names_its_run_when_detached() {
    let scene = Scene::new();
    scene.file("x.yaml", "steps:\n  - id: a\n    run: echo once >> ../../../../effects\n");
    let first = scene.expect(0, &["run", "x.yaml", "--key", "k", "--detach"]).stdout;
    wait("the run to end", || scene.last()["run"]["status"] == "succeeded");
    assert_eq!(scene.expect(0, &["run", "x.yaml", "--key", "k", "--detach"]).stdout, first);
    scene.expect(0, &["run", "x.yaml", "--key", "k"]);
    assert_eq!(scene.read("effects"), "once\n");
    assert_eq!(std::fs::read_dir(scene.path("state/runs")).unwrap().count(), 1, "no empty folders");
}

#[test]
fn a_file_with_thousands_of_problems_is_reported_in_a_moment() {
    let scene = Scene::new();
    let steps: String = (0..3000).map(|n| format!("  - {{id: s{n}, run: 'true', needs: [x{n}]}}\n")).collect();
    scene.file("x.yaml", format!("steps:\n{steps}"));
    let done = scene.expect(2, &["validate", "x.yaml"]);
    assert!(done.stderr.contains("problems") && done.stderr.contains("not shown"), "{}", &done.stderr[..2000]);
    assert!(done.stderr.len() < 100_000);
}

#[test]
fn whoever_keeps_a_step_and_was_stopped_goes_on_when_it_has_to_end_it() {
    let scene = Scene::new();
    scene.file("x.yaml", "steps:\n  - id: a\n    grace: 1s\n    run: echo $$ > ../../../../pid; sleep 600\n");
    let mut driver = scene.start(&["run", "x.yaml"]);
    wait("the step", || scene.read("pid").ends_with('\n'));
    let supervisor = children(driver.id())[0];
    let subreaper = children(supervisor)[0];
    for pid in [supervisor, subreaper] {
        kill(Pid::from_raw(pid as i32), Signal::SIGSTOP).unwrap();
    }
    scene.expect(0, &["cancel", "last"]);
    assert_eq!(driver.wait().unwrap().code(), Some(4));
    assert!(!is_alive(scene.read("pid").trim().parse().unwrap()));
}

#[test]
fn a_reader_that_stops_reading_stops_nothing() {
    let scene = Scene::new();
    let flood = "for i in $(seq 5000); do echo \"line $i of a text that fills the pipe\"; done";
    scene.file(
        "x.yaml",
        format!("steps:\n  - id: a\n    run: {flood}\n  - id: b\n    run: echo b > ../../../../b; sleep 600\n"),
    );
    let mut command = scene.runward();
    // A pipe whose other end stays open and is never read.
    let mut driver = command.args(["run", "x.yaml"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    wait("the second step", || scene.path("b").exists());
    scene.expect(0, &["cancel", "last"]);
    wait("the end", || scene.last()["run"]["status"] == "cancelled");
    drop(driver.stdout.take());
    driver.wait().unwrap();
}

#[test]
fn a_key_used_twice_at_once_is_no_error_for_either() {
    let scene = Scene::new();
    scene.file("x.yaml", "steps:\n  - id: a\n    run: echo once >> ../../../../effects; sleep 0.3\n");
    let start = || scene.runward().args(["run", "x.yaml", "--key", "k", "--detach"]).spawn().unwrap();
    let children: Vec<_> = (0..6).map(|_| start()).collect();
    for mut child in children {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    wait("the run to end", || scene.last()["run"]["status"] == "succeeded");
    assert_eq!(scene.read("effects"), "once\n");
}
