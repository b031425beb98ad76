//! What a driver of a run should be doing now, read off the state. Asked again after every change and after every
//! crash, it gives the same answer: nothing hangs on an effect that was announced once.

use std::time::Duration;

use super::child::{self, ChildStop};
use super::decide::executing;
use super::event::StopCause;
use super::group::Permit;
use super::ids::{ClaimId, RunId, Unit};
use super::place::Offer;
use super::state::{Phase, RunState};
use crate::mutated;
use crate::runbook::model::Running;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Todo {
    /// Ask for a permit of its group: nothing can be claimed without.
    pub enter: bool,
    /// Units to claim, in order, no more than may run at once.
    pub claims: Vec<Unit>,
    /// Running attempts that have to be ended, with the time between TERM and KILL.
    pub kills: Vec<(ClaimId, Duration)>,
    /// Children that have to be there, and whether they have to be stopped.
    pub children: Vec<ChildTodo>,
    /// When to send `Wake`, in epoch milliseconds.
    pub wake_at: Option<i64>,
}

/// A child that is waited for.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildTodo {
    pub child: RunId,
    pub unit: Unit,
    /// The generation of the child that is waited for.
    pub generation: u32,
    pub stop: Option<ChildStop>,
}

impl Todo {
    /// Nothing goes on before somebody approves or rejects a step.
    pub fn only_people(&self, state: &RunState) -> bool {
        // Each step that waits for people has one timer, that of its end.
        let others = state.timers.len() > state.asked.len();
        !state.asked.is_empty()
            && !others
            && state.closure().is_none()
            && state.paused.is_none()
            && self.claims.is_empty()
            && nothing_runs(state)
    }

    /// Nothing runs, nothing can start and no timer will change that: the run is over, or a step is held. A pause is for
    /// a while: whoever drives waits for its end.
    pub fn is_idle(&self, state: &RunState) -> bool {
        state.paused.is_none() && !self.enter && self.claims.is_empty() && self.wake_at.is_none() && nothing_runs(state)
    }
}

/// Whether a run can go on only when a child does, and none of them does: `child_rests` knows. Its own time and that of
/// its steps is looked at when they go on. `people`: its own approvals are left to people as well.
pub fn rests(state: &RunState, people: bool, child_rests: impl Fn(&RunId) -> bool) -> bool {
    let child = |unit: &Unit| state.unit(*unit).is_some_and(|unit| unit.open_child().is_some());
    let waits = |unit: &Unit| child(unit) || (people && state.asked.contains(unit));
    let todo = todo(state);
    !todo.children.is_empty()
        && todo.children.iter().all(|child| child.stop.is_none() && child_rests(&child.child))
        && todo.claims.is_empty()
        && state.paused.is_none()
        && state.closure().is_none()
        && state.live.is_empty()
        && state.timers.iter().all(|(_, unit)| waits(unit))
}

fn nothing_runs(state: &RunState) -> bool {
    state.live.is_empty() && state.children.is_empty()
}

pub fn todo(state: &RunState) -> Todo {
    todo_for(state, &Offer::All)
}

/// How many units may be claimed now.
pub(super) fn room(state: &RunState) -> usize {
    let kept = state.paused.is_some() && !mutated!(ClaimInPause) || waits_for_permit(state);
    if kept { 0 } else { state.max_parallel().saturating_sub(executing(state)) as usize }
}

fn waits_for_permit(state: &RunState) -> bool {
    state.permit() == Some(Permit::Waits) && !mutated!(StartWithoutPermit)
}

/// What whoever makes this offer should be doing. How much may run at once counts for all together: what does not fit
/// is left out only afterwards.
pub fn todo_for(state: &RunState, offer: &Offer) -> Todo {
    let enter = waits_for_permit(state);
    let claims = state.startable_by(offer, room(state));
    let timer = state.timers.first().map(|(at, _)| *at);
    let opens = state.closure().and_then(|closure| closure.until).filter(|_| state.stop.is_none());
    // Where everything waits for a person, the run waits too, and its time is looked at when it goes on.
    let goes_on = !(nothing_runs(state) && state.ready.is_empty() && state.timers.is_empty());
    let deadline = state.deadline().filter(|_| goes_on && state.phase == Phase::Main && state.stop.is_none());
    let rto = state.rto_ends().filter(|_| goes_on);
    let wake_at = timer.into_iter().chain(deadline).chain(opens).chain(rto).min();
    Todo { enter, claims, kills: kills(state), children: children(state), wake_at }
}

/// Whether what runs is ended because the run stops.
fn stops_running(state: &RunState) -> bool {
    match &state.stop {
        Some(StopCause::Cancelled | StopCause::TimedOut) => true,
        Some(StopCause::Failed { .. }) => state.runbook.on_failure.running == Running::Kill,
        Some(StopCause::Busy { .. }) | None => false,
    }
}

fn children(state: &RunState) -> Vec<ChildTodo> {
    let child = |(child, unit): (&RunId, &Unit)| {
        let open = state.unit(*unit)?.open_child();
        let generation = open.map_or(1, |open| open.generation);
        Some(ChildTodo { child: child.clone(), unit: *unit, generation, stop: child::stop(state, open) })
    };
    state.children.iter().filter_map(child).collect()
}

/// Whether what runs has to come to an end now, by itself or not.
pub(super) fn ends_what_runs(state: &RunState) -> bool {
    let force = state.cancel.as_ref().is_some_and(|cancel| cancel.force);
    match state.phase {
        Phase::Main => state.cancel.is_some() || stops_running(state),
        Phase::RollingBack => state.rollback_is_stopped(),
        Phase::Finally => force,
        Phase::Done => false,
    }
}

fn kills(state: &RunState) -> Vec<(ClaimId, Duration)> {
    if !ends_what_runs(state) {
        return Vec::new();
    }
    let force = state.cancel.as_ref().is_some_and(|cancel| cancel.force);
    let grace = |unit: &Unit| if force { Duration::ZERO } else { state.spec(unit.step).grace };
    state.live.iter().map(|(claim, unit)| (claim.clone(), grace(unit))).collect()
}
