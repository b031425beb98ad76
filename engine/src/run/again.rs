//! The next generation of a run: which steps start again, and what they keep. What is not taken up stays as it is.

use std::collections::BTreeSet;

use super::ids::{Part, Unit};
use super::progress::{touch, unblock, unit_mut};
use super::rollback::{Rollback, Wanted, keep_what_undos_read};
use super::state::{Phase, RunState, RunStatus, StepStatus, UnitState};
use crate::mutated;

/// What a resume takes up: whatever did not succeed or was taken back, what was built on that, and `finally`, which runs in
/// each generation.
pub(super) fn rest(state: &RunState) -> BTreeSet<u32> {
    let baseless = baseless(state);
    let again = |step: &u32| {
        state.section(*step) == 1 || !state.satisfies(*step) || baseless.contains(step) || mutated!(ResumeForgets)
    };
    all(state).filter(again).collect()
}

/// Steps after one that does not stand: it was taken back, or ran again after that and failed. What they did was built on
/// what is no longer there.
pub(super) fn baseless(state: &RunState) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let main = 0..state.runbook.main_len as u32;
    let mut next: Vec<u32> = main.filter(|step| !state.satisfies(*step)).collect();
    while let Some(step) = next.pop() {
        let dependents = &state.graph.dependents[step as usize];
        next.extend(dependents.iter().filter(|dependent| found.insert(**dependent)));
    }
    found
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
    let baseless = baseless(state);
    let stands = |step: u32| state.satisfies(step) && !baseless.contains(&step);
    let mut next = vec![step];
    while let Some(step) = next.pop() {
        for dependent in &state.graph.dependents[step as usize] {
            let met = |need: &usize| stands(*need as u32) || found.contains(&(*need as u32));
            let wanted = !stands(*dependent) && state.spec(*dependent).needs.iter().all(met);
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
    state.resolved.clear();
    state.unpaused = None;
    state.closure = None;
    state.overridden = None;
    state.failure = None;
    state.finally_failed = false;
    state.rollback = Rollback::default();
    state.started_at = None;
    state.finished_at = None;
    state.outputs.clear();
    state.error = None;
    state.measured.clear();
    let steps: BTreeSet<u32> = reset.iter().filter_map(|id| state.step_named(id)).collect();
    let first = first.and_then(|id| state.step_named(id));
    let single = single.and_then(|id| state.step_named(id));
    let afresh = first.map(|step| from(state, step)).unwrap_or_default();
    let baseless = baseless(state);
    let main = 0..state.runbook.main_len as u32;
    let stands = |step: &u32| state.satisfies(*step) && !baseless.contains(step);
    state.left_out = main.into_iter().find(|step| !steps.contains(step) && !stands(step));
    keep_what_undos_read(state, &steps);
    for step in &steps {
        reset_step(state, *step, afresh.contains(step), baseless.contains(step));
        if single == Some(*step) {
            allow_one_start(state, *step);
        }
    }
    state.open = [0, 0];
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

/// What was done is taken back because a person wants it: now, or in a generation that does nothing else but `finally`.
pub(super) fn take_back(state: &mut RunState, generation: Option<u32>, only: Option<&str>, at: i64) {
    if let Some(generation) = generation {
        let stop = state.stop.clone();
        let last = all(state).filter(|step| state.section(*step) == 1).map(|step| state.spec(step).id.clone());
        begin(state, generation, &last.collect::<Vec<_>>(), None, None, at);
        state.stop = stop;
        state.status = state.standing();
    }
    state.rollback.asked = false;
    state.rollback.wanted = match only {
        None => Some(Wanted::All),
        Some(name) => state.unit_named(name).map(Wanted::Only),
    };
}

/// `afresh`: as if it had never run, its items included. `baseless`: with all its items, which may be others now.
fn reset_step(state: &mut RunState, step: u32, afresh: bool, baseless: bool) {
    state.approvals.remove(&Unit::step(step));
    reset(state, Unit::step(step), afresh);
    // `finally` runs again in each generation, all of it.
    let all = afresh || baseless || state.section(step) == 1;
    for item in items(state, step) {
        let again = state.unit(item).is_some_and(|unit| unit.status != StepStatus::Succeeded && !unit.passed_over);
        if all || again {
            reset(state, item, afresh);
        }
    }
    if let Some(items) = &mut state.steps[step as usize].items {
        (items.next, items.open, items.failed) = (0, 0, 0);
        items.stale |= afresh || baseless;
    }
}

fn reset(state: &mut RunState, unit: Unit, afresh: bool) {
    // What `finally` does it does again, in each generation.
    let last = state.section(unit.step) == 1;
    let unit_state = touch(state, unit);
    reset_unit(unit_state, afresh);
    unit_state.carries_on &= !last;
    let check = unit.part(Part::Check);
    if state.unit(check).is_some() {
        touch(state, check);
    }
}

fn reset_unit(unit: &mut UnitState, afresh: bool) {
    let skip = if afresh { None } else { unit.skip.take() };
    let attempts = std::mem::take(&mut unit.attempts);
    let children = std::mem::take(&mut unit.children);
    // A child is continued as its parent is: the same run, what succeeded in it is kept.
    let failed = children.last().and_then(|child| child.status).is_some_and(|it| it != StepStatus::Succeeded);
    let carries_on = failed && !afresh;
    // The probe is asked again; what an undo came to stays known until it runs again.
    let (mut check, undo) = (unit.check.take(), unit.undo.take());
    check.iter_mut().for_each(|check| reset_unit(check, true));
    let armed = unit.armed.take();
    *unit = UnitState { attempts, children, carries_on, skip, check, undo, armed, ..UnitState::default() };
}

/// A person allows exactly one more start, whatever `retry` says.
fn allow_one_start(state: &mut RunState, step: u32) {
    let starts = state.starts_max(Unit::step(step));
    for unit in items(state, step).into_iter().chain([Unit::step(step)]) {
        let unit = unit_mut(state, unit);
        unit.skip = None;
        if !unit.attempts.is_empty() || !unit.children.is_empty() {
            unit.tries = starts - 1;
        }
    }
}

fn items(state: &RunState, step: u32) -> Vec<Unit> {
    let count = state.step(step).items.as_ref().map_or(0, |items| items.units.len() as u32);
    (0..count).map(|item| Unit::item(step, item)).collect()
}
