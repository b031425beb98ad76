//! A few connections, lent for one piece of work each.
//!
//! Whoever has one gives it back, or it is closed: a connection that was left in the middle of something is not used again.
//! With it the server rolls back what was not committed.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::errors::is_definite;
use super::timeline;

/// Connections of one process.
const CONNECTIONS_MAX: usize = 4;
/// One that is lent comes back before another one is open, most of the time: each costs the server a process.
const BACK_SOON: Duration = Duration::from_millis(5);
/// Whoever is between may forget a line on which nothing is said, and says nothing either. Somebody looks at the ledger more
/// often: one stays open, and one open is enough for who writes alone.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// A server that has not answered by then is not waited for: the line may be open at this end only. The server itself gives
/// up on a statement, or a lock, long before.
const PATIENCE: Duration = Duration::from_secs(10);
/// With what was begun at leisure.
const LONG_PATIENCE: Duration = Duration::from_secs(120);

pub(super) struct Pool {
    options: PgConnectOptions,
    /// The oldest first.
    idle: Mutex<BTreeMap<u64, Open>>,
    given_back: Notify,
    lent: Semaphore,
    opened: AtomicU64,
}

struct Open {
    number: u64,
    connection: PgConnection,
    given_back: Instant,
    /// Known to lead to the ledger on the timeline on which it was left. A connection never comes to another one, but from that
    /// of a standby to its own.
    admits: bool,
}

/// Of those that are open and not lent.
#[derive(Clone, Copy)]
enum Which {
    Oldest,
    Newest,
}

/// A connection, for as long as a piece of work takes.
pub(super) struct Loan<'a> {
    open: Option<Open>,
    pool: &'a Pool,
    transaction: bool,
    _permit: SemaphorePermit<'a>,
}

/// Why a COMMIT did not come back as done.
pub(super) enum NotCommitted {
    /// It is not.
    Failed(sqlx::Error),
    /// Nobody knows.
    Unanswered(sqlx::Error),
}

impl NotCommitted {
    /// Of a COMMIT that is done, and whose answer is lost.
    pub(super) fn lost(error: std::io::Error) -> NotCommitted {
        NotCommitted::Unanswered(error.into())
    }
}

impl Pool {
    pub(super) fn new(options: PgConnectOptions) -> Pool {
        Pool {
            options,
            idle: Mutex::default(),
            given_back: Notify::new(),
            lent: Semaphore::new(CONNECTIONS_MAX),
            opened: AtomicU64::new(0),
        }
    }

    /// With one that is open already.
    pub(super) fn with(options: PgConnectOptions, connection: PgConnection) -> Pool {
        let pool = Pool::new(options);
        pool.keep(pool.opened(connection));
        pool
    }

    fn opened(&self, connection: PgConnection) -> Open {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        Open { number, connection, given_back: Instant::now(), admits: false }
    }

    fn keep(&self, mut open: Open) {
        open.given_back = Instant::now();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).insert(open.number, open);
        self.given_back.notify_one();
    }

    /// One that is open: there now, or soon, where others are lent.
    async fn idle(&self, which: Which) -> Option<Open> {
        let asked = Instant::now();
        loop {
            let idle = {
                let mut open = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                open.retain(|_, open| open.given_back.elapsed() < IDLE_MAX);
                match which {
                    Which::Oldest => open.pop_first(),
                    Which::Newest => open.pop_last(),
                }
            };
            let idle = idle.map(|(_, open)| open);
            let left = BACK_SOON.saturating_sub(asked.elapsed());
            let alone = self.lent.available_permits() + 1 == CONNECTIONS_MAX;
            if idle.is_some() || alone || left.is_zero() {
                return idle;
            }
            let _ = timeout(left, self.given_back.notified()).await; // it may have been for somebody who is there already
        }
    }

    pub(super) async fn lend(&self) -> Result<Loan<'_>, sqlx::Error> {
        self.lend_the(Which::Newest).await
    }

    /// For the statement that writes most: the same one, most of the time. Each has to learn it, and that takes longer than
    /// carrying it out.
    pub(super) async fn lend_to_write(&self) -> Result<Loan<'_>, sqlx::Error> {
        self.lend_the(Which::Oldest).await
    }

    async fn lend_the(&self, which: Which) -> Result<Loan<'_>, sqlx::Error> {
        let permit = self.lent.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let mut open = match self.idle(which).await {
            Some(open) => open,
            None => self.opened(self.options.connect().await?),
        };
        if !open.admits {
            open.admits = timeline::admits(&mut open.connection).await?;
        }
        Ok(Loan { open: Some(open), pool: self, transaction: false, _permit: permit })
    }

    /// With a transaction. `how` begins it.
    pub(super) async fn begin(&self, how: &'static str) -> Result<Loan<'_>, sqlx::Error> {
        let mut loan = self.lend().await?;
        sqlx::raw_sql(how).execute(&mut *loan).await?;
        loan.transaction = true;
        Ok(loan)
    }
}

impl Loan<'_> {
    /// Whether steps may be claimed on it.
    pub(super) fn admits(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.admits)
    }

    /// What was only asked has been answered.
    pub(super) async fn end(self) {
        if self.transaction { self.roll_back().await } else { self.give_back() }
    }

    fn give_back(mut self) {
        if let Some(open) = self.open.take() {
            self.pool.keep(open);
        }
    }

    pub(super) async fn commit(mut self) -> Result<(), NotCommitted> {
        match answered(sqlx::raw_sql("COMMIT").execute(&mut *self)).await {
            Ok(_) => {
                self.give_back();
                Ok(())
            }
            Err(error) if is_definite(&error) => Err(NotCommitted::Failed(error)),
            Err(error) => Err(NotCommitted::Unanswered(error)),
        }
    }

    /// Closing the connection does the same, and takes longer.
    pub(super) async fn roll_back(mut self) {
        let done: Result<_, sqlx::Error> = answered(sqlx::raw_sql("ROLLBACK").execute(&mut *self)).await;
        if done.is_ok() {
            self.give_back();
        }
    }
}

impl Deref for Loan<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        let open = self.open.as_ref();
        &open.expect("it is there until it is given back, and then the loan is gone").connection
    }
}

impl DerefMut for Loan<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        let open = self.open.as_mut();
        &mut open.expect("it is there until it is given back, and then the loan is gone").connection
    }
}

/// No longer than anybody has patience.
pub(super) async fn answered<T, E: From<sqlx::Error>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    within(PATIENCE, work).await
}

/// For work that may take its time.
pub(super) async fn answered_at_leisure<T, E: From<sqlx::Error>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    within(LONG_PATIENCE, work).await
}

async fn within<T, E: From<sqlx::Error>>(patience: Duration, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    timeout(patience, work).await.unwrap_or_else(|_| {
        let message = format!("no answer for {} s", patience.as_secs());
        Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message)).into())
    })
}
