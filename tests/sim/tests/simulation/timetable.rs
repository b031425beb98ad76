//! Several servers fire the same schedules: each due tick is one run or one recorded skip (invariant I6).

use runward_engine::mutants::{self, Mutant};
use runward_sim::timetable::{Told, live};

const SEEDS: u64 = 300;
const STEPS: u32 = 300;

/// Each has to be noticed within those seeds.
const MUTANTS: [Mutant; 2] = [Mutant::TickWithoutKey, Mutant::PassedBeforeDecided];

#[test]
fn every_tick_is_decided_once_whatever_happens_to_the_servers() {
    let mut all = Told::default();
    for seed in 1..=SEEDS {
        let told = live(seed, STEPS);
        assert_eq!(told.violation, None, "seed {seed}");
        all = Told {
            runs: all.runs + told.runs,
            skips: all.skips + told.skips,
            deaths: all.deaths + told.deaths,
            ..told
        };
    }
    println!("{} runs, {} skips, {} deaths of servers", all.runs, all.skips, all.deaths);
    assert!(all.runs > 0 && all.skips > 0 && all.deaths > 0, "{all:?}");
}

#[test]
fn a_server_that_breaks_a_rule_of_ticks_is_noticed() {
    for mutant in MUTANTS {
        mutants::set(Some(mutant));
        let caught = (1..=SEEDS).find_map(|seed| Some((seed, live(seed, STEPS).violation?)));
        mutants::set(None);
        let (seed, what) = caught.unwrap_or_else(|| panic!("{mutant:?} was not caught in {SEEDS} seeds"));
        println!("{mutant:?}: seed {seed}, {what}");
    }
}
