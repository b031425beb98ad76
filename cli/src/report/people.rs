//! What people did to a run, read off its events: who asked, who agreed, and every command that somebody gave.

use runward_engine::run::approval::Decision;
use runward_engine::run::{Event, Recorded, RunState};
use serde::Serialize;

/// Something a person did. `event`: its place in the record.
#[derive(Debug, Serialize)]
pub struct Said {
    pub event: u64,
    pub at: i64,
    pub by: String,
    /// In our words.
    pub what: &'static str,
    /// The step, or what else it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What people were asked to agree to, and what they answered.
#[derive(Debug, Serialize)]
pub struct Asked {
    pub step: String,
    pub generation: u32,
    pub event: u64,
    pub at: i64,
    pub deadline: i64,
    /// Empty: anybody.
    pub by: Vec<String>,
    pub count: u32,
    /// The hash of what they were asked to agree to.
    pub plan: String,
    pub answers: Vec<Answer>,
    pub expired: bool,
}

#[derive(Debug, Serialize)]
pub struct Answer {
    pub event: u64,
    pub at: i64,
    /// The login name.
    pub person: String,
    /// From where.
    pub by: String,
    pub decision: Decision,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

pub fn said(state: &RunState, events: &[&Recorded]) -> Vec<Said> {
    events.iter().filter_map(|recorded| one(state, recorded)).collect()
}

fn one(state: &RunState, recorded: &Recorded) -> Option<Said> {
    let (what, about, reason) = words(state, &recorded.event)?;
    Some(Said {
        event: recorded.seq,
        at: recorded.at,
        by: recorded.actor.clone(),
        what,
        about,
        reason: reason.cloned(),
    })
}

type Words<'e> = (&'static str, Option<String>, Option<&'e String>);

fn words<'e>(state: &RunState, event: &'e Event) -> Option<Words<'e>> {
    let unit = |unit: &String| Some(unit.clone());
    Some(match event {
        Event::RunCreated { .. } if state.parent.is_some() => ("began it as a step of another run", None, None),
        Event::RunCreated { trigger, .. } => ("asked for it, through", Some(trigger.clone()), None),
        Event::ApprovalDecided { unit: step, decision, comment, .. } => {
            let what = if *decision == Decision::Approved { "approved" } else { "rejected" };
            (what, unit(step), comment.as_ref())
        }
        Event::WindowOverridden { reason } => ("let it go on outside of its windows", None, Some(reason)),
        Event::SkipRequested { unit: step, reason } => ("wanted to go on without", unit(step), Some(reason)),
        Event::RetryDue { unit: step, reason: Some(reason) } => ("tried again at once", unit(step), Some(reason)),
        Event::RunPaused { reason, with_parent: false } => ("paused it", None, reason.as_ref()),
        Event::RunUnpaused => ("let it go on", None, None),
        Event::CancelRequested { force, rollback, reason } => {
            let what = match (force, rollback) {
                (true, true) => "cancelled it at once, and had it rolled back",
                (true, false) => "cancelled it at once",
                (false, true) => "cancelled it, and had it rolled back",
                (false, false) => "cancelled it",
            };
            (what, None, reason.as_ref())
        }
        Event::RollbackRequested { only, reason, .. } => ("had it rolled back", only.clone(), reason.as_ref()),
        Event::RunResumed { only: Some(only), reason, .. } => ("tried again, and only", unit(only), reason.as_ref()),
        Event::RunResumed { from: Some(from), reason, .. } => ("resumed it from", unit(from), reason.as_ref()),
        Event::RunResumed { reason, .. } => ("resumed it", None, reason.as_ref()),
        Event::UnitResolved { unit: step, resolution, reason } => {
            use runward_engine::run::command::Resolution;
            let what = match resolution {
                Resolution::Succeeded => "said that it succeeded:",
                Resolution::Failed => "said that it failed:",
                Resolution::Retry => "had it started once more:",
            };
            (what, unit(step), reason.as_ref())
        }
        _ => return None,
    })
}

pub fn asked(events: &[&Recorded]) -> Vec<Asked> {
    let mut all: Vec<Asked> = Vec::new();
    for recorded in events {
        match &recorded.event {
            Event::ApprovalRequested { unit, generation, plan, deadline, by, count } => all.push(Asked {
                step: unit.clone(),
                generation: *generation,
                event: recorded.seq,
                at: recorded.at,
                deadline: *deadline,
                by: by.clone(),
                count: *count,
                plan: plan.clone(),
                answers: Vec::new(),
                expired: false,
            }),
            Event::ApprovalDecided { unit, generation, decision, person, comment, .. } => {
                if let Some(asked) = open(&mut all, unit, *generation) {
                    asked.answers.push(Answer {
                        event: recorded.seq,
                        at: recorded.at,
                        person: person.clone(),
                        by: recorded.actor.clone(),
                        decision: *decision,
                        comment: comment.clone(),
                    });
                }
            }
            Event::ApprovalExpired { unit, generation } => {
                if let Some(asked) = open(&mut all, unit, *generation) {
                    asked.expired = true;
                }
            }
            _ => {}
        }
    }
    all
}

fn open<'a>(all: &'a mut [Asked], step: &str, generation: u32) -> Option<&'a mut Asked> {
    all.iter_mut().rev().find(|asked| asked.step == step && asked.generation == generation)
}
