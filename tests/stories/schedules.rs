//! What people see of schedules, and how they switch one off and on: on one machine, whose clock the story sets.

use serde_json::Value;

use crate::cluster::Cluster;
use crate::harness::{Done, finish, wait};
use crate::server::{Machine, is_run, reason};

const EVERY_MINUTE: &str = "    - {id: often, cron: \"* * * * *\"}\n";
const SATURDAY: &str =
    "    - {id: saturday, cron: \"30 2 * * SAT\", timezone: Europe/Berlin, jitter: 5m, missed: all, overlap: queue}\n";

fn says(machine: &Machine, code: i32, args: &[&str]) -> Done {
    let done = finish(machine.runward().args(args));
    assert_eq!(done.code, code, "{args:?}\n{}{}", done.stdout, done.stderr);
    done
}

fn listed(machine: &Machine, name: &str) -> Value {
    let all: Value = serde_json::from_str(&says(machine, 0, &["schedules", "--format", "json"]).stdout).unwrap();
    all.as_array().unwrap().iter().find(|it| it["schedule"] == name).cloned().unwrap_or(Value::Null)
}

/// What the doctor says about schedules.
fn doctor(machine: &Machine) -> Value {
    let found: Value = serde_json::from_str(&says(machine, 0, &["doctor", "--format", "json"]).stdout).unwrap();
    let checks = found["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == "schedules").cloned().unwrap_or(Value::Null)
}

#[test]
fn without_a_server_the_files_are_listed_and_it_is_said_that_nobody_fires_them() {
    let machine = Machine::new();
    let none = says(&machine, 0, &["schedules"]).stdout;
    assert!(none.contains("no schedules") && none.contains("runward server"), "{none}");
    machine.runbook("backup", SATURDAY);
    machine.scene.file("runbooks/bad.yaml", "steps: [{rum: x}]\n");
    let list = says(&machine, 0, &["schedules"]).stdout;
    assert!(list.contains("backup/saturday  -     -     at 02:30 on Saturday, Europe/Berlin"), "{list}");
    assert!(list.contains("no server is there: nothing is fired") && list.contains("runward validate"), "{list}");
    assert_eq!(listed(&machine, "backup/saturday")["state"], "new");
    // A second file of that name, and one that cannot run: whoever looks is told what a server would say.
    machine
        .scene
        .file("runbooks/again.yaml", format!("name: backup\non:\n  schedule:\n{SATURDAY}steps: [{{run: x}}]\n"));
    let list = says(&machine, 0, &["schedules"]).stdout;
    assert!(list.contains("has a schedule backup/saturday already"), "{list}");
    let page = says(&machine, 0, &["schedules", "show", "backup/saturday"]).stdout;
    assert!(page.contains("overlap     queue") && page.contains("T02:30 Europe/Berlin"), "{page}");
    assert_eq!(page.matches("T02:30 Europe/Berlin").count(), 5, "{page}");
    assert!(page.contains("no tick of it has come yet"), "{page}");
    let refused = says(&machine, 2, &["schedules", "disable", "backup/saturday", "--reason", "x"]).stderr;
    assert!(refused.contains("no server has taken up"), "{refused}");
    assert_eq!(doctor(&machine)["verdict"], "warn");
}

#[test]
fn a_schedule_is_named_by_what_somebody_nearly_typed() {
    let machine = Machine::new();
    machine.runbook("backup", SATURDAY);
    for (typed, near) in [
        ("backup/saterday", "did you mean"),
        ("backup", "RUNBOOK/ID"),
        ("saturday", "RUNBOOK/ID"),
        ("satruday", "did you mean"),
    ] {
        let refused = says(&machine, 2, &["schedules", "show", typed]).stderr;
        assert!(refused.contains(near) && refused.contains("backup/saturday"), "{typed}: {refused}");
    }
    assert!(says(&machine, 2, &["schedules", "show", "nothing/like-it"]).stderr.contains("`runward schedules` lists"));
    let reasons = says(&machine, 2, &["schedules", "disable", "backup/saturday", "--reason", " "]).stderr;
    assert!(reasons.contains("say why"), "{reasons}");
}

#[test]
fn the_last_ticks_of_a_schedule_are_listed_with_the_run_or_the_reason() {
    let machine = Machine::new();
    machine.runbook("backup", EVERY_MINUTE);
    let server = machine.server_at("2026-03-02 11:59:57");
    wait("the run to end", || machine.runs().first().is_some_and(|run| run["status"] == "succeeded"));
    let run = machine.runs()[0]["id"].as_str().unwrap().to_owned();
    let short = run.rsplit('-').next().unwrap().to_owned();
    let list = says(&machine, 0, &["schedules"]).stdout;
    assert!(list.contains(&format!("✓ {short} succeeded")) && list.contains("every minute"), "{list}");
    let page = says(&machine, 0, &["schedules", "show", "backup/often"]).stdout;
    assert!(
        page.contains("2026-03-02T12:00 UTC") && page.contains(&short) && page.contains("there, has it since"),
        "{page}"
    );
    let one = says(&machine, 0, &["show", &run]).stdout;
    assert!(one.contains("schedule    backup/often, tick 2026-03-02T12:00 UTC"), "{one}");
    assert!(says(&machine, 0, &["runs"]).stdout.contains("schedule backup/often"));
    let row = listed(&machine, "backup/often");
    assert_eq!((&row["last"]["run"], &row["last"]["run_status"]), (&run.into(), &"succeeded".into()), "{row}");
    server.end();
    assert_eq!(listed(&machine, "backup/often")["state"], "unattended");
}

#[test]
fn a_disabled_schedule_skips_its_ticks_until_it_is_enabled_and_both_are_on_the_record() {
    let machine = Machine::new();
    machine.runbook("backup", EVERY_MINUTE);
    let server = machine.server_at("2026-03-02 11:59:20");
    let disable = ["schedules", "disable", "backup/often", "--reason", "the disk is full"];
    let said = says(&machine, 0, &disable).stdout;
    assert!(said.contains("disabled backup/often") && said.contains("enable backup/often"), "{said}");
    let again = says(&machine, 0, &disable).stdout;
    assert!(again.contains("already disabled, by ") && again.contains("the disk is full"), "{again}");
    let row = listed(&machine, "backup/often");
    assert_eq!((&row["state"], &row["disabled"]["reason"]), (&"disabled".into(), &"the disk is full".into()), "{row}");
    server.end();
    // Over twelve o'clock.
    let server = machine.server_at("2026-03-02 12:00:02");
    let ticks = machine.wait_for_ticks("backup/often", 1);
    assert!(!is_run(&ticks[0]) && reason(&ticks[0]).contains("the disk is full"), "{ticks:?}");
    let list = says(&machine, 0, &["schedules"]).stdout;
    assert!(list.contains("disabled") && list.contains("skipped: ") && list.contains("--reason WHY"), "{list}");
    assert_eq!(doctor(&machine)["verdict"], "ok", "what somebody wants is no trouble");
    says(&machine, 0, &["schedules", "enable", "backup/often", "--reason", "there is room again"]);
    assert!(
        says(&machine, 0, &["schedules", "enable", "backup/often", "--reason", "x"]).stdout.contains("already enabled")
    );
    assert_eq!(listed(&machine, "backup/often")["state"], "fires");
    server.end();
    says(&machine, 0, &["audit", "verify"]);
}

#[test]
fn completions_know_the_schedules() {
    let machine = Machine::new();
    machine.runbook("backup", SATURDAY);
    machine.server_at("2026-03-02 11:59:20").end();
    let mut asks = machine.runward();
    asks.env("_RUNWARD_COMPLETE", "fish").args(["--", "runward", "schedules", "show", ""]);
    let offered = finish(&mut asks).stdout;
    assert!(offered.contains("backup/saturday"), "{offered}");
}

#[test]
fn servers_of_a_cluster_whose_files_differ_are_named() {
    let cluster = Cluster::new();
    let book = |cron: &str| format!("on: {{schedule: [{{id: s, cron: \"{cron}\"}}]}}\nsteps:\n  - run: echo\n");
    cluster.scene.file("one/backup.yaml", book("0 3 * * *"));
    cluster.scene.file("two/backup.yaml", book("0 4 * * *"));
    let _servers = ["one", "two"].map(|name| {
        let folder = cluster.scene.path(name).display().to_string();
        cluster.scene.file(&format!("{name}.toml"), format!("runbooks = [\"{folder}\"]\n"));
        let config = cluster.scene.path(&format!("{name}.toml")).display().to_string();
        cluster.member("server", name, &["--config", &config])
    });
    let seen = || cluster.expect(0, &["schedules"]).stdout;
    wait("both to be known", || seen().matches("backup/s ").count() >= 2);
    let list = seen();
    assert!(list.contains("not the same everywhere") && list.contains("on one") && list.contains("on two"), "{list}");
    let doctor = cluster.expect(0, &["doctor"]).stdout;
    assert!(doctor.contains("not the same everywhere"), "{doctor}");
}
