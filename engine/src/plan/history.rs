//! How long things took before: medians and ninetieth percentiles of what succeeded. Never a guess: what has not happened
//! has no number.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// One earlier run that succeeded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PastRun {
    /// From its first step to its end; waits for people are in it.
    pub took_ms: u64,
    /// Its succeeded attempts: the unit, and how long it took.
    pub attempts: Vec<(String, u64)>,
}

/// Times that were measured, by nearest rank: each is one that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// How many there were.
    pub n: usize,
    pub median_ms: u64,
    /// Nine of ten were not longer.
    pub p90_ms: u64,
}

/// What is known of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepPast {
    /// Of one start; of a `for-each`, of one start of one item.
    pub spread: Spread,
    /// How many items there were, in the median of the runs.
    pub items: Option<u64>,
}

/// What is known of a runbook from its newest succeeded runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    pub runs: usize,
    /// Of whole runs.
    pub total: Spread,
    steps: BTreeMap<String, StepPast>,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(mut times_ms: Vec<u64>) -> Option<Spread> {
        times_ms.sort_unstable();
        let rank = |percent: usize| times_ms.get((times_ms.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Spread { n: times_ms.len(), median_ms: rank(50)?, p90_ms: rank(90)? })
    }
}

impl History {
    /// `None` where nothing ever succeeded.
    pub fn of(runs: &[PastRun]) -> Option<History> {
        let total = Spread::of(runs.iter().map(|run| run.took_ms).collect())?;
        let mut times: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut items: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for run in runs {
            let mut seen: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
            for (unit, took) in &run.attempts {
                let (name, item) = without_item(unit);
                if let Some(item) = item {
                    seen.entry(name.clone()).or_default().insert(item);
                }
                times.entry(name).or_default().push(*took);
            }
            seen.into_iter().for_each(|(name, seen)| items.entry(name).or_default().push(seen.len() as u64));
        }
        let mut steps = BTreeMap::new();
        for (name, times) in times {
            let Some(spread) = Spread::of(times) else { continue };
            let items = items.remove(&name).and_then(Spread::of).map(|items| items.median_ms);
            steps.insert(name, StepPast { spread, items });
        }
        Some(History { runs: runs.len(), total, steps })
    }

    /// By the id of a step.
    pub fn step(&self, id: &str) -> Option<&StepPast> {
        self.steps.get(id)
    }
}

/// `upgrade[3].undo` is the undo of an item of `upgrade`: (`upgrade.undo`, `3`).
fn without_item(unit: &str) -> (String, Option<&str>) {
    match unit.split_once('[').and_then(|(step, rest)| Some((step, rest.split_once(']')?))) {
        Some((step, (item, part))) => (format!("{step}{part}"), Some(item)),
        None => (unit.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(took_ms: u64, attempts: &[(&str, u64)]) -> PastRun {
        PastRun { took_ms, attempts: attempts.iter().map(|(unit, ms)| ((*unit).to_owned(), *ms)).collect() }
    }

    #[test]
    fn what_never_succeeded_has_no_history() {
        assert_eq!(History::of(&[]), None);
        let history = History::of(&[run(5, &[("a", 5)])]).unwrap();
        assert_eq!(history.step("a").unwrap().spread, Spread { n: 1, median_ms: 5, p90_ms: 5 });
        assert_eq!(history.step("b"), None);
    }

    #[test]
    fn items_count_each_for_itself_and_parts_of_a_step_apart() {
        let runs = [
            run(9, &[("each[0]", 1), ("each[1]", 3), ("each[2]", 9), ("each[2]", 9), ("each[0].undo", 50)]),
            run(9, &[("each[0]", 2)]),
            run(9, &[("each[0]", 2), ("each[1]", 2), ("each[10]", 2), ("each[11]", 2)]),
        ];
        let history = History::of(&runs).unwrap();
        let each = history.step("each").unwrap();
        assert_eq!((each.spread, each.items), (Spread { n: 9, median_ms: 2, p90_ms: 9 }, Some(3)));
        assert_eq!(history.step("each.undo").unwrap().spread.median_ms, 50);
    }

    proptest! {
        #[test]
        fn half_are_not_longer_than_the_median_and_nine_of_ten_than_the_p90(times in prop::collection::vec(0u64..1000, 1..60)) {
            let spread = Spread::of(times.clone()).unwrap();
            for (value, percent) in [(spread.median_ms, 50), (spread.p90_ms, 90)] {
                let up_to = times.iter().filter(|time| **time <= value).count();
                let below = times.iter().filter(|time| **time < value).count();
                prop_assert!(up_to * 100 >= percent * times.len() && below * 100 < percent * times.len());
                prop_assert!(times.contains(&value));
            }
        }
    }
}
