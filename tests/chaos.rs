//! The short tiers: a real cluster under faults for five minutes, and one that is hit at each point where that hurts most, on
//! a seed of their own each time.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use runward_chaos::cluster::Cluster;
use runward_chaos::directed::{self, Cases};
use runward_chaos::{Plan, run};
use runward_store::failpoint::{Action, Point};

#[test]
fn nothing_runs_twice_and_nothing_is_lost_while_everything_is_killed() {
    let seed = seed();
    let runward = env!("CARGO_BIN_EXE_runward").into();
    let report = run(&Plan { runward, seed, lasts: Duration::from_secs(300), pace: 3 });
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");
    let enough = report.kills >= 150 && report.freezes >= 20 && report.restarts >= 3 && report.flushes >= 2;
    let enough = enough && report.full >= 1 && report.starved >= 1 && report.points >= 10;
    assert!(enough, "too little happened:\n{report}");
}

#[test]
fn whoever_dies_where_it_hurts_most_costs_no_more_than_is_promised() {
    let runward = env!("CARGO_BIN_EXE_runward").into();
    let report = directed::run(&Cases { runward, seed: seed(), times: 0, pace: 5 });
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");
    for point in Point::ALL {
        assert!(report.cases.contains_key(&(*point, Action::Kill)), "nobody died at {point}:\n{report}");
        let others = report.cases.keys().filter(|(hit, action)| hit == point && *action != Action::Kill);
        assert!(others.count() >= 1, "nothing else happened at {point}:\n{report}");
    }
}

/// Where the one that is to be killed says what it has started.
const TELLS: &str = "RUNWARD_CHAOS_TELLS";

#[test]
fn nothing_is_left_of_a_chaos_that_is_killed() {
    if let Some(file) = std::env::var_os(TELLS) {
        be_killed(Path::new(&file));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("told");
    let this = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "nothing_is_left_of_a_chaos_that_is_killed", "--nocapture"])
        .env(TELLS, &file)
        .stdout(Stdio::null())
        .spawn();
    let mut chaos = this.unwrap();
    until("a chaos under way", || {
        assert!(chaos.try_wait().unwrap().is_none(), "it ended by itself");
        file.exists()
    });
    let told = std::fs::read_to_string(&file).unwrap();
    let there: Vec<&Path> = told.lines().map(Path::new).collect();
    assert!(there.len() > 10, "a folder, two servers, two disks, five members, a supervisor and a step: {told}");
    assert!(there.iter().all(|path| path.exists()), "{told}");
    chaos.kill().unwrap();
    chaos.wait().unwrap();
    until("nothing to be left", || there.iter().all(|path| !path.exists()));
}

/// Once a step runs.
fn be_killed(file: &Path) -> ! {
    let runward = env!("CARGO_BIN_EXE_runward").into();
    let cluster = Cluster::start(&Plan { runward, seed: 1, lasts: Duration::ZERO, pace: 5 });
    let (runbook, effects) = (cluster.runbook("chain"), format!("effects={}", cluster.effects().display()));
    until("a run", || cluster.say(&["run", &runbook, "--detach", "-p", &effects]).status.success());
    until("a step", || std::fs::read_to_string(cluster.effects()).unwrap().contains("start"));
    let processes = cluster.processes().into_iter().map(|pid| format!("/proc/{pid}\n")).collect::<String>();
    let draft = file.with_extension("draft");
    std::fs::write(&draft, format!("{processes}{}\n", cluster.path("").display())).unwrap();
    std::fs::rename(draft, file).unwrap();
    loop {
        std::thread::park();
    }
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(120);
    while !is() {
        assert!(Instant::now() < patience, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_secs())
}
