//! What is to be written at the same time goes to the server in one statement.
//!
//! Whoever has decided a commit lays it down here and waits for a turn. Who has the turn takes along everything that lies here:
//! where many runs move at once they share the trip, the statement and the sync, and one alone goes at once.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::sleep;
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
    table: Mutex<Table>,
    next: Semaphore,
    beside: Semaphore,
}

#[derive(Default)]
struct Table {
    lying: Vec<Lying>,
    /// How many were ever laid down.
    count: u64,
}

struct Lying {
    number: u64,
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
        Together { table: Mutex::default(), next: Semaphore::new(1), beside: Semaphore::new(BESIDE_MAX) }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number under which it lies.
    fn lay(&self, change: Change, claims: bool, written: oneshot::Sender<Written>) -> u64 {
        let mut table = self.table();
        table.count += 1;
        let number = table.count;
        table.lying.push(Lying { number, change, claims, written });
        number
    }

    /// Whether nobody has taken it along.
    fn lies(&self, number: u64) -> bool {
        self.table().lying.iter().any(|one| one.number == number)
    }

    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let beside = async {
            sleep(TURN).await;
            self.beside.acquire().await
        };
        let turn = tokio::select! {
            biased;
            turn = self.next.acquire() => turn,
            turn = beside => turn,
        };
        turn.ok()
    }

    /// What goes next, the oldest first. Of a run one change only, because the next one follows it; and that a runbook is well
    /// again is not news in the statement in which it fails. What nobody waits for any more does not go.
    fn take(&self) -> Vec<Lying> {
        let mut table = self.table();
        table.lying.retain(|one| !one.written.is_closed());
        let (mut runs, mut failing) = (BTreeSet::new(), BTreeSet::new());
        let goes = |one: &mut Lying| {
            let news = one.change.recovers().is_some_and(|runbook| failing.contains(runbook));
            let goes = runs.len() < CHANGES_MAX && !news && runs.insert(one.change.run().clone());
            failing.extend(one.change.fails().filter(|_| goes).map(str::to_owned));
            goes
        };
        table.lying.extract_if(.., goes).collect()
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
        let number = self.together.lay(change, claims, sender);
        let written = loop {
            tokio::select! {
                biased;
                written = &mut written => break written,
                turn = self.together.turn() => {
                    if !self.together.lies(number) {
                        drop(turn); // it is on its way
                        break written.await;
                    }
                    self.write_what_lies().await;
                }
            }
        };
        written.unwrap_or_else(|_| Written::Unanswered("who wrote it was stopped".to_owned()))
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
                self.clock.heard(now, asked, asked); // it looks as the statement begins
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
