//! What one transition costs, counted: how many steps and items are looked at, and how much is written. At the start of ten
//! thousand it is the same as at the end.

use super::super::approval::Decision;
use super::super::command::Person;
use super::*;
use crate::run::calls::calls;
use crate::run::prepare::prepare;
use crate::run::slots::looks;
use crate::runbook::templates::Templates;

const MANY: usize = 10_000;
/// The number in the name of an item has up to three digits more at the end than at the start; this often it is written.
const DIGITS: usize = 3 * 8;
/// What is written, or looked at, with every transition because there is much of it costs the same at the start and at the
/// end, too: so nothing comes near to the number of steps.
const LOOKS_MAX: usize = MANY / 50;
const BYTES_MAX: usize = 8 * 1024;

/// Of one transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    looks: usize,
    events: usize,
    event_bytes: usize,
    rows: usize,
    row_bytes: usize,
}

fn bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_string(value).unwrap().len()
}

/// What a driver and a ledger do for one commit, beside the disk.
fn cost(world: &mut World, transition: &dyn Fn(&mut World)) -> Cost {
    let (looked, told) = (looks(), world.events.len());
    transition(world);
    for unit in todo(&world.state).claims {
        prepare(&world.state, unit, &Templates::new()).unwrap();
    }
    std::hint::black_box(calls(&world.state));
    let run = rows::RunRow { seq: 0, ..rows::run_row(&world.state) };
    let touched = world.state.take_touched();
    let steps: Vec<_> = touched.iter().filter_map(|unit| rows::step_row(&world.state, *unit)).collect();
    let attempts: Vec<_> = touched.iter().flat_map(|unit| rows::recent_attempt_rows(&world.state, *unit)).collect();
    let looks = looks() - looked;
    let events: Vec<&Event> = world.events[told..].iter().map(|recorded| &recorded.event).collect();
    Cost {
        looks,
        events: events.len(),
        event_bytes: bytes(&events),
        rows: 1 + steps.len() + attempts.len(),
        row_bytes: bytes(&run) + bytes(&steps) + bytes(&attempts),
    }
}

/// Does the transition [`MANY`] times, and holds what a few of them cost at the start, in the middle and near the end
/// against each other.
fn costs_the_same(world: &mut World, transition: &dyn Fn(&mut World)) {
    let mut costs = Vec::new();
    for n in 0..MANY {
        let cost = cost(world, transition);
        if [100, MANY / 2, MANY - 100].contains(&n) {
            costs.push(cost);
        }
    }
    for cost in &costs {
        assert!(cost.events > 0, "something happens: {costs:#?}");
        assert!(cost.looks <= LOOKS_MAX && cost.event_bytes + cost.row_bytes <= BYTES_MAX, "{costs:#?}");
    }
    for cost in &costs[1..] {
        assert_eq!(
            (cost.looks, cost.events, cost.rows),
            (costs[0].looks, costs[0].events, costs[0].rows),
            "looks, events and rows: {costs:#?}"
        );
        assert!(cost.event_bytes <= costs[0].event_bytes + DIGITS, "{costs:#?}");
        assert!(cost.row_bytes <= costs[0].row_bytes + DIGITS, "{costs:#?}");
    }
}

/// What ends is settled, and what can start is claimed.
fn goes_on(outcome: &Outcome) -> impl Fn(&mut World) {
    move |world| {
        world.settle(0, outcome.clone());
        while !todo(&world.state).claims.is_empty() {
            world.claim(0);
        }
    }
}

fn steps(step: impl Fn(usize) -> String) -> String {
    let steps: String = (0..MANY).map(|n| format!("  - {{id: s{n:05}, {}}}\n", step(n))).collect();
    format!("steps:\n{steps}")
}

const EACH: &str = "steps:\n  - id: list\n    run: \"true\"\n    outputs: {k: string}\n  - id: each\n    needs: []\n    max-parallel: 4\n";

/// Ten thousand items.
fn items(keys: &str) -> String {
    let items: Vec<String> = (0..MANY).map(|n| format!("i{n:05}")).collect();
    format!("{EACH}    for-each: [{}]\n{keys}", items.join(", "))
}

#[test]
fn a_chain() {
    let mut world = World::new(&steps(|_| "run: 'echo ${{ run.name }}'".into()));
    costs_the_same(&mut world, &goes_on(&Outcome::Succeeded));
    goes_on(&Outcome::Succeeded)(&mut world);
    assert_eq!(world.state.status, RunStatus::Succeeded);
}

#[test]
fn steps_beside_each_other_that_one_step_waits_for() {
    let needs: Vec<String> = (0..MANY).map(|n| format!("s{n:05}")).collect();
    let beside = steps(|_| "run: \"true\", needs: []".into());
    let mut world = World::new(&format!("{beside}  - {{id: last, run: \"true\", needs: [{}]}}\n", needs.join(", ")));
    costs_the_same(&mut world, &goes_on(&Outcome::Succeeded));
}

#[test]
fn conditions() {
    let condition = |n: usize| match n {
        0 => "run: \"true\"".to_owned(),
        n => format!("run: \"true\", if: 'steps.s{:05}.status == \"succeeded\"'", n - 1),
    };
    let mut world = World::new(&steps(condition));
    costs_the_same(&mut world, &goes_on(&Outcome::Succeeded));
}

#[test]
fn items_and_then_their_undo() {
    let keys = "    run: 'echo ${{ item }}'\n    undo: 'echo ${{ item }} ${{ steps.each.outputs.k }}'\n  \
                - {id: fails, run: \"true\", needs: [each]}\n";
    let mut world = World::new(&items(keys));
    world.claim(0);
    world.settle(0, Outcome::Succeeded);
    costs_the_same(&mut world, &goes_on(&Outcome::Succeeded));
    while world.state.phase == Phase::Main {
        let outcome = Outcome::Failed { code: Some(1), signal: None };
        goes_on(if world.status(1) == StepStatus::Succeeded { &outcome } else { &Outcome::Succeeded })(&mut world);
    }
    assert_eq!(world.state.phase, Phase::RollingBack);
    costs_the_same(&mut world, &goes_on(&Outcome::Succeeded));
    goes_on(&Outcome::Succeeded)(&mut world);
    assert_eq!(world.state.rolled_back(), RolledBack::Done);
}

#[test]
fn undos_that_all_fail() {
    let keys = "    run: 'echo ${{ item }}'\n    undo: \"true\"\n  - {id: fails, run: \"true\", needs: [each]}\n";
    let mut world = World::new(&items(keys));
    let failed = Outcome::Failed { code: Some(1), signal: None };
    while world.state.phase == Phase::Main {
        goes_on(if world.status(1) == StepStatus::Succeeded { &failed } else { &Outcome::Succeeded })(&mut world);
    }
    costs_the_same(&mut world, &goes_on(&failed));
}

/// Settles the first that runs of those that are probes, or are not, and claims what can start.
fn settle_one(world: &mut World, probe: bool, outcome: Outcome) {
    let of_kind = |unit: &Unit| (unit.part == Part::Check) == probe;
    let found = world.state.live().iter().find(|(_, unit)| of_kind(unit)).map(|(claim, _)| claim.clone());
    if let Some(claim) = found {
        world.send(Command::Settle { claim, report: Box::new(report(outcome)) }).unwrap();
    }
    while !todo(&world.state).claims.is_empty() {
        world.claim(0);
    }
}

#[test]
fn items_that_are_probed_first() {
    let mut world = World::new(&items("    run: 'echo ${{ item }}'\n    check: 'test -e ${{ item }}'\n"));
    world.claim(0);
    world.settle(0, Outcome::Succeeded);
    let both = |world: &mut World| {
        settle_one(world, true, Outcome::Failed { code: Some(1), signal: None });
        settle_one(world, false, Outcome::Succeeded);
    };
    costs_the_same(&mut world, &both);
    both(&mut world);
    assert_eq!(world.state.status, RunStatus::Succeeded);
}

#[test]
fn steps_that_all_wait_for_their_retry() {
    let retry = "run: \"true\", needs: [], retry: {attempts: 2, delay: 1h, jitter: none}";
    let mut world = World::new(&steps(|_| retry.to_owned()));
    costs_the_same(&mut world, &goes_on(&Outcome::Failed { code: Some(1), signal: None }));
    assert!(todo(&world.state).wake_at.is_some());
}

#[test]
fn steps_that_all_wait_for_people() {
    let mut world = World::new(&steps(|_| "approve: {}, needs: []".to_owned()));
    costs_the_same(&mut world, &|world| {
        let unit = world.state.asked().next().unwrap();
        let person = Person { name: "alice".into(), groups: Vec::new() };
        let (plan, generation) = (world.state.plan.clone(), world.state.generation);
        let decision = Decision::Approved;
        world.send(Command::Decide { unit, decision, person, plan, generation, comment: None }).unwrap();
        assert!(todo(&world.state).only_people(&world.state) || world.state.status.is_terminal());
    });
    assert_eq!(world.state.status, RunStatus::Succeeded);
}
