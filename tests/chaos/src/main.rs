//! `runward-chaos RUNWARD SECONDS [SEED] [PACE]`: the long tier, by hand. Exit code 1: something was violated.

use std::process::ExitCode;
use std::time::Duration;

use runward_chaos::{Plan, run};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, or: u64| words.get(at).map_or(Some(or), |word| word.parse().ok());
    let (Some(runward), Some(seconds), Some(seed), Some(pace)) =
        (words.first(), number(1, 300), number(2, fastrand::u64(..1_000_000)), number(3, 5))
    else {
        eprintln!("usage: runward-chaos RUNWARD [SECONDS] [SEED] [PACE]");
        return ExitCode::from(2);
    };
    let runward = std::path::absolute(runward).unwrap_or_else(|_| runward.into());
    let plan = Plan { runward, seed, lasts: Duration::from_secs(seconds), pace: pace as u32 };
    let report = run(&plan);
    print!("{report}");
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
