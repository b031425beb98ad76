//! The windows of a runbook, and what they hold back: whatever goes forward and has not begun.
//!
//! Undo, `finally`, retries and the remaining items of a `for-each` that has begun go on, so that a window that closes
//! strands nothing half done. Steps that wait execute nothing, and begin whenever their turn comes.

use super::acts::Act;
use super::command::Reject;
use super::event::Event;
use super::ids::{Part, Unit};
use super::state::{AttemptStatus, Phase, RunState, UnitState};
use crate::mutated;

/// Why nothing new starts, and when that is over (epoch milliseconds).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Closure {
    pub until: Option<i64>,
    pub because: String,
    pub since: i64,
}

/// A closed window holds this unit back: found out when somebody wants to start it.
pub(super) fn closes(state: &RunState, unit: Unit, now: i64) -> Option<Event> {
    if state.closure.is_some() || !is_held_back(state, unit) || mutated!(WindowIgnored) {
        return None;
    }
    let closed = state.runbook.windows.closed(now, state.zone)?;
    Some(Event::WindowClosed { until: closed.until, because: closed.because })
}

/// The window has opened, if it has; one that was slept through opens the next time.
pub(super) fn opens(state: &RunState, now: i64) -> Option<Event> {
    let until = state.closure.as_ref()?.until;
    match state.runbook.windows.closed(now, state.zone) {
        None if mutated!(WindowNeverOpens) => None,
        None => Some(Event::WindowOpened),
        Some(closed) if until.is_some_and(|until| until <= now) => {
            Some(Event::WindowClosed { until: closed.until, because: closed.because })
        }
        Some(_) => None,
    }
}

pub(super) fn is_held_back(state: &RunState, unit: Unit) -> bool {
    if state.runbook.windows.is_empty() || state.overridden.is_some() || state.section(unit.step) == 1 {
        return false;
    }
    if state.phase != Phase::Main || unit.part == Part::Undo {
        return false;
    }
    let begun = match unit.item {
        Some(_) => state.step(unit.step).whole.started_at.is_some(),
        None => false,
    };
    !begun && !state.unit(unit.owner()).is_some_and(|unit| has_begun(unit, state.generation))
}

/// Whether it has started in this generation. What a person allows does not say so, and what never started has not.
fn has_begun(unit: &UnitState, generation: u32) -> bool {
    let mut recent = unit.attempts.iter().rev().take_while(|attempt| attempt.generation == generation);
    recent.any(|attempt| attempt.status != AttemptStatus::NeverStarted)
        || !unit.children.is_empty() && unit.started_at.is_some()
}

/// Somebody lets the run go on all the same, in this generation.
pub(super) fn override_window(state: &RunState, reason: &str) -> Result<Vec<Event>, Reject> {
    if state.status.is_terminal() {
        return Err(state.over());
    }
    if state.runbook.windows.is_empty() {
        return Err(Reject::NoWindows);
    }
    match &state.overridden {
        Some(was) => Err(Reject::AlreadyOverridden { was: was.clone() }),
        None => Ok(vec![Event::WindowOverridden { reason: reason.to_owned() }]),
    }
}

impl RunState {
    /// The closed window that holds the run, as long as it does.
    pub fn closure(&self) -> Option<&Closure> {
        self.closure.as_ref()
    }

    /// Who let it go on outside of its windows.
    pub fn overridden(&self) -> Option<&Act> {
        self.overridden.as_ref()
    }
}
