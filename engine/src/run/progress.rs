//! How units move: what is ready, what ended, what that opens, and what a stop closes. Each is O(1 + out-degree) but for
//! the once-a-generation passes over a section ([`unblock_roots`], [`close`]).

use std::sync::Arc;

use serde_json::Value;

use super::event::StopCause;
use super::ids::{Part, Unit};
use super::outputs::Outputs;
use super::state::{ItemsState, Phase, RunState, StepStatus, UnitState};
use super::{check, rollback};
use crate::mutated;

/// The step or item must exist: callers got it from [`RunState::unit_named`] or from a work-list.
pub(super) fn unit_mut(state: &mut RunState, unit: Unit) -> &mut UnitState {
    let step = &mut state.steps[unit.step as usize];
    let owner = match (unit.item, &mut step.items) {
        (Some(item), Some(items)) => &mut items.units[item as usize],
        _ => &mut step.whole,
    };
    owner.part_mut(unit.part)
}

/// The row of this unit changes. That of a `for-each` step may hold the outputs of ten thousand items: it is not written
/// with each of them.
pub(super) fn touch(state: &mut RunState, unit: Unit) -> &mut UnitState {
    if unit.item.is_none() || !mutated!(RowsNotTouched) {
        state.touched.insert(unit);
    }
    unit_mut(state, unit)
}

/// Something of this step begins to execute, or to wait; the first time, the step begins with it.
pub(super) fn begins(state: &mut RunState, unit: Unit, at: i64) {
    let step = Unit::step(unit.step);
    if state.step(unit.step).whole.started_at.is_none() {
        touch(state, step).started_at = Some(at);
    }
}

pub(super) fn unblock_roots(state: &mut RunState, section: usize, at: i64) {
    let main_len = state.runbook.main_len;
    let range = if section == 0 { 0..main_len } else { main_len..state.steps.len() };
    for step in range {
        let step_state = &state.steps[step];
        if step_state.unmet == 0 && step_state.whole.status == StepStatus::Pending {
            unblock(state, step as u32, at);
        }
    }
}

/// All needs are met.
pub(super) fn unblock(state: &mut RunState, step: u32, at: i64) {
    if !state.is_open(state.section(step)) {
        return;
    }
    if state.spec(step).condition.is_some() || state.lacks_items(step) || state.step(step).whole.skip.is_some() {
        state.due.insert(step);
    } else {
        start_units(state, step, at);
    }
}

pub(super) fn start_units(state: &mut RunState, step: u32, at: i64) {
    if state.spec(step).for_each.is_some() {
        touch(state, Unit::step(step)).status = StepStatus::Running;
        fill_window(state, step, at);
    } else {
        make_ready(state, Unit::step(step), at);
    }
}

pub(super) fn make_ready(state: &mut RunState, unit: Unit, at: i64) {
    if state.admits(unit) {
        enqueue(state, unit);
    } else {
        let status = unstarted_status(state);
        end_unit(state, unit, status, at);
    }
}

/// Its turn: for a worker, or to begin by itself.
fn enqueue(state: &mut RunState, unit: Unit) {
    if check::comes_first(state, unit) {
        return check::ask(state, unit);
    }
    check::shows(state, unit, StepStatus::Ready);
    touch(state, unit).status = StepStatus::Ready;
    match unit.part == Part::Step && state.spec(unit.step).action.takes_no_worker() {
        true => _ = state.arrived.insert(unit),
        false => state.enlist(unit),
    }
}

fn unstarted_status(state: &RunState) -> StepStatus {
    match state.stop {
        Some(StopCause::Failed { .. }) if state.phase == Phase::Main => StepStatus::Skipped,
        _ => StepStatus::Cancelled,
    }
}

/// Lets items into the window until it is full, and ends the step when nothing is left.
fn fill_window(state: &mut RunState, step: u32, at: i64) {
    let width =
        state.spec(step).for_each.as_ref().and_then(|each| each.max_parallel).map_or(state.max_parallel(), |n| n.get());
    loop {
        let Some(items) = &mut state.steps[step as usize].items else { return };
        let Some(unit) = items.units.get(items.next as usize) else { break };
        if unit.status.is_terminal() {
            items.next += 1;
            continue;
        }
        let item = items.next;
        if unit.skip.is_some() {
            items.next += 1;
            pass_over(touch(state, Unit::item(step, item)), at);
            continue;
        }
        if items.open >= width + u32::from(mutated!(WindowTooWide)) {
            break;
        }
        items.next += 1;
        items.open += 1;
        enqueue(state, Unit::item(step, item));
    }
    let items = state.steps[step as usize].items.as_ref();
    if items.is_some_and(|items| items.open == 0 && items.next as usize == items.units.len()) {
        let (status, outputs) = items.map(|items| sum_up(items, state)).unwrap_or_default();
        let whole = &mut state.steps[step as usize].whole;
        whole.outputs = outputs;
        end_unit(state, Unit::step(step), status, at);
    }
}

/// What the items of a `for-each` come to: the worst of them; outputs as lists in item order.
fn sum_up(items: &ItemsState, state: &RunState) -> (StepStatus, Outputs) {
    let has = |status: StepStatus| items.units.iter().any(|unit| unit.status == status);
    let worst = [StepStatus::Lost, StepStatus::Failed, StepStatus::TimedOut].into_iter().find(|s| has(*s));
    if let Some(worst) = worst {
        return (worst, Outputs::new());
    }
    if items.units.iter().any(|unit| unit.status != StepStatus::Succeeded && !unit.passed_over) {
        return (unstarted_status(state), Outputs::new());
    }
    let mut outputs = Outputs::new();
    for (n, unit) in items.units.iter().take(items.values.len()).enumerate() {
        for (key, value) in &unit.outputs {
            let none = || Value::Array(vec![Value::Null; items.values.len()]);
            if let Value::Array(list) = outputs.entry(key.clone()).or_insert_with(none) {
                list[n] = value.clone();
            }
        }
    }
    (StepStatus::Succeeded, outputs)
}

/// A unit is left out because a person said so.
pub(super) fn skip_unit(state: &mut RunState, unit: Unit, at: i64) {
    if unit.item.is_none() {
        state.due.remove(&unit.step);
        close_items(state, unit.step, StepStatus::Skipped, at);
    }
    leave_lists(state, unit);
    let unit_state = touch(state, unit);
    let outside = unit.item.is_some() && unit_state.status == StepStatus::Pending;
    pass_over(unit_state, at);
    if outside && let Some(items) = &mut state.steps[unit.step as usize].items {
        // It leaves the window without having been in it.
        items.open += 1;
    }
    end_unit(state, unit, StepStatus::Skipped, at);
}

fn pass_over(unit: &mut UnitState, at: i64) {
    unit.status = StepStatus::Skipped;
    unit.ended_at = Some(at);
    unit.passed_over = true;
    if let Some(skip) = &unit.skip {
        let why = skip.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        unit.error = Some(format!("by {}{why}", skip.by));
    }
}

/// A unit has its final status.
pub(super) fn end_unit(state: &mut RunState, unit: Unit, status: StepStatus, at: i64) {
    state.delist(unit);
    state.arrived.remove(&unit);
    state.asked.remove(&unit);
    let unit_state = touch(state, unit);
    unit_state.status = status;
    unit_state.ended_at = Some(at);
    if status == StepStatus::Succeeded {
        rollback::arm(state, unit);
    }
    match (unit.part, unit.item) {
        (Part::Step, Some(_)) => end_item(state, unit.step, status, at),
        (Part::Step, None) => end_step(state, unit.step, at),
        (Part::Undo, _) => rollback::undo_ended(state, unit, at),
        (Part::Check, _) => check::ended(state, unit, at),
    }
}

fn end_item(state: &mut RunState, step: u32, status: StepStatus, at: i64) {
    let limit = state.spec(step).for_each.as_ref().map_or(1, |each| each.stop_after_failures.get());
    let Some(items) = &mut state.steps[step as usize].items else { return };
    items.open = items.open.saturating_sub(1);
    items.failed += u32::from(status.is_failure());
    if items.failed == limit && status.is_failure() {
        close_items(state, step, StepStatus::Skipped, at);
    }
    fill_window(state, step, at);
}

fn end_step(state: &mut RunState, step: u32, at: i64) {
    let section = state.section(step);
    state.open[section] = state.open[section].saturating_sub(1);
    let satisfied = state.satisfies(step);
    if !satisfied {
        match section {
            0 => _ = state.failure.get_or_insert(step),
            _ => state.finally_failed = true,
        }
    }
    // In `finally` an order is only an order: what ended badly still lets the next one clean up.
    if satisfied || section == 1 {
        let graph = Arc::clone(&state.graph);
        for dependent in &graph.dependents[step as usize] {
            let dependent_state = &mut state.steps[*dependent as usize];
            dependent_state.unmet = dependent_state.unmet.saturating_sub(1);
            // A step that is not taken up in this generation stays what it was.
            if dependent_state.unmet <= u32::from(mutated!(ReadyWithOneUnmet))
                && dependent_state.whole.status == StepStatus::Pending
            {
                unblock(state, *dependent, at);
            }
        }
    }
}

/// Nothing of this section starts any more: whatever is not running ends here. Once a generation.
pub(super) fn close(state: &mut RunState, section: usize, unstarted: StepStatus, at: i64) {
    let main_len = state.runbook.main_len;
    let range = if section == 0 { 0..main_len } else { main_len..state.steps.len() };
    state.due.clear();
    for step in range {
        let step = step as u32;
        if state.step(step).whole.status.is_terminal() {
            continue;
        }
        if state.step(step).items.is_some() {
            close_items(state, step, unstarted, at);
        }
        if state.step(step).items.is_some() && state.step(step).whole.status == StepStatus::Running {
            fill_window(state, step, at);
        } else if let Some(status) = closed_status(state, &state.step(step).whole, unstarted) {
            leave_lists(state, Unit::step(step));
            end_unit(state, Unit::step(step), status, at);
        }
    }
}

fn close_items(state: &mut RunState, step: u32, unstarted: StepStatus, at: i64) {
    let Some(items) = &mut state.steps[step as usize].items else { return };
    items.next = items.units.len() as u32;
    for item in 0..items.units.len() as u32 {
        let unit = Unit::item(step, item);
        let Some(status) = state.unit(unit).and_then(|unit| closed_status(state, unit, unstarted)) else { continue };
        leave_lists(state, unit);
        let was_open = touch(state, unit).status != StepStatus::Pending;
        let unit_state = touch(state, unit);
        unit_state.status = status;
        unit_state.ended_at = Some(at);
        if let Some(items) = &mut state.steps[step as usize].items {
            items.open -= u32::from(was_open);
            items.failed += u32::from(status.is_failure());
        }
    }
}

/// What a unit that is not running becomes when nothing more starts; `None` for a running or a settled one.
fn closed_status(state: &RunState, unit: &UnitState, unstarted: StepStatus) -> Option<StepStatus> {
    if let Some(status) = state.closed_while_asked(unit, unstarted) {
        return status;
    }
    match unit.status {
        // It is stopped, and ends when its child has.
        StepStatus::Waiting if unit.open_child().is_some() => None,
        StepStatus::Ready if mutated!(CancelLeavesReady) => None,
        StepStatus::Pending | StepStatus::Ready | StepStatus::Waiting => Some(unstarted),
        StepStatus::Backoff if unstarted == StepStatus::Skipped => Some(StepStatus::Failed),
        StepStatus::Backoff => Some(StepStatus::Cancelled),
        StepStatus::Held => Some(StepStatus::Lost),
        _ => None,
    }
}

/// It goes on by itself at this time, unless something else happens to it first.
pub(super) fn set_timer(state: &mut RunState, unit: Unit, at: i64) {
    drop_timer(state, unit);
    unit_mut(state, unit).due_at = Some(at);
    state.timers.insert((at, unit));
}

pub(super) fn drop_timer(state: &mut RunState, unit: Unit) {
    if let Some(at) = unit_mut(state, unit).due_at.take() {
        state.timers.remove(&(at, unit));
    }
}

/// Whatever a unit that has not ended stands in line for.
pub(super) fn leave_lists(state: &mut RunState, unit: Unit) {
    if unit.part == Part::Step {
        check::withdraw(state, unit);
    }
    state.delist(unit);
    state.arrived.remove(&unit);
    state.asked.remove(&unit);
    state.held.remove(&unit);
    if !mutated!(TimerSurvivesStop) {
        drop_timer(state, unit);
    }
}
