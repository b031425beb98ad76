//! Several machines: no step in two places, none lost without need, no run that does not end.

use runward_engine::mutants::{self, Mutant};
use runward_sim::cluster::Cluster;
use runward_sim::outcome::Total;

const SEEDS: u64 = 1_500;
/// A broken rule has to be noticed within so many seeds.
const MUTANT_SEEDS: u64 = 1_500;

const MUTANTS: [Mutant; 6] = [
    Mutant::LoseUnwatched,
    Mutant::ForeignAttempts,
    Mutant::LeaseIgnored,
    Mutant::LeaseOfOthers,
    Mutant::StartTooLate,
    Mutant::SilentIsDead,
];

/// Rare things that have to have happened, or a part of the world is not tested.
const SOMETIMES: [&str; 22] = [
    "a driver finished its run",
    "a driver found nothing more for its worker",
    "a driver gave up after an error",
    "a driver took over attempts of another",
    "a lease was over",
    "a lost step was held",
    "a lost step was to start again",
    "a machine restarted",
    "a machine slept over the end of a lease",
    "a machine was cut off",
    "a machine was frozen",
    "a person resolved a held step",
    "a reaper was too late",
    "a result came too late",
    "a session was taken for dead",
    "a start came too late",
    "a step was lost",
    "a worker ended what was given up meanwhile",
    "a worker hung before a start",
    "a worker learned that it was taken for dead",
    "an attempt was adopted",
    "an attempt was proven never started",
];

/// On all cores; the first broken promise of each mutant.
fn seeds(first: u64, count: u64, mutant: Option<Mutant>) -> Total {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get()) as u64;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    mutants::set(mutant);
                    let mut total = Total::default();
                    for seed in (first..first + count).skip(thread as usize).step_by(threads as usize) {
                        total.add(Cluster::live(seed));
                        if !total.violations.is_empty() {
                            break;
                        }
                    }
                    total
                })
            })
            .collect();
        let mut total = Total::default();
        workers.into_iter().for_each(|worker| total.merge(worker.join().unwrap()));
        total
    })
}

#[test]
fn nothing_that_was_promised_is_broken_over_several_machines() {
    let fixed = std::env::var("RUNWARD_SIM_SEED").ok().and_then(|text| text.parse().ok());
    let total = match fixed {
        Some(seed) => seeds(seed, 1, None),
        None => seeds(1, SEEDS, None),
    };
    println!("{total}");
    assert!(total.violations.is_empty(), "{:?}", total.violations);
    for what in SOMETIMES.iter().filter(|_| fixed.is_none()) {
        assert!(total.counters.of(what) > 0, "it never happened that: {what}");
    }
}

#[test]
fn every_broken_rule_of_a_cluster_is_noticed() {
    let mut missed = Vec::new();
    for mutant in MUTANTS {
        let total = seeds(1, MUTANT_SEEDS, Some(mutant));
        match total.violations.iter().min_by_key(|(seed, _)| *seed) {
            Some((seed, violation)) => println!("{mutant:?}: seed {seed}, {violation}"),
            None => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "not caught within {MUTANT_SEEDS} seeds: {missed:?}");
}

#[test]
fn the_same_seed_is_the_same_history_of_a_cluster() {
    for seed in 1..=10 {
        let (first, again) = (Cluster::live(seed), Cluster::live(seed));
        assert_eq!((first.digest, first.counters), (again.digest, again.counters), "seed {seed}");
    }
}
