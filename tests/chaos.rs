//! The short tier: a real cluster under faults for five minutes, on a seed of its own each time.

use std::time::Duration;

use runward_chaos::{Plan, run};

#[test]
fn nothing_runs_twice_and_nothing_is_lost_while_everything_is_killed() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_secs());
    let runward = env!("CARGO_BIN_EXE_runward").into();
    let report = run(&Plan { runward, seed, lasts: Duration::from_secs(300), pace: 3 });
    println!("{report}");
    assert!(report.violations.is_empty(), "{report}");
    let enough = report.kills >= 150 && report.freezes >= 20 && report.restarts >= 3 && report.flushes >= 2;
    assert!(enough, "too little happened:\n{report}");
}
