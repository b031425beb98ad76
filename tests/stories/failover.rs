//! The database fails over to a standby, and nothing starts twice by itself because of what that lacks.

use std::fs::File;
use std::process::Child;

use runward_services::Pair;
use serde_json::Value;

use crate::cluster_cli::Host;
use crate::harness::{Scene, kill_9, wait};

/// Half a minute is a second and a half.
const PACE: &str = "20";
/// The first step ends when it may; what `once` did is a line of the file.
const BOOK: &str = "params: {dir: {type: path, required: true}}
defaults: {runs-on: [a], env: {DIR: '${{ params.dir }}'}}
steps:
  - id: first
    run: until test -e \"$DIR/$RUNWARD_RUN_ID\"; do sleep 0.05; done
  - id: once
    run: |
      echo $RUNWARD_RUN_ID >> \"$DIR/effects\"
      until test -e \"$DIR/go\"; do sleep 0.05; done
";

struct Story<'a> {
    host: Host<'a>,
    pair: Pair,
}

/// Killed when the story is over.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl<'a> Story<'a> {
    fn new(scene: &'a Scene) -> Story<'a> {
        let pair = Pair::new();
        let host = Host { scene, url: pair.database("runward") };
        host.expect(0, &["db", "migrate"]);
        scene.file("x.yaml", BOOK);
        Story { host, pair }
    }

    fn worker(&self, name: &str, labels: &str) -> Worker {
        let scene = self.host.scene;
        let log = File::options().append(true).create(true).open(scene.path(&format!("{name}.log"))).unwrap();
        let mut command = self.host.command(&["worker", "--name", name, "--labels", labels]);
        command.env("RUNWARD_STATE", scene.path(&format!("state-{name}"))).env("RUNWARD_TEST_PACE", PACE);
        let worker = Worker(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        scene.wait_for(&format!("{name}.log"), "joined the cluster");
        worker
    }

    fn run_detached(&self) -> String {
        self.host.expect(0, &["run", "x.yaml", "--detach", "-p", &self.host.scene.dir()]).stdout.trim().to_owned()
    }

    /// A run whose first step is under way.
    fn run(&self) -> String {
        let run = self.run_detached();
        wait("the first step to run", || {
            let claims = format!("SELECT count(*) FROM attempts WHERE run_id = '{run}' AND status = 'running'");
            self.pair.primary.ask("runward", &claims).as_deref() == Ok("1")
        });
        run
    }

    fn trusted(&self) {
        let said = "SELECT count(*) FROM administration WHERE kind = 'timeline_accepted'";
        wait("somebody to say on which timeline it is", || self.pair.primary.sql("runward", said) != "0");
    }

    fn starts(&self, run: &str) -> usize {
        self.host.scene.read("effects").lines().filter(|line| *line == run).count()
    }

    /// What the doctor says of this, after `VERDICT: `.
    fn check(&self, name: &str) -> String {
        let done = self.host.run(&["doctor", "--format", "json"]);
        let found: Value =
            serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{}{}", done.stdout, done.stderr));
        let check = found["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
        check.map_or_else(String::new, |check| {
            let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
            format!("{}: {} -> {}", text("verdict"), text("says"), text("fix"))
        })
    }

    fn status(&self, run: &str) -> String {
        self.host.json(&["show", run])["run"]["status"].as_str().unwrap_or_default().to_owned()
    }
}

#[test]
fn a_failover_that_keeps_everything_costs_nothing_and_needs_nobody() {
    let scene = Scene::new();
    let story = Story::new(&scene);
    let _workers = [story.worker("one", "a"), story.worker("two", "b")];
    let check = story.check("standbys");
    assert!(
        check.starts_with("warn") && check.contains("asynchronous") && check.contains("synchronous_standby_names"),
        "{check}"
    );
    story.pair.wait_for_standby();
    let check = story.check("standbys");
    assert!(check.starts_with("ok") && check.contains("1 standby, synchronous"), "{check}");
    story.trusted();
    let runs = [story.run(), story.run()];
    scene.file(&runs[0], "");
    wait("the step to start", || story.starts(&runs[0]) == 1);
    story.pair.fail_over();
    scene.file(&runs[1], "");
    scene.file("go", "");
    for run in &runs {
        wait("the run to end", || story.status(run) == "succeeded");
        assert_eq!(story.starts(run), 1);
    }
    assert!(story.check("timeline").starts_with("ok"), "{}", story.check("timeline"));
    story.host.expect(0, &["audit", "verify"]);
}

#[test]
fn what_a_standby_lacks_is_not_started_again_unless_a_person_says_so() {
    let scene = Scene::new();
    let story = Story::new(&scene);
    let (_one, mut two) = (story.worker("one", "a"), story.worker("two", "b"));
    story.trusted();
    let (lost, kept) = (story.run(), story.run());
    story.pair.cut_standby();
    scene.file(&lost, "");
    wait("the step to start", || story.starts(&lost) == 1);
    // What the other one has started nobody can know.
    kill_9(&mut two.0);
    story.pair.fail_over();

    wait("the doctor to miss the one that is gone", || {
        let check = story.check("timeline");
        check.starts_with("fail") && check.contains("journals of two ") && check.contains("runward db accept")
    });
    let waits = story.run_detached();
    wait("the run to be paused", || story.status(&lost) == "paused");
    let shown = story.host.expect(0, &["show", &lost]).stdout;
    assert!(shown.contains("has lost what it acknowledged") && shown.contains("on one attempt"), "{shown}");
    let started = format!("SELECT count(*) FROM attempts WHERE run_id = '{waits}'");
    assert_eq!(story.pair.standby.sql("runward", &started), "0", "nothing starts");
    let accepted = story.host.expect(0, &["db", "accept", "--reason", "its disk is empty"]).stdout;
    assert!(accepted.contains("steps start again") && accepted.contains("two has not compared"), "{accepted}");

    scene.file("go", "");
    for run in [&kept, &waits] {
        scene.file(run, "");
        wait("a run that lost nothing to go on", || story.starts(run) == 1);
    }
    assert_eq!((story.status(&lost).as_str(), story.starts(&lost)), ("paused", 1), "it is for a person");
    story.host.expect(0, &["unpause", &lost]);
    wait("the run to end", || story.status(&lost) == "succeeded");
    assert_eq!(story.starts(&lost), 2, "a person has said so");
    story.host.expect(0, &["audit", "verify"]);
    assert!(story.host.expect(0, &["db", "accept", "--reason", "again"]).stdout.contains("nothing to accept"));
}
