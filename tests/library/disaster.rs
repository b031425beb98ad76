//! A server that is gone, with its machine: it is built anew, and what that cost is measured.

use std::fs;
use std::process::Command;

use runward_services::Cluster;

use serde_json::Value;

use crate::harness::{Scene, finish, kill_9, repository, step_of, wait};
use crate::operator::Run;
use crate::wal::Archived;

impl Archived {
    fn disaster(&self, code: i32) -> Run {
        let params = self.anew(&self.ground.path("new/server"));
        let params = params.iter().map(|(name, value)| (&**name, &**value)).chain([("table", "items")]);
        self.operator.expect(code, "dr_full", &params.collect::<Vec<_>>())
    }

    /// Where the server is that is destroyed, and where the new one will be.
    fn both(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut params = self.anew(&self.ground.path("new/server"));
        let victim = self.primary.data().display().to_string();
        let own = [("victim", victim.as_str()), ("victim_port", "7001")];
        params.extend(own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        params
    }

    fn drill(&self, code: i32, more: &[(&str, &str)]) -> Run {
        let params = self.both(more);
        let params: Vec<_> = params.iter().map(|(name, value)| (&**name, &**value)).collect();
        self.operator.expect(code, "dr_drill", &params)
    }

    fn rebuilt(&self) -> Cluster {
        self.ground.attach("new/server", 7002)
    }
}

#[test]
fn a_server_that_is_gone_is_built_anew_from_its_archive() {
    let place = Archived::new();
    place.insert(1, 100);
    place.backup(0, &[]);
    place.insert(101, 200);
    place.backup(0, &[]);
    place.primary.kill();
    fs::remove_dir_all(place.primary.data()).unwrap();

    let run = place.disaster(0);
    assert_eq!(place.rebuilt().sql("app", "select count(*), max(n) from items"), "200|200");
    place.rebuilt().sql("app", "insert into items values (201)");
    let (rto, rpo): (u64, u64) =
        (run.output("measure", "rto").parse().unwrap(), run.output("measure", "rpo").parse().unwrap());
    assert!(run.text.contains(&format!("RTO: {rto} s")) && run.text.contains(&format!("at most {rpo} s are lost")));
    let last = run.show["outputs"]["last_commit"].as_str().unwrap().to_owned();
    assert_eq!(place.rebuilt().sql("app", &format!("select timestamptz '{last}' < now()")), "t");
}

#[test]
fn a_drill_destroys_only_what_may_be_destroyed_and_measures_what_is_lost() {
    let place = Archived::new();
    place.insert(1, 100);
    place.backup(0, &[]);
    let refused = place.drill(1, &[]);
    assert!(refused.text.contains("this is not a server for drills"), "{}", refused.text);
    let stranger = place.ground.make("new/server");
    fs::write(stranger.join("precious"), "").unwrap();
    place.drill(1, &[]);
    assert!(stranger.join("precious").exists(), "what was there before is never touched");
    fs::remove_dir_all(&stranger).unwrap();
    assert_eq!(place.primary.sql("app", "select count(*) from items"), "100");

    fs::write(place.primary.data().join("this_server_may_be_destroyed"), "").unwrap();
    // Rows that are never archived, two seconds after the last that are: that is what a disaster costs.
    place.insert(101, 150);
    place.backup(0, &[]);
    place.primary.sql("app", "select pg_sleep(2)");
    place.insert(151, 200);
    let run = place.drill(0, &[("keep", "true")]);
    assert!(!place.primary.data().exists(), "it is gone");
    assert_eq!(place.rebuilt().sql("app", "select count(*) from items"), "150", "what was archived is back");
    place.operator.saw("S2-32 S2-33 S3-59", &run, "rebuild");
    let (rto, rpo): (u64, u64) =
        (run.output("measure", "rto").parse().unwrap(), run.output("measure", "rpo").parse().unwrap());
    assert!((2..300).contains(&rpo), "{rpo} s");
    assert!(run.text.contains(&format!("RTO: {rto} s (objective: 14400 s). RPO: {rpo} s (objective: 3600 s).")));
    assert!(run.status("clean") == "succeeded" && place.rebuilt().data().exists());
    place.operator.saw("S2-58 S2-59", &run, "measure");
}

#[test]
fn a_drill_that_misses_its_objective_fails() {
    let place = Archived::new();
    place.insert(1, 100);
    place.backup(0, &[]);
    fs::write(place.primary.data().join("this_server_may_be_destroyed"), "").unwrap();
    let run = place.drill(1, &[("max_rto", "1ms")]);
    assert!(run.text.contains("the RTO was missed"), "{}", run.text);
    assert!(!place.rebuilt().data().exists(), "the new server is deleted");
}

#[test]
fn once_a_year_the_disaster_is_played_and_the_plan_has_its_figures() {
    let place = Archived::new();
    place.insert(1, 100);
    place.backup(0, &[]);
    let plan = place.operator.scene.path("disaster.md");
    let path = plan.display().to_string();
    let params = place.both(&[("plan", &path)]);
    let params: Vec<_> = params.iter().map(|(name, value)| (&**name, &**value)).collect();
    let refused = place.operator.drill(1, "maintenance_yearly", &params);
    assert!(refused.text.contains("this is not a server for drills") && !plan.exists(), "{}", refused.text);

    fs::write(place.primary.data().join("this_server_may_be_destroyed"), "").unwrap();
    let run = place.operator.drill(0, "maintenance_yearly", &params);
    assert!(
        !place.primary.data().exists() && !place.rebuilt().data().exists(),
        "one is gone, and so is what was built"
    );
    let archived = place.ground.path("backup").display().to_string();
    let (plan, rto) = (fs::read_to_string(&plan).unwrap(), run.show["outputs"]["rto"].to_string());
    assert!(plan.contains(&format!("**{} s**", rto.trim_matches('"'))) && plan.contains(&archived), "{rto}: {plan}");
    assert!(run.text.contains("maintenance_yearly.drill succeeded") && run.text.contains("RTO: "), "{}", run.text);
    place.operator.saw("S2-33 S3-59", &run, "disaster");
}

#[test]
fn whenever_the_driver_dies_the_server_is_built_all_the_same() {
    let place = Archived::new();
    place.insert(1, 100);
    place.backup(0, &[]);
    place.insert(101, 200);
    place.backup(0, &[]);
    let restore = ["preflight", "lay", "replay", "verify", "clean"].map(|step| format!("restore/{step}"));
    let steps = ["begin"].into_iter().chain(restore.iter().map(String::as_str)).chain(["smoke", "measure"]);
    for step in steps {
        let params = place.anew(&place.ground.path("new/server"));
        let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (&**name, &**value)).collect();
        let (mut driver, run) = place.operator.start("dr_full", &params);
        let scene = &place.operator.scene;
        wait(&format!("{step} to begin"), || !["", "pending", "ready"].contains(&status(scene, &run, step).as_str()));
        kill_9(&mut driver);
        let resumed = finish(scene.runward().args(["resume", &run]));
        let status = place.operator.look(&run).show["run"]["status"].as_str().unwrap().to_owned();
        assert_eq!(status, "succeeded", "killed at {step}: {}{}", resumed.stdout, resumed.stderr);
        assert_eq!(place.rebuilt().sql("app", "select count(*), max(n) from items"), "200|200", "killed at {step}");
        place.rebuilt().stop("immediate");
        assert!(Command::new("rm").arg("-rf").arg(place.rebuilt().data()).status().unwrap().success());
    }
}

/// What a step has come to by now, `restore/lay` one of the run that `restore` has called; `` where that is not known yet.
fn status(scene: &Scene, run: &str, step: &str) -> String {
    let show = finish(scene.runward().args(["show", run, "--format", "json"])).stdout;
    let show: Value = serde_json::from_str(&show).unwrap_or_default();
    match (step.split_once('/'), show["children"][0]["run"].as_str()) {
        _ if show.is_null() => String::new(),
        (None, _) => step_of(&show, step)["status"].as_str().unwrap_or_default().to_owned(),
        (Some((_, step)), Some(child)) => status(scene, child, step),
        (Some(_), None) => String::new(),
    }
}

#[test]
fn a_drill_of_the_rebuild_leaves_nothing_but_its_figures() {
    let place = Archived::new();
    place.insert(1, 100);
    place.backup(0, &[]);
    let params = place.anew(&place.ground.path("new/drill"));
    let file = repository().join("runbooks/dr_full.yaml").display().to_string();
    let params: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let drill = |more: &[&str]| {
        let mut words = vec!["run", "--drill", &file];
        params.iter().for_each(|param| words.extend(["-p", param]));
        place.operator.scene.run(&[&words[..], more].concat())
    };
    let done = drill(&[]);
    assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    let text = done.stdout + &done.stderr;
    assert!(text.contains("dr_full.drill succeeded") && text.contains("rto 4h 00m met"), "{text}");
    assert!(text.contains("1 tables; it takes reads and writes"), "{text}");
    assert!(!place.ground.path("new/drill").exists(), "the server of the drill is gone");
    assert_eq!(place.primary.sql("app", "select count(*) from items"), "100", "and the real one was never touched");
    let kept = drill(&["-p", "keep=true"]);
    assert_eq!(kept.code, 2, "a drill cleans up: {}{}", kept.stdout, kept.stderr);
}
