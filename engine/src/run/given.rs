//! Commands that carry an id, so that they can be given again by somebody who never heard the answer.
//!
//! The same id on the same run is the same command: the second time nothing is decided, whatever has happened since. What
//! was refused left nothing behind, and its id is free; what was already so is on the record like what was done.

use serde::Serialize;

use super::Env;
use super::approval::Decision;
use super::command::{Command, Reject};
use super::decide::decide;
use super::event::Event;
use super::state::RunState;

/// A command that was given with an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Given {
    pub id: String,
    /// In the words of the command line.
    pub asked: String,
    pub by: String,
    pub at: i64,
    /// Why it had nothing to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub already: Option<String>,
}

pub(super) fn given(state: &RunState, id: &str, command: &Command, env: &Env) -> Result<Vec<Event>, Reject> {
    let asked = words(state, command);
    if let Some(was) = state.given.get(id) {
        let was = Box::new(was.clone());
        return Err(if was.asked == asked { Reject::Repeated { was } } else { Reject::OtherCommand { was, asked } });
    }
    let (already, events) = match decide(state, command, env) {
        Ok(events) => (None, events),
        Err(reject) if reject.is_already() => (Some(reject.to_string()), Vec::new()),
        Err(reject) => return Err(reject),
    };
    let first = Event::CommandGiven { id: id.to_owned(), asked, already };
    Ok(std::iter::once(first).chain(events).collect())
}

/// A command as it is recorded with its id.
pub fn words(state: &RunState, command: &Command) -> String {
    let why = |reason: &Option<String>| reason.as_ref().map(|it| format!(" --reason {it:?}")).unwrap_or_default();
    match command {
        Command::Cancel { force, rollback, reason } => {
            let force = if *force { " --force" } else { "" };
            let rollback = if *rollback { " --rollback" } else { "" };
            format!("cancel{force}{rollback}{}", why(reason))
        }
        Command::Rollback { reason } => format!("rollback{}", why(reason)),
        Command::Pause { reason } => format!("pause{}", why(reason)),
        Command::Unpause => "unpause".to_owned(),
        Command::Skip { unit, reason } => format!("skip {} --reason {reason:?}", state.unit_name(*unit)),
        Command::Retry { unit, reason } => format!("retry {}{}", state.unit_name(*unit), why(reason)),
        Command::Resume { from, reason } => {
            let from = from.map(|step| format!(" --from {}", state.spec(step).id)).unwrap_or_default();
            format!("resume{from}{}", why(reason))
        }
        Command::Resolve { unit, resolution, reason } => {
            let word = serde_json::to_value(resolution).unwrap_or_default();
            format!("resolve {} --as {}{}", state.unit_name(*unit), word.as_str().unwrap_or_default(), why(reason))
        }
        Command::Decide { unit, decision, person, comment, .. } => {
            let comment = comment.as_ref().map(|it| format!(" --comment {it:?}")).unwrap_or_default();
            let verb = match decision {
                Decision::Approved => "approve",
                Decision::Rejected => "reject",
            };
            // The same word of somebody else is another word.
            format!("{verb} {}{comment} by {}", state.unit_name(*unit), person.name)
        }
        Command::OverrideWindow { reason } => format!("override-window --reason {reason:?}"),
        other => format!("{other:?}"),
    }
}
