//! A commit in one trip to the server: decided on what is known of the run, and recorded only if that is all there is.
//!
//! The statement names the event that it follows, and the time that it believes it is; it writes everything or nothing.
//! Where it has written nothing, or nobody knows, the commit is made again in small steps ([`super::change`]): the run is
//! locked and read, and the same commands are decided anew, unless what they came to is there already. A statement that
//! was held up on its way finds another last event when it arrives, and does nothing.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::errors::is_definite;
use super::pool::{NotCommitted, Pool, answered};
use super::write;
use crate::ledger::{Linked, RunView};

/// So many commits of a view are made in small steps after somebody else has recorded something in its run.
const CROWDED: u32 = 64;

/// The server's clock, as it was last heard.
#[derive(Default)]
pub(super) struct Clock(Mutex<Option<(i64, Instant)>>);

impl Clock {
    pub(super) fn heard(&self, now: i64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Instant::now()));
    }

    /// What it says now, which the server will compare with its own; `None` where it was never heard.
    pub(super) fn guess(&self) -> Option<i64> {
        let heard = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map(|(at, since)| at.saturating_add(since.elapsed().as_millis() as i64))
    }
}

impl RunView {
    /// Nobody else counts, as far as it knows: no other member of a group, and nobody at the same run.
    pub(super) fn is_alone(&self) -> bool {
        !self.stale && self.state.group.is_none() && self.crowded == 0
    }

    /// Whether others have recorded something since the last commit.
    pub(super) fn note_others(&mut self, some: bool) {
        self.crowded = if some { CROWDED } else { self.crowded.saturating_sub(1) };
    }
}

/// Whether it is recorded. Of an error that is not definite nobody knows.
pub(super) async fn commit(
    pool: &Pool,
    clock: &Clock,
    view: &mut RunView,
    events: &[Linked],
    now: i64,
) -> Result<bool, NotCommitted> {
    let lent: Result<_, sqlx::Error> = answered(pool.lend()).await;
    let mut loan = lent.map_err(NotCommitted::Failed)?;
    match answered(write::at_once(&mut loan, view, events, now)).await {
        Ok((at, recorded)) => {
            loan.end().await;
            clock.heard(at);
            Ok(recorded)
        }
        Err(error) if is_definite(&error) => Err(NotCommitted::Failed(error)),
        Err(error) => Err(NotCommitted::Unanswered(error)),
    }
}
