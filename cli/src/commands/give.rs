//! Giving a command to a run, with the id that makes it safe to give again.

use runward_engine::run::given::Given;
use runward_engine::run::{Command, Reject, RunId};
use runward_store::{LedgerError, RunView, command};
use serde_json::json;

use super::run::carry_on;
use super::{print_json, print_line};
use crate::actor::actor;
use crate::args::{CommandIdArgs, Format, RunFormat};
use crate::failure::Failure;
use crate::open::Opened;
use crate::refusal::refused;
use crate::text;
use crate::view::{Showing, words};

/// The answer; that of a command that was already so is the refusal that says so, with an id and without one.
pub async fn give(
    opened: &Opened,
    view: &mut RunView,
    wanted: Command,
    id: &CommandIdArgs,
) -> Result<Result<(), Reject>, LedgerError> {
    let reply = command(opened.ledger(), view, with_id(wanted, id), &actor()).await?;
    if reply.is_ok() {
        opened.tell(&view.state).await;
    }
    Ok(reply)
}

pub fn with_id(wanted: Command, id: &CommandIdArgs) -> Command {
    match &id.command_id {
        None => wanted,
        Some(id) => Command::Given { id: id.clone(), command: Box::new(wanted) },
    }
}

/// Whether an accepted command changed anything.
pub fn changed(view: &RunView, id: &CommandIdArgs) -> bool {
    let given = id.command_id.as_ref().and_then(|id| view.state.given.get(id));
    given.is_none_or(|given| given.already.is_none())
}

/// The command was given before. What it was answered then, for whoever did not hear it.
pub fn repeated(run: &RunId, was: &Given, format: Format) -> i32 {
    match format {
        Format::Json => print_json(&json!({"run": run, "changed": false, "repeated": was})),
        Format::Text => print_line(&first_answer(run, was)),
    }
    0
}

pub fn first_answer(run: &RunId, was: &Given) -> String {
    let (asked, at) = (text::safe(&was.asked), text::time(was.at));
    let answer = match &was.already {
        Some(already) => text::safe(already),
        None => "it was done".to_owned(),
    };
    let short = words::short(&run.0);
    format!(
        "`{asked}` of {short} was given at {at} by {}, with this command id: {answer}; nothing is done again",
        was.by
    )
}

/// Whether a command with this id is on the record.
pub fn is_known(view: &RunView, id: &CommandIdArgs) -> bool {
    id.command_id.as_ref().is_some_and(|id| view.state.given.contains_key(id))
}

/// A command that begins what is then driven, given before: this call sees it to its end, like the first one.
pub async fn again(
    opened: &Opened,
    view: &mut RunView,
    wanted: Command,
    id: &CommandIdArgs,
    detached: bool,
    showing: Showing,
) -> Result<i32, Failure> {
    let run = view.state.id.clone();
    match give(opened, view, wanted, id).await? {
        Err(Reject::Repeated { was }) if showing.format != RunFormat::Json => {
            eprintln!("{}", first_answer(&run, &was));
        }
        Ok(()) | Err(Reject::Repeated { .. }) => {}
        Err(reject) => return Err(refused(reject, &run)),
    }
    carry_on(opened, &run, detached, showing).await
}
