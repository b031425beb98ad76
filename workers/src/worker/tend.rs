//! The children of a run, in a cluster: each is a run like others, and whoever finds it drives it. Here the two are only
//! held together: what the parent wants is recorded in the child, and how the child ended in the parent.
//!
//! Level-triggered, and nothing but commands that may be repeated: any number of members can do it at once.

use std::rc::Rc;

use runward_engine::run::child::ChildEnd;
use runward_engine::run::todo::{ChildTodo, todo};
use runward_engine::run::{Command, RunState};
use runward_store::{LedgerError, RunView, command};

use super::tell::Calls;
use super::term::Term;
use crate::driver::Callees;
use crate::driver::children::{Wish, end_of, goes_on, to_make};

/// Looks after each child that the parent waits for; whether anything was to be done.
pub(super) async fn tend(term: &Rc<Term>, parent: &mut RunView) -> Result<bool, LedgerError> {
    let before = Calls::of(&parent.state);
    let seq = parent.state.seq;
    let mut fruit = false;
    for child in todo(&parent.state).children {
        let wish = Wish::of(&parent.state, false, child.stop.clone());
        let found = match term.ledger().load(&child.child).await {
            Ok(view) => Ok(view),
            Err(LedgerError::NoSuchRun(_)) => {
                fruit = true;
                make(term, &parent.state, &child, &wish).await?
            }
            Err(error) => return Err(error),
        };
        let end = match found {
            Ok(mut view) => match end_of(&view.state).filter(|_| !goes_on(&view.state, child.generation)) {
                Some(end) => Some(end),
                None => {
                    fruit |= instruct(term, &parent.state, &child, &wish, &mut view).await?;
                    None
                }
            },
            Err(end) => Some(end),
        };
        if let Some(end) = end {
            let settle = Command::SettleChild { child: child.child.clone(), end: Box::new(end) };
            say(term, parent, settle, &term.post.member.actor).await?;
        }
    }
    if parent.state.seq > seq {
        term.spread(&before, &parent.state, true);
        fruit = true;
    }
    Ok(fruit)
}

/// A child that is not there. `Err`: it is over before it came to be.
async fn make(
    term: &Rc<Term>,
    parent: &RunState,
    child: &ChildTodo,
    wish: &Wish,
) -> Result<Result<RunView, ChildEnd>, LedgerError> {
    let callees = Callees::of(term.ledger(), parent).await?;
    let files = term.post.member.home.files(&parent.id);
    let absolute = |path: &str| files.join(path).display().to_string();
    let new = callees.new_run(parent, child.unit, &child.child, &absolute).map(Box::new);
    match to_make(new, wish) {
        Err(end) => Ok(Err(end)),
        Ok(new) => {
            let view = term.ledger().trigger(*new).await?.view;
            term.spread(&Calls::default(), &view.state, true);
            Ok(Ok(view))
        }
    }
}

/// What a child that is there has to be told: to go on, and whatever its parent wants of it.
async fn instruct(
    term: &Rc<Term>,
    parent: &RunState,
    child: &ChildTodo,
    wish: &Wish,
    view: &mut RunView,
) -> Result<bool, LedgerError> {
    let (before, seq) = (Calls::of(&view.state), view.state.seq);
    let actor = &term.post.member.actor;
    if goes_on(&view.state, child.generation) {
        let by = parent.resumed.as_ref().map_or(actor, |act| &act.by);
        say(term, view, Command::Resume { from: None, reason: None }, by).await?;
    }
    for (order, by) in wish.orders(&view.state) {
        say(term, view, order, by.as_ref().unwrap_or(actor)).await?;
    }
    if view.state.seq > seq {
        term.spread(&before, &view.state, true);
    }
    Ok(view.state.seq > seq)
}

/// A refusal says that somebody was faster.
async fn say(term: &Term, view: &mut RunView, order: Command, by: &str) -> Result<(), LedgerError> {
    let _ = command(term.ledger(), view, order, by).await?;
    Ok(())
}
