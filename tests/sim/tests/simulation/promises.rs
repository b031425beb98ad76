//! As it is built, nothing that was promised is broken.

use std::time::{Duration, Instant, SystemTime};

use runward_sim::many::{self, Until};
use runward_sim::shrink::shrink;
use runward_sim::{Setting, Total, World};

const ATTEMPTS: u64 = 500_000;

/// Rare things that have to have happened, or a part of the world is not tested.
const SOMETIMES: [&str; 76] = [
    "a child failed",
    "a child never came to be",
    "a child rests",
    "a child succeeded",
    "a child was cancelled",
    "a child was made",
    "a child was rejected",
    "a child was to be continued",
    "a command was refused",
    "a driver finished its run",
    "a driver gave up after an error",
    "a driver joined the supervisor of another",
    "a driver left a run to a person",
    "a driver told an attempt to end",
    "a driver took over attempts of another",
    "a driver was killed together with one of a child",
    "a lost step was found in place",
    "a lost step was not in place",
    "a permit was taken beside another",
    "a person began another generation",
    "a probe could not say it",
    "a run failed",
    "a run succeeded",
    "a run timed out",
    "a run took the place of another",
    "a run waited for its group",
    "a run was cancelled",
    "a run went past one that nobody drives",
    "a step timed out",
    "a step was found in place",
    "a step was not in place",
    "a supervisor does not keep what it is asked for",
    "a trigger found its run",
    "a trigger was repeated",
    "a window held a run back",
    "an approval came from somebody who may not",
    "an approval came from the requester",
    "an approval came too late: it was decided",
    "an approval expired",
    "an approval was of another plan or generation",
    "driver killed before a commit",
    "driver killed before a kill",
    "driver killed before it looked for a child",
    "driver killed before it looked into a journal",
    "driver killed before its commit was acknowledged",
    "driver killed between a commit and a start",
    "driver killed when it had found or made a child",
    "driver killed while it asked a journal",
    "driver killed while it took over",
    "driver killed while it waited",
    "journal: dead without a result",
    "journal: gone",
    "journal: it ended",
    "journal: never started",
    "ledger refused a write",
    "no room for a journal",
    "nobody knows what became of a step of a child",
    "nobody knows whether a command was carried out",
    "one person approved twice",
    "person: cancel",
    "person: cancel --force",
    "person: override-window",
    "person: resolve",
    "person: resume --from",
    "person: retry",
    "person: rollback",
    "person: skip",
    "slow start",
    "somebody approved",
    "somebody rejected",
    "subreaper killed between mark and exec",
    "supervisor could not fork",
    "the clock jumped",
    "the journal refused a start",
    "the machine restarted",
    "write took effect unanswered",
];

#[test]
fn half_a_million_attempts_break_no_promise() {
    let began = Instant::now();
    let minutes = std::env::var("RUNWARD_SIM_MINUTES").ok().and_then(|text| text.parse::<u64>().ok());
    let mut total = Total::default();
    if minutes.is_none() {
        total = many::seeds(1, until(ATTEMPTS / 2, u64::MAX), &|| {});
        judge(&total);
    }
    let fresh = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("fresh seeds from {fresh} on");
    let rest = match minutes {
        Some(minutes) => until(u64::MAX, minutes * 60),
        None => until(ATTEMPTS - total.attempts, u64::MAX),
    };
    total.merge(many::seeds(fresh, rest, &|| {}));
    println!("{total}\nin {:.1} s", began.elapsed().as_secs_f32());
    judge(&total);
    for what in SOMETIMES {
        assert!(total.counters.of(what) > 0, "it never happened that: {what}");
    }
}

fn until(attempts: u64, seconds: u64) -> Until {
    Until { seeds: u64::MAX, attempts, time: Duration::from_secs(seconds) }
}

#[test]
fn one_seed_can_be_looked_at() {
    let seed = std::env::var("RUNWARD_SIM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let total = many::seeds(seed, Until { seeds: 1, ..until(u64::MAX, 600) }, &|| {});
    println!("{total}");
    judge(&total);
}

/// Shows the shortest history that breaks the same promise.
fn judge(total: &Total) {
    let Some((seed, violation)) = total.violations.iter().min_by_key(|(seed, _)| *seed) else { return };
    println!("seed {seed}: {violation}");
    let outcome = World::live(&Setting { seed: *seed, ..Setting::default() });
    let (setting, outcome) = shrink(outcome);
    for struck in &outcome.struck {
        println!("  {:>6} ms  {:?}: {}", struck.at_ms, struck.fault, struck.place);
    }
    panic!("seed {seed}, {:?} jobs: {}", setting.jobs_max, outcome.violation.unwrap());
}
