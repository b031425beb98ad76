//! Anchors: what a chain of hashes cannot show by itself is shown to whoever has noted, elsewhere, how far the record had come.

use std::process::Command;

use runward_services::Postgres;

use crate::harness::{Scene, finish, wait};
use crate::server::Machine;
use crate::trouble::with_ledger;

const BOOK: &str = "name: book\nsteps:\n  - {id: a, run: echo a}\n  - id: b\n    run: |\n      if test -e go; then exit 0; fi\n      exit 1\n";
const FILE: &str = "anchors.jsonl";

/// Two runs, one of which failed, and how far both have come; `audit verify` looks there by itself.
fn anchored() -> Scene {
    let scene = Scene::new();
    scene.file("book.yaml", BOOK);
    scene.file("runward.toml", format!("[audit]\nanchors = \"{FILE}\"\n"));
    scene.expect(1, &["run", "book.yaml"]);
    scene.expect(0, &["db", "check"]);
    let older = format!(".backup '{}'", scene.path("older.db").display());
    let done = finish(Command::new("sqlite3").arg(scene.path("state/ledger.db")).arg(older));
    assert_eq!(done.code, 0, "{}", done.stderr);
    scene.expect(1, &["run", "book.yaml"]);
    scene.expect(0, &["db", "check"]);
    let said = scene.expect(0, &["audit", "anchor"]);
    assert_eq!(said.stdout, "anchor 1: the first of this file, with 2 runs\n");
    scene.expect(0, &["audit", "verify"]);
    scene
}

/// What was in the ledger before the second run.
fn put_back(scene: &Scene) {
    for rest in ["state/ledger.db-wal", "state/ledger.db-shm"] {
        let _ = std::fs::remove_file(scene.path(rest));
    }
    std::fs::rename(scene.path("older.db"), scene.path("state/ledger.db")).unwrap();
}

/// What `audit verify` finds; nothing is added to the file any more, and the evidence in it stays.
fn found(scene: &Scene) -> String {
    let before = scene.read(FILE);
    let found = scene.expect(1, &["audit", "verify"]);
    scene.expect(1, &["audit", "anchor"]);
    assert_eq!(scene.read(FILE), before);
    found.stdout
}

/// The same record without its anchors: everything fits.
fn is_whole_by_itself(scene: &Scene) {
    let file = scene.path("runward.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "").unwrap();
    scene.expect(0, &["audit", "verify"]);
    std::fs::write(&file, text).unwrap();
}

#[test]
fn a_record_that_goes_on_is_what_its_anchors_have_seen() {
    let scene = anchored();
    assert_eq!(scene.expect(0, &["audit", "anchor"]).stdout, "nothing has gone on since anchor 1\n");
    scene.expect(1, &["retry", "last", "b", "--reason", "again"]);
    scene.expect(1, &["run", "book.yaml"]);
    let said = scene.json(&["audit", "anchor"]);
    assert_eq!((&said["anchor"], &said["runs"]), (&2.into(), &2.into()), "{said}");
    let verified = scene.json(&["audit", "verify"]);
    assert_eq!((&verified["anchors"]["anchors"], &verified["anchors"]["runs"]), (&2.into(), &3.into()), "{verified}");
    scene.expect(0, &["db", "prune", "--keep", "0", "--older-than", "0s"]);
    scene.expect(0, &["audit", "verify"]);
    scene.expect(0, &["audit", "anchor"]);
    scene.expect(0, &["audit", "verify"]);
}

#[test]
fn an_older_copy_of_the_ledger_is_told_by_its_anchors() {
    let scene = anchored();
    put_back(&scene);
    is_whole_by_itself(&scene);
    let found = found(&scene);
    assert!(found.contains("is gone, and no pruning says so"), "{found}");
    assert!(found.contains("the ledger's own record"), "{found}");
}

/// Takes its last events from the newest run, with everything that would show it, and computes what is left anew.
const CUT: &str = r#"
import hashlib, json
for (name,) in db.execute("select name from sqlite_master where type = 'trigger'").fetchall():
    db.execute(f'drop trigger {name}')
def field(b): return len(b).to_bytes(8, 'big') + b
def number(n): return field(n.to_bytes(8, 'big'))
def again(run):
    head = '0' * 64
    for seq, at, actor, body in db.execute('select seq, at, actor, body from events where run_id = ? order by seq', (run,)).fetchall():
        text = b''.join([field(head.encode()), field(run.encode()), number(seq), number(at), field(actor.encode()), field(body.encode())])
        head = hashlib.sha256(text).hexdigest()
        db.execute('update events set hash = ? where run_id = ? and seq = ?', (head, run, seq))
    db.execute('update runs set head = ? where id = ?', (head, run))
run = db.execute('select max(id) from runs').fetchone()[0]
"#;

#[test]
fn a_run_that_was_written_again_with_new_hashes_is_told_by_its_anchors() {
    let scene = anchored();
    let forge = "db.execute(\"update events set actor = 'somebody else' where run_id = ?\", (run,))\n\
                 db.execute(\"update runs set actor = 'somebody else' where id = ?\", (run,))\nagain(run)";
    with_ledger(&scene, &format!("{CUT}{forge}"));
    is_whole_by_itself(&scene);
    let found = found(&scene);
    let id = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    assert!(found.contains(&format!("run {id}, event ")) && found.contains("it was written again"), "{found}");
}

#[test]
fn events_that_were_written_again_below_what_came_later_are_told_too() {
    let scene = anchored();
    scene.expect(1, &["retry", "last", "b", "--reason", "again"]);
    let forge = "db.execute(\"update events set at = at - 1 where run_id = ? and seq = 1\", (run,))\n\
                 db.execute(\"update runs set created_at = created_at - 1 where id = ?\", (run,))\nagain(run)";
    with_ledger(&scene, &format!("{CUT}{forge}"));
    is_whole_by_itself(&scene);
    // The next anchor would be of the forged run: none is added.
    let found = found(&scene);
    assert!(found.contains("it is not what line 1 of the anchors has seen"), "{found}");
}

#[test]
fn a_run_that_was_made_to_disappear_is_told_by_its_anchors() {
    let scene = anchored();
    let remove = "for table in ('events', 'attempts', 'steps'):\n    db.execute(f'delete from {table} where run_id = ?', (run,))\n\
                  db.execute('delete from runs where id = ?', (run,))";
    with_ledger(&scene, &format!("{CUT}{remove}"));
    is_whole_by_itself(&scene);
    assert!(found(&scene).contains("is gone, and no pruning says so"));
}

#[test]
fn a_line_of_the_anchors_that_was_changed_or_removed_is_told() {
    let scene = anchored();
    for _ in 0..2 {
        scene.expect(1, &["run", "book.yaml"]);
        scene.expect(0, &["audit", "anchor"]);
    }
    let text = scene.read(FILE);
    let lines: Vec<&str> = text.lines().collect();
    for broken in [lines[1..].join("\n"), [lines[0], lines[2]].join("\n"), text.replacen("\"at\":", "\"at\":1", 1)] {
        scene.file(FILE, broken + "\n");
        assert!(found(&scene).contains("does not follow the anchor before it"));
    }
    for left in ["", &lines[0][..20]] {
        scene.file(FILE, left);
        let found = scene.expect(1, &["audit", "verify"]).stdout;
        assert!(found.contains("there is no anchor in"), "{left}: {found}");
    }
    std::fs::remove_file(scene.path(FILE)).unwrap();
    let found = scene.expect(1, &["audit", "verify"]).stdout;
    assert!(found.contains("the anchors cannot be read"), "{found}");
}

#[test]
fn without_a_file_everything_is_one_line_for_elsewhere() {
    let scene = anchored();
    scene.file("runward.toml", "");
    let line = scene.expect(0, &["audit", "anchor"]).stdout;
    assert_eq!(line.lines().count(), 1);
    let elsewhere = scene.file("elsewhere.jsonl", &line).display().to_string();
    scene.expect(0, &["audit", "verify", "--anchors", &elsewhere]);
    put_back(&scene);
    scene.expect(1, &["audit", "verify", "--anchors", &elsewhere]);
    let refused = scene.run(&["audit", "anchor", "--file", "/proc/nowhere/anchors"]);
    assert!(refused.code == 2 && refused.stderr.contains("help: "), "{}", refused.stderr);
}

#[test]
fn a_server_anchors_by_itself() {
    let machine = Machine::new();
    machine.runbook("backup", "    - {id: often, cron: \"* * * * *\"}\n");
    machine.scene.file("runward.toml", format!("[audit]\nanchors = \"{FILE}\"\nanchor-every = \"1s\"\n"));
    let server = machine.server_at("2026-03-02 11:59:57");
    wait("an anchor of the run", || machine.scene.read(FILE).contains("\"runs\":{\"0"));
    assert_eq!(server.end(), 0);
    machine.scene.expect(0, &["audit", "verify"]);
}

#[test]
fn a_ledger_in_postgres_is_anchored_as_well() {
    let (scene, postgres) = (anchored(), Postgres::start());
    let url = postgres.database("runward");
    let runward = |args: &[&str]| finish(scene.runward().env("RUNWARD_DATABASE_URL", &url).args(args));
    assert_eq!(runward(&["db", "migrate"]).code, 0);
    let other = scene.path("cluster.jsonl").display().to_string();
    assert_eq!(runward(&["run", "book.yaml", "--detach"]).code, 0);
    let said = runward(&["audit", "anchor", "--file", &other]);
    assert_eq!(
        (said.code, said.stdout.as_str()),
        (0, "anchor 1: the first of this file, with 1 run\n"),
        "{}",
        said.stderr
    );
    assert_eq!(runward(&["audit", "verify", "--anchors", &other]).code, 0);
    // The file of another ledger: none of its runs is there.
    let found = runward(&["audit", "verify"]);
    assert!(found.code == 1 && found.stdout.contains("is gone"), "{}", found.stdout);
}

#[test]
fn anchors_that_take_nothing_hold_up_no_run() {
    let machine = Machine::new();
    machine.runbook("backup", "    - {id: often, cron: \"* * * * *\"}\n");
    nix::unistd::mkfifo(&machine.scene.path(FILE), nix::sys::stat::Mode::S_IRWXU).unwrap();
    machine.scene.file("runward.toml", format!("[audit]\nanchors = \"{FILE}\"\nanchor-every = \"1s\"\n"));
    let server = machine.server_at("2026-03-02 11:58:57");
    machine.wait_for_ticks("backup/often", 1);
    wait("its run", || {
        let runs = finish(machine.runward().args(["runs", "--format", "json"])).stdout;
        runs.contains("\"succeeded\"")
    });
    assert_eq!(server.end(), 0);
    let said = finish(machine.runward().args(["audit", "anchor"]));
    assert!(said.code != 0 && said.stderr.contains("it is not a regular file"), "{} {}", said.code, said.stderr);
    let found = finish(machine.runward().args(["audit", "verify"]));
    assert!(found.code == 1 && found.stdout.contains("the anchors cannot be read"), "{}{}", found.stdout, found.stderr);
}

#[test]
fn what_is_pruned_meanwhile_is_no_contradiction() {
    let scene = anchored();
    let rounds = |args: &[&str], code: i32| (0..6).for_each(|_| drop(scene.expect(code, args)));
    std::thread::scope(|all| {
        all.spawn(|| rounds(&["run", "book.yaml"], 1));
        all.spawn(|| rounds(&["db", "prune", "--keep", "0", "--older-than", "0s"], 0));
        all.spawn(|| rounds(&["audit", "anchor"], 0));
        all.spawn(|| rounds(&["audit", "verify"], 0));
    });
    scene.expect(0, &["audit", "anchor"]);
    let verified = scene.json(&["audit", "verify"]);
    assert!(verified["anchors"]["anchors"].as_u64().unwrap() > 1, "{verified}");
    assert!(scene.read(FILE).lines().count() > 1);
}
