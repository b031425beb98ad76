//! The short tiers: a real cluster under faults for five minutes, and one that is hit at each point where that hurts most, on
//! a seed of their own each time.

use std::time::Duration;

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
    let enough = enough && report.full >= 1 && report.points >= 10;
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

fn seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_secs())
}
