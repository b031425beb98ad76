//! What a driver of a run should be doing now, read off the state. Asked again after every change and after every
//! crash, it gives the same answer: nothing hangs on an effect that was announced once.

use std::time::Duration;

use super::event::StopCause;
use super::group::Permit;
use super::ids::{ClaimId, Unit};
use super::state::{Phase, RunState};
use crate::runbook::model::Running;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Todo {
    /// Ask for a permit of its group: nothing can be claimed without.
    pub enter: bool,
    /// Units to claim, in order, no more than may run at once.
    pub claims: Vec<Unit>,
    /// Running attempts that have to be ended, with the time between TERM and KILL.
    pub kills: Vec<(ClaimId, Duration)>,
    /// When to send `Wake`, in epoch milliseconds.
    pub wake_at: Option<i64>,
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
            && state.live.is_empty()
    }

    /// Nothing runs, nothing can start and no timer will change that: the run is over, or a step is held. A pause is for
    /// a while: whoever drives waits for its end.
    pub fn is_idle(&self, state: &RunState) -> bool {
        state.paused.is_none()
            && !self.enter
            && self.claims.is_empty()
            && self.wake_at.is_none()
            && state.live.is_empty()
    }
}

pub fn todo(state: &RunState) -> Todo {
    let free = (state.max_parallel() as usize).saturating_sub(state.live.len());
    let enter = state.permit() == Some(Permit::Waits);
    let free = if state.paused.is_some() || enter { 0 } else { free };
    let claims = state.startable().take(free).collect();
    let timer = state.timers.first().map(|(at, _)| *at);
    let opens = state.closure().and_then(|closure| closure.until).filter(|_| state.stop.is_none());
    // Where everything waits for a person, the run waits too, and its time is looked at when it goes on.
    let goes_on = !(state.live.is_empty() && state.ready.is_empty() && state.timers.is_empty());
    let deadline = state.deadline().filter(|_| goes_on && state.phase == Phase::Main && state.stop.is_none());
    let wake_at = timer.into_iter().chain(deadline).chain(opens).min();
    Todo { enter, claims, kills: kills(state), wake_at }
}

/// Whether what runs is ended because the run stops.
fn stops_running(state: &RunState) -> bool {
    match &state.stop {
        Some(StopCause::Cancelled | StopCause::TimedOut) => true,
        Some(StopCause::Failed { .. }) => state.runbook.on_failure.running == Running::Kill,
        Some(StopCause::Busy { .. }) | None => false,
    }
}

fn kills(state: &RunState) -> Vec<(ClaimId, Duration)> {
    let force = state.cancel.as_ref().is_some_and(|cancel| cancel.force);
    let wanted = match state.phase {
        Phase::Main => state.cancel.is_some() || stops_running(state),
        Phase::RollingBack => state.rollback_is_stopped(),
        Phase::Finally => force,
        Phase::Done => false,
    };
    if !wanted {
        return Vec::new();
    }
    let grace = |unit: &Unit| if force { Duration::ZERO } else { state.spec(unit.step).grace };
    state.live.iter().map(|(claim, unit)| (claim.clone(), grace(unit))).collect()
}
