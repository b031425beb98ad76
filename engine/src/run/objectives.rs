//! How a run stands against the objectives of its runbook: how long until the service stood again (`rto`), and how much of the
//! data was lost (`rpo`).
//!
//! `rto` is from the trigger to the success of the run, over all of its generations. `rpo` is what the run hands back as its output
//! `rpo`: what was lost is known to the steps alone. Both are measured at the end of every generation, and put on the record
//! there. That the time of `rto` is over is on the record when it is over, while somebody can still do something about it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::Event;
use super::outputs::Outputs;
use super::state::{Phase, RunState, RunStatus};
use crate::bind::Reference;
use crate::runbook::model::{Action, Runbook, Step, ValueType};
use crate::units::parse_duration;

/// The output of a run that says how much was lost.
pub const RPO_OUTPUT: &str = "rpo";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// How long it may take until the service stands again.
    Rto,
    /// How much of the newest data may be lost.
    Rpo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Met,
    Missed,
    /// The run is not at its end.
    Open,
    /// The run came to its end without success, in time: nothing stands that could be measured.
    NotReached,
    /// Nobody has said what was lost.
    NotMeasured,
}

/// Stored in events: a field may be added, but none changes its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    pub objective: Objective,
    pub limit_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_ms: Option<i64>,
    pub standing: Standing,
    /// Why it could not be measured, where somebody tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Objective {
    pub const ALL: [Objective; 2] = [Objective::Rto, Objective::Rpo];

    pub fn as_str(self) -> &'static str {
        match self {
            Objective::Rto => "rto",
            Objective::Rpo => "rpo",
        }
    }
}

impl Standing {
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Met => "met",
            Standing::Missed => "missed",
            Standing::Open => "open",
            Standing::NotReached => "not_reached",
            Standing::NotMeasured => "not_measured",
        }
    }
}

impl RunState {
    /// What its runbook wants, in milliseconds.
    pub fn objective(&self, objective: Objective) -> Option<i64> {
        let wanted = match objective {
            Objective::Rto => self.runbook.objectives.rto,
            Objective::Rpo => self.runbook.objectives.rpo,
        };
        wanted.map(millis)
    }

    /// How it stands against each objective of its runbook: as it was measured at its end, or as far as that is known.
    pub fn standings(&self) -> Vec<Measured> {
        if !self.measured.is_empty() {
            return self.measured.clone();
        }
        let wanted = Objective::ALL.into_iter().filter_map(|one| Some((one, self.objective(one)?)));
        wanted
            .map(|(objective, limit_ms)| {
                let missed = self.missed.contains(&objective);
                let standing = if missed { Standing::Missed } else { Standing::Open };
                Measured { objective, limit_ms, measured_ms: None, standing, why: None }
            })
            .collect()
    }

    /// When the time of `rto` is over, before the end of the run and while nobody has said so yet.
    pub(super) fn rto_ends(&self) -> Option<i64> {
        let open = self.phase != Phase::Done && !self.missed.contains(&Objective::Rto);
        open.then(|| self.objective(Objective::Rto))?
            .map(|limit| self.created_at.saturating_add(limit).saturating_add(1))
    }
}

/// The time of `rto` is over, and the run still goes on.
pub(super) fn late(state: &RunState, now: i64) -> Option<Event> {
    let limit_ms = state.rto_ends().filter(|ends| *ends <= now).and_then(|_| state.objective(Objective::Rto))?;
    Some(Event::ObjectiveMissed { objective: Objective::Rto, limit_ms, measured_ms: now - state.created_at })
}

/// What is put on the record before the end itself: what was measured, and what was missed and has not been told.
pub(super) fn at_end(state: &RunState, status: RunStatus, outputs: &Outputs, now: i64) -> Vec<Event> {
    let wanted = Objective::ALL.into_iter().filter_map(|one| Some((one, state.objective(one)?)));
    let measured: Vec<Measured> = wanted
        .map(|(objective, limit_ms)| match objective {
            Objective::Rto => rto(state, status, limit_ms, now),
            Objective::Rpo => {
                rpo(status, outputs.get(RPO_OUTPUT).map(|lost| (lost, is_duration(&state.runbook))), limit_ms)
            }
        })
        .collect();
    if measured.is_empty() {
        return Vec::new();
    }
    let news = measured.iter().filter(|one| one.standing == Standing::Missed && !state.missed.contains(&one.objective));
    let told = news.map(|one| {
        // Of a run that did not succeed: how long it has been so far.
        let measured_ms = one.measured_ms.unwrap_or(now - state.created_at);
        Event::ObjectiveMissed { objective: one.objective, limit_ms: one.limit_ms, measured_ms }
    });
    let mut events: Vec<Event> = told.collect();
    events.push(Event::ObjectivesMeasured { measured });
    events
}

fn rto(state: &RunState, status: RunStatus, limit_ms: i64, now: i64) -> Measured {
    let took = (now - state.created_at).max(0);
    let late = took > limit_ms || state.missed.contains(&Objective::Rto);
    let (measured_ms, standing) = match (status, late) {
        (RunStatus::Succeeded, true) => (Some(took), Standing::Missed),
        (RunStatus::Succeeded, false) => (Some(took), Standing::Met),
        (_, true) => (None, Standing::Missed),
        (_, false) => (None, Standing::NotReached),
    };
    Measured { objective: Objective::Rto, limit_ms, measured_ms, standing, why: None }
}

fn rpo(status: RunStatus, output: Option<(&Value, bool)>, limit_ms: i64) -> Measured {
    let (measured_ms, standing, why) = match (status, output.map(duration)) {
        (RunStatus::Succeeded, Some(Ok(lost))) if lost > limit_ms => (Some(lost), Standing::Missed, None),
        (RunStatus::Succeeded, Some(Ok(lost))) => (Some(lost), Standing::Met, None),
        (RunStatus::Succeeded, Some(Err(why))) => (None, Standing::NotMeasured, Some(why)),
        (RunStatus::Succeeded, None) => (None, Standing::NotMeasured, None),
        _ => (None, Standing::NotReached, None),
    };
    Measured { objective: Objective::Rpo, limit_ms, measured_ms, standing, why }
}

/// Whether a number that the run hands back as what was lost can only be milliseconds.
fn is_duration(runbook: &Runbook) -> bool {
    let declared =
        |step: &Step, key: &str| step.outputs.iter().any(|(name, kind)| name == key && *kind == ValueType::Duration);
    let typed = |reference: &Reference| match reference {
        Reference::Output { step, key } => {
            let step = runbook.step_index(step).map(|step| &runbook.steps[step]);
            step.is_some_and(|step| matches!(step.action, Action::Runbook(_)) || declared(step, key))
        }
        _ => false,
    };
    let output = runbook.outputs.iter().find(|output| output.name.value == RPO_OUTPUT);
    let mut references = output.into_iter().flat_map(|output| output.value.expressions()).flat_map(|it| &it.references);
    references.all(|(reference, _)| typed(reference))
}

/// A declared duration is a number of milliseconds; a text is one as people write it. Any other number could be seconds.
fn duration((value, typed): (&Value, bool)) -> Result<i64, String> {
    let found = match value {
        Value::Number(number) if !typed => {
            Err(format!("`{number}` has no unit: declare it as `duration` where a step writes it"))
        }
        Value::Number(number) => {
            number.as_i64().filter(|ms| *ms >= 0).ok_or_else(|| format!("`{number}` is no duration"))
        }
        Value::String(text) => parse_duration(text.trim()).map(millis).map_err(|error| error.to_string()),
        _ => Err("it is no duration".to_owned()),
    };
    found.map_err(|why| format!("the output `{RPO_OUTPUT}`: {why}"))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn what_was_lost_is_a_duration_or_is_not_known() {
        for (value, standing, measured) in [
            (json!(3_600_000), Standing::Met, Some(3_600_000)),
            (json!("1h"), Standing::Met, Some(3_600_000)),
            (json!("1h 1ms"), Standing::Missed, Some(3_600_001)),
            (json!("3600"), Standing::NotMeasured, None),
            (json!(-1), Standing::NotMeasured, None),
            (json!(["1h"]), Standing::NotMeasured, None),
            (json!(null), Standing::NotMeasured, None),
        ] {
            let found = rpo(RunStatus::Succeeded, Some((&value, true)), 3_600_000);
            assert_eq!((found.standing, found.measured_ms), (standing, measured), "{value}");
            assert_eq!(found.why.is_some(), standing == Standing::NotMeasured, "{value}");
        }
        assert_eq!(rpo(RunStatus::Succeeded, Some((&json!(7200), false)), 1).standing, Standing::NotMeasured);
        assert_eq!(rpo(RunStatus::Succeeded, None, 1).standing, Standing::NotMeasured);
        assert_eq!(rpo(RunStatus::Failed, Some((&json!(0), true)), 1).standing, Standing::NotReached);
    }

    proptest! {
        #[test]
        fn what_is_met_is_measured_and_no_more_than_wanted(lost in 0_i64..10_000, limit_ms in 0_i64..10_000) {
            let found = rpo(RunStatus::Succeeded, Some((&json!(lost), true)), limit_ms);
            prop_assert_eq!(found.standing == Standing::Met, lost <= limit_ms);
            prop_assert_eq!(found.measured_ms, Some(lost));
        }
    }
}
