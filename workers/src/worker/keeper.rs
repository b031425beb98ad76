//! Keeps the one supervisor of a session alive and ready, so that no step waits for it to start.

use std::rc::Rc;
use std::time::Duration;

use tracing::{debug, warn};

use super::term::Term;
use crate::home::make_dir;
use crate::supervisor::client::{Event, Supervisor};

const PAUSE: Duration = Duration::from_millis(500);

/// Starts it, and waits until it answers. A server has none.
pub(super) async fn start(term: &Rc<Term>) -> Option<Supervisor> {
    term.slots()?;
    let member = &term.post.member;
    let dir = member.home.supervisor(&term.session);
    if let Err(error) = make_dir(&dir) {
        warn!("the supervisor cannot be started: {error}");
        return None;
    }
    let started = Supervisor::find_or_start(&member.supervisor, &dir).await;
    started.inspect_err(|error| warn!("the supervisor cannot be started: {error}")).ok()
}

/// Stays connected: a supervisor ends when nothing runs and nobody is there.
pub(super) async fn keep(term: &Rc<Term>, mut first: Option<Supervisor>) {
    if term.slots().is_none() {
        return std::future::pending().await;
    }
    loop {
        let supervisor = match first.take() {
            Some(first) => Some(first),
            None => start(term).await,
        };
        if let Some(Supervisor { requests, mut events }) = supervisor {
            // Drivers hear the same; here it only has to be taken off the line.
            while !matches!(events.next_event().await, Event::Gone { .. }) {}
            drop(requests);
            debug!(session = %term.session, "the supervisor is gone, or hung up");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
