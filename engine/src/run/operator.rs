//! What people ask of a run: each answer is events, or a refusal that says who was faster or what to do first.

use super::command::{Reject, Resolution};
use super::event::{Event, StopCause};
use super::ids::{Part, Unit};
use super::state::{Cancel, Phase, RunState, RunStatus, StepStatus, UnitState};
use super::{again, approval, rows};

type Decided = Result<Vec<Event>, Reject>;

pub(super) fn cancel(state: &RunState, force: bool, rollback: bool, reason: Option<String>) -> Decided {
    if state.status.is_terminal() {
        return Err(Reject::Terminal { status: state.status });
    }
    if state.phase == Phase::Finally && !force {
        return Err(Reject::InFinally);
    }
    // During a rollback a cancel is noted, and a second one stops it.
    let repeated = |cancel: &&Cancel| match state.phase {
        Phase::RollingBack => state.rollback_is_stopped() && (cancel.force || !force),
        _ => (cancel.force || !force) && (cancel.rollback || !rollback),
    };
    if let Some(cancel) = state.cancel.as_ref().filter(repeated) {
        return Err(Reject::AlreadyCancelled { by: cancel.by.clone() });
    }
    let mut events = vec![Event::CancelRequested { force, rollback, reason }];
    if state.phase == Phase::Main && state.stop.is_none() {
        events.push(Event::RunStopping { because: StopCause::Cancelled });
    }
    Ok(events)
}

/// What a run did is taken back: now, if it waits for that, or in a generation of its own.
pub(super) fn rollback(state: &RunState, reason: Option<String>) -> Decided {
    if state.status == RunStatus::Succeeded || state.stop.is_none() || !is_at_rest(state) {
        return Err(Reject::NotToBeUndone { status: state.status });
    }
    if state.to_be_undone().is_empty() {
        return Err(Reject::NothingToUndo { last: state.resumed.clone() });
    }
    let generation = (!state.asks_for_rollback()).then_some(state.generation + 1);
    Ok(vec![Event::RollbackRequested { generation, only: None, reason }])
}

/// At its end, or waiting for a person to say whether it is taken back.
fn is_at_rest(state: &RunState) -> bool {
    state.status.is_terminal() || state.asks_for_rollback()
}

/// Nobody knows what is there of a step whose undo failed: nothing is built on it.
fn undo_failed(state: &RunState) -> Result<(), Reject> {
    let failed = rows::owners(state).find(|unit| state.unit(*unit).is_some_and(UnitState::is_held_by_undo));
    failed.map_or(Ok(()), |unit| Err(Reject::UndoFailed { unit: state.unit_name(unit) }))
}

/// A cancel is the stronger word: it ends a pause, and no pause holds up what it asks for.
pub(super) fn pause(state: &RunState, reason: Option<String>) -> Decided {
    if state.status.is_terminal() {
        return Err(Reject::Terminal { status: state.status });
    }
    if let Some(cancel) = &state.cancel {
        return Err(Reject::AlreadyCancelled { by: cancel.by.clone() });
    }
    match &state.paused {
        Some(was) => Err(Reject::AlreadyPaused { was: was.clone() }),
        None => Ok(vec![Event::RunPaused { reason }]),
    }
}

pub(super) fn unpause(state: &RunState) -> Decided {
    match &state.paused {
        Some(_) => Ok(vec![Event::RunUnpaused]),
        None => Err(Reject::NotPaused { last: state.unpaused.clone() }),
    }
}

pub(super) fn skip(state: &RunState, unit: Unit, reason: &str) -> Decided {
    let name = state.unit_name(unit);
    let Some(found) = state.unit(unit) else { return Err(Reject::NotReady { unit: name, status: "unknown" }) };
    if unit.part != Part::Step {
        return Err(Reject::NoStep { unit: name });
    }
    if state.status == RunStatus::Succeeded {
        return Err(Reject::Terminal { status: state.status });
    }
    if approval::spec(state, unit).is_some() {
        return Err(Reject::NotSkipped { unit: name });
    }
    if let Some(was) = &found.skip {
        return Err(Reject::AlreadySkipped { unit: name, was: was.clone() });
    }
    let fine = match unit.item {
        None => state.satisfies(unit.step),
        Some(_) => found.status == StepStatus::Succeeded || found.passed_over,
    };
    match found.status {
        StepStatus::Running => return Err(Reject::Running { unit: name }),
        StepStatus::Waiting if found.open_child().is_some() => return Err(Reject::Running { unit: name }),
        status if fine => return Err(Reject::Settled { unit: name, status: status.as_str() }),
        _ => {}
    }
    let mut events = vec![Event::SkipRequested { unit: name.clone(), reason: reason.to_owned() }];
    if !found.status.is_terminal() && is_its_turn(state, unit) {
        events.push(Event::SkipDue { unit: name });
    }
    Ok(events)
}

/// Whether a unit that is not running could run now, as far as those are concerned that it needs.
fn is_its_turn(state: &RunState, unit: Unit) -> bool {
    let step = state.step(unit.step);
    state.is_open(state.section(unit.step))
        && match unit.item {
            None => step.unmet == 0,
            Some(_) => step.whole.status == StepStatus::Running,
        }
}

pub(super) fn retry(state: &RunState, unit: Unit, reason: Option<String>) -> Decided {
    let name = state.unit_name(unit);
    let Some(found) = state.unit(unit) else { return Err(Reject::NotReady { unit: name, status: "unknown" }) };
    if unit.part == Part::Check {
        return Err(Reject::NoStep { unit: name });
    }
    let status = found.status;
    let open = state.admits(unit);
    match status {
        status if unit.part == Part::Undo && status != StepStatus::Backoff => {
            resolve(state, unit, Resolution::Retry, reason)
        }
        StepStatus::Held if open => resolve(state, unit, Resolution::Retry, reason),
        StepStatus::Backoff if open => Ok(vec![Event::RetryDue { unit: name, reason }]),
        _ if state.status == RunStatus::Succeeded => Err(Reject::NotResumable { status: state.status }),
        StepStatus::Cancelled | StepStatus::Undone => again_alone(state, unit, reason),
        status if status.is_failure() => again_alone(state, unit, reason),
        StepStatus::Skipped if !found.passed_over => again_alone(state, unit, reason),
        _ => Err(Reject::NotFailed { unit: name, status: status.as_str(), last: state.resumed.clone() }),
    }
}

/// The next generation, for one step and what follows it.
fn again_alone(state: &RunState, unit: Unit, reason: Option<String>) -> Decided {
    let name = state.unit_name(unit);
    // What came after it was done without it: to start it alone would turn the order around.
    if state.satisfies(unit.step) {
        return Err(Reject::FailureAllowed { unit: name });
    }
    if !is_at_rest(state) {
        return Err(Reject::NotAtEnd { unit: name });
    }
    undo_failed(state)?;
    let spec = state.spec(unit.step);
    if unit.item.is_some() {
        return Err(Reject::WholeStep { unit: name, step: spec.id.clone() });
    }
    let baseless = again::baseless(state);
    let stands = |need: &u32| state.satisfies(*need) && !baseless.contains(need);
    let missing = spec.needs.iter().map(|need| *need as u32).find(|need| !stands(need));
    if let Some(need) = missing.filter(|_| state.section(unit.step) == 0) {
        let status = state.step(need).whole.status.as_str();
        return Err(Reject::NeedsFirst { unit: name, need: state.spec(need).id.clone(), status });
    }
    let reset = names(state, again::only(state, unit.step));
    Ok(vec![Event::RunResumed { generation: state.generation + 1, reset, from: None, only: Some(name), reason }])
}

pub(super) fn resume(state: &RunState, from: Option<u32>, reason: Option<String>) -> Decided {
    if !is_at_rest(state) || state.status == RunStatus::Succeeded {
        return Err(Reject::NotResumable { status: state.status });
    }
    undo_failed(state)?;
    let mut reset = again::rest(state);
    reset.extend(from.iter().flat_map(|step| again::from(state, *step)));
    let from = from.map(|step| state.spec(step).id.clone());
    let reset = names(state, reset);
    Ok(vec![Event::RunResumed { generation: state.generation + 1, reset, from, only: None, reason }])
}

fn names(state: &RunState, steps: impl IntoIterator<Item = u32>) -> Vec<String> {
    steps.into_iter().map(|step| state.spec(step).id.clone()).collect()
}

pub(super) fn resolve(state: &RunState, unit: Unit, resolution: Resolution, reason: Option<String>) -> Decided {
    if unit.part == Part::Undo {
        return resolve_undo(state, unit, resolution, reason);
    }
    if state.unit(unit).is_some_and(UnitState::is_held_by_undo) {
        return Err(Reject::UndoFailed { unit: state.unit_name(unit) });
    }
    let status = state.unit(unit).map_or("unknown", |unit| unit.status.as_str());
    if !state.unit(unit).is_some_and(|unit| unit.status == StepStatus::Held) {
        return Err(Reject::NotHeld { unit: state.unit_name(unit), status });
    }
    Ok(vec![Event::UnitResolved { unit: state.unit_name(unit), resolution, reason }])
}

/// `succeeded`: it is taken back. `failed`: it stands, as if it had no undo. `retry`: the undo starts once more.
fn resolve_undo(state: &RunState, undo: Unit, resolution: Resolution, reason: Option<String>) -> Decided {
    let name = state.unit_name(undo);
    if !state.unit(undo.owner()).is_some_and(UnitState::is_held_by_undo) {
        let status = state.unit(undo).map_or("unknown", |undo| undo.status.as_str());
        return Err(Reject::NotHeld { unit: name, status });
    }
    if !state.status.is_terminal() {
        return Err(Reject::NotAtEnd { unit: name });
    }
    Ok(match resolution {
        Resolution::Retry => {
            let only = Some(state.unit_name(undo.owner()));
            vec![Event::RollbackRequested { generation: Some(state.generation + 1), only, reason }]
        }
        _ => vec![Event::UnitResolved { unit: name, resolution, reason }],
    })
}
