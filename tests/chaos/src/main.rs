//! `runward-chaos RUNWARD SECONDS [SEED] [PACE]`: the long tier, by hand; `runward-chaos RUNWARD directed [TIMES] [SEED] [PACE]`:
//! each point of the program, by everything that can happen there. Exit code 1: something was violated.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use runward_chaos::directed::{self, Cases};
use runward_chaos::{Plan, run};

const USAGE: &str =
    "usage: runward-chaos RUNWARD [SECONDS] [SEED] [PACE]\n       runward-chaos RUNWARD directed [TIMES] [SEED] [PACE]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(program) = words.first() else { return usage() };
    let runward = std::path::absolute(program).unwrap_or_else(|_| program.into());
    let is_directed = words.get(1).is_some_and(|word| word == "directed");
    match (is_directed, numbers(&words[1 + usize::from(is_directed)..])) {
        (_, None) => usage(),
        (true, Some(numbers)) => hit(runward, &numbers),
        (false, Some(numbers)) => rage(runward, &numbers),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn numbers(words: &[String]) -> Option<Vec<u64>> {
    words.iter().map(|word| word.parse().ok()).collect()
}

fn rage(runward: PathBuf, numbers: &[u64]) -> ExitCode {
    let [lasts, seed, pace] = with(numbers, [300, fastrand::u64(..1_000_000), 5]);
    let report = run(&Plan { runward, seed, lasts: Duration::from_secs(lasts), pace: pace as u32 });
    print!("{report}");
    code(&report.violations)
}

fn hit(runward: PathBuf, numbers: &[u64]) -> ExitCode {
    let [times, seed, pace] = with(numbers, [1, fastrand::u64(..1_000_000), 5]);
    let report = directed::run(&Cases { runward, seed, times: times as u32, pace: pace as u32 });
    print!("{report}");
    code(&report.violations)
}

/// What was said, in place of what is meant otherwise.
fn with(said: &[u64], or: [u64; 3]) -> [u64; 3] {
    std::array::from_fn(|at| said.get(at).copied().unwrap_or(or[at]))
}

fn code(violations: &[String]) -> ExitCode {
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
