//! Steps that wait for people: who has agreed to what, who may, and how it ends.
//!
//! An approval is bound to the run, the step, the generation and the hash of the plan: what somebody agreed to is exactly
//! what runs, or their word means nothing. One person has one voice, whatever terminals they sit at. The first word that
//! settles it is the last: whoever comes later is told who and when.

use serde::{Deserialize, Serialize};

use super::acts::Act;
use super::child;
use super::command::{Person, Reject};
use super::event::Event;
use super::gates;
use super::ids::Unit;
use super::outputs::Outputs;
use super::progress::{drop_timer, end_unit, set_timer, unit_mut};
use super::state::{RunState, StepStatus};
use crate::limits;
use crate::mutated;
use crate::runbook::model::{Action, Approve};
use crate::schedule::moment;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Approved,
    Rejected,
}

/// What was asked in one generation, and what was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// The hash of the plan that is agreed to.
    pub plan: String,
    pub asked_at: i64,
    /// Epoch milliseconds.
    pub deadline: i64,
    /// Who has agreed so far, in order.
    pub voices: Vec<Voice>,
    pub end: Option<Ended>,
}

/// `person`: the login name; `act.by`: from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Voice {
    pub person: String,
    #[serde(flatten)]
    pub act: Act,
}

/// The word that settled it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Approved(Act),
    Rejected(Act),
    Expired { at: i64 },
}

pub(super) fn spec(state: &RunState, unit: Unit) -> Option<&Approve> {
    match &state.spec(unit.step).action {
        Action::Approve(approve) => Some(approve),
        _ => None,
    }
}

/// Its turn has come.
pub(super) fn ask(state: &RunState, unit: Unit, approve: &Approve, now: i64) -> Event {
    let expires = approve.expires.map_or(limits::WAIT_MS_MAX, |expires| expires.as_millis() as u64);
    Event::ApprovalRequested {
        unit: state.unit_name(unit),
        generation: state.generation,
        plan: state.plan.clone(),
        deadline: now.saturating_add(expires.min(limits::WAIT_MS_MAX) as i64),
        by: approve.by.clone(),
        count: approve.count.get(),
    }
}

pub(super) fn expire(state: &RunState, unit: Unit) -> Event {
    Event::ApprovalExpired { unit: state.unit_name(unit), generation: state.generation }
}

/// What somebody says about a step, and about which plan in which generation.
pub(super) struct Word<'a> {
    pub decision: Decision,
    pub person: &'a Person,
    pub plan: &'a str,
    pub generation: u32,
    pub comment: Option<&'a String>,
}

pub(super) fn decide(state: &RunState, unit: Unit, word: &Word<'_>) -> Result<Vec<Event>, Reject> {
    let name = state.unit_name(unit);
    let status = state.unit(unit).map_or("unknown", |unit| unit.status.as_str());
    let not_asked = |unit| Reject::NotAsked { unit, status, cancelled: state.cancelled().cloned() };
    let Some((approve, approval)) = spec(state, unit).zip(state.approvals.get(&unit)) else {
        return Err(not_asked(name));
    };
    if let Some(ended) = &approval.end {
        return Err(Reject::Decided { unit: name, ended: ended.clone() });
    }
    if state.unit(unit).is_none_or(|unit| unit.status != StepStatus::Waiting) {
        return Err(not_asked(name));
    }
    let same = approval.plan == word.plan && state.generation == word.generation;
    if !same && !mutated!(ApprovalOfAnotherPlan) {
        let (asked, generation) = (approval.plan.clone(), state.generation);
        return Err(Reject::OtherPlan { unit: name, asked, generation, last: state.resumed.clone() });
    }
    may(state, approve, word.person, &name)?;
    let same = |voice: &&Voice| voice.person == word.person.name && !mutated!(OneVoiceTwice);
    let voice = approval.voices.iter().find(same);
    if let (Decision::Approved, Some(voice)) = (word.decision, voice) {
        return Err(Reject::AlreadyApproved { unit: name, was: voice.act.clone() });
    }
    Ok(vec![Event::ApprovalDecided {
        unit: name,
        generation: state.generation,
        plan: approval.plan.clone(),
        decision: word.decision,
        person: word.person.name.clone(),
        comment: word.comment.cloned(),
    }])
}

/// `by` names login names and groups; without it everybody may who can reach the ledger.
fn may(state: &RunState, approve: &Approve, person: &Person, unit: &str) -> Result<(), Reject> {
    if approve.not_requester && state.requester.contains(&person.name) && !mutated!(ApprovalByRequester) {
        return Err(Reject::IsRequester { unit: unit.to_owned(), person: person.name.clone(), by: approve.by.clone() });
    }
    let is = |name: &String| person.name == *name || person.groups.contains(name);
    if approve.by.is_empty() || approve.by.iter().any(is) || mutated!(ApprovalByAnybody) {
        return Ok(());
    }
    Err(Reject::NotAllowed { unit: unit.to_owned(), person: person.name.clone(), by: approve.by.clone() })
}

pub(super) fn asked(state: &mut RunState, unit: Unit, plan: &str, deadline: i64, at: i64) {
    gates::wait(state, unit, at);
    set_timer(state, unit, deadline);
    let approval = Approval { plan: plan.to_owned(), asked_at: at, deadline, voices: Vec::new(), end: None };
    state.approvals.insert(unit, approval);
    state.asked.insert(unit);
}

pub(super) fn decided(state: &mut RunState, unit: Unit, decision: Decision, person: &str, act: Act) {
    let count = spec(state, unit).map_or(1, |approve| approve.count.get() as usize);
    let at = act.at;
    let Some(approval) = state.approvals.get_mut(&unit).filter(|approval| approval.end.is_none()) else { return };
    match decision {
        Decision::Rejected => {
            let why = act.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let error = format!("rejected by {person}{why}");
            approval.end = Some(Ended::Rejected(act));
            close(state, unit, StepStatus::Failed, Some(error), at);
        }
        Decision::Approved => {
            approval.voices.push(Voice { person: person.to_owned(), act: act.clone() });
            if approval.voices.len() + usize::from(mutated!(OneVoiceTooFew)) >= count {
                let outputs = outputs(&approval.voices, at);
                approval.end = Some(Ended::Approved(act));
                unit_mut(state, unit).outputs = outputs;
                close(state, unit, StepStatus::Succeeded, None, at);
            }
        }
    }
}

pub(super) fn expired(state: &mut RunState, unit: Unit, at: i64) {
    let count = spec(state, unit).map_or(1, |approve| approve.count.get());
    let Some(approval) = state.approvals.get_mut(&unit).filter(|approval| approval.end.is_none()) else { return };
    approval.end = Some(Ended::Expired { at });
    let error = format!("not approved in time: {} of {count}", approval.voices.len());
    close(state, unit, StepStatus::TimedOut, Some(error), at);
}

fn close(state: &mut RunState, unit: Unit, status: StepStatus, error: Option<String>, at: i64) {
    drop_timer(state, unit);
    unit_mut(state, unit).error = error;
    end_unit(state, unit, status, at);
}

/// Who, when, and what they said.
fn outputs(voices: &[Voice], at: i64) -> Outputs {
    let list = |parts: Vec<String>| parts.join(", ");
    let who = list(voices.iter().map(|voice| voice.person.clone()).collect());
    let comment = list(voices.iter().filter_map(|voice| voice.act.reason.clone()).collect());
    Outputs::from([
        ("who".to_owned(), who.into()),
        ("when".to_owned(), moment::shown(at).into()),
        ("comment".to_owned(), comment.into()),
    ])
}

impl RunState {
    /// What was asked about this step in this generation.
    pub fn approval(&self, unit: Unit) -> Option<&Approval> {
        self.approvals.get(&unit)
    }

    /// Steps that wait for people now.
    pub fn asked(&self) -> impl ExactSizeIterator<Item = Unit> {
        self.asked.iter().copied()
    }

    /// Units that wait for a time or for people, those whose time comes first before the others.
    pub fn waiting(&self) -> impl Iterator<Item = Unit> {
        let waits = |unit: &Unit| self.unit(*unit).is_some_and(|unit| unit.status == StepStatus::Waiting);
        self.timers.iter().map(|(_, unit)| *unit).filter(waits)
    }

    /// The step about which people have said their last word most recently.
    pub fn settled(&self) -> Option<Unit> {
        let at = |end: &Ended| match end {
            Ended::Approved(act) | Ended::Rejected(act) => act.at,
            Ended::Expired { at } => *at,
        };
        let settled = self.approvals.iter().filter_map(|(unit, approval)| Some((at(approval.end.as_ref()?), *unit)));
        settled.max().map(|(_, unit)| unit)
    }

    /// Whether a step was refused, or nobody agreed to it in time, so that the run failed.
    pub fn is_rejected(&self) -> bool {
        let refused = |end: &Option<Ended>| matches!(end, Some(Ended::Rejected(_) | Ended::Expired { .. }));
        self.approvals.iter().any(|(unit, approval)| refused(&approval.end) && !self.spec(unit.step).allow_failure)
            || child::is_rejected(self)
    }

    /// Who is asked: `dba or alice, but not who asked for the run, 1 of 2`.
    pub fn who_is_asked(&self, unit: Unit) -> Option<String> {
        let (approve, approval) = spec(self, unit).zip(self.approval(unit))?;
        Some(approve.who(approval.voices.len()))
    }
}
