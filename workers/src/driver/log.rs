//! What a driver tells its log: every event of its run that somebody caused, with run, step, attempt and claim.
//!
//! Names, numbers and ids only: no parameter, output, script, environment or error text, which can hold any of them.

use runward_engine::run::event::{Outcome, Then};
use runward_engine::run::{ClaimId, Event, Recorded, RunState};
use tracing::{debug, info, warn};

use super::course::News;

/// `state` is what it is after these events.
pub(super) fn tell(state: &RunState, news: &[Recorded]) {
    // Most runs log nothing of this: not a look at any event for them.
    if tracing::enabled!(tracing::Level::WARN) {
        news.iter().for_each(|recorded| one(state, &recorded.event));
    }
}

/// News of a supervisor, before anything is made of it.
pub(super) fn heard(state: &RunState, news: &News) {
    let News::Gone(session) = news else { return };
    let live = state.live().keys().filter_map(|claim| state.live_attempt(claim));
    let attempts = live.filter(|(_, attempt)| attempt.session == *session).count();
    if attempts > 0 {
        warn!(run = %state.id, %session, attempts, "a supervisor is gone: asking the journal");
    }
}

fn one(state: &RunState, event: &Event) {
    let run = &state.id;
    match event {
        Event::AttemptClaimed { unit, attempt, claim, .. } => {
            info!(%run, step = unit, attempt, %claim, "claimed");
        }
        Event::AttemptAdopted { unit, claim, .. } => {
            let attempt = number(state, unit, claim);
            info!(%run, step = unit, attempt, %claim, "adopted: an earlier driver started it");
        }
        Event::AttemptSettled { unit, claim, outcome: Outcome::Interrupted, then, .. } => {
            let attempt = number(state, unit, claim);
            warn!(%run, step = unit, attempt, %claim, then = next(then), "lost: killed with its supervisor");
        }
        Event::AttemptSettled { unit, claim, outcome, then, log, started_at, ended_at, .. } => {
            let attempt = number(state, unit, claim);
            let took_ms = started_at.zip(*ended_at).map(|(from, to)| to.saturating_sub(from));
            let (outcome, code) = (word(outcome), code(outcome));
            info!(%run, step = unit, attempt, %claim, outcome, code, took_ms, bytes = log.bytes, then = next(then), "ended");
        }
        Event::AttemptVoided { unit, claim } => {
            warn!(%run, step = unit, attempt = number(state, unit, claim), %claim, "proven never started: ready again");
        }
        Event::AttemptLost { unit, claim, evidence, then } => {
            let attempt = number(state, unit, claim);
            warn!(%run, step = unit, attempt, %claim, evidence, then = next(then), "lost");
        }
        Event::LateResult { unit, claim, outcome } => {
            let attempt = number(state, unit, claim);
            warn!(%run, step = unit, attempt, %claim, outcome = word(outcome), "a result came after it was given up");
        }
        Event::UnitFailed { unit, .. } => info!(%run, step = unit, "failed without an attempt"),
        Event::ChildStarted { unit, child, generation, .. } => {
            info!(%run, step = unit, %child, generation, "waits for its child");
        }
        Event::ChildTimedOut { unit, child } => {
            info!(%run, step = unit, %child, "its time is over: the child is stopped")
        }
        Event::ChildSettled { unit, child, status, then, .. } => {
            info!(%run, step = unit, %child, status = status.as_str(), then = next(then), "its child ended");
        }
        Event::RetryDue { unit, .. } => info!(%run, step = unit, "its retry is due"),
        Event::WaitStarted { unit, until, .. } => info!(%run, step = unit, until, "waits"),
        Event::WaitEnded { unit, .. } => info!(%run, step = unit, "its wait is over"),
        Event::ApprovalRequested { unit, .. } => info!(%run, step = unit, "waits for people"),
        Event::ApprovalDecided { unit, decision, .. } => info!(%run, step = unit, ?decision, "somebody decided"),
        Event::ApprovalExpired { unit, .. } => info!(%run, step = unit, "not approved in time"),
        Event::Notified { unit, channel, .. } => info!(%run, step = unit, channel, "people are to be told"),
        Event::WindowClosed { until, .. } => info!(%run, until, "its window is closed"),
        Event::WindowOpened => info!(%run, "its window is open"),
        Event::WindowOverridden { .. } => info!(%run, "its windows are overridden"),
        Event::SkipRequested { unit, .. } => info!(%run, step = unit, "to be skipped, by an operator"),
        Event::SkipDue { unit } => info!(%run, step = unit, "skipped"),
        Event::RunPaused { .. } => info!(%run, "paused: nothing new starts"),
        Event::RunUnpaused => info!(%run, "unpaused"),
        Event::CommandGiven { .. } => debug!(%run, "a command with an id"),
        Event::PermitTaken { .. } => info!(%run, "took the permit of its group"),
        Event::StepReady { step } => debug!(%run, step, "its condition holds"),
        Event::StepSkipped { step, .. } => debug!(%run, step, "skipped: its condition does not hold"),
        Event::ItemsExpanded { step, items } => debug!(%run, step, items = items.len(), "its items are known"),
        Event::CancelRequested { force, rollback, .. } => info!(%run, force, rollback, "cancel requested"),
        Event::RunStopping { .. } => info!(%run, "stopping: nothing new starts"),
        Event::RollbackAsked => info!(%run, "waits: a person says whether what was done is taken back"),
        Event::RollbackRequested { .. } => info!(%run, "rollback requested by an operator"),
        Event::RollbackStarted { order } => info!(%run, steps = order.len(), "rolling back"),
        Event::RollbackFinished { rollback, left } => {
            info!(%run, rollback = rollback.as_str(), left = left.len(), "rolled back");
        }
        Event::FinallyStarted => debug!(%run, "finally"),
        Event::ObjectiveMissed { objective, limit_ms, measured_ms } => {
            warn!(%run, objective = objective.as_str(), limit_ms, measured_ms, "an objective is missed");
        }
        Event::ObjectivesMeasured { .. } => debug!(%run, "measured against its objectives"),
        Event::RunFinished { status, .. } => info!(%run, status = status.as_str(), "finished"),
        Event::RunResumed { generation, .. } => info!(%run, generation, "resumed"),
        Event::UnitResolved { unit, .. } => info!(%run, step = unit, "resolved by an operator"),
        Event::RunCreated { name, .. } => info!(%run, name, "recorded"),
    }
}

fn number(state: &RunState, unit: &str, claim: &ClaimId) -> Option<u32> {
    let unit = state.unit(state.unit_named(unit)?)?;
    unit.attempts.iter().rev().find(|attempt| attempt.claim == *claim).map(|attempt| attempt.no)
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed { .. } => "failed",
        Outcome::NotInPlace => "not_in_place",
        Outcome::NotStarted => "not_started",
        Outcome::TimedOut => "timed_out",
        Outcome::Killed => "killed",
        Outcome::Interrupted => "interrupted",
    }
}

fn code(outcome: &Outcome) -> Option<i32> {
    if let Outcome::Failed { code, signal } = outcome { code.or(signal.map(|signal| 128 + signal)) } else { None }
}

fn next(then: &Then) -> &'static str {
    match then {
        Then::Stand => "stand",
        Then::Retry { .. } => "retry",
        Then::Hold => "hold",
        Then::Check => "check",
    }
}
