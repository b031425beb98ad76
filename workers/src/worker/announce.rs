//! Tells those who can do something about a run that there is something to do now. Best effort: whoever is not told
//! finds it in the ledger a few seconds later.

use std::sync::Arc;

use runward_engine::run::RunState;
use runward_engine::run::calls::calls;
use tracing::debug;

use super::now_ms;
use crate::queue::redis::{Address, Pace, RedisQueue};
use crate::queue::{Hint, Queue};

/// What the names of all keys in Redis begin with.
pub const PREFIX: &str = "runward";

/// The queue of a cluster. Opens no connection yet.
pub fn queue_of(address: Address) -> Arc<dyn Queue> {
    Arc::new(RedisQueue::new(address, PREFIX, Pace::default()).expect("the prefix is a plain word"))
}

/// Pushes a hint for everything that can be done in this run now. To be called after every commit, with what came of it.
pub async fn announce(queue: &dyn Queue, state: &RunState) {
    push(queue, &hints(state)).await;
}

/// Nobody waits for an answer longer than a moment, and no run for the hint.
async fn push(queue: &dyn Queue, hints: &[Hint]) {
    if hints.is_empty() {
        return;
    }
    if let Err(unheard) = queue.push_hints(hints).await {
        debug!("nobody was told of {} calls: {unheard}", hints.len());
    }
}

/// Of what can be done now; the time of everything else comes without a hint.
fn hints(state: &RunState) -> Vec<Hint> {
    let now = now_ms();
    let due = calls(state).into_iter().filter(|(_, since)| *since <= now);
    due.map(|(label, _)| Hint { run: state.id.clone(), label, dispatch: state.seq }).collect()
}
