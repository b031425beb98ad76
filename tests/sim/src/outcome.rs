//! What came of one seed, and of many.

use std::collections::BTreeMap;
use std::fmt;

use crate::weather::Struck;

/// How often rare things happened. One that never does means that a part of the world is not tested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters(pub BTreeMap<&'static str, u64>);

impl Counters {
    pub fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    pub fn merge(&mut self, other: &Counters) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// `I1` to `I22`, as in docs/decisions.
    pub invariant: &'static str,
    pub what: String,
    pub at_ms: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} ms: {}", self.invariant, self.at_ms, self.what)
    }
}

#[derive(Debug, Clone)]
pub struct Outcome {
    pub seed: u64,
    /// Steps that really started.
    pub attempts: u64,
    pub events: u64,
    pub runs: u64,
    /// Of everything that was recorded and everything that happened.
    pub digest: u64,
    pub counters: Counters,
    pub struck: Vec<Struck>,
    pub violation: Option<Violation>,
}

/// What came of many seeds.
#[derive(Debug, Clone, Default)]
pub struct Total {
    pub seeds: u64,
    pub attempts: u64,
    pub events: u64,
    pub runs: u64,
    pub faults: u64,
    pub counters: Counters,
    pub violations: Vec<(u64, Violation)>,
}

impl Total {
    pub fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.attempts += outcome.attempts;
        self.events += outcome.events;
        self.runs += outcome.runs;
        self.faults += outcome.struck.len() as u64;
        self.counters.merge(&outcome.counters);
        self.violations.extend(outcome.violation.map(|violation| (outcome.seed, violation)));
    }

    pub fn merge(&mut self, other: Total) {
        self.seeds += other.seeds;
        self.attempts += other.attempts;
        self.events += other.events;
        self.runs += other.runs;
        self.faults += other.faults;
        self.counters.merge(&other.counters);
        self.violations.extend(other.violations);
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Total { seeds, attempts, events, runs, faults, violations, .. } = self;
        writeln!(f, "{seeds} seeds, {runs} runs, {attempts} attempts, {events} events, {faults} faults")?;
        for (what, count) in &self.counters.0 {
            writeln!(f, "  {count:>9}  {what}")?;
        }
        for (seed, violation) in violations {
            writeln!(f, "seed {seed}: {violation}")?;
        }
        write!(f, "{} violations", violations.len())
    }
}
