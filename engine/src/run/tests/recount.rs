//! A state and a record against a naive look at all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;

/// The work-lists and counters against a scan over everything.
pub(super) fn recount(state: &RunState) {
    let all: Vec<Unit> = rows::units(state).collect();
    let with = |status: StepStatus| -> Vec<Unit> {
        all.iter().filter(|unit| state.unit(**unit).unwrap().status == status).copied().collect()
    };
    let parent = |unit: &Unit| unit.is_whole() && state.step(unit.step).items.is_some();
    // Its probe is asked in its place.
    let asks = |unit: &Unit| {
        let owner = (unit.part == Part::Step).then(|| state.unit(*unit)).flatten();
        owner.is_some_and(|owner| state.closed_while_asked(owner, StepStatus::Skipped).is_some())
    };
    let running: Vec<Unit> =
        with(StepStatus::Running).into_iter().filter(|unit| !parent(unit) && !asks(unit)).collect();
    let mut live: Vec<Unit> = state.live.values().copied().collect();
    live.sort();
    assert_eq!(live, running);
    let ready: Vec<Unit> = with(StepStatus::Ready).into_iter().filter(|unit| !asks(unit)).collect();
    let turn: BTreeSet<Unit> = state.ready.iter().collect();
    assert_eq!(turn.union(&state.arrived).copied().collect::<Vec<_>>(), ready);
    assert!(turn.is_disjoint(&state.arrived) && (state.arrived.is_empty() || state.paused.is_some()));
    offers::recount(state, &ready);
    let by_undo = |unit: &Unit| state.unit(*unit).unwrap().is_held_by_undo();
    let held = with(StepStatus::Held).into_iter().filter(|unit| !by_undo(unit) && !parent(unit));
    assert_eq!(state.held.iter().copied().collect::<Vec<_>>(), held.collect::<Vec<_>>());
    let mut timers: Vec<Unit> = state.timers.iter().map(|(_, unit)| *unit).collect();
    timers.sort();
    let child = |unit: &Unit| state.unit(*unit).unwrap().open_child();
    let (children, waits): (Vec<Unit>, Vec<Unit>) =
        with(StepStatus::Waiting).into_iter().partition(|it| child(it).is_some());
    let mut open: Vec<Unit> = state.children.values().copied().collect();
    open.sort();
    assert_eq!(open, children);
    assert!(state.children.iter().all(|(run, unit)| child(unit).is_some_and(|child| child.run == *run)));
    let limited =
        |unit: &Unit| matches!(&state.spec(unit.step).action, Action::Runbook(call) if call.timeout.is_some());
    let mut timed = with(StepStatus::Backoff);
    timed.extend(waits);
    timed.extend(children.into_iter().filter(|unit| limited(unit) && !child(unit).unwrap().timed_out));
    timed.sort();
    assert_eq!(timers, timed);
    for section in [0, 1] {
        let steps = (0..state.steps.len() as u32).filter(|step| state.section(*step) == section);
        let held = |step: u32| state.held.contains(&Unit::step(step));
        let is_open = |step: &u32| match state.step(*step).whole.status {
            StepStatus::Held => held(*step),
            status => !status.is_terminal(),
        };
        let open = steps.filter(is_open).count();
        assert_eq!(state.open[section], open, "section {section}");
    }
    // What is taken back leaves what follows it as it is, until the next generation.
    let main = if state.phase == Phase::Main { state.runbook.main_len } else { 0 };
    for (step, found) in state.steps.iter().enumerate().take(main) {
        let unmet = state.spec(step as u32).needs.iter().filter(|need| !state.satisfies(**need as u32)).count();
        assert_eq!(found.unmet as usize, unmet, "step {step}");
        if let Some(items) = &found.items {
            let is_open = |unit: &&state::UnitState| {
                use StepStatus::*;
                matches!(unit.status, Ready | Running | Backoff | Waiting | Held)
            };
            assert_eq!(items.open as usize, items.units.iter().filter(is_open).count(), "items of step {step}");
        }
    }
    in_order(state);
    assert!((state.live.len() + state.children.len()) as u32 <= state.max_parallel());
    if state.status.is_terminal() {
        assert!(
            state.live.is_empty() && state.children.is_empty() && state.open == [0, 0] && state.phase == Phase::Done
        );
    }
}

/// Whatever is under way comes after steps that are over, also those it needs only through others.
fn in_order(state: &RunState) {
    for step in (0..state.runbook.main_len as u32).filter(|step| state.is_open(0) && state.step(*step).unmet == 0) {
        let status = state.step(step).whole.status;
        if status.is_terminal() || status == StepStatus::Pending {
            continue;
        }
        let mut before = state.spec(step).needs.clone();
        while let Some(need) = before.pop() {
            assert!(state.satisfies(need as u32), "step {step} is {status:?}, {need} is not satisfied");
            before.extend(&state.spec(need as u32).needs);
        }
    }
}

pub(super) fn nothing_starts_in_a_pause(events: &[Recorded]) {
    let mut paused = false;
    for recorded in events {
        match recorded.event {
            Event::RunPaused { .. } => paused = true,
            Event::RunUnpaused | Event::CancelRequested { .. } | Event::RunFinished { .. } => paused = false,
            Event::AttemptClaimed { .. }
            | Event::ChildStarted { .. }
            | Event::WaitStarted { .. }
            | Event::FinallyStarted => {
                assert!(!paused, "{recorded:?}")
            }
            _ => {}
        }
    }
}

/// What a ledger holds that writes the rows that were touched, and no other.
pub(super) fn write_touched(state: &mut RunState, written: &mut BTreeMap<String, rows::StepRow>) {
    for unit in state.take_touched() {
        written.extend(rows::step_row(state, unit).map(|row| (row.unit.clone(), row)));
    }
    let all = rows::all(state).1;
    for row in &all {
        assert_eq!(written.get(&row.unit), Some(row));
    }
}

pub(super) fn replay(state: &RunState, events: &[Recorded]) -> RunState {
    let mut replayed = RunState::new(state.id.clone(), Arc::clone(&state.runbook));
    events.iter().for_each(|event| apply::apply(&mut replayed, event));
    replayed
}

/// Everything but which rows were touched since somebody asked.
pub(super) fn picture(state: &RunState) -> String {
    let mut state = state.clone();
    state.take_touched();
    format!("{state:?}")
}
