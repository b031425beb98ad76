//! What people ask of a run: each answer is events, or a refusal that says who was faster or what to do first.

use super::acts::{Cancel, Resolved};
use super::command::{Reject, Resolution};
use super::event::{Event, StopCause};
use super::ids::{Part, Unit};
use super::state::{Phase, RunState, RunStatus, StepStatus, UnitState};
use super::{again, approval, rows};

type Decided = Result<Vec<Event>, Reject>;

pub(super) fn cancel(state: &RunState, force: bool, rollback: bool, reason: Option<String>) -> Decided {
    if state.status.is_terminal() {
        // Nothing is left to be done for it, unless what it did is to be taken back.
        let met = state.status == RunStatus::Cancelled && (!rollback || state.to_be_undone().is_empty());
        let was = state.cancelled().filter(|_| met);
        return Err(was.map_or_else(|| state.over(), |was| Reject::AlreadyCancelled { was: was.clone() }));
    }
    // During a rollback a cancel is noted, and a second one stops it.
    let repeated = |cancel: &&Cancel| match state.phase {
        Phase::RollingBack => state.rollback_is_stopped() && (cancel.force || !force),
        _ => (cancel.force || !force) && (cancel.rollback || !rollback),
    };
    if let Some(cancel) = state.cancel.as_ref().filter(repeated) {
        return Err(Reject::AlreadyCancelled { was: cancel.act.clone() });
    }
    if state.phase == Phase::Finally && !force {
        return Err(Reject::InFinally { since: finally_since(state) });
    }
    let mut events = vec![Event::CancelRequested { force, rollback, reason }];
    if state.phase == Phase::Main && state.stop.is_none() {
        events.push(Event::RunStopping { because: StopCause::Cancelled });
    }
    Ok(events)
}

/// When the first of the steps began that run whatever happened.
fn finally_since(state: &RunState) -> Option<i64> {
    state.steps()[state.runbook.main_len..].iter().filter_map(|step| step.whole.started_at).min()
}

/// What a run did is taken back: now, if it waits for that, or in a generation of its own.
pub(super) fn rollback(state: &RunState, reason: Option<String>) -> Decided {
    if state.status == RunStatus::Succeeded || state.stop.is_none() || !state.is_at_rest() {
        return Err(Reject::NotToBeUndone { status: state.status, last: state.resumed.clone() });
    }
    if state.to_be_undone().is_empty() {
        return Err(Reject::NothingToUndo { last: state.resumed.clone() });
    }
    let generation = (!state.asks_for_rollback()).then_some(state.generation + 1);
    Ok(vec![Event::RollbackRequested { generation, only: None, reason }])
}

/// Nobody knows what is there of a step whose undo failed: nothing is built on it.
fn undo_failed(state: &RunState) -> Result<(), Reject> {
    let failed = rows::owners(state).find(|unit| state.unit(*unit).is_some_and(UnitState::is_held_by_undo));
    failed.map_or(Ok(()), |unit| Err(Reject::UndoFailed { unit: state.unit_name(unit) }))
}

/// A cancel is the stronger word: it ends a pause, and no pause holds up what it asks for.
pub(super) fn pause(state: &RunState, reason: Option<String>) -> Decided {
    if state.status.is_terminal() {
        return Err(state.over());
    }
    if let Some(was) = state.cancelled() {
        return Err(Reject::BeingCancelled { was: was.clone() });
    }
    match &state.paused {
        Some(was) => Err(Reject::AlreadyPaused { was: was.clone() }),
        None => Ok(vec![Event::RunPaused { reason, with_parent: false }]),
    }
}

/// Nothing where it is so already, or a stronger word was said.
pub(super) fn pause_with_parent(state: &RunState, pause: bool, reason: Option<&String>) -> Vec<Event> {
    let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    match (pause, &state.paused) {
        (true, None) if !state.status.is_terminal() && state.cancel.is_none() => {
            let reason = Some(format!("the run it is a step of is paused{why}"));
            vec![Event::RunPaused { reason, with_parent: true }]
        }
        (false, Some(_)) if state.paused_with_parent => vec![Event::RunUnpaused],
        _ => Vec::new(),
    }
}

pub(super) fn unpause(state: &RunState) -> Decided {
    if let Some((was, parent)) = state.paused_with_parent().zip(state.parent.as_ref()) {
        return Err(Reject::PausedWithParent { parent: parent.run.clone(), was: was.clone() });
    }
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
        return Err(state.over());
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
        StepStatus::Running => return Err(Reject::Running { unit: name, since: found.started_at }),
        StepStatus::Waiting if found.open_child().is_some() => {
            return Err(Reject::Running { unit: name, since: found.started_at });
        }
        status if fine => return Err(Reject::Settled { unit: name, status: status.as_str(), at: found.ended_at }),
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
        _ if state.status == RunStatus::Succeeded => Err(state.over()),
        StepStatus::Cancelled | StepStatus::Undone => again_alone(state, unit, reason),
        status if status.is_failure() => again_alone(state, unit, reason),
        StepStatus::Skipped if !found.passed_over => again_alone(state, unit, reason),
        _ => Err(Reject::NotFailed { unit: name, status: status.as_str(), last: state.last_word(unit) }),
    }
}

/// The next generation, for one step and what follows it.
fn again_alone(state: &RunState, unit: Unit, reason: Option<String>) -> Decided {
    let name = state.unit_name(unit);
    // What came after it was done without it: to start it alone would turn the order around.
    if state.satisfies(unit.step) {
        return Err(Reject::FailureAllowed { unit: name });
    }
    if !state.is_at_rest() {
        return Err(Reject::NotAtEnd { unit: name, last: state.resumed.clone() });
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
    if state.status == RunStatus::Succeeded || !state.is_at_rest() && from.is_some() {
        return Err(Reject::NotResumable { status: state.status, last: state.resumed.clone() });
    }
    if !state.is_at_rest() {
        return Err(Reject::GoesOn { status: state.status });
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
    if !state.unit(unit).is_some_and(|unit| unit.status == StepStatus::Held) {
        return Err(not_held(state, unit, resolution));
    }
    Ok(vec![Event::UnitResolved { unit: state.unit_name(unit), resolution, reason }])
}

/// Somebody was faster, or nobody has to say anything.
fn not_held(state: &RunState, unit: Unit, resolution: Resolution) -> Reject {
    let status = state.unit(unit).map_or(StepStatus::Pending, |unit| unit.status);
    let name = state.unit_name(unit);
    // One more start was allowed, and was made: that is no longer what it was.
    let same =
        |was: &&Resolved| was.resolution == resolution && (resolution != Resolution::Retry || !status.is_terminal());
    match state.resolved(unit) {
        Some(was) if same(&was) => Reject::AlreadyResolved { unit: name, was: was.clone() },
        last => Reject::NotHeld { unit: name, status: status.as_str(), last: last.cloned() },
    }
}

/// `succeeded`: it is taken back. `failed`: it stands, as if it had no undo. `retry`: the undo starts once more.
fn resolve_undo(state: &RunState, undo: Unit, resolution: Resolution, reason: Option<String>) -> Decided {
    let name = state.unit_name(undo);
    if !state.unit(undo.owner()).is_some_and(UnitState::is_held_by_undo) {
        return Err(not_held(state, undo, resolution));
    }
    if !state.status.is_terminal() {
        return Err(Reject::NotAtEnd { unit: name, last: state.resumed.clone() });
    }
    Ok(match resolution {
        Resolution::Retry => {
            let only = Some(state.unit_name(undo.owner()));
            vec![Event::RollbackRequested { generation: Some(state.generation + 1), only, reason }]
        }
        _ => vec![Event::UnitResolved { unit: name, resolution, reason }],
    })
}
