//! The commands against a cluster, from a host that drives nothing itself: a ledger in Postgres, and workers elsewhere.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal as Sent, kill};
use nix::unistd::Pid;
use runward_services::{Postgres, Signal};
use serde_json::Value;

use crate::harness::{Done, Scene, finish};

/// A host whose configuration names the database. It has no state folder, and gets none.
pub struct Host<'a> {
    pub scene: &'a Scene,
    pub url: String,
}

impl Host<'_> {
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.scene.runward();
        command.env("RUNWARD_DATABASE_URL", &self.url).args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Done {
        finish(&mut self.command(args))
    }

    pub fn expect(&self, code: i32, args: &[&str]) -> Done {
        let done = self.run(args);
        assert_eq!(done.code, code, "{args:?}\n{}\n{}", done.stdout, done.stderr);
        done
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--format", "json"]).collect();
        let done = self.expect(0, &args);
        serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}\n{}", done.stdout))
    }
}

pub fn host<'a>(scene: &'a Scene, postgres: &Postgres) -> Host<'a> {
    let host = Host { scene, url: postgres.database("runward") };
    host.expect(0, &["db", "migrate"]);
    host
}

fn log(scene: &Scene, name: &str) -> File {
    File::create(scene.path(name)).unwrap()
}

fn interrupt(child: &Child) {
    kill(Pid::from_raw(child.id() as i32), Sent::SIGINT).unwrap();
}

pub const TWO: &str = "steps:\n  - id: a\n    run: touch done\n  - id: b\n    needs: [a]\n    run: echo there\n";

#[test]
fn a_run_is_recorded_from_anywhere_and_nothing_is_started_here() {
    let (scene, postgres) = (Scene::new(), Postgres::start());
    let host = host(&scene, &postgres);
    scene.file("two.yaml", TWO);
    let id = host.expect(0, &["run", "two.yaml", "--detach"]).stdout.trim().to_owned();
    let shown = host.json(&["show", &id]);
    assert_eq!((&shown["run"]["status"], &shown["driver_pid"]), (&"queued".into(), &Value::Null));
    let page = host.expect(0, &["show", "last"]).stdout;
    assert!(!page.contains("nobody drives") && !page.contains("folder") && page.contains("runward logs -f"), "{page}");
    let runs = host.expect(0, &["runs"]).stdout;
    assert!(runs.contains(&id) && !runs.contains("no driver"), "{runs}");
    assert!(!scene.path("done").exists() && !scene.path("state").exists(), "this host starts and keeps nothing");
    host.expect(0, &["audit", "verify"]);
}

#[test]
fn whoever_calls_again_with_the_same_key_gets_the_same_run() {
    let (scene, postgres) = (Scene::new(), Postgres::start());
    let host = host(&scene, &postgres);
    scene.file("two.yaml", TWO);
    let first = host.expect(0, &["run", "two.yaml", "--detach", "--key", "night-7"]);
    let again = host.expect(0, &["run", "two.yaml", "--detach", "--key", "night-7"]);
    assert_eq!(first.stdout, again.stdout);
    assert!(again.stderr.contains("nothing is started twice"), "{}", again.stderr);
    assert_eq!(host.json(&["runs"]).as_array().map(Vec::len), Some(1));
    scene.file("two.yaml", TWO.replace("there", "elsewhere"));
    let other = host.expect(2, &["run", "two.yaml", "--detach", "--key", "night-7"]);
    assert!(other.stderr.contains("was changed since"), "{}", other.stderr);
}

#[test]
fn an_operator_says_what_is_to_happen_and_it_is_on_the_record() {
    let (scene, postgres) = (Scene::new(), Postgres::start());
    let host = host(&scene, &postgres);
    scene.file("two.yaml", TWO);
    host.expect(0, &["run", "two.yaml", "--detach"]);
    let paused = host.expect(0, &["pause", "last", "--reason", "look first"]).stdout;
    assert!(paused.contains("nothing new starts") && !paused.contains("driver"), "{paused}");
    assert_eq!(host.json(&["show", "last"])["run"]["status"], "paused");
    let skipped = host.expect(0, &["skip", "last", "b", "--reason", "not today"]).stdout;
    assert!(!skipped.contains("nobody drives"), "{skipped}");
    let on = host.expect(0, &["unpause", "last"]).stdout;
    assert!(on.starts_with("unpaused") && !on.contains("nobody drives"), "{on}");
    let refused = host.expect(2, &["resume", "last", "--from", "a"]);
    assert!(refused.stderr.contains("can be resumed"), "{}", refused.stderr);
    let cancelled = host.expect(0, &["cancel", "last", "--reason", "wrong host"]).stdout;
    assert!(cancelled.contains("cancelled two") && !cancelled.contains("already"), "{cancelled}");
    let again = host.expect(0, &["cancel", "last"]).stdout;
    assert!(again.contains("already cancelled"), "{again}");
}

#[test]
fn what_is_about_the_folders_of_one_machine_says_so() {
    let (scene, postgres) = (Scene::new(), Postgres::start());
    let host = host(&scene, &postgres);
    let refused = host.expect(2, &["db", "check"]);
    assert!(refused.stderr.contains("RUNWARD_DATABASE_URL"), "{}", refused.stderr);
}

#[test]
fn a_run_that_nobody_can_take_says_so_and_what_helps() {
    let (scene, postgres) = (Scene::new(), Postgres::start());
    let host = host(&scene, &postgres);
    scene.file("gpu.yaml", "steps:\n  - id: a\n    runs-on: [linux, gpu]\n    run: touch done\n");
    let mut following = host.command(&["run", "gpu.yaml"]);
    let mut following = following.stdout(Stdio::null()).stderr(log(&scene, "followed.err")).spawn().unwrap();
    scene.wait_for("followed.err", "runward worker --labels gpu,linux");
    interrupt(&following);
    assert_eq!(following.wait().unwrap().code(), Some(4), "{}", scene.read("followed.err"));
    let said = scene.read("followed.err");
    assert_eq!(said.matches("waits for a worker with the labels gpu, linux").count(), 1, "{said}");
    host.expect(0, &["run", "gpu.yaml", "--detach"]);
    let page = host.expect(0, &["show", "last"]).stdout;
    assert!(page.contains("waits for a worker with the labels gpu, linux: none is there"), "{page}");
    assert_eq!(host.json(&["show", "last"])["waits_for_labels"], serde_json::json!([["gpu", "linux"]]));
    assert!(host.expect(0, &["workers"]).stdout.contains("no worker is there"));
    let doctor = host.expect(0, &["doctor"]).stdout;
    assert!(doctor.contains("none takes steps") && doctor.contains("-> runward worker --labels gpu,linux"), "{doctor}");
    assert!(doctor.contains("none configured") && doctor.contains("schema "), "{doctor}");
}

#[test]
fn whoever_follows_a_run_sees_a_restart_of_the_database_through() {
    let (scene, mut postgres) = (Scene::new(), Postgres::start());
    let host = host(&scene, &postgres);
    scene.file("two.yaml", TWO);
    let mut following = host.command(&["run", "two.yaml"]);
    let mut following =
        following.stdout(log(&scene, "followed.out")).stderr(log(&scene, "followed.err")).spawn().unwrap();
    scene.wait_for("followed.out", "two: run ");
    postgres.stop(Signal::Kill);
    scene.wait_for("followed.err", "this goes on looking");
    let away = host.expect(9, &["runs"]);
    assert!(away.stderr.contains("cannot be reached") && away.stderr.contains("pg_isready"), "{}", away.stderr);
    postgres.start_again();
    scene.wait_for("followed.err", "the database is back");
    host.expect(0, &["cancel", "last"]);
    assert_eq!(following.wait().unwrap().code(), Some(4), "{}", scene.read("followed.err"));
}
