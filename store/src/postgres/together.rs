//! What is to be written at the same time goes to the server in one statement.
//!
//! Whoever has decided a commit lays it down here and waits for a turn. Who has the turn takes along everything that lies here:
//! where many runs move at once they share the trip, the statement and the sync, and one alone goes at once.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::timeout;
use tracing::debug;

use super::PostgresLedger;
use super::errors::is_definite;
use super::pool::answered;
use super::write::{self, Change};

/// One statement is on its way, so that the next one gathers. One that takes longer keeps nobody waiting: others go beside it.
const TURN: Duration = Duration::from_millis(50);
const BESIDE_MAX: usize = 2;
/// Changes of one statement.
const CHANGES_MAX: usize = 64;

pub(super) struct Together {
    lying: Mutex<Vec<Lying>>,
    next: Semaphore,
    beside: Semaphore,
}

struct Lying {
    change: Change,
    /// It starts something, or may.
    claims: bool,
    written: oneshot::Sender<Written>,
}

/// What has become of a change.
#[derive(Debug, Clone)]
pub(super) enum Written {
    Done,
    Nothing,
    /// It may be there, or come to be: what was heard instead of an answer.
    Unanswered(String),
}

impl Together {
    pub(super) fn new() -> Together {
        Together { lying: Mutex::default(), next: Semaphore::new(1), beside: Semaphore::new(BESIDE_MAX) }
    }

    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        match timeout(TURN, self.next.acquire()).await {
            Ok(turn) => turn.ok(),
            Err(_) => self.beside.acquire().await.ok(),
        }
    }

    fn lay(&self, lying: Lying) {
        self.lying.lock().unwrap_or_else(PoisonError::into_inner).push(lying);
    }

    /// What goes next, the oldest first: of a run one change only, because the next one follows it.
    fn take(&self) -> Vec<Lying> {
        let mut lying = self.lying.lock().unwrap_or_else(PoisonError::into_inner);
        let mut runs = BTreeSet::new();
        let goes = |one: &mut Lying| runs.len() < CHANGES_MAX && runs.insert(one.change.run().clone());
        lying.extract_if(.., goes).collect()
    }
}

/// Whoever decided it may be gone.
fn tell(waiting: oneshot::Sender<Written>, written: Written) {
    let _ = waiting.send(written);
}

impl PostgresLedger {
    /// Writes a change of a run that is not locked. `claims`: it starts something, or may.
    pub(super) async fn write_together(&self, change: Change, claims: bool) -> Written {
        let (sender, mut written) = oneshot::channel();
        self.together.lay(Lying { change, claims, written: sender });
        loop {
            tokio::select! {
                biased;
                written = &mut written => {
                    return written.unwrap_or_else(|_| Written::Unanswered("who wrote it was stopped".to_owned()));
                }
                _turn = self.together.turn() => self.write_what_lies().await,
            }
        }
    }

    async fn write_what_lies(&self) {
        let lent: Result<_, sqlx::Error> = answered(self.pool.lend()).await;
        let lying = self.together.take();
        let admits = lent.as_ref().is_ok_and(|loan| loan.admits());
        let (lying, held): (Vec<Lying>, Vec<Lying>) = lying.into_iter().partition(|one| admits || !one.claims);
        held.into_iter().for_each(|one| tell(one.written, Written::Nothing));
        let mut loan = match lent {
            Ok(loan) if lying.is_empty() => return loan.end().await,
            Ok(loan) => loan,
            Err(_) => return lying.into_iter().for_each(|one| tell(one.written, Written::Nothing)),
        };
        let asked = Instant::now();
        let (changes, waiting): (Vec<Change>, Vec<_>) = lying.into_iter().map(|one| (one.change, one.written)).unzip();
        let (done, others) = match answered(write::together(&mut loan, &changes)).await {
            Ok((now, done)) => {
                loan.end().await;
                self.clock.heard(now, asked);
                (done, Written::Nothing)
            }
            Err(error) => {
                debug!(changes = changes.len(), %error, "commits are made again, in steps");
                let definite = is_definite(&error);
                (BTreeSet::new(), if definite { Written::Nothing } else { Written::Unanswered(error.to_string()) })
            }
        };
        for (change, waiting) in changes.into_iter().zip(waiting) {
            let written = if done.contains(change.run()) { Written::Done } else { others.clone() };
            tell(waiting, written);
        }
    }
}
