//! Trying again, from the start of a transaction, what somebody else or a new line was in the way of.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::errors::passes;
use crate::sql::ReadError;

const TRIES_MAX: u32 = 8;
/// After so long somebody should hear of it.
const TOGETHER_MAX: Duration = Duration::from_secs(8);
const FIRST_WAIT: Duration = Duration::from_millis(10);
const WAIT_MAX: Duration = Duration::from_secs(1);

pub(super) struct Tries {
    made: u32,
    since: Instant,
}

impl Tries {
    pub(super) fn begin() -> Tries {
        Tries { made: 0, since: Instant::now() }
    }

    /// Waits if another try makes sense; else says why not.
    pub(super) async fn after(&mut self, error: ReadError) -> Result<(), ReadError> {
        self.made += 1;
        if self.made >= TRIES_MAX || self.since.elapsed() > TOGETHER_MAX || !passes(&error) {
            return Err(error);
        }
        let ReadError::Database(error) = error else { return Ok(()) };
        // A line that breaks comes in numbers, and whoever asked says so if it does not come back.
        match error.as_database_error() {
            Some(_) => warn!(%error, tries = self.made, "Postgres: trying again"),
            None => debug!(%error, tries = self.made, "Postgres: trying again"),
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
