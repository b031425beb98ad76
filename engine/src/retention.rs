//! Which runs may go. Only the rule: whether one of them still lives is looked at where it is removed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::run::rows::RunRow;

/// What is kept. A run goes only if *every* part that is given lets it go; with no part, none goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Runs that ended less than this ago stay, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than_ms: Option<u64>,
    /// Of each runbook, by its name, so many of the runs that ended last stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
}

impl Retention {
    pub fn new(older_than: Option<Duration>, keep: Option<u32>) -> Retention {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Retention { older_than_ms: older_than.map(ms), keep }
    }

    /// The runs that may go, those that ended first before the others. Runs that are not at their end are neither
    /// selected nor counted. Runs that are steps of others go with those. `now` is in epoch milliseconds.
    pub fn select<'a>(&self, runs: &'a [RunRow], now: i64) -> Vec<&'a RunRow> {
        if *self == Retention::default() {
            return Vec::new();
        }
        let mut ended: Vec<(i64, &RunRow)> = runs
            .iter()
            .filter(|run| !run.held && run.parent.is_none())
            .filter_map(|run| Some((run.finished_at?, run)))
            .collect();
        ended.sort_by(|(a, left), (b, right)| (b, &right.id).cmp(&(a, &left.id)));
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        ended.retain(|(at, run)| {
            let newer = seen.entry(run.name.as_str()).or_default();
            let beyond = self.keep.is_none_or(|keep| *newer >= keep);
            *newer += 1;
            let age = u64::try_from(now.saturating_sub(*at)).unwrap_or(0);
            beyond && self.older_than_ms.is_none_or(|older| age > older)
        });
        ended.reverse();
        ended.into_iter().map(|(_, run)| run).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(n: usize, name: &str, finished_at: Option<i64>, held: bool) -> RunRow {
        RunRow {
            id: crate::run::RunId(format!("run-{n:04}")),
            name: name.to_owned(),
            status: if finished_at.is_some() { "succeeded" } else { "running" }.to_owned(),
            generation: 1,
            held,
            rollback: Default::default(),
            trigger: "test".to_owned(),
            schedule: None,
            actor: "tester".to_owned(),
            key: None,
            parent: None,
            parent_step: None,
            waits: None,
            params: serde_json::Map::new(),
            definition: String::new(),
            group: None,
            permit: None,
            permit_at: None,
            priority: Default::default(),
            created_at: 0,
            started_at: None,
            finished_at,
            seq: 1,
        }
    }

    fn selected(rule: Retention, runs: &[RunRow], now: i64) -> Vec<String> {
        rule.select(runs, now).iter().map(|run| run.id.0.clone()).collect()
    }

    #[test]
    fn both_parts_have_to_agree() {
        let runs: Vec<RunRow> = (0..5).map(|n| row(n, "a", Some(n as i64 * 10), false)).collect();
        let (age, keep) = (Some(Duration::from_millis(75)), Some(3));
        assert_eq!(selected(Retention::new(age, None), &runs, 100), ["run-0000", "run-0001", "run-0002"]);
        assert_eq!(selected(Retention::new(None, keep), &runs, 100), ["run-0000", "run-0001"]);
        assert_eq!(selected(Retention::new(age, keep), &runs, 100), ["run-0000", "run-0001"]);
        assert_eq!(selected(Retention::new(age, Some(5)), &runs, 100), Vec::<String>::new());
        assert_eq!(selected(Retention::default(), &runs, 100), Vec::<String>::new());
    }

    #[test]
    fn an_age_is_exceeded_not_reached() {
        let rule = Retention::new(Some(Duration::from_millis(50)), None);
        assert!(selected(rule, &[row(0, "a", Some(50), false)], 100).is_empty());
        assert_eq!(selected(rule, &[row(0, "a", Some(49), false)], 100).len(), 1);
        assert!(selected(rule, &[row(0, "a", Some(900), false)], 100).is_empty(), "a clock that went back");
    }

    proptest! {
        #[test]
        fn what_stays_is_what_the_rule_says(
            specs in prop::collection::vec((0usize..3, prop::option::of(0i64..100), prop::bool::weighted(0.1)), 0..40),
            older in prop::option::of(0u64..100),
            keep in prop::option::of(0u32..5),
        ) {
            let names = ["a", "b", "备份"];
            let runs: Vec<RunRow> =
                specs.iter().enumerate().map(|(n, (name, at, held))| row(n, names[*name], *at, *held)).collect();
            let rule = Retention { older_than_ms: older, keep };
            let gone = selected(rule, &runs, 100);
            for run in &runs {
                let ended_later = |other: &&RunRow| other.name == run.name && !other.held
                    && (other.finished_at, &other.id) > (run.finished_at, &run.id);
                let newer = runs.iter().filter(ended_later).count();
                let may_go = run.finished_at.is_some_and(|at| {
                    !run.held && (older.is_some() || keep.is_some())
                        && older.is_none_or(|older| 100 - at > older as i64)
                        && keep.is_none_or(|keep| newer >= keep as usize)
                });
                prop_assert_eq!(gone.contains(&run.id.0), may_go, "{:?}", run);
            }
        }
    }
}
