//! The next generation of a run: which steps start again, and what they keep. What is not taken up stays as it is.

use std::collections::BTreeSet;

use super::ids::{Part, Unit};
use super::progress::{touch, unblock, unit_mut};
use super::state::{Phase, RunState, RunStatus, StepStatus, UnitState};

/// What a resume takes up: whatever did not succeed, and `finally`, which runs in each generation.
pub(super) fn rest(state: &RunState) -> BTreeSet<u32> {
    all(state).filter(|step| state.section(*step) == 1 || !state.satisfies(*step)).collect()
}

/// A step and all that come after it.
pub(super) fn from(state: &RunState, step: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([step]);
    let mut next = vec![step];
    while let Some(step) = next.pop() {
        let dependents = &state.graph.dependents[step as usize];
        next.extend(dependents.iter().filter(|dependent| found.insert(**dependent)));
    }
    found
}

/// A step, what did not succeed after it and can be reached through it alone, and `finally`.
pub(super) fn only(state: &RunState, step: u32) -> BTreeSet<u32> {
    let mut found: BTreeSet<u32> = all(state).filter(|step| state.section(*step) == 1).collect();
    found.insert(step);
    let mut next = vec![step];
    while let Some(step) = next.pop() {
        for dependent in &state.graph.dependents[step as usize] {
            let met = |need: &usize| state.satisfies(*need as u32) || found.contains(&(*need as u32));
            let wanted = !state.satisfies(*dependent) && state.spec(*dependent).needs.iter().all(met);
            if wanted && found.insert(*dependent) {
                next.push(*dependent);
            }
        }
    }
    found
}

fn all(state: &RunState) -> std::ops::Range<u32> {
    0..state.steps.len() as u32
}

/// Begins a generation. Steps `from` one on forget what they were; `only` one may start exactly once.
pub(super) fn begin(
    state: &mut RunState,
    generation: u32,
    reset: &[String],
    first: Option<&str>,
    single: Option<&str>,
    at: i64,
) {
    state.generation = generation;
    state.status = RunStatus::Queued;
    state.phase = Phase::Main;
    state.stop = None;
    state.cancel = None;
    state.unpaused = None;
    state.failure = None;
    state.finally_failed = false;
    state.started_at = None;
    state.finished_at = None;
    let steps: BTreeSet<u32> = reset.iter().filter_map(|id| state.step_named(id)).collect();
    let first = first.and_then(|id| state.step_named(id));
    let single = single.and_then(|id| state.step_named(id));
    let afresh = first.map(|step| from(state, step)).unwrap_or_default();
    let main = 0..state.runbook.main_len as u32;
    state.left_out = main.into_iter().find(|step| !steps.contains(step) && !state.satisfies(*step));
    for step in &steps {
        reset_step(state, *step, afresh.contains(step));
        if single == Some(*step) {
            allow_one_start(state, *step);
        }
    }
    for step in all(state) {
        let section = state.section(step);
        let needs = &state.spec(step).needs;
        let unmet = match section {
            0 => needs.iter().filter(|need| !state.satisfies(**need as u32)).count(),
            _ => needs.len(),
        };
        state.steps[step as usize].unmet = unmet as u32;
        state.open[section] += usize::from(steps.contains(&step));
    }
    for step in steps {
        if state.steps[step as usize].unmet == 0 {
            unblock(state, step, at);
        }
    }
}

/// `afresh`: as if it had never run, its items included.
fn reset_step(state: &mut RunState, step: u32, afresh: bool) {
    state.approvals.remove(&Unit::step(step));
    reset(state, Unit::step(step), afresh);
    // `finally` runs again in each generation, all of it.
    let all = afresh || state.section(step) == 1;
    for item in items(state, step) {
        let again = state.unit(item).is_some_and(|unit| unit.status != StepStatus::Succeeded && !unit.passed_over);
        if all || again {
            reset(state, item, afresh);
        }
    }
    if let Some(items) = &mut state.steps[step as usize].items {
        (items.next, items.open, items.failed) = (0, 0, 0);
        items.stale |= afresh;
    }
}

fn reset(state: &mut RunState, unit: Unit, afresh: bool) {
    reset_unit(touch(state, unit), afresh);
    let check = unit.part(Part::Check);
    if state.unit(check).is_some() {
        touch(state, check);
    }
}

fn reset_unit(unit: &mut UnitState, afresh: bool) {
    let skip = if afresh { None } else { unit.skip.take() };
    let attempts = std::mem::take(&mut unit.attempts);
    // The probe is asked again; what an undo came to stays known until it runs again.
    let (mut check, undo) = (unit.check.take(), unit.undo.take());
    check.iter_mut().for_each(|check| reset_unit(check, true));
    *unit = UnitState { attempts, skip, check, undo, ..UnitState::default() };
}

/// A person allows exactly one more start, whatever `retry` says.
fn allow_one_start(state: &mut RunState, step: u32) {
    let starts = state.starts_max(Unit::step(step));
    for unit in items(state, step).into_iter().chain([Unit::step(step)]) {
        let unit = unit_mut(state, unit);
        unit.skip = None;
        if !unit.attempts.is_empty() {
            unit.tries = starts - 1;
        }
    }
}

fn items(state: &RunState, step: u32) -> Vec<Unit> {
    let count = state.step(step).items.as_ref().map_or(0, |items| items.units.len() as u32);
    (0..count).map(|item| Unit::item(step, item)).collect()
}
