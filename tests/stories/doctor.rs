//! The doctor finds what is wrong with a machine, says what to do about it, and touches nothing.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Done, Scene, finish, kill_9, wait};
use crate::trouble::{as_plain_user, with_ledger};

const BOOK: &str = "steps:\n  - {id: one, run: 'true'}\n";

struct Found(Value);

impl Found {
    fn of(done: &Done) -> Found {
        Found(serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{}{}", done.stdout, done.stderr)))
    }

    /// `verdict: what was found -> what to do`.
    fn check(&self, name: &str) -> String {
        let checks = self.0["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == name);
        let check = check.unwrap_or_else(|| panic!("no check {name}: {:#}", self.0));
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        format!("{}: {} -> {}", text("verdict"), text("says"), text("fix"))
    }
}

impl Scene {
    fn doctor(&self, code: i32) -> Found {
        Found::of(&self.expect(code, &["doctor", "--format", "json"]))
    }
}

fn begins(check: &str, start: &str, words: &[&str]) {
    assert!(check.starts_with(start), "{check}");
    words.iter().for_each(|word| assert!(check.contains(word), "{word}: {check}"));
}

#[test]
fn a_fresh_machine_is_well_and_stays_fresh() {
    let scene = Scene::new();
    let found = scene.doctor(0);
    begins(&found.check("state folder"), "ok", &["not there yet"]);
    begins(&found.check("supervisor"), "ok", &["ran `true` as a step"]);
    begins(&found.check("durable write"), "unknown", &["cannot be checked"]);
    for name in ["configuration", "bash", "sh", "proc", "cgroup", "runbooks"] {
        begins(&found.check(name), "ok", &[]);
    }
    assert_eq!(fs::read_dir(scene.path("")).unwrap().count(), 0, "nothing was made");
}

#[test]
fn a_machine_that_is_used_is_well_and_nothing_is_left_behind() {
    let scene = Scene::new();
    scene.file("runbooks/book.yaml", BOOK);
    scene.expect(0, &["run", "book"]);
    let before = scene.names();
    let found = scene.doctor(0);
    begins(&found.check("ledger"), "ok", &["wal, whole"]);
    begins(&found.check("runs"), "ok", &["none waits"]);
    begins(&found.check("runbooks"), "ok", &["1, all valid"]);
    begins(&found.check("durable write"), "ok", &[]);
    begins(&found.check("output kept"), "ok", &["of 1 runs"]);
    wait("the doctor's folder to go", || scene.names() == before);
    let text = scene.expect(0, &["doctor"]).stdout;
    assert!(text.lines().any(|line| line.starts_with("ok    ledger")), "{text}");
}

impl Scene {
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("state")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.starts_with("ledger.db-")); // SQLite's own, by its own rules
        names.sort();
        names
    }
}

#[test]
fn without_a_home_it_says_where_a_folder_can_be_named() {
    let scene = Scene::new();
    let mut command = scene.runward();
    command.env_remove("RUNWARD_STATE").env_remove("HOME").args(["doctor", "--format", "json"]);
    let done = finish(&mut command);
    assert_eq!(done.code, 1, "{}", done.stderr);
    begins(&Found::of(&done).check("state folder"), "fail", &["neither XDG_STATE_HOME nor HOME", "--state"]);
}

#[test]
fn a_state_folder_that_is_read_only_open_to_all_or_a_file_is_told() {
    let scene = Scene::new();
    fs::create_dir(scene.path("state")).unwrap();
    let mode = |mode: u32| fs::set_permissions(scene.path("state"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o755);
    begins(&scene.doctor(0).check("state folder"), "warn", &["open to others (mode 755)", "chmod 700"]);
    mode(0o555);
    let done = finish(as_plain_user(&scene).args(["doctor", "--format", "json"]));
    assert_eq!(done.code, 1, "{}", done.stderr);
    let found = Found::of(&done);
    begins(&found.check("state folder"), "fail", &["cannot be written to: permission denied", "--state"]);
    begins(&found.check("supervisor"), "ok", &[]);
    mode(0o755);
    fs::remove_dir(scene.path("state")).unwrap();
    scene.file("state", "");
    begins(&scene.doctor(1).check("state folder"), "fail", &["is not a folder"]);
}

#[test]
fn a_configuration_that_is_wrong_keeps_nothing_else_from_being_looked_at() {
    let scene = Scene::new();
    scene.file("runward.toml", "stat = 1\n[log]\nlevel = \"loud\"\n");
    let mut command = scene.runward();
    let done = finish(command.args(["doctor", "--format", "json"]).env("RUNWARD_STAT", "x"));
    assert_eq!(done.code, 1, "{}", done.stderr);
    let found = Found::of(&done);
    begins(&found.check("configuration"), "fail", &["line 1, column 1", "`stat`", "line 3", "loud", "/dev/null"]);
    begins(&found.check("environment"), "warn", &["RUNWARD_STAT", "did you mean `RUNWARD_STATE`?"]);
    begins(&found.check("supervisor"), "ok", &[]);
}

#[test]
fn a_ledger_that_is_damaged_newer_or_busy_is_told_and_left_alone() {
    let scene = Scene::new();
    scene.file("book.yaml", BOOK);
    scene.expect(0, &["run", "book.yaml"]);

    let ledger = scene.path("state/ledger.db");
    let lock = "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\ndb.execute('begin immediate')\n\
                print('locked', flush=True)\nsys.stdin.read()\n";
    let mut holder = Command::new("python3");
    let holder = holder.args(["-c", lock]).arg(&ledger).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
    begins(&scene.doctor(0).check("ledger"), "warn", &["being written", &format!("process {}", holder.id())]);
    kill_9(&mut holder);

    with_ledger(&scene, "db.execute('pragma user_version=999')");
    begins(&scene.doctor(1).check("ledger"), "fail", &["newer runward", "999"]);

    for name in ["state/ledger.db-wal", "state/ledger.db-shm"] {
        let _ = fs::remove_file(scene.path(name)); // gone already, if nobody had it open
    }
    fs::write(&ledger, "this is no database, whatever its name says".repeat(100)).unwrap();
    let before = fs::read(&ledger).unwrap();
    begins(&scene.doctor(1).check("ledger"), "fail", &["damaged", "backup"]);
    assert_eq!(fs::read(&ledger).unwrap(), before, "looked at, not touched");
}

#[test]
fn runs_that_wait_for_somebody_are_named_with_the_command_that_helps() {
    let scene = Scene::new();
    scene.file("book.yaml", "steps:\n  - {id: one, run: 'touch up; until test -e go; do sleep 0.05; done'}\n");
    let mut child = scene.start(&["run", "book.yaml"]);
    scene.wait_for("started.out", "▶ one");
    begins(&scene.doctor(0).check("runs"), "ok", &["1 under way"]);
    begins(&scene.doctor(0).check("supervisors"), "ok", &["1 alive, of this build"]);
    kill_9(&mut child);
    let id = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    let short = id.rsplit('-').next().unwrap();
    begins(&scene.doctor(0).check("runs"), "warn", &["1 without a driver", &format!("runward resume {short} (book)")]);
    scene.expect(0, &["cancel", "last", "--force"]);
    begins(&scene.doctor(0).check("runs"), "ok", &["none waits"]);
}

#[test]
fn runbooks_that_are_wrong_or_missing_are_told() {
    let scene = Scene::new();
    scene.file("runbooks/good.yaml", BOOK);
    scene.file("runbooks/bad.yaml", "steps: 3\n");
    begins(&scene.doctor(0).check("runbooks"), "warn", &["1 of 2", "runward validate", "bad.yaml"]);
    scene.file("runward.toml", "runbooks = \"库\"\n");
    begins(&scene.doctor(0).check("runbooks"), "warn", &["no folder", "库"]);
}

#[test]
fn a_redis_without_a_database_makes_no_cluster_and_is_told() {
    let scene = Scene::new();
    let done = finish(scene.runward().env("RUNWARD_REDIS_URL", "redis://:s3cret@cache.example.com").args(["doctor"]));
    let line = done.stdout.lines().find(|line| line.contains("redis")).unwrap_or_default();
    begins(line, "warn", &["redis://cache.example.com", "no database"]);
    assert!(!done.stdout.contains("s3cret"), "{}", done.stdout);
}

#[test]
fn a_machine_without_bash_is_told() {
    let scene = Scene::new();
    fs::create_dir(scene.path("bin")).unwrap();
    for name in ["sh", "true"] {
        let found = Command::new("bash").args(["-c", &format!("type -P {name}")]).output().unwrap().stdout;
        std::os::unix::fs::symlink(String::from_utf8(found).unwrap().trim(), scene.path("bin").join(name)).unwrap();
    }
    let done = finish(scene.runward().args(["doctor", "--format", "json"]).env("PATH", scene.path("bin")));
    assert_eq!(done.code, 1, "{}", done.stderr);
    let found = Found::of(&done);
    begins(&found.check("bash"), "fail", &["not on PATH"]);
    begins(&found.check("sh"), "ok", &[]);
    begins(&found.check("program"), "warn", &["not on PATH"]);
}
