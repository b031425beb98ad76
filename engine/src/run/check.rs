//! The probe of a step (`check`): asked before its first start in a generation, and after a start of which nobody knows
//! what it came to.
//!
//! A probe is a unit of its own, `backup.check`, with claims, attempts and a log like any other. While it is asked the
//! step shows what the probe does: ready, running. Asking is no start of the step. A probe changes nothing, so one that is
//! lost is asked again; one that cannot say it fails the step, or leaves it lost where it already was.

use super::event::{Event, Outcome, Then};
use super::ids::{Part, Unit};
use super::progress::{end_unit, leave_lists, make_ready, touch, unit_mut};
use super::state::{AttemptStatus, RunState, StepStatus, UnitState};
use crate::limits;
use crate::mutated;

/// What the exit code of a probe says of the effect; `None`: nothing.
pub(super) fn answer(outcome: &Outcome) -> Option<bool> {
    match outcome {
        Outcome::Succeeded => Some(true),
        Outcome::Failed { code: Some(1), signal: None } | Outcome::NotInPlace => Some(false),
        _ => None,
    }
}

/// A lost probe is asked again at once, but not for ever.
pub(super) fn after_loss(state: &RunState, check: Unit, now: i64) -> Then {
    let tries = state.unit(check).map_or(0, |check| check.tries);
    if tries < limits::PROBES_LOST_MAX { Then::Retry { at: now } } else { Then::Stand }
}

impl RunState {
    /// Its effect was found in place: by the probe before it, or after a start that was lost.
    pub fn found_in_place(&self, unit: Unit) -> bool {
        let owner = self.unit(unit.owner());
        let said = owner.and_then(|owner| owner.check.as_deref()).and_then(says_in_place);
        said == Some(true) && owner.is_some_and(|owner| owner.status == StepStatus::Succeeded)
    }

    /// Whether what the last start of this step or item came to is not known.
    fn is_unknown(&self, owner: &UnitState) -> bool {
        let last = owner.attempts.last();
        last.is_some_and(|last| last.status == AttemptStatus::Lost && last.generation == self.generation)
    }

    /// What becomes of a step or item whose probe is being asked when nothing more starts; `None`: no probe is asked.
    /// `Some(None)`: the probe runs, and says it when it ends.
    pub(super) fn closed_while_asked(&self, owner: &UnitState, unstarted: StepStatus) -> Option<Option<StepStatus>> {
        let asked = owner.check.as_deref().filter(|check| is_asked(check))?;
        let unknown = self.is_unknown(owner);
        Some((asked.status != StepStatus::Running).then_some(if unknown { StepStatus::Lost } else { unstarted }))
    }
}

fn is_asked(check: &UnitState) -> bool {
    matches!(check.status, StepStatus::Ready | StepStatus::Running | StepStatus::Backoff)
}

/// What the probe said last, if it said anything.
fn says_in_place(check: &UnitState) -> Option<bool> {
    let code = check.attempts.last()?.code;
    (check.status == StepStatus::Succeeded).then_some(code == Some(0))
}

/// Whether the probe is asked before this unit starts: once a generation, before anything of it was started.
pub(super) fn comes_first(state: &RunState, unit: Unit) -> bool {
    if unit.part != Part::Step || state.spec(unit.step).check.is_none() || mutated!(ProbeNotAsked) {
        return false;
    }
    let Some(owner) = state.unit(unit) else { return false };
    let started = owner.attempts.last().is_some_and(|last| last.generation == state.generation);
    !started && owner.check.as_deref().is_none_or(|check| !check.status.is_terminal())
}

/// The probe's turn.
pub(super) fn ask(state: &mut RunState, owner: Unit) {
    touch(state, owner).status = StepStatus::Ready;
    let unit = owner.part(Part::Check);
    let check = touch(state, unit);
    let attempts = std::mem::take(&mut check.attempts);
    *check = UnitState { attempts, status: StepStatus::Ready, ..UnitState::default() };
    state.enlist(unit);
}

/// The step shows what its probe does.
pub(super) fn shows(state: &mut RunState, check: Unit, status: StepStatus) {
    if check.part == Part::Check {
        touch(state, check.owner()).status = status;
    }
}

/// Nobody wants to know any more.
pub(super) fn withdraw(state: &mut RunState, owner: Unit) {
    let unit = owner.part(Part::Check);
    if state.unit(unit).is_some_and(is_asked) {
        leave_lists(state, unit);
        touch(state, unit).status = StepStatus::Skipped;
    }
}

/// The probe has ended, one way or another: so what becomes of the step or item?
pub(super) fn ended(state: &mut RunState, check: Unit, at: i64) {
    let owner = check.owner();
    let (Some(probe), Some(asking)) = (state.unit(check), state.unit(owner)) else { return };
    let unknown = state.is_unknown(asking);
    let (status, said, error) = (probe.status, says_in_place(probe), probe.error.clone());
    match said {
        Some(true) if mutated!(ProbeIgnored) && !unknown => make_ready(state, owner, at),
        Some(true) => {
            let outputs = probe.outputs.clone();
            let found = unit_mut(state, owner);
            (found.outputs, found.error) = (outputs, None);
            end_unit(state, owner, StepStatus::Succeeded, at);
        }
        Some(false) if !unknown => make_ready(state, owner, at),
        Some(false) if may_start_again(state, owner) => make_ready(state, owner, at),
        Some(false) => {
            let error = "its last start was lost, and `check` says that it is not in place".to_owned();
            fail(state, owner, StepStatus::Failed, error, at);
        }
        None => {
            let why = error.unwrap_or_else(|| status.as_str().to_owned());
            let (status, error) = match status {
                StepStatus::Skipped | StepStatus::Cancelled if !unknown => return end_unit(state, owner, status, at),
                _ if unknown => (StepStatus::Lost, format!("{}; `check`: {why}", lost_how(state, owner))),
                StepStatus::TimedOut => (StepStatus::TimedOut, format!("`check`: {why}")),
                _ => (StepStatus::Failed, format!("`check`: {why}")),
            };
            fail(state, owner, status, error, at);
        }
    }
}

fn may_start_again(state: &RunState, owner: Unit) -> bool {
    let tries = state.unit(owner).map_or(0, |owner| owner.tries);
    state.is_open(state.section(owner.step)) && tries < state.starts_max(owner)
}

fn lost_how(state: &RunState, owner: Unit) -> String {
    state.unit(owner).and_then(|owner| owner.error.clone()).unwrap_or_else(|| "its start was lost".to_owned())
}

fn fail(state: &mut RunState, owner: Unit, status: StepStatus, error: String, at: i64) {
    unit_mut(state, owner).error = Some(error);
    end_unit(state, owner, status, at);
}

/// What is stored of a probe's end.
pub(super) fn settled(event: Event) -> Event {
    match event {
        Event::AttemptSettled { unit, claim, outcome, then, outputs, log, started_at, ended_at, orphans, .. }
            if answer(&outcome) == Some(false) =>
        {
            let outcome = Outcome::NotInPlace;
            Event::AttemptSettled {
                unit,
                claim,
                outcome,
                then,
                outputs,
                error: None,
                log,
                started_at,
                ended_at,
                orphans,
            }
        }
        other => other,
    }
}
