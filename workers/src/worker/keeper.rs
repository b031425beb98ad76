//! Keeps the one supervisor of a session alive and ready, so that no step waits for it to start.

use std::path::Path;
use std::time::Duration;

use runward_engine::run::SessionId;
use tracing::{debug, warn};

use crate::home::{Home, make_dir};
use crate::supervisor::client::{Event, Supervisor};

const PAUSE: Duration = Duration::from_millis(500);

/// Whose supervisor it is.
pub(crate) struct Keeper<'a> {
    pub(crate) program: &'a Path,
    pub(crate) home: &'a Home,
    pub(crate) session: &'a SessionId,
}

impl Keeper<'_> {
    /// Starts it, and waits until it answers.
    pub(crate) async fn start(&self) -> Option<Supervisor> {
        let dir = self.home.supervisor(self.session);
        if let Err(error) = make_dir(&dir) {
            warn!("the supervisor cannot be started: {error}");
            return None;
        }
        let started = Supervisor::find_or_start(self.program, &dir).await;
        started.inspect_err(|error| warn!("the supervisor cannot be started: {error}")).ok()
    }
}

/// Stays connected: a supervisor ends when nothing runs and nobody is there. Whoever has none waits for ever.
pub(crate) async fn keep(keeper: Option<Keeper<'_>>, mut first: Option<Supervisor>) {
    let Some(keeper) = keeper else { return std::future::pending().await };
    loop {
        let supervisor = match first.take() {
            Some(first) => Some(first),
            None => keeper.start().await,
        };
        if let Some(Supervisor { requests, mut events }) = supervisor {
            // Drivers have lines of their own; what comes on this one only has to be taken off it.
            while !matches!(events.next_event().await, Event::Gone { .. }) {}
            drop(requests);
            debug!(session = %keeper.session, "the supervisor is gone, or hung up");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
