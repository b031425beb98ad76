//! What the log says of the ledger's pace: who waits long for the others' writes, and which commit is slow.

use std::time::{Duration, Instant};

use runward_engine::run::RunId;
use tracing::{debug, warn};

/// Waiting for the write lock, or committing, for longer than this is worth a warning.
const SLOW: Duration = Duration::from_secs(1);

/// One write, from before it asks for the lock to after it is durable.
pub(super) struct Pace {
    asked: Instant,
    locked: Option<Instant>,
}

impl Pace {
    pub(super) fn start() -> Pace {
        Pace { asked: Instant::now(), locked: None }
    }

    pub(super) fn locked(&mut self, run: &RunId) {
        let now = Instant::now();
        self.locked = Some(now);
        let waited = now - self.asked;
        if waited > SLOW {
            let waited_ms = waited.as_millis() as u64;
            warn!(%run, waited_ms, "waited for the ledger: another process was writing");
        }
    }

    pub(super) fn committed(&self, run: &RunId, events: usize) {
        let took = self.locked.unwrap_or(self.asked).elapsed();
        let took_ms = took.as_millis() as u64;
        if took > SLOW {
            warn!(%run, events, took_ms, "slow commit: the disk of the ledger takes its time");
        } else {
            debug!(%run, events, took_ms, "committed");
        }
    }
}
