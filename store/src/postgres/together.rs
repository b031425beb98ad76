//! What is to be written at the same time goes to the server in one statement ([`super::turns`]), and shares the sync.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tracing::debug;

use super::PostgresLedger;
use super::errors::is_definite;
use super::pool::answered;
use super::turns::{Lying, Turns};
use super::write::{self, Change};

/// Changes of one statement.
const CHANGES_MAX: usize = 64;
const LEARN_MAX: Duration = Duration::from_millis(250);

pub(super) type Together = Turns<Wanted, Written>;

pub(super) struct Wanted {
    change: Change,
    /// It starts something, or may.
    claims: bool,
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
    /// Of a run one change only, because the next one follows it; and that a runbook is well again is not news in the
    /// statement in which it fails.
    fn changes(&self) -> Vec<Lying<Wanted, Written>> {
        let (mut runs, mut failing) = (BTreeSet::new(), BTreeSet::new());
        self.take(|Wanted { change, .. }| {
            let news = change.recovers().is_some_and(|runbook| failing.contains(runbook));
            let goes = runs.len() < CHANGES_MAX && !news && runs.insert(change.run().clone());
            failing.extend(change.fails().filter(|_| goes).map(str::to_owned));
            goes
        })
    }
}

impl PostgresLedger {
    /// Writes a change of a run that is not locked. `claims`: it starts something, or may.
    pub(super) async fn write_together(&self, change: Change, claims: bool) -> Written {
        let written = self.together.lay(Wanted { change, claims }, || self.write_what_lies()).await;
        written.unwrap_or_else(|| Written::Unanswered("who wrote it was stopped".to_owned()))
    }

    /// Has the connection that writes learn the statement before anybody waits for it; it also says what time it is. A
    /// session has better things to do than to wait for that where it takes long.
    pub(super) async fn learn_to_write(&self) {
        let learning = async {
            let mut loan = self.pool.lend_to_write().await?;
            let asked = Instant::now();
            let (now, _) = write::together(&mut loan, &[]).await?;
            loan.end().await;
            self.clock.heard(now, asked, asked);
            Ok::<_, sqlx::Error>(())
        };
        if !matches!(timeout(LEARN_MAX, learning).await, Ok(Ok(()))) {
            debug!("the first commit will take a little longer");
        }
    }

    async fn write_what_lies(&self) {
        let lent: Result<_, sqlx::Error> = answered(self.pool.lend_to_write()).await;
        let lying = self.together.changes();
        let admits = lent.as_ref().is_ok_and(|loan| loan.admits());
        let (lying, held): (Vec<_>, Vec<_>) = lying.into_iter().partition(|lying| admits || !lying.one.claims);
        for lying in held {
            lying.tell(Written::Nothing);
        }
        let mut loan = match lent {
            Ok(loan) if lying.is_empty() => return loan.end().await,
            Ok(loan) => loan,
            Err(_) => return lying.into_iter().for_each(|lying| drop(lying.tell(Written::Nothing))),
        };
        let asked = Instant::now();
        let changes: Vec<&Change> = lying.iter().map(|lying| &lying.one.change).collect();
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
        for lying in lying {
            let written = if done.contains(lying.one.change.run()) { Written::Done } else { others.clone() };
            lying.tell(written);
        }
    }
}
