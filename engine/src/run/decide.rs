//! A state and a command in, events or a typed refusal out. Changes nothing.

use serde_json::Value;

use super::approval::{self, Word};
use super::child::{self, ChildEnd, ChildOutcome};
use super::command::{Command, Reject, Report};
use super::event::{Event, Outcome, StopCause, Then};
use super::ids::{ClaimId, Part, RunId, Unit};
use super::state::{AttemptStatus, Phase, RunState, StepStatus, UnitState};
use super::{Env, check, gates, given, group, hours, loss, objectives, operator, retry, rows};
use crate::limits;
use crate::mutated;

/// The direct events of `command`; what follows from them is [`follow_up`](super::follow::follow_up)'s business.
pub fn decide(state: &RunState, command: &Command, env: &Env) -> Result<Vec<Event>, Reject> {
    let now = env.now;
    match command {
        Command::Given { id, command } => given::given(state, id, command, env),
        // No permit is taken that a closed window would keep from others.
        Command::Enter { passing } => match state.startable().next().and_then(|unit| hours::closes(state, unit, now)) {
            Some(closed) => Ok(vec![closed]),
            None => group::enter(state, passing, env.standing.as_ref()),
        },
        Command::Claim { unit, claim, session, boot, place } => {
            if state.live.contains_key(claim) {
                return Ok(Vec::new());
            }
            let unit_state = ready(state, *unit)?;
            if let Some(closed) = may_start_now(state, *unit, now)? {
                return Ok(vec![closed]);
            }
            Ok(vec![Event::AttemptClaimed {
                unit: state.unit_name(*unit),
                attempt: unit_state.attempts.len() as u32 + 1,
                claim: claim.clone(),
                session: session.clone(),
                boot: boot.clone(),
                home: place.as_ref().map(|place| place.home.clone()),
                host: place.as_ref().map(|place| place.host.clone()),
            }])
        }
        Command::Refuse { unit, error } => {
            ready(state, *unit)?;
            Ok(vec![Event::UnitFailed { unit: state.unit_name(*unit), error: error.clone() }])
        }
        Command::StartChild { unit, definition } => {
            let unit_state = ready(state, *unit)?;
            if let Some(closed) = may_start_now(state, *unit, now)? {
                return Ok(vec![closed]);
            }
            Ok(vec![child::start(state, *unit, unit_state, definition)])
        }
        Command::SettleChild { child, end } => Ok(settle_child(state, child, end, now).into_iter().collect()),
        Command::Settle { claim, report } => settle(state, claim, report, now),
        Command::Adopt { claim, session } => {
            let (unit, attempt) = live(state, claim)?;
            if attempt.watched_by == *session {
                return Ok(Vec::new());
            }
            Ok(vec![Event::AttemptAdopted {
                unit: state.unit_name(unit),
                claim: claim.clone(),
                session: session.clone(),
            }])
        }
        Command::Void { claim } => {
            let (unit, _) = live(state, claim)?;
            if state.unit(unit).is_some_and(|unit| unit.voided >= limits::VOIDED_MAX) {
                let evidence = format!("proven never started {} times in a row", limits::VOIDED_MAX);
                return Ok(vec![loss::lost(state, unit, claim, evidence, false, now)]);
            }
            Ok(vec![Event::AttemptVoided { unit: state.unit_name(unit), claim: claim.clone() }])
        }
        Command::Lose { claim, evidence, with } => {
            let (unit, attempt) = live(state, claim)?;
            if with.as_ref().is_some_and(|silent| *silent != attempt.watched_by) && !mutated!(LoseUnwatched) {
                return Err(Reject::Watched { unit: state.unit_name(unit) });
            }
            Ok(vec![loss::lost(state, unit, claim, evidence.clone(), with.is_some(), now)])
        }
        Command::Wake => Ok(wake(state, now)),
        Command::Cancel { force, rollback, reason } => operator::cancel(state, *force, *rollback, reason.clone()),
        Command::Rollback { reason } => operator::rollback(state, reason.clone()),
        Command::Pause { reason } => operator::pause(state, reason.clone()),
        Command::PauseWithParent { pause, reason } => Ok(operator::pause_with_parent(state, *pause, reason.as_ref())),
        Command::Decide { unit, decision, person, plan, generation, comment } => {
            let (decision, generation, comment) = (*decision, *generation, comment.as_ref());
            approval::decide(state, *unit, &Word { decision, person, plan, generation, comment })
        }
        Command::OverrideWindow { reason } => hours::override_window(state, reason),
        Command::Unpause => operator::unpause(state),
        Command::Skip { unit, reason } => operator::skip(state, *unit, reason),
        Command::Retry { unit, reason } => operator::retry(state, *unit, reason.clone()),
        Command::Resume { from, reason } => operator::resume(state, *from, reason.clone()),
        Command::Resolve { unit, resolution, reason } => operator::resolve(state, *unit, *resolution, reason.clone()),
    }
}

/// Whether a ready unit is kept from starting by a window, which may have closed just now, or by others that execute.
fn may_start_now(state: &RunState, unit: Unit, now: i64) -> Result<Option<Event>, Reject> {
    if let Some(closed) = hours::closes(state, unit, now) {
        return Ok(Some(closed));
    }
    if let Some(closure) = state.closure().filter(|_| hours::is_held_back(state, unit)) {
        return Err(Reject::Closed { because: closure.because.clone() });
    }
    if executing(state) >= state.max_parallel() {
        return Err(Reject::Busy { limit: state.max_parallel() });
    }
    Ok(None)
}

/// Steps that execute; a child counts as one, however many steps of its own do.
pub(super) fn executing(state: &RunState) -> u32 {
    (state.live.len() + state.children.len()) as u32
}

/// Nothing for a child that is not waited for: its end is on the record already.
fn settle_child(state: &RunState, child: &RunId, end: &ChildEnd, now: i64) -> Option<Event> {
    let unit = *state.children.get(child)?;
    let status = child::status(state, unit, end.outcome);
    let then = match status {
        // Somebody stopped it: it is not for a machine to start it again.
        StepStatus::Failed if end.outcome == ChildOutcome::Cancelled => Then::Stand,
        StepStatus::Failed | StepStatus::TimedOut if retries_every_failure(state, unit) => again(state, unit, now),
        StepStatus::Lost => loss::by_author(state, unit, now),
        _ => Then::Stand,
    };
    Some(child::settle(state, unit, child, end, status, then))
}

/// A child has no exit code that `on-exit` could name.
fn retries_every_failure(state: &RunState, unit: Unit) -> bool {
    state.retry_of(unit).is_some_and(|retry| retry.on_exit.is_empty())
}

fn ready(state: &RunState, unit: Unit) -> Result<&UnitState, Reject> {
    if let Some(paused) = state.paused.as_ref().filter(|_| !mutated!(ClaimInPause)) {
        return Err(Reject::Paused { by: paused.by.clone() });
    }
    let status = state.unit(unit).map_or("unknown", |unit| unit.status.as_str());
    let not_ready = Reject::NotReady { unit: state.unit_name(unit), status };
    if !state.ready.contains(unit) {
        return Err(not_ready);
    }
    if let (Some(group), None, false) = (&state.group, state.permit_at, mutated!(StartWithoutPermit)) {
        return Err(Reject::NoPermit { group: group.name.clone() });
    }
    state.unit(unit).ok_or(not_ready)
}

fn live<'a>(state: &'a RunState, claim: &ClaimId) -> Result<(Unit, &'a super::state::Attempt), Reject> {
    state.live_attempt(claim).ok_or_else(|| known(state, claim))
}

/// The refusal for a claim that is not running: settled already, or never seen.
fn known(state: &RunState, claim: &ClaimId) -> Reject {
    find(state, claim).map_or(Reject::UnknownClaim { claim: claim.clone() }, |(unit, attempt)| Reject::Settled {
        unit: state.unit_name(unit),
        status: attempt.status.as_str(),
        at: attempt.ended_at,
    })
}

/// Searches all attempts: only for claims that are not running, which is rare.
fn find<'a>(state: &'a RunState, claim: &ClaimId) -> Option<(Unit, &'a super::state::Attempt)> {
    rows::units(state).find_map(|unit| {
        let attempt = state.unit(unit)?.attempts.iter().find(|attempt| attempt.claim == *claim)?;
        Some((unit, attempt))
    })
}

fn settle(state: &RunState, claim: &ClaimId, report: &Report, now: i64) -> Result<Vec<Event>, Reject> {
    let Some((unit, _)) = state.live_attempt(claim) else {
        return match find(state, claim) {
            Some((unit, attempt)) if attempt.status == AttemptStatus::Lost => Ok(vec![Event::LateResult {
                unit: state.unit_name(unit),
                claim: claim.clone(),
                outcome: report.outcome.clone(),
            }]),
            Some(_) => Ok(Vec::new()),
            None => Err(Reject::UnknownClaim { claim: claim.clone() }),
        };
    };
    let (then, caution) = match &report.outcome {
        Outcome::Interrupted => loss::after(state, unit, claim, false, now),
        outcome => (then(state, unit, outcome, now), None),
    };
    let settled = Event::AttemptSettled {
        unit: state.unit_name(unit),
        claim: claim.clone(),
        outcome: report.outcome.clone(),
        then,
        outputs: report.outputs.clone(),
        error: loss::cautious(report.error.clone(), caution),
        log: report.log.clone(),
        started_at: report.started_at,
        ended_at: report.ended_at,
        orphans: report.orphans.clone(),
    };
    Ok(vec![if unit.part == Part::Check { check::settled(settled) } else { settled }])
}

fn then(state: &RunState, unit: Unit, outcome: &Outcome, now: i64) -> Then {
    match outcome {
        Outcome::Succeeded | Outcome::NotInPlace | Outcome::Killed | Outcome::Interrupted => Then::Stand,
        Outcome::Failed { code, .. } => {
            let retry = state.retry_of(unit);
            let listed = |on_exit: &[i32]| on_exit.is_empty() || code.is_some_and(|code| on_exit.contains(&code));
            if retry.is_some_and(|retry| listed(&retry.on_exit)) { again(state, unit, now) } else { Then::Stand }
        }
        Outcome::NotStarted | Outcome::TimedOut => again(state, unit, now),
    }
}

/// Whether this unit may start again in this generation at all.
pub(super) fn may_start(state: &RunState, unit: Unit) -> bool {
    match (unit.part, state.section(unit.step)) {
        (Part::Undo, _) => state.may_undo(),
        (_, 0) => state.stop.is_none(),
        _ => !state.cancel.as_ref().is_some_and(|cancel| cancel.force),
    }
}

pub(super) fn again(state: &RunState, unit: Unit, now: i64) -> Then {
    let (Some(policy), Some(unit_state)) = (state.retry_of(unit), state.unit(unit)) else { return Then::Stand };
    let allowed = policy.attempts.get() + u32::from(mutated!(RetryOnceMore));
    if unit_state.tries >= allowed || !may_start(state, unit) {
        return Then::Stand;
    }
    let draw =
        retry::draw(state.seed, &state.unit_name(unit), (unit_state.attempts.len() + unit_state.children.len()) as u32);
    let delay = retry::delay(policy, unit_state.tries, draw);
    Then::Retry { at: now.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)) }
}

fn wake(state: &RunState, now: i64) -> Vec<Event> {
    if state.phase == Phase::Main && state.stop.is_none() && state.deadline().is_some_and(|deadline| deadline <= now) {
        let stops = Event::RunStopping { because: StopCause::TimedOut };
        return objectives::late(state, now).into_iter().chain([stops]).collect();
    }
    let opened = hours::opens(state, now);
    let due = state.timers.iter().take_while(|(at, _)| *at <= now || mutated!(RetryAtOnce)).map(|(_, unit)| *unit);
    due.filter_map(|unit| match state.unit(unit)?.status {
        StepStatus::Waiting => child::over(state, unit).or_else(|| gates::over(state, unit)),
        _ => Some(Event::RetryDue { unit: state.unit_name(unit), reason: None }),
    })
    .chain(opened)
    .chain(objectives::late(state, now))
    .collect()
}

/// Items of a `for-each` as they are stored.
pub(super) fn items(value: Value) -> Result<Vec<Value>, String> {
    match value {
        Value::Array(items) if items.len() > limits::ITEMS_MAX => {
            Err(format!("`for-each` has {} items; at most {} are possible", items.len(), limits::ITEMS_MAX))
        }
        Value::Array(items) => Ok(items),
        other => Err(format!("`for-each` needs a list, this is {}", kind_of(&other))),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing (null)",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
