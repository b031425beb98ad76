//! What people are to be told of a run, and when: a function of an event and of the state that it led to.
//!
//! The ledger writes a notice in the transaction of its event, so there is one for each of them and none for what did not
//! happen (fault F55, invariant I20). Its id is made of what happened and of nothing else: whoever sends it twice sends the
//! same one. To whom it goes is no business of this room, and nothing of the configuration is in it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::{Event, Recorded, StopCause, Then};
use super::ids::{RunId, Unit};
use super::objectives::Objective;
use super::outcome::Verdict;
use super::rollback::RolledBack;
use super::state::{RunState, RunStatus};
use crate::plan::definition::sha256;
use crate::runbook::notify::Severity;
use crate::units::format_duration;

/// Of a reason, in characters.
const REASON_CHARS_MAX: usize = 2_000;
/// Of the parameters in one line, and of one of them, in characters.
const PARAMS_CHARS_MAX: usize = 200;
const PARAM_CHARS_MAX: usize = 60;

/// What happened. Routes are told apart by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A run failed.
    Failed,
    TimedOut,
    /// A run ended, and whether one of its steps did cannot be known.
    Lost,
    /// A run waits for a person to say what became of a step, or whether to roll back.
    Held,
    /// A step waits for people to agree.
    Approval,
    /// Ticks of a schedule came while no server ran, and no run is begun for them. The reason says whether a later one makes up for them.
    Missed,
    /// A runbook succeeds again, after its last run had failed.
    Recovered,
    /// It takes longer than an objective of the runbook allows, or more was lost.
    Objective,
    /// A `notify` step.
    Message,
}

/// One thing to tell. Stored as JSON, and sent as such: a field may be added, but none changes its meaning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    pub id: String,
    #[serde(rename = "event")]
    pub kind: Kind,
    pub severity: Severity,
    /// Epoch milliseconds of the ledger's clock.
    pub at: i64,
    pub runbook: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The step, item or part: `upgrade[3]`, `upgrade.undo`. Of a run that is held without one: whether to roll back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// In words, and of a `notify` step what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of the run, in one line: `env=prod, version=17.6`. Nothing sensitive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<String>,
    /// Who or what started the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// `done` or `partial`, of a run that was rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<String>,
    /// Of a missed tick: `RUNBOOK/ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Of a `notify` step: where it goes, whatever the routes say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::Failed,
        Kind::TimedOut,
        Kind::Lost,
        Kind::Held,
        Kind::Approval,
        Kind::Missed,
        Kind::Recovered,
        Kind::Objective,
        Kind::Message,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Failed => "failed",
            Kind::TimedOut => "timed_out",
            Kind::Lost => "lost",
            Kind::Held => "held",
            Kind::Approval => "approval",
            Kind::Missed => "missed",
            Kind::Recovered => "recovered",
            Kind::Objective => "objective",
            Kind::Message => "message",
        }
    }

    pub fn named(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Of a run: what somebody is to be told because of this event. `state`: as it is after it, or a little later.
///
/// A [`Kind::Recovered`] is one only if the last run of the runbook that came to an end had failed; who keeps the notices
/// knows that.
pub fn of(state: &RunState, recorded: &Recorded) -> Option<Notice> {
    let (kind, step, reason, channel) = match &recorded.event {
        Event::Notified { unit, channel, text, .. } => {
            (Kind::Message, Some(unit.clone()), Some(text.clone()), Some(channel.clone()))
        }
        Event::ApprovalRequested { unit, .. } => {
            let who = state.unit_named(unit).and_then(|unit| state.who_is_asked(unit));
            (Kind::Approval, Some(unit.clone()), who.map(|who| format!("approval by {who}")), None)
        }
        Event::AttemptLost { unit, then: Then::Hold, .. }
        | Event::AttemptSettled { unit, then: Then::Hold, .. }
        | Event::ChildSettled { unit, then: Then::Hold, .. } => {
            let why = state.unit_named(unit).and_then(|unit| state.unit(unit)?.error.clone());
            (Kind::Held, Some(unit.clone()), Some(why.unwrap_or_else(|| "its outcome is not known".to_owned())), None)
        }
        Event::RollbackAsked => {
            let (step, why) = cause(state);
            let why = [step, why].into_iter().flatten().collect::<Vec<_>>().join(": ");
            (Kind::Held, None, Some(format!("{why}; shall what was done be taken back?")), None)
        }
        Event::ObjectiveMissed { objective, limit_ms, measured_ms } => {
            (Kind::Objective, None, Some(missed_by(state, *objective, *limit_ms, *measured_ms)), None)
        }
        // Of a child its parent tells.
        Event::RunFinished { status, .. } if state.parent.is_none() => {
            let (step, reason) = if *status == RunStatus::Succeeded { (None, None) } else { cause(state) };
            (end(state, *status)?, step, reason, None)
        }
        _ => return None,
    };
    let rolled_back = matches!(recorded.event, Event::RunFinished { .. }) && state.rolled_back() != RolledBack::None;
    Some(Notice {
        id: format!("{}-{}-{}", state.id, recorded.seq, kind.as_str()),
        kind,
        severity: state.runbook.severity.unwrap_or_default(),
        at: recorded.at,
        runbook: state.name.clone(),
        run: Some(state.id.clone()),
        step,
        reason: reason.map(|reason| head(&reason, if channel.is_some() { usize::MAX } else { REASON_CHARS_MAX })),
        params: params(state),
        actor: Some(state.actor.clone()),
        rollback: rolled_back.then(|| state.rolled_back().as_str().to_owned()),
        schedule: state.tick.as_ref().map(|tick| tick.schedule.clone()),
        channel,
    })
}

/// Whether an event may be one that somebody is told of. Cheap, and never wrong in saying no.
pub fn is_cause(event: &Event) -> bool {
    match event {
        Event::Notified { .. } | Event::ApprovalRequested { .. } | Event::RollbackAsked => true,
        Event::RunFinished { .. } | Event::ObjectiveMissed { .. } => true,
        Event::AttemptLost { then, .. } | Event::AttemptSettled { then, .. } | Event::ChildSettled { then, .. } => {
            *then == Then::Hold
        }
        _ => false,
    }
}

/// `count` ticks of a schedule, of which `key` is the last one, came while no server ran.
pub fn missed(schedule: &str, severity: Severity, key: &str, count: u64, reason: &str, at: i64) -> Notice {
    let what = if count == 1 { format!("the tick {key}") } else { format!("{count} ticks, up to {key}") };
    Notice {
        id: format!("tick-{}-missed", &sha256(format!("{schedule}\0{key}").as_bytes())[..32]),
        kind: Kind::Missed,
        severity,
        at,
        runbook: schedule.rsplit_once('/').map_or(schedule, |(runbook, _)| runbook).to_owned(),
        run: None,
        step: None,
        reason: Some(head(&format!("{what}: {reason}"), REASON_CHARS_MAX)),
        params: None,
        actor: None,
        rollback: None,
        schedule: Some(schedule.to_owned()),
        channel: None,
    }
}

/// Which objective, and by how much.
fn missed_by(state: &RunState, objective: Objective, limit_ms: i64, measured_ms: i64) -> String {
    let shown = |ms: i64| format_duration(Duration::from_millis(ms.max(0) as u64));
    let (limit, measured) = (shown(limit_ms), shown(measured_ms));
    match objective {
        Objective::Rto if state.status.is_terminal() && state.status != RunStatus::Succeeded => {
            format!("rto {limit} was missed: after {measured} the run ended without success")
        }
        Objective::Rto if state.status.is_terminal() => format!("rto {limit} was missed: it took {measured}"),
        Objective::Rto => format!("rto {limit} is over, and the run still goes on"),
        Objective::Rpo => format!("rpo {limit} was missed: {measured} of the data was lost"),
    }
}

/// What a run came to that anybody wants to know of.
fn end(state: &RunState, status: RunStatus) -> Option<Kind> {
    match (status, Verdict::of(state)) {
        (RunStatus::Succeeded, _) => Some(Kind::Recovered),
        (RunStatus::Cancelled, _) => None,
        (_, Verdict::Unknown) => Some(Kind::Lost),
        (RunStatus::TimedOut, _) => Some(Kind::TimedOut),
        _ => Some(Kind::Failed),
    }
}

/// The step that made the run fail, and why it did.
fn cause(state: &RunState) -> (Option<String>, Option<String>) {
    let failed = match &state.stop {
        Some(StopCause::Failed { step }) => state.step_named(step),
        Some(StopCause::TimedOut) => {
            let limit = state.runbook.timeout.map(|limit| format!(" of {}", format_duration(limit)));
            return (None, Some(format!("it took longer than its timeout{}", limit.unwrap_or_default())));
        }
        Some(StopCause::Busy { group, .. }) => return (None, Some(format!("the group {group} was busy"))),
        Some(StopCause::Cancelled) => return (None, Some("it was cancelled".to_owned())),
        None => (state.runbook.main_len..state.steps().len())
            .find(|step| state.steps()[*step].whole.status.is_failure())
            .map(|step| step as u32),
    };
    let Some(step) = failed else { return (None, state.error.clone()) };
    let unit = worst_item(state, step).unwrap_or(Unit::step(step));
    let why = state.unit(unit).map(|found| {
        let status = found.status.as_str().replace('_', " ");
        found.error.as_ref().map_or(status, |error| head(error, REASON_CHARS_MAX))
    });
    (Some(state.unit_name(unit)), why)
}

/// The first item of a `for-each` that failed.
fn worst_item(state: &RunState, step: u32) -> Option<Unit> {
    let items = state.step(step).items.as_ref()?;
    let item = items.units.iter().position(|unit| unit.status.is_failure())?;
    Some(Unit::item(step, item as u32))
}

/// Short values of the parameters, in the order of their names.
fn params(state: &RunState) -> Option<String> {
    let short = |value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            _ => return None,
        };
        (text.chars().count() <= PARAM_CHARS_MAX && !text.contains(char::is_control)).then_some(text)
    };
    let shown = state.shown_params();
    let all: Vec<String> =
        shown.iter().filter_map(|(name, value)| short(value).map(|value| format!("{name}={value}"))).collect();
    (!all.is_empty()).then(|| head(&all.join(", "), PARAMS_CHARS_MAX))
}

fn head(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
