//! The same seed is the same history, with all its faults or with some of them.

use std::collections::BTreeSet;

use runward_engine::mutants::{self, Mutant};
use runward_sim::shrink::shrink;
use runward_sim::{Outcome, Setting, World};

fn live(seed: u64, only: Option<BTreeSet<u64>>) -> Outcome {
    World::live(&Setting { seed, only, jobs_max: None })
}

#[test]
fn the_same_seed_is_the_same_history() {
    let digests: BTreeSet<u64> = (1..=20).map(|seed| live(seed, None).digest).collect();
    assert_eq!(digests.len(), 20, "other seeds, other histories");
    for seed in 1..=20 {
        let outcome = live(seed, None);
        assert!(digests.contains(&outcome.digest), "seed {seed}");
        let named = outcome.struck.iter().map(|struck| struck.site).collect();
        let again = live(seed, Some(named));
        assert_eq!((again.digest, again.counters), (outcome.digest, outcome.counters), "seed {seed}, fault by fault");
    }
}

#[test]
fn a_violation_is_shrunk_to_the_faults_that_it_needs() {
    mutants::set(Some(Mutant::StartOnUnknownCommit));
    let found = (1..=600).map(|seed| live(seed, None)).find(|outcome| outcome.violation.is_some()).unwrap();
    let (setting, smallest) = shrink(found.clone());
    assert_eq!(smallest.violation.unwrap().invariant, found.violation.unwrap().invariant);
    assert_eq!(smallest.struck.len(), 1, "one write that nobody knows of: {:?}", smallest.struck);
    let sites = smallest.struck.iter().map(|struck| struck.site).collect();
    assert_eq!(setting.only, Some(sites));
    mutants::set(None);
}
