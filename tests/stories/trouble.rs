//! When the ground is bad: every trouble has its exit code and says what to do; nothing panics and nothing is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Done, Scene, finish, is_root, step_of, wait};

const BOOK: &str = "params: {dir: {type: path, required: true}}\ndefaults: {env: {DIR: '${{ params.dir }}'}}\n";
const ONE: &str = "steps:\n  - {id: one, run: 'echo one >> \"$DIR/effects\"'}\n";

fn scene(steps: &str) -> Scene {
    let scene = Scene::new();
    scene.file("book.yaml", format!("{BOOK}{steps}"));
    scene
}

/// Refused with this code, in words, with advice, and without a panic.
fn advised(done: &Done, code: i32, words: &[&str]) {
    assert_eq!(done.code, code, "{}{}", done.stdout, done.stderr);
    for word in words.iter().chain(&["help: "]) {
        assert!(done.stderr.contains(word), "{word}: {}", done.stderr);
    }
    for word in ["panicked", "RUST_BACKTRACE", "SQLite code"] {
        assert!(!done.stderr.contains(word), "{}", done.stderr);
    }
}

/// Every command that needs the ledger says the same.
fn all_advised(scene: &Scene, state: &Path, code: i32, words: &[&str]) {
    let (state, dir) = (state.to_str().unwrap(), scene.dir());
    for args in [
        &["run", "book.yaml", "-p", &dir] as &[&str],
        &["run", "book.yaml", "-p", &dir, "--detach"],
        &["runs"],
        &["show", "last"],
        &["logs", "last"],
        &["resume", "last"],
        &["cancel", "last"],
        &["audit", "verify"],
    ] {
        let done = finish(scene.runward().args(["--state", state]).args(args));
        advised(&done, code, words);
    }
    assert_eq!(scene.read("effects"), "", "nothing was executed");
}

/// The binary as a user whom the kernel refuses: `nobody` where the tests run as root, who is never refused.
pub fn as_plain_user(scene: &Scene) -> Command {
    if !is_root() {
        return scene.runward();
    }
    fs::set_permissions(scene.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = scene.path("runward");
    if !binary.exists() {
        fs::copy(env!("CARGO_BIN_EXE_runward"), &binary).unwrap();
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary);
    command.current_dir(scene.path("")).env("RUNWARD_STATE", scene.path("state"));
    command
}

/// Runs `code` in Python with the ledger as `db`.
pub fn with_ledger(scene: &Scene, code: &str) {
    let ledger = scene.path("state/ledger.db");
    let text = format!("import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\n{code}\ndb.commit()\n");
    let done = finish(Command::new("python3").arg("-c").arg(text).arg(ledger));
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn a_state_folder_that_cannot_exist_is_said() {
    let scene = scene(ONE);
    all_advised(&scene, Path::new("/proc/nowhere/runward"), 9, &["/proc/nowhere", "--state"]);
}

#[test]
fn a_state_folder_that_is_a_file_is_said() {
    let scene = scene(ONE);
    let file = scene.file("state-file", "something of somebody");
    all_advised(&scene, &file, 9, &["state-file", "--state"]);
    assert_eq!(scene.read("state-file"), "something of somebody");
}

#[test]
fn a_state_folder_that_must_not_be_written_is_said() {
    let scene = scene(ONE);
    fs::create_dir(scene.path("locked")).unwrap();
    fs::set_permissions(scene.path("locked"), fs::Permissions::from_mode(0o555)).unwrap();
    for state in ["locked", "locked/deeper"] {
        let mut command = as_plain_user(&scene);
        let done = finish(command.arg("--state").arg(scene.path(state)).args(["run", "book.yaml", "-p", &scene.dir()]));
        advised(&done, 9, &["locked", "owner and mode"]);
    }
    fs::set_permissions(scene.path("locked"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(!scene.path("effects").exists());
}

#[test]
fn a_ledger_that_became_read_only_is_said_and_keeps_its_runs() {
    let scene = scene(ONE);
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir()]);
    let (state, ledger) = (scene.path("state"), scene.path("state/ledger.db"));
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&ledger, 0o444);
    mode(&state, 0o555);
    let done = finish(as_plain_user(&scene).args(["run", "book.yaml", "-p", &scene.dir()]));
    advised(&done, 9, &["state", "check "]);
    mode(&state, 0o700);
    mode(&ledger, 0o600);
    assert_eq!((scene.read("effects").as_str(), scene.runs_recorded()), ("one\n", 1));
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_ledger_that_is_no_database_is_said_and_left_alone() {
    let scene = scene(ONE);
    let noise: Vec<u8> = (0..20_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    scene.file("state/ledger.db", &noise);
    all_advised(&scene, &scene.path("state"), 9, &["ledger.db is damaged", "put a backup in its place"]);
    assert!(fs::read(scene.path("state/ledger.db")).unwrap() == noise, "kept for analysis");
}

#[test]
fn a_ledger_with_holes_never_passes_for_whole() {
    let scene = scene(ONE);
    for _ in 0..20 {
        scene.expect(0, &["run", "-q", "book.yaml", "-p", &scene.dir()]);
    }
    // Else newer copies of the damaged pages may stand in the log beside it, and nothing is missing.
    with_ledger(&scene, "db.execute('PRAGMA wal_checkpoint(TRUNCATE)')");
    let mut bytes = fs::read(scene.path("state/ledger.db")).unwrap();
    let (from, to) = ((bytes.len() / 2) & !4095, bytes.len() & !4095);
    bytes[from..to].fill(0x5a);
    scene.file("state/ledger.db", &bytes);
    let done = scene.run(&["audit", "verify"]);
    assert!([1, 9].contains(&done.code), "{}{}", done.stdout, done.stderr);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
}

#[test]
fn the_ledger_of_a_newer_version_is_left_alone() {
    let scene = scene(ONE);
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir()]);
    fs::remove_file(scene.path("effects")).unwrap();
    with_ledger(&scene, "db.execute('PRAGMA user_version = 4711')");
    all_advised(&scene, &scene.path("state"), 9, &["newer runward", "schema 4711", "use the newer runward"]);
}

#[test]
fn a_run_that_does_not_exist_is_said() {
    let scene = scene(ONE);
    let done = scene.expect(2, &["show", "last"]);
    assert!(done.stderr.contains("there are no runs yet"), "{}", done.stderr);
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir()]);
    for command in ["show", "logs", "resume", "cancel"] {
        advised(&scene.run(&[command, "zzzzzzzz"]), 2, &["no run has the id `zzzzzzzz`", "runward runs"]);
    }
}

#[test]
fn an_id_that_fits_two_runs_names_neither() {
    let scene = scene(ONE);
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir()]);
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir()]);
    let id = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    advised(&scene.run(&["cancel", &id[..4]]), 2, &["2 runs have an id", "more characters"]);
    let done = scene.expect(2, &["cancel", "a"]);
    assert!(done.stderr.contains("too short"), "{}", done.stderr);
}

/// A run that failed, and whose record was then changed by hand.
fn tampered(code: &str) -> Scene {
    let scene = scene("steps:\n  - {id: one, run: 'echo one >> \"$DIR/effects\"'}\n  - {id: two, run: exit 1}\n");
    scene.expect(1, &["run", "book.yaml", "-p", &scene.dir()]);
    scene.expect(0, &["audit", "verify"]);
    let drop = "for (name,) in db.execute(\"select name from sqlite_master where type = 'trigger'\").fetchall():\n    \
                db.execute(f'drop trigger {name}')\n";
    with_ledger(&scene, &format!("{drop}{code}"));
    scene
}

#[test]
fn an_event_that_was_changed_is_found_and_its_run_is_not_carried_on() {
    let scene = tampered("db.execute(\"update events set body = replace(body, '\\\"code\\\":1', '\\\"code\\\":2')\")");
    let found = scene.expect(1, &["audit", "verify"]);
    assert!(found.stdout.contains("event 5") && found.stdout.contains("1 problem"), "{}", found.stdout);
    assert_eq!(scene.json(&["audit", "verify"])["problems"].as_array().unwrap().len(), 1);
    advised(&scene.run(&["resume", "last"]), 9, &["audit verify"]);
    assert_eq!(scene.read("effects"), "one\n");
}

#[test]
fn every_other_change_of_the_record_is_found_too() {
    for code in [
        "db.execute(\"update events set actor = 'somebody else' where seq = 1\")",
        "db.execute(\"update events set at = at + 1 where seq = 2\")",
        "db.execute('delete from events where seq = 3')",
        "db.execute('delete from events where seq = (select max(seq) from events)')",
        "db.execute(\"update runs set status = 'succeeded'\")",
        "db.execute(\"update runs set actor = 'somebody else'\")",
        "db.execute(\"update steps set status = 'succeeded' where unit = 'two'\")",
        "db.execute(\"delete from attempts where unit = 'two'\")",
        // What cannot even be read keeps nobody from reading the rest.
        "db.execute('pragma ignore_check_constraints = on'); db.execute(\"update runs set params = '{'\")",
        "db.execute('pragma ignore_check_constraints = on'); db.execute(\"update steps set outputs = 'x' where unit = 'one'\")",
    ] {
        let found = tampered(code).run(&["audit", "verify"]);
        assert_eq!(found.code, 1, "{code}: {}{}", found.stdout, found.stderr);
    }
}

#[test]
fn each_event_and_each_entry_that_was_changed_or_removed_is_named() {
    let scene = tampered("");
    let value = scene.file("value", "opensesame");
    for name in ["a", "b", "c"] {
        let mut set = scene.runward();
        set.env("RUNWARD_SECRETS_KEY_FILE", scene.path("key")).args(["secret", "set", name]);
        assert_eq!(finish(set.stdin(fs::File::open(&value).unwrap())).code, 0);
    }
    let ledger = scene.path("state/ledger.db");
    with_ledger(&scene, "db.execute('pragma wal_checkpoint(truncate)')");
    let whole = fs::read(&ledger).unwrap();
    let events = scene.json(&["show", "last", "--events"])["events"].as_array().unwrap().len();
    assert_eq!(events, 7);
    let mut changes = Vec::new();
    for (table, what, last) in [("events", "event", events), ("administration", "entry", 3)] {
        for n in 1..=last {
            for set in ["actor = 'somebody else'", "body = replace(body, '}', ' }')"] {
                changes.push((format!("update {table} set {set} where seq = {n}"), format!("{what} {n}: it, or")));
            }
            if n < last {
                changes.push((format!("delete from {table} where seq = {n}"), format!("{what} {}: ", n + 1)));
            }
        }
    }
    changes.extend(
        (2..=events).map(|n| (format!("delete from events where seq >= {n}"), format!("event {n}: it was removed"))),
    );
    for (change, says) in &changes {
        for rest in ["-wal", "-shm"] {
            let _ = fs::remove_file(scene.path(&format!("state/ledger.db{rest}")));
        }
        fs::write(&ledger, &whole).unwrap();
        with_ledger(&scene, &format!("db.execute(\"{change}\")"));
        let found = scene.expect(1, &["audit", "verify"]).stdout;
        assert!(found.contains(says.as_str()), "{change}: {found}");
    }
    println!("{} changes of {events} events and 3 entries, each found at its place", changes.len());
}

#[test]
fn a_changed_definition_is_never_run() {
    let scene = tampered("db.execute(\"update definitions set body = replace(body, 'exit 1', 'exit 0')\")");
    let done = scene.run(&["resume", "last"]);
    assert!(done.code == 9, "{}{}", done.stdout, done.stderr);
    let found = scene.run(&["audit", "verify"]);
    assert_eq!(found.code, 1, "{}{}", found.stdout, found.stderr);
}

#[test]
fn a_pinned_file_that_was_changed_in_the_ledger_is_never_run() {
    let scene = scene("files: [tool.sh]\nsteps:\n  - {id: one, run: 'test -e \"$DIR/ready\"; . ./tool.sh'}\n");
    scene.file("tool.sh", "echo true > \"$DIR/effects\"\n");
    scene.expect(1, &["run", "book.yaml", "-p", &scene.dir()]);
    with_ledger(
        &scene,
        "for (name,) in db.execute(\"select name from sqlite_master where type = 'trigger'\").fetchall():\n    \
         db.execute(f'drop trigger {name}')\n\
         db.execute(\"update blobs set bytes = cast('echo false > $DIR/effects' as blob)\")",
    );
    let found = scene.run(&["audit", "verify"]);
    assert_eq!(found.code, 1, "{}{}", found.stdout, found.stderr);
    // Even on a machine that has no copy of the files yet.
    let id = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    fs::remove_dir_all(scene.path(&format!("state/runs/{id}/files"))).unwrap();
    scene.file("ready", "");
    let done = scene.run(&["resume", "last"]);
    assert_eq!(done.code, 9, "{}{}", done.stdout, done.stderr);
    assert_eq!(scene.read("effects"), "");
}

/// A script with a small file system at `$M`, full or not as it likes; `$RUNWARD` is the binary. Without the right to
/// mount, even in a namespace of its own, files stop growing at the same size instead.
fn on_a_small_disk(scene: &Scene, script: &str) -> Done {
    let mount = scene.path("small");
    fs::create_dir(&mount).unwrap();
    let prelude = "set -u\nmount -t tmpfs -o size=4m none \"$M\" || exit 77\n\
                   fill() { cat /dev/zero > \"$M/fill\" 2>&-; }\nfree() { rm \"$M/fill\"; }\n";
    let run = |prelude: &str, wrap: &[&str]| {
        let mut command = Command::new(wrap[0]);
        command.args(&wrap[1..]).args(["bash", "-c", &format!("{prelude}{script}")]);
        command.current_dir(scene.path("")).env("M", &mount).env("RUNWARD_STATE", mount.join("state"));
        finish(command.env("RUNWARD", env!("CARGO_BIN_EXE_runward")).env("DIR", scene.dir()))
    };
    let unshare: &[&str] = if is_root() { &["unshare", "-m"] } else { &["unshare", "-rm"] };
    let done = run(prelude, unshare);
    if done.code != 77 && !done.stderr.starts_with("unshare:") {
        return done;
    }
    let limit = "set -u; trap '' XFSZ\nfill() { ulimit -S -f 0; }\nfree() { ulimit -S -f unlimited; }\n";
    run(limit, &["env"])
}

#[test]
fn a_full_disk_below_the_anchors_is_said_and_holds_up_no_run() {
    let scene = scene(ONE);
    let done = on_a_small_disk(
        &scene,
        "export RUNWARD_STATE=\"$PWD/state\" RUNWARD_AUDIT_ANCHORS=\"$M/anchors\"\n\
         fill\n\
         $RUNWARD run -q book.yaml -p \"$DIR\" || exit 10\n\
         $RUNWARD audit anchor; echo \"code $?\"\n\
         free\n\
         $RUNWARD audit anchor && $RUNWARD audit verify || exit 11\n",
    );
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert!(!done.stdout.contains("code 0") && done.stderr.contains("No space left"), "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("anchor 1: the first"), "{}", done.stdout);
}

#[test]
fn a_full_disk_is_said_and_what_was_recorded_stays() {
    let scene = scene(ONE);
    let done = on_a_small_disk(
        &scene,
        "$RUNWARD run -q book.yaml -p \"$DIR\" || exit 10\n\
         fill\n\
         $RUNWARD run -q book.yaml -p \"$DIR\"; echo \"code $?\"\n\
         free\n\
         $RUNWARD audit verify || exit 11\n\
         $RUNWARD run -q book.yaml -p \"$DIR\" || exit 12\n",
    );
    assert!(done.stdout.contains("code 9"), "{}{}", done.stdout, done.stderr);
    advised(&done, 0, &["free some space"]);
    assert!(scene.read("effects") == "one\none\n", "{}", scene.read("effects"));
}

#[test]
fn a_disk_that_fills_under_a_step_costs_no_outcome() {
    let scene = scene(
        "steps:\n  - {id: one, run: 'echo one >> \"$DIR/effects\"; until test -e \"$DIR/go\"; do sleep 0.02; done'}\n  \
         - {id: two, run: 'echo two >> \"$DIR/effects\"'}\n",
    );
    let done = on_a_small_disk(
        &scene,
        "$RUNWARD run -q book.yaml -p \"$DIR\" & pid=$!\n\
         until test -e effects; do sleep 0.02; done\n\
         fill\n\
         touch go\n\
         wait $pid; code=$?\n\
         free\n\
         test $code = 0 || $RUNWARD resume last || exit 11\n\
         $RUNWARD audit verify || exit 12\n",
    );
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    assert_eq!(scene.read("effects"), "one\ntwo\n", "each step started once");
}

#[test]
fn a_run_whose_folder_was_deleted_says_what_it_does_not_know() {
    let scene = scene(
        "steps:\n  - {id: one, run: 'echo $$ > \"$DIR/began\"; until test -e \"$DIR/go\"; do sleep 0.02; done'}\n",
    );
    scene.expect(0, &["run", "book.yaml", "-p", &scene.dir(), "--detach"]);
    wait("the step", || !scene.read("began").is_empty());
    let id = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    let folder: PathBuf = scene.path(&format!("state/runs/{id}/attempts"));
    fs::remove_dir_all(folder).unwrap();
    scene.file("go", "");
    wait("the end", || scene.last()["run"]["finished_at"].is_number());
    let status = step_of(&scene.last(), "one")["status"].clone();
    assert!(status == "lost" || status == "succeeded", "never guessed: {status}");
    scene.expect(0, &["audit", "verify"]);
}
