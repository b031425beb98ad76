//! What becomes of a unit whose attempt is lost: whether it ran to an end cannot be known.
//!
//! The author of the step says so (`on-lost`), within two bounds that only a cluster has: what may still run on a machine
//! that has fallen silent is not started on another one, and what was lost with its worker twice in a row does not take a
//! third one with it. Both wait for a person.

use super::check;
use super::decide::{again, may_start};
use super::event::{Event, Then};
use super::ids::{ClaimId, Part, Unit};
use super::state::{Attempt, AttemptStatus, RunState};
use crate::mutated;
use crate::runbook::model::OnLost;

/// `silent`: because nobody hears of the session that watches it.
pub(super) fn lost(state: &RunState, unit: Unit, claim: &ClaimId, evidence: String, silent: bool, now: i64) -> Event {
    let (then, caution) = after(state, unit, claim, silent, now);
    Event::AttemptLost {
        unit: state.unit_name(unit),
        claim: claim.clone(),
        evidence: cautious(Some(evidence), caution).unwrap_or_default(),
        then,
    }
}

/// What follows from the loss of this attempt, and why it is held although it could start again.
pub(super) fn after(state: &RunState, unit: Unit, claim: &ClaimId, silent: bool, now: i64) -> (Then, Option<String>) {
    let then = by_author(state, unit, now);
    if !matches!(then, Then::Retry { .. } | Then::Check) || unit.part == Part::Check {
        return (then, None);
    }
    match state.live_attempt(claim).and_then(|(_, attempt)| caution(state, unit, attempt, silent)) {
        None => (then, None),
        // An undo that failed waits for a person in any case.
        Some(why) if unit.part == Part::Undo => (Then::Stand, Some(why)),
        Some(why) => (Then::Hold, Some(why)),
    }
}

/// The error of an attempt, with what was decided for caution.
pub(super) fn cautious(error: Option<String>, caution: Option<String>) -> Option<String> {
    match (error, caution) {
        (Some(error), Some(caution)) => Some(format!("{error}; {caution}")),
        (error, caution) => error.or(caution),
    }
}

fn caution(state: &RunState, unit: Unit, attempt: &Attempt, silent: bool) -> Option<String> {
    let place = attempt.place.as_ref()?;
    if silent && !state.is_strict(unit) && !mutated!(SilentIsDead) {
        return Some(format!(
            "it may still run on {}, so it is not started again by itself (`lease: detached`)",
            place.host
        ));
    }
    let before =
        state.unit(unit)?.attempts.iter().rev().filter(|it| it.status != AttemptStatus::NeverStarted).nth(1)?;
    let again = before.status == AttemptStatus::Lost && before.generation == attempt.generation;
    again.then(|| "it was lost with its worker twice in a row, so it is not started again by itself".to_owned())
}

/// What the author of the step wants.
pub(super) fn by_author(state: &RunState, unit: Unit, now: i64) -> Then {
    let mut requeued = mutated!(RequeueLost);
    if mutated!(HoldIsRetry) {
        requeued |= state.on_lost_of(unit) == OnLost::Hold;
    }
    if requeued && may_start(state, unit) {
        return Then::Retry { at: now };
    }
    if unit.part == Part::Check {
        return if may_start(state, unit) { check::after_loss(state, unit, now) } else { Then::Stand };
    }
    match state.on_lost_of(unit) {
        OnLost::Fail => Then::Stand,
        OnLost::Hold if may_start(state, unit) => Then::Hold,
        OnLost::Hold => Then::Stand,
        OnLost::Retry => again(state, unit, now),
        OnLost::Check if mutated!(LostWithoutProbe) => again(state, unit, now),
        OnLost::Check if may_start(state, unit) => Then::Check,
        OnLost::Check => Then::Stand,
    }
}
