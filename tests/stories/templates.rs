//! What `runward new` writes works: valid, formatted, and run for real, with the accidents each is there for.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::harness::{Done, Scene, finish};

/// A scene with a runbook called `ops/x` from this template.
fn written(template: &str) -> Scene {
    let scene = Scene::new();
    scene.expect(0, &["new", "ops/x", "--template", template]);
    scene
}

impl Scene {
    fn x(&self, params: &[String]) -> Done {
        let mut command = self.runward();
        command.args(["run", "ops/x"]).args(params.iter().flat_map(|param| ["-p", param.as_str()]));
        finish(&mut command)
    }

    fn param(&self, name: &str, path: &str) -> String {
        format!("{name}={}", self.path(path).display())
    }
}

#[test]
fn every_template_is_listed_valid_formatted_and_never_overwrites() {
    let listed = Scene::new().expect(0, &["new", "--list"]).stdout;
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["hello", "backup", "deploy", "migrate"]);
    for name in names {
        let scene = written(name);
        scene.expect(0, &["validate", "ops/x"]);
        scene.expect(0, &["fmt", "--check"]);
        let text = scene.read("runbooks/ops/x.yaml");
        for blank in ["@base@", "@name@", "@run@"] {
            assert!(!text.contains(blank), "nothing is left to fill in:\n{text}");
        }
        let again = scene.expect(2, &["new", "ops/x", "--template", name]);
        assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    }
    let scene = Scene::new();
    scene.file("runbooks/x/migrate.sh", "mine");
    scene.expect(2, &["new", "x", "-t", "migrate"]);
    assert!(!scene.path("runbooks/x.yaml").exists(), "all or nothing");
    for bad in ["../x", "X", "a b", "", "a//b", "/x", "-t"] {
        assert_eq!(scene.run(&["new", bad]).code, 2, "{bad}");
    }
    scene.expect(0, &["init"]);
    scene.expect(0, &["run", "hello", "-p", "name=世界"]);
}

#[test]
fn the_backup_is_verified_and_a_failed_one_leaves_nothing_that_looks_like_one() {
    let scene = written("backup");
    scene.file("data/备份 file.txt", "content");
    scene.file("data/sub/deep", "x");
    let params = [scene.param("source", "data"), scene.param("target", "kept"), "keep=2".to_owned()];
    let names = || {
        let mut names: Vec<String> = fs::read_dir(scene.path("kept"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    // Older ones, whose names sort before today's.
    for day in 1..4 {
        scene.file(&format!("kept/ops-x-2020010{day}T000000Z.tar.gz"), "old");
    }
    let done = scene.x(&params);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("the restored copy equals the source"), "{}", done.stdout);
    let kept = names();
    assert_eq!((kept.len(), kept[0].as_str()), (2, "ops-x-20200103T000000Z.tar.gz"), "{kept:?}");
    let list = finish(Command::new("tar").arg("tzf").arg(scene.path("kept").join(&kept[1])));
    assert!(list.code == 0 && list.stdout.contains("./sub/deep"), "{}", list.stdout);

    // Somebody writes while it is read: the copy differs, so there is no new archive and nothing half-done.
    let book = scene.read("runbooks/ops/x.yaml");
    scene.file(
        "runbooks/ops/x.yaml",
        book.replace("      restored=", "      echo changed >> \"$SOURCE/sub/deep\"\n      restored="),
    );
    assert_eq!(scene.x(&params).code, 1);
    assert_eq!(names(), kept);
    let inside = scene.x(&[scene.param("source", "data"), scene.param("target", "data/kept")]);
    assert!(inside.code == 1 && inside.stdout.contains("lies inside"), "{}", inside.stdout);
}

/// A web server that shows a folder, on a port of its own.
fn serve(folder: &std::path::Path) -> (Child, String) {
    let mut server = Command::new("python3")
        .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"])
        .arg(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    let port = said.split(" port ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    (server, port)
}

#[test]
fn the_deploy_switches_and_goes_back_when_the_release_does_not_work() {
    let scene = written("deploy");
    let book = scene.read("runbooks/ops/x.yaml");
    scene.file("runbooks/ops/x.yaml", book.replace("attempts: 10", "attempts: 2"));
    scene.file(
        "runbooks/ops/x/reload.sh",
        format!("readlink \"$ROOT/current\" >> {}\n", scene.path("reloads").display()),
    );
    fs::create_dir(scene.path("app")).unwrap();
    let (mut server, port) = serve(&scene.path("app"));
    let release = |version: &str, file: &str| {
        scene.file(&format!("built/{version}/{file}"), version);
        let archive = scene.path(&format!("{version}.tar.gz"));
        let tar = Command::new("tar")
            .arg("czf")
            .arg(&archive)
            .arg("-C")
            .arg(scene.path("built").join(version))
            .arg(".")
            .status();
        assert!(tar.unwrap().success());
        scene.x(&[
            scene.param("root", "app"),
            scene.param("artifact", &format!("{version}.tar.gz")),
            format!("version={version}"),
            format!("health=http://127.0.0.1:{port}/current/health"),
        ])
    };
    let current = || fs::read_link(scene.path("app/current")).ok().map(|link| link.display().to_string());
    let first = release("0.9", "nothing");
    assert_eq!((first.code, current()), (6, None), "there is no release to go back to:\n{}", first.stdout);
    let good = release("1.0", "health");
    assert_eq!((good.code, current().as_deref()), (0, Some("releases/1.0")), "{}", good.stdout);
    let again = release("1.0", "health");
    assert!(again.code == 1 && again.stdout.contains("1.0 is there already"), "{}", again.stdout);
    let bad = release("1.1", "nothing");
    assert_eq!((bad.code, current().as_deref()), (6, Some("releases/1.0")), "{}", bad.stdout);
    assert!(bad.stdout.contains("back to releases/1.0"), "{}", bad.stdout);
    let resumed = scene.run(&["resume", "last"]);
    assert_eq!(
        (resumed.code, current().as_deref()),
        (6, Some("releases/1.0")),
        "once more, and back:\n{}",
        resumed.stdout
    );
    assert_eq!((release("1.2", "health").code, current().as_deref()), (0, Some("releases/1.2")));
    assert_eq!(fs::read_to_string(scene.path("app/current/health")).unwrap(), "1.2");
    let reloads = scene.read("reloads");
    assert_eq!(reloads.lines().last(), Some("releases/1.2"), "{reloads}");
    server.kill().unwrap();
    server.wait().unwrap();
}

fn sqlite(scene: &Scene, sql: &str) -> String {
    let done = finish(Command::new("sqlite3").arg(scene.path("app.db")).arg(sql));
    assert_eq!(done.code, 0, "{sql}: {}", done.stderr);
    done.stdout.trim().to_owned()
}

#[test]
fn the_migration_applies_each_file_once_and_a_wrong_one_changes_nothing() {
    let scene = written("migrate");
    sqlite(&scene, "CREATE TABLE people (name TEXT); INSERT INTO people VALUES ('李');");
    let params = [scene.param("database", "app.db"), scene.param("backups", "kept")];
    let backups = || fs::read_dir(scene.path("kept")).map_or(0, Iterator::count);
    scene.file(
        "runbooks/ops/x/sql/0002_age.sql",
        "ALTER TABLE people ADD COLUMN age INT;\nINSERT INTO people VALUES ('王', 7)  -- no end",
    );
    scene.file(
        "runbooks/ops/x/sql/0003_trigger.sql",
        "CREATE TRIGGER t AFTER INSERT ON people\nBEGIN\n  SELECT 1;\nEND;\n",
    );
    let done = scene.x(&params);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    assert_eq!(
        sqlite(&scene, "SELECT group_concat(name) FROM schema_migrations"),
        "0001_first.sql,0002_age.sql,0003_trigger.sql"
    );
    assert_eq!((sqlite(&scene, "SELECT count(*) FROM people"), backups()), ("2".to_owned(), 1));

    let again = scene.x(&params);
    assert_eq!((again.code, backups()), (0, 1), "nothing to do, no backup:\n{}", again.stdout);

    scene.file(
        "runbooks/ops/x/sql/0004_wrong.sql",
        "INSERT INTO people VALUES ('half', 1);\nINSERT INTO nowhere VALUES (1);\n",
    );
    let wrong = scene.x(&params);
    assert!(wrong.code == 1 && wrong.stdout.contains("nowhere"), "{}", wrong.stdout);
    assert!(wrong.stdout.contains("the database as it was before: "), "{}", wrong.stdout);
    assert_eq!(
        (sqlite(&scene, "SELECT count(*) FROM people"), backups()),
        ("2".to_owned(), 2),
        "all of a file or nothing"
    );

    for (name, text, wanted) in [
        ("0004_wrong.sql", "COMMIT;\n", "no BEGIN; or COMMIT"),
        ("0002_age.sql", "SELECT 1;\n", "was changed after it was applied"),
        ("x.sql", "SELECT 1;\n", "call it 0001"),
    ] {
        let path = scene.path(&format!("runbooks/ops/x/sql/{name}"));
        let before = fs::read(&path).ok();
        fs::write(&path, text).unwrap();
        let refused = scene.x(&params);
        assert!(refused.code == 1 && refused.stdout.contains(wanted), "{name}: {}", refused.stdout);
        match before {
            Some(before) => fs::write(&path, before).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
}

#[test]
fn two_migrations_at_once_are_one() {
    let scene = written("migrate");
    sqlite(&scene, "CREATE TABLE people (name TEXT)");
    let lock = fs::File::create(scene.path("app.db.migrate.lock")).unwrap();
    let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let params = [scene.param("database", "app.db"), scene.param("backups", "kept")];
    let busy = scene.x(&params);
    assert!(busy.code == 1 && busy.stdout.contains("another migration"), "{}", busy.stdout);
    drop(lock);
    assert_eq!(scene.x(&params).code, 0);
}
