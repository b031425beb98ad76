//! Trying again, from the start of a transaction, what somebody else or a new line was in the way of.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::errors::passes;
use crate::sql::ReadError;

const TRIES_MAX: u32 = 8;
/// After so long somebody should hear of it.
const TOGETHER_MAX: Duration = Duration::from_secs(8);
const FIRST_WAIT: Duration = Duration::from_millis(10);
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Whether the server has said that it cannot serve anybody now, and that was told. It is one line for all who ask.
static AWAY: AtomicBool = AtomicBool::new(false);

pub(super) struct Tries {
    made: u32,
    since: Instant,
    gave_up: bool,
}

impl Tries {
    pub(super) fn begin() -> Tries {
        Tries { made: 0, since: Instant::now(), gave_up: false }
    }

    /// Waits if another try makes sense; else says why not.
    pub(super) async fn after(&mut self, error: ReadError) -> Result<(), ReadError> {
        self.made += 1;
        if self.made >= TRIES_MAX || self.since.elapsed() > TOGETHER_MAX || !passes(&error) {
            self.gave_up = true;
            return Err(error);
        }
        let ReadError::Database(error) = error else { return Ok(()) };
        // Who are in each other's way, and lines that break, come in numbers: whoever asked says so if it does not pass.
        match serves_nobody(&error) && !AWAY.swap(true, Ordering::Relaxed) {
            true => warn!(%error, "Postgres: trying again until it is back"),
            false => debug!(%error, tries = self.made, "Postgres: trying again"),
        }
        tokio::time::sleep(self.wait()).await;
        Ok(())
    }

    /// Longer each time, and no two the same: who were in each other's way come back one by one.
    fn wait(&self) -> Duration {
        let longest = (FIRST_WAIT * 2_u32.pow(self.made)).min(WAIT_MAX);
        let chance = RandomState::new().build_hasher().finish() % 1_000;
        longest / 2 + longest / 2 * chance as u32 / 1_000
    }
}

impl Drop for Tries {
    /// It was answered.
    fn drop(&mut self) {
        if !self.gave_up && AWAY.load(Ordering::Relaxed) && AWAY.swap(false, Ordering::Relaxed) {
            info!("Postgres: it is back");
        }
    }
}

/// It goes down, comes up, or has no connection left.
fn serves_nobody(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    code.starts_with("57P") || code.starts_with("08") || code == "53300"
}
