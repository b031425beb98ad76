//! A checker is worth what it catches: each rule is broken on purpose, and the simulator has to notice.

use std::time::Duration;

use runward_engine::mutants::{self, MUTANTS, Mutant};
use runward_sim::many::{self, Until};

/// Each has to be noticed within so many seeds.
const SEEDS: u64 = 600;

#[test]
fn every_mutant_is_caught() {
    std::panic::set_hook(Box::new(|_| {})); // some mutants panic, which is one way to be caught
    let mut missed: Vec<Mutant> = Vec::new();
    let only = std::env::var("RUNWARD_SIM_MUTANT").ok();
    let wanted = |mutant: &Mutant| only.as_ref().is_none_or(|name| format!("{mutant:?}") == *name);
    for mutant in MUTANTS.into_iter().filter(wanted) {
        let until = Until { seeds: SEEDS, attempts: u64::MAX, time: Duration::from_secs(3_600) };
        let total = many::seeds(1, until, &|| mutants::set(Some(mutant)));
        match total.violations.iter().min_by_key(|(seed, _)| *seed) {
            Some((seed, violation)) => println!("{mutant:?}: seed {seed}, {violation}"),
            None => {
                println!("{mutant:?}: not caught in {} seeds", total.seeds);
                missed.push(mutant);
            }
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not caught within {SEEDS} seeds: {missed:?}");
}
