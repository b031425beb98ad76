//! What the server of one machine knows of its own state: for `/healthz`, `/readyz` and the log.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use runward_store::LedgerError;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::Post;
use crate::scheduler::Standing;
use crate::worker::health::{outage, scheduler};
use crate::worker::http::Vitals;

/// A loop that has not moved for so long hangs: each of its rounds has an end, whatever the ledger does.
const STUCK_AFTER: Duration = Duration::from_secs(180);

#[derive(Default)]
pub(super) struct Health(RefCell<State>);

#[derive(Default)]
struct State {
    /// When the last round of the scheduler was over, well or not; and the last look for runs to drive.
    fired: Option<Instant>,
    swept: Option<Instant>,
    standing: Option<Standing>,
    driving: usize,
    /// Since when the ledger does not answer, and what it says.
    trouble: Option<(Instant, String)>,
    draining: bool,
}

impl Health {
    /// Said once an outage.
    pub(super) fn ledger_failed(&self, what: &str, error: &LedgerError) {
        let mut state = self.0.borrow_mut();
        state.fired = Some(Instant::now());
        match &mut state.trouble {
            Some((_, why)) => *why = error.to_string(),
            None => {
                warn!("{what}: {error}; it is tried again until it works, and running steps run on");
                state.trouble = Some((Instant::now(), error.to_string()));
            }
        }
    }

    pub(super) fn came_round(&self, standing: &Standing) {
        let mut state = self.0.borrow_mut();
        state.fired = Some(Instant::now());
        if let Some((since, _)) = state.trouble.take() {
            info!(seconds = since.elapsed().as_secs(), "the ledger answers again");
        }
        if state.standing.as_ref() != Some(standing) {
            state.standing = Some(standing.clone());
        }
    }

    pub(super) fn swept(&self, driving: usize) {
        let mut state = self.0.borrow_mut();
        (state.swept, state.driving) = (Some(Instant::now()), driving);
    }

    pub(super) fn drain(&self) {
        self.0.borrow_mut().draining = true;
    }
}

impl Vitals for Post {
    fn stuck(&self) -> Option<&'static str> {
        let state = self.health.0.borrow();
        let loops = [("scheduler", state.fired), ("runs", state.swept)];
        let hangs = |at: &Option<Instant>| at.is_some_and(|at| at.elapsed() > STUCK_AFTER);
        loops.iter().find(|(_, at)| hangs(at)).map(|(name, _)| *name)
    }

    /// Ready once schedules are fired.
    fn readiness(&self) -> (bool, Value) {
        let state = self.health.0.borrow();
        let ready = state.standing.is_some() && state.trouble.is_none() && !state.draining;
        let body = json!({
            "ready": ready,
            "session": self.session,
            "home": self.id,
            "host": self.server.host,
            "driving": state.driving,
            "draining": state.draining,
            "scheduler": state.standing.as_ref().map(|standing| scheduler(standing, state.fired)),
            "ledger": {"away": state.trouble.as_ref().map(|(since, why)| outage(*since, why))},
        });
        (ready, body)
    }
}
