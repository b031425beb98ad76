//! Who can do something in a run, and from when: what a ledger with many members tells them.
//!
//! A call says that somebody should look, never what there is to do: that is asked of [`todo`](super::todo) again. Only
//! what has changed between two calls of this has to be written down.

use std::collections::BTreeMap;

use super::place::ENGINE;
use super::state::RunState;
use super::todo::{room, todo_for};
use super::{Event, Offer};

/// Something can be done now.
pub const NOW: i64 = 0;

/// For each call (`super::place`) from when (epoch milliseconds) whoever listens to it can do something. A run that is at its
/// end calls nobody.
pub fn calls(state: &RunState) -> BTreeMap<String, i64> {
    let mut calls = BTreeMap::new();
    if state.status.is_terminal() {
        return calls;
    }
    let mut engine = due(state);
    if room(state) > 0 {
        for call in state.startable_calls() {
            match call {
                Some(label) => _ = calls.insert(label.to_owned(), NOW),
                None => engine = Some(NOW),
            }
        }
    }
    if let Some(since) = engine {
        calls.insert(ENGINE.to_owned(), since);
    }
    calls
}

/// From when the run can go on without a step being started.
fn due(state: &RunState) -> Option<i64> {
    let todo = todo_for(state, &Offer::Nothing);
    let permit = todo.enter.then_some(NOW);
    let children = (!todo.children.is_empty()).then_some(state.tend_since);
    permit.into_iter().chain(children).chain(todo.wake_at).min()
}

/// Whether children that are waited for have to be looked after because of it.
pub(super) fn is_for_children(event: &Event) -> bool {
    matches!(
        event,
        Event::ChildStarted { .. }
            | Event::ChildTimedOut { .. }
            | Event::RunPaused { .. }
            | Event::RunUnpaused
            | Event::CancelRequested { .. }
            | Event::RunStopping { .. }
    )
}
