//! What people ask of a run: each answer is events, or a refusal that says who was faster or what to do first.

use super::command::{Reject, Resolution};
use super::event::{Event, StopCause};
use super::ids::Unit;
use super::state::{Phase, RunState, RunStatus, StepStatus};
use super::{again, approval};

type Decided = Result<Vec<Event>, Reject>;

pub(super) fn cancel(state: &RunState, force: bool, reason: Option<String>) -> Decided {
    if state.status.is_terminal() {
        return Err(Reject::Terminal { status: state.status });
    }
    if state.phase == Phase::Finally && !force {
        return Err(Reject::InFinally);
    }
    if let Some(cancel) = &state.cancel
        && (cancel.force || !force)
    {
        return Err(Reject::AlreadyCancelled { by: cancel.by.clone() });
    }
    let mut events = vec![Event::CancelRequested { force, reason }];
    if state.phase == Phase::Main && state.stop.is_none() {
        events.push(Event::RunStopping { because: StopCause::Cancelled });
    }
    Ok(events)
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
    let status = found.status;
    let open = state.is_open(state.section(unit.step));
    match status {
        StepStatus::Held if open => resolve(state, unit, Resolution::Retry, reason),
        StepStatus::Backoff if open => Ok(vec![Event::RetryDue { unit: name, reason }]),
        _ if state.status == RunStatus::Succeeded => Err(Reject::NotResumable { status: state.status }),
        StepStatus::Cancelled => again_alone(state, unit, reason),
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
    if !state.status.is_terminal() {
        return Err(Reject::NotAtEnd { unit: name });
    }
    let spec = state.spec(unit.step);
    if unit.item.is_some() {
        return Err(Reject::WholeStep { unit: name, step: spec.id.clone() });
    }
    let missing = spec.needs.iter().map(|need| *need as u32).find(|need| !state.satisfies(*need));
    if let Some(need) = missing.filter(|_| state.section(unit.step) == 0) {
        let status = state.step(need).whole.status.as_str();
        return Err(Reject::NeedsFirst { unit: name, need: state.spec(need).id.clone(), status });
    }
    let reset = names(state, again::only(state, unit.step));
    Ok(vec![Event::RunResumed { generation: state.generation + 1, reset, from: None, only: Some(name), reason }])
}

pub(super) fn resume(state: &RunState, from: Option<u32>, reason: Option<String>) -> Decided {
    if !state.status.is_terminal() || state.status == RunStatus::Succeeded {
        return Err(Reject::NotResumable { status: state.status });
    }
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
    let status = state.unit(unit).map_or("unknown", |unit| unit.status.as_str());
    if !state.unit(unit).is_some_and(|unit| unit.status == StepStatus::Held) {
        return Err(Reject::NotHeld { unit: state.unit_name(unit), status });
    }
    Ok(vec![Event::UnitResolved { unit: state.unit_name(unit), resolution, reason }])
}
