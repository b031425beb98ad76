//! The longest way is that of brute force, and what is left of a run never goes below zero.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Map;

use super::super::history::PastRun;
use super::*;
use crate::run::command::Report;
use crate::run::event::{LogDigest, Outcome};
use crate::run::{Command, Event, create, execute};
use crate::runbook::parse;

const T0: i64 = 1_800_000_000_000;

fn history(times: &[(&str, u64)]) -> History {
    let attempts = times.iter().map(|(unit, ms)| ((*unit).to_owned(), *ms)).collect();
    History::of(&[PastRun { took_ms: 0, attempts }]).unwrap()
}

/// The longest of all ways that begin anywhere and follow `needs` backwards.
fn brute_force(runbook: &Runbook, cost: &[u64], step: usize) -> u64 {
    cost[step] + runbook.steps[step].needs.iter().map(|need| brute_force(runbook, cost, *need)).max().unwrap_or(0)
}

/// Small graphs, with needs that stand before or after; `cut` is where `finally` begins.
fn book(needs: &[Vec<usize>], cut: usize) -> Runbook {
    let step = |n: usize| {
        let section = if n < cut { 0..cut } else { cut..needs.len() };
        // Numbers count backwards where the step is even, so that what is needed may stand below it.
        let of = |other: &usize| section.start + other % section.len().max(1);
        let ids: Vec<String> =
            needs[n].iter().map(of).filter(|other| rank(*other) < rank(n)).map(|other| format!("s{other}")).collect();
        let mut ids = ids;
        ids.sort();
        ids.dedup();
        format!("  - {{id: s{n}, needs: [{}], run: 'true'}}\n", ids.join(", "))
    };
    let mut text = "steps:\n".to_owned();
    text.extend((0..cut).map(step));
    if cut < needs.len() {
        text += "finally:\n";
        text.extend((cut..needs.len()).map(step));
    }
    parse(text.as_bytes()).unwrap_or_else(|report| panic!("{report:?}\n{text}"))
}

/// An order without cycles that is not that of the file.
fn rank(step: usize) -> usize {
    step * 7 % 11
}

proptest! {
    #[test]
    fn the_critical_path_is_the_longest_of_all_paths(
        needs in prop::collection::vec(prop::collection::vec(0_usize..11, 0..4), 1..11),
        cut in 1_usize..11,
        costs in prop::collection::vec(0_u64..50, 11),
    ) {
        let runbook = book(&needs, cut.min(needs.len()));
        let forecast = Forecast::new(&runbook, history(&[]));
        let path = forecast.path(&runbook, &|step| Some(costs[step]));
        let longest = |section: std::ops::Range<usize>| {
            section.map(|step| brute_force(&runbook, &costs, step)).max().unwrap_or(0)
        };
        let expected = longest(0..runbook.main_len) + longest(runbook.main_len..runbook.steps.len());
        prop_assert_eq!(path.ms, expected);
        prop_assert_eq!(path.steps.iter().map(|step| costs[*step]).sum::<u64>(), expected);
        for pair in path.steps.windows(2) {
            let follows = runbook.steps[pair[1]].needs.contains(&pair[0]);
            prop_assert!(follows || runbook.is_finally(pair[0]) != runbook.is_finally(pair[1]), "{:?}", path.steps);
        }
    }
}

#[test]
fn what_has_no_history_is_named_and_counts_nothing() {
    let runbook = parse(
        b"steps:\n  - {id: a, run: 'true'}\n  - {id: new, run: 'true'}\n  - {id: b, run: 'true'}\nfinally:\n  - {id: z, run: 'true'}\n",
    )
    .unwrap();
    let forecast = Forecast::new(&runbook, history(&[("a", 10), ("b", 20), ("z", 5)]));
    assert_eq!(forecast.whole(&runbook, &|_| None), Path { ms: 35, steps: vec![0, 1, 2, 3], unknown: vec![1] });
}

#[test]
fn items_come_in_waves_as_wide_as_they_may() {
    let runbook =
        parse(b"params: {n: {type: list}}\nsteps:\n  - {id: each, for-each: '${{ params.n }}', max-parallel: 4, run: 'echo ${{ item }}'}\n")
            .unwrap();
    let forecast = Forecast::new(&runbook, history(&[("each[0]", 100), ("each[1]", 100), ("each[2]", 100)]));
    assert_eq!(forecast.whole(&runbook, &|_| Some(10)).ms, 300);
    assert_eq!(forecast.whole(&runbook, &|_| None).ms, 100, "as many as there were before");
    assert_eq!(forecast.whole(&runbook, &|_| Some(0)).ms, 0);
}

struct Story {
    state: RunState,
}

impl Story {
    fn begin(source: &str) -> Story {
        let mut state = RunState::new("run".into(), Arc::new(parse(source.as_bytes()).unwrap()));
        let created = Event::RunCreated {
            name: "x".into(),
            definition: "d".into(),
            params: Map::new(),
            trigger: "test".into(),
            key: None,
            seed: 1,
            parent: None,
            plan: None,
            planned: None,
            zone: None,
            requester: Vec::new(),
            tick: None,
            group: None,
            priority: Default::default(),
        };
        create(&mut state, created, T0, "ann");
        Story { state }
    }

    fn start(&mut self, unit: &str, at: i64) {
        let unit = self.state.unit_named(unit).unwrap();
        let claim = self.state.unit_name(unit).as_str().into();
        let command = Command::Claim { unit, claim, session: "s".into(), boot: "b".into(), place: None };
        execute(&mut self.state, &command, at, "ann").unwrap();
    }

    fn succeed(&mut self, unit: &str, at: i64) {
        let report = Report {
            outcome: Outcome::Succeeded,
            outputs: Default::default(),
            error: None,
            log: LogDigest::default(),
            started_at: None,
            ended_at: Some(at),
            orphans: Vec::new(),
        };
        execute(&mut self.state, &Command::Settle { claim: unit.into(), report: Box::new(report) }, at, "ann").unwrap();
    }
}

#[test]
fn what_is_left_shrinks_with_time_and_never_goes_below_what_is_to_come() {
    let mut story = Story::begin("steps:\n  - {id: a, run: 'true'}\n  - {id: b, run: 'true'}\n");
    let history = history(&[("a", 40_000), ("b", 60_000)]);
    let forecast = Forecast::new(&story.state.runbook, history);
    let left = |story: &Story, at: i64| forecast.left(&story.state, T0 + at).map(|path| path.ms);
    let late =
        |story: &Story, at: i64| forecast.overdue(&story.state, Unit::step(0), T0 + at).map(|overdue| overdue.p90_ms);
    assert_eq!(left(&story, 0), Some(100_000));
    story.start("a", T0);
    assert_eq!(left(&story, 10_000), Some(90_000));
    assert_eq!(left(&story, 40_000), Some(60_000));
    assert_eq!((late(&story, 40_000), late(&story, 41_000), late(&story, 41_001)), (None, None, Some(40_000)));
    assert_eq!(left(&story, 99_000_000), Some(60_000), "a step that takes longer makes it never negative");
    assert_eq!(left(&story, -5_000), Some(100_000), "nor does a clock that was set back");
    story.succeed("a", T0 + 50_000);
    story.start("b", T0 + 50_000);
    assert_eq!((left(&story, 70_000), late(&story, 70_000)), (Some(40_000), None));
    story.succeed("b", T0 + 80_000);
    assert_eq!(left(&story, 80_000), None, "it is over");
}

#[test]
fn a_wait_takes_what_it_says_without_any_history() {
    let runbook = parse(b"steps:\n  - {id: a, run: 'true'}\n  - {id: w, wait: 10m}\n").unwrap();
    let forecast = Forecast::new(&runbook, history(&[("a", 1_000)]));
    assert_eq!(forecast.whole(&runbook, &|_| None), Path { ms: 601_000, steps: vec![0, 1], unknown: vec![] });
}

#[test]
fn items_that_run_end_before_the_next_ones_begin() {
    let mut story =
        Story::begin("steps:\n  - {id: each, for-each: [a, b, c, d, e], max-parallel: 2, run: 'echo ${{ item }}'}\n");
    let forecast = Forecast::new(&story.state.runbook, history(&[("each[0]", 10_000)]));
    story.start("each[0]", T0);
    story.start("each[1]", T0 + 4_000);
    // Three more in two waves, after the later of the two that run.
    assert_eq!(forecast.left(&story.state, T0 + 5_000).unwrap().ms, 9_000 + 20_000);
}
