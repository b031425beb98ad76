//! Care of the ledger: what is in it, whether it is whole, and removing what is old without touching what lives.

use std::fs;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::{Scene, finish, is_root, kill_9, wait};

const BOOK: &str = "params: {dir: {type: path, required: true}}\ndefaults: {env: {DIR: '${{ params.dir }}'}}\n";

fn scene(steps: &str) -> Scene {
    let scene = Scene::new();
    scene.file("book.yaml", format!("{BOOK}steps:\n{steps}"));
    scene
}

/// Runs `book.yaml` to its end and returns the run's id.
fn run(scene: &Scene, code: i32) -> String {
    scene.expect(code, &["run", "-q", "book.yaml", "-p", &scene.dir()]);
    last_id(scene)
}

fn last_id(scene: &Scene) -> String {
    scene.last()["run"]["id"].as_str().unwrap().to_owned()
}

fn folders(scene: &Scene) -> usize {
    fs::read_dir(scene.path("state/runs")).map_or(0, Iterator::count)
}

fn ids(pruned: &Value) -> Vec<&str> {
    pruned.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect()
}

#[test]
fn the_newest_of_each_runbook_stay_and_the_others_go_with_everything() {
    let scene = scene("  - {id: a, run: 'echo hello; echo x > \"$RUNWARD_WORKSPACE\"/big'}\n");
    scene.file("other.yaml", "name: 其他\nsteps:\n  - {id: a, run: echo other}\n");
    let old: Vec<String> = (0..3).map(|_| run(&scene, 0)).collect();
    scene.expect(0, &["run", "-q", "other.yaml"]);
    let newest = run(&scene, 0);

    let dry = scene.json(&["db", "prune", "--keep", "1", "--dry-run"]);
    assert_eq!(ids(&dry["pruning"]["pruned"]), old, "first what ended first");
    assert_eq!((scene.runs_recorded(), folders(&scene)), (5, 5), "nothing was changed");
    let young = scene.expect(0, &["db", "prune", "--keep", "1", "--older-than", "1d"]).stdout;
    assert!(young.contains("pruned 0 runs"), "both have to agree: {young}");

    let done = scene.expect(0, &["db", "prune", "--keep", "1"]).stdout;
    assert!(done.contains("pruned 3 runs"), "{done}");
    assert_eq!((scene.runs_recorded(), folders(&scene)), (2, 2));
    assert!(scene.path(&format!("state/runs/{newest}")).exists());
    scene.expect(0, &["audit", "verify"]);
    scene.expect(0, &["db", "check"]);
    let status = scene.json(&["db", "status"]);
    assert_eq!((&status["pruned_runs"], &status["contents"]["runs"]["succeeded"]), (&3.into(), &2.into()));
    assert_eq!(status["last_check"]["problems"], 0);

    scene.expect(0, &["db", "prune", "--older-than", "0s"]);
    assert_eq!((scene.runs_recorded(), folders(&scene)), (0, 0));
    assert_eq!(scene.json(&["db", "status"])["contents"]["definitions"], 0);
    assert!(scene.expect(2, &["show", "last"]).stderr.contains("there are no runs yet"));
}

#[test]
fn a_pruned_run_stays_on_the_record_and_its_key_stays_taken() {
    let scene = scene("  - {id: a, run: 'echo . >> \"$DIR/effects\"'}\n");
    let start = |code| scene.expect(code, &["run", "book.yaml", "-p", &scene.dir(), "--key", "release-17.6"]);
    start(0);
    let id = last_id(&scene);
    let head = scene.json(&["audit", "verify"])["heads"][0]["head"].clone();
    scene.expect(0, &["db", "prune", "--keep", "0"]);

    let again = start(2).stderr;
    assert!(again.contains(&id) && again.contains("pruned") && again.contains("help: "), "{again}");
    assert_eq!(scene.read("effects"), ".\n", "never a second time");
    assert_eq!(folders(&scene), 0, "a refused start leaves nothing behind");

    let audit = scene.json(&["audit", "verify"]);
    assert_eq!((&audit["pruned"][0]["run"], &audit["pruned"][0]["head"]), (&id.as_str().into(), &head));
    assert!(audit["pruned"][0]["pruned_by"].as_str().unwrap().contains('@'));
    let show = scene.expect(2, &["show", &id[id.len() - 8..]]).stderr;
    assert!(show.contains("was pruned at") && show.contains("succeeded"), "{show}");
}

#[test]
fn a_prune_without_a_rule_is_refused_and_the_rule_that_holds_is_said() {
    let scene = Scene::new();
    let done = scene.expect(2, &["db", "prune"]);
    assert!(done.stderr.contains("--older-than 90d --keep 20"), "{}", done.stderr);
    let bare = scene.expect(2, &["db", "prune", "--older-than", "90"]);
    assert!(bare.stderr.contains("90d"), "{}", bare.stderr);
    scene.file("runward.toml", "[retention]\nolder-than = \"30d\"\n");
    let said = scene.expect(0, &["db", "prune", "--keep", "7"]).stdout;
    assert!(said.contains("ended more than 30d 0h ago, and not among the newest 7"), "{said}");
}

#[test]
fn no_run_that_lives_is_pruned() {
    let scene =
        scene("  - {id: a, run: 'echo . >> \"$DIR/effects\"; until test -e \"$DIR/go\"; do sleep 0.05; done'}\n");
    let dir = scene.dir();
    // Driven; left by its driver; held for a person.
    scene.expect(0, &["run", "book.yaml", "-p", &dir, "--detach"]);
    let mut driver = scene.start(&["run", "book.yaml", "-p", &dir]);
    wait("both to run", || scene.read("effects").lines().count() == 2);
    kill_9(&mut driver);
    scene.file("held.yaml", "steps:\n  - {id: a, on-lost: hold, run: 'kill -9 $PPID; sleep 60'}\n");
    scene.expect(8, &["run", "held.yaml"]);
    // At its end, with a process that it left on purpose and that hides where it comes from.
    scene.file(
        "daemon.yaml",
        format!(
            "{BOOK}steps:\n  - {{id: a, orphans: leave, run: 'cd /; env -i DIR=\"$DIR\" setsid sh -c \
             \"until test -e \\\"\\$DIR/go\\\"; do sleep 0.05; done; touch \\\"\\$DIR/daemon\\\"\" </dev/null >/dev/null 2>&1 &'}}\n"
        ),
    );
    scene.expect(0, &["run", "-q", "daemon.yaml", "-p", &dir]);
    assert_eq!((scene.runs_recorded(), folders(&scene)), (4, 4));

    let done = scene.expect(0, &["db", "prune", "--keep", "0"]).stdout;
    assert!(done.contains("pruned 0 runs") && done.contains("that it left still runs"), "{done}");
    assert_eq!((scene.runs_recorded(), folders(&scene)), (4, 4));
    scene.file("go", "");
    wait("the daemon to end", || scene.path("daemon").exists());
    wait("the detached run to end", || {
        scene.expect(0, &["db", "prune", "--keep", "0"]);
        scene.runs_recorded() == 2
    });
    scene.expect(0, &["resume", &last_unfinished(&scene)]);
    assert_eq!(scene.read("effects"), ".\n.\n", "each step started once");
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_run_stays_whose_folder_somebody_uses_through_a_link_or_holds_a_file_system() {
    let scene = scene("  - {id: a, run: 'true'}\n");
    fs::create_dir(scene.path("disk")).unwrap();
    fs::create_dir(scene.path("outside")).unwrap();
    scene.file("outside/precious", "x");
    std::os::unix::fs::symlink(scene.path("disk"), scene.path("linked")).unwrap();
    let state = ["--state", "linked"];
    scene.expect(0, &[&["run", "-q", "book.yaml", "-p", &scene.dir()], &state[..]].concat());
    let runs = scene.path("disk/runs");
    let folder = fs::read_dir(runs).unwrap().next().unwrap().unwrap().path();

    let prune = ["db", "prune", "--keep", "0", "--state", "linked"];
    let stands = Command::new("sleep").arg("600").current_dir(folder.join("workspace")).env_clear().spawn();
    let mut stands = stands.unwrap();
    let done = scene.expect(0, &prune).stdout;
    assert!(done.contains("pruned 0 runs") && done.contains("still uses it: sleep 600"), "{done}");
    kill_9(&mut stands);

    // The file system is mounted for this one process and its children only.
    let script = "mkdir \"$0/a b\" && mount --bind outside \"$0/a b\" || exit 77; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args([if is_root() { "-m" } else { "-rm" }, "sh", "-c", script]).arg(folder.join("workspace"));
    command.arg(env!("CARGO_BIN_EXE_runward")).args(prune).current_dir(scene.path(""));
    let done = finish(&mut command);
    if done.code != 77 && !done.stderr.starts_with("unshare:") {
        assert!(done.stdout.contains("a file system is mounted at") && done.stdout.contains("a b"), "{}", done.stdout);
    }
    assert_eq!(scene.read("outside/precious"), "x");
    scene.expect(0, &prune);
    assert!(!folder.exists());
}

/// The run that is not at its end and not held.
fn last_unfinished(scene: &Scene) -> String {
    let runs = scene.json(&["runs", "--unfinished"]);
    let run = runs.as_array().unwrap().iter().find(|run| run["held"] == false).expect("one of them");
    run["id"].as_str().unwrap().to_owned()
}

#[test]
fn resume_and_prune_of_one_run_never_both_win() {
    let scene = scene("  - {id: a, run: 'echo . >> \"$DIR/effects\"; false'}\n");
    let (mut resumed, mut pruned) = (0, 0);
    for round in 0..24 {
        let id = run(&scene, 1);
        let starts = scene.read("effects").lines().count();
        let spawn = |args: &[&str]| {
            scene.runward().args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts")
        };
        let prune = ["db", "prune", "--keep", "0"];
        let resume = ["resume", id.as_str()];
        // Whoever is started first has an advantage, so they take turns.
        let (mut resume, mut prune) = if round % 2 == 0 {
            let resume = spawn(&resume);
            (resume, spawn(&prune))
        } else {
            let prune = spawn(&prune);
            (spawn(&resume), prune)
        };
        let code = resume.wait().unwrap().code().unwrap();
        assert_eq!(prune.wait().unwrap().code(), Some(0));
        let more = scene.read("effects").lines().count() - starts;
        // Both may get their turn, one after the other: a resumed run that has failed again may go.
        match code {
            1 => resumed += 1,
            2 => pruned += 1,
            other => panic!("resume ended with {other}"),
        }
        assert_eq!(more, usize::from(code == 1), "the step starts if and only if the run is resumed");
        scene.expect(0, &["audit", "verify"]);
        scene.expect(0, &["db", "prune", "--keep", "0"]);
        assert_eq!(folders(&scene), 0);
    }
    assert_eq!(resumed + pruned, 24);
}

/// Kills it as soon as `due`. False where it had ended, with success, before anybody looked.
fn killed_when(child: &mut Child, due: impl Fn() -> bool) -> bool {
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return false;
        }
        if due() {
            kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).unwrap();
            return child.wait().unwrap().code().is_none();
        }
    }
}

#[test]
fn a_prune_that_is_killed_again_and_again_leaves_the_ledger_right() {
    const KILLS: usize = 6;
    let scene = scene("  - {id: a, run: 'cd \"$RUNWARD_WORKSPACE\"; touch file{1..100}'}\n");
    let wal = || fs::metadata(scene.path("state/ledger.db-wal")).map_or(0, |about| about.len());
    let prune = ["db", "prune", "--keep", "0"];
    let (mut runs, mut kills) = (0, 0);
    // A pruning may end before this process gets its turn to kill it. Then there is another one.
    for round in 0.. {
        assert!(round < 100, "{kills} of {round} were killed in time");
        while folders(&scene) < 30 {
            run(&scene, 0);
            runs += 1;
        }
        let (before, written) = (folders(&scene), wal());
        let mut child = scene.start(&prune);
        // In turn: while folders go, and as soon as something is committed.
        kills += usize::from(match kills % 2 {
            0 => killed_when(&mut child, || folders(&scene) < before),
            _ => killed_when(&mut child, || wal() != written),
        });
        scene.expect(0, &["audit", "verify"]);
        let found = scene.json(&["db", "check"]);
        for problem in found["problems"].as_array().unwrap() {
            assert!(problem["what"].as_str().unwrap().contains("interrupted pruning"), "{problem}");
        }
        if kills == KILLS {
            break;
        }
    }
    scene.expect(0, &prune);
    assert_eq!((scene.runs_recorded(), folders(&scene)), (0, 0));
    let audit = scene.json(&["audit", "verify"]);
    assert_eq!(audit["pruned"].as_array().unwrap().len(), runs, "each once");
    scene.expect(0, &["db", "check"]);
}

#[test]
fn a_prune_disturbs_no_run_under_way() {
    let scene = scene("  - {id: each, for-each: [1, 2, 3, 4, 5, 6, 7, 8, 9], max-parallel: 1, run: echo}\n");
    for _ in 0..60 {
        run(&scene, 0);
    }
    let mut under_way = scene.start(&["run", "book.yaml", "-p", &scene.dir()]);
    let done = scene.expect(0, &["db", "prune", "--keep", "1"]).stdout;
    assert!(under_way.wait().unwrap().success(), "{}", scene.read("started.out"));
    assert!(done.contains("pruned 59 runs") || done.contains("pruned 60 runs"), "{done}");
    scene.expect(0, &["db", "check"]);
}

#[test]
fn whatever_is_wrong_is_named_with_its_place_and_what_to_do() {
    let scene = scene("  - {id: a, run: 'echo hello'}\n  - {id: b, run: 'echo b'}\n");
    let attempt = |id: &str, n: usize| {
        let show = scene.json(&["show", id]);
        let claim = show["attempts"][n]["claim"].as_str().unwrap_or_else(|| panic!("{show}")).to_owned();
        scene.path(&format!("state/runs/{id}/attempts/{claim}"))
    };
    let runs: Vec<String> = (0..4).map(|_| run(&scene, 0)).collect();
    scene.expect(0, &["db", "check"]);

    let log = attempt(&runs[0], 0).join("log.000000");
    let mut printed = fs::read(&log).unwrap();
    let at = printed.windows(5).position(|five| five == b"hello").unwrap();
    printed[at] = b'j';
    fs::write(&log, printed).unwrap();
    fs::write(attempt(&runs[1], 0).join("log.000000"), "").unwrap();
    fs::remove_dir_all(attempt(&runs[2], 1)).unwrap();
    fs::remove_dir_all(scene.path(&format!("state/runs/{}", runs[3]))).unwrap();
    scene.file("state/runs/nobody/attempts/x.started", "");
    scene.file("state/runs/killed-before-it-was-recorded/driver.lock", "17");
    scene.file("held.yaml", "steps:\n  - {id: migrate, on-lost: hold, run: 'kill -9 $PPID; sleep 60'}\n");
    scene.expect(8, &["run", "held.yaml"]);
    let held = last_id(&scene);
    scene.file("wait.yaml", "steps:\n  - {id: w, run: 'touch ../began; sleep 600'}\n");
    let mut driver = scene.start(&["run", "wait.yaml"]);
    wait("the step", || scene.json(&["runs"]).as_array().unwrap().len() == 6 && last_id(&scene) != held);
    let alone = last_id(&scene);
    wait("the step to start", || scene.path(&format!("state/runs/{alone}/began")).exists());
    kill_9(&mut driver);

    let done = scene.expect(1, &["db", "check"]).stdout;
    let step = |id: &str, step: &str| format!("run {id}, step {step}");
    for words in [
        format!("{}, attempt 1: its output in", step(&runs[0], "a")),
        "is not what it printed".to_owned(),
        format!("{}, attempt 1: its output in", step(&runs[1], "a")),
        "has 0 bytes, not 6".to_owned(),
        format!("{}, attempt 1: its output in", step(&runs[2], "b")),
        "is gone".to_owned(),
        format!("run {}: its folder", runs[3]),
        "run nobody: it has a folder, but the ledger does not know it".to_owned(),
        format!("{}: it is held", step(&held, "migrate")),
        format!("runward resolve {} migrate --as", &held[held.len() - 12..]),
        format!("run {alone}: it is running, but nobody drives it"),
        format!("runward resume {}", &alone[alone.len() - 12..]),
        ": 7 problems".to_owned(),
    ] {
        assert!(done.contains(&words), "{words}:\n{done}");
    }
    assert_eq!(scene.json(&["db", "check"])["problems"].as_array().unwrap().len(), 7);
    assert_eq!(scene.json(&["db", "status"])["last_check"]["problems"], 7);
    scene.expect(0, &["cancel", "--force", &alone]);
}
