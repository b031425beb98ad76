//! What people are to be told, on a server: any number of senders, each of whom passes over what another one has locked.
//!
//! All of it can be repeated, and is, if the line breaks. What was taken in a transaction of which nobody heard comes due
//! again by itself.

use std::time::Duration;

use async_trait::async_trait;
use runward_engine::run::{Notice, RunId};
use sqlx::PgConnection;

use super::change::NOW;
use super::pool::answered;
use super::tries::Tries;
use super::{PostgresLedger, SNAPSHOT, outbox};
use crate::error::LedgerError;
use crate::outbox::{Backlog, NoticeQuery, NoticeRow, Outbox, Route, Settled, Taken, Work};
use crate::sql::ReadError;

#[async_trait]
impl Outbox for PostgresLedger {
    async fn work(&self) -> Result<Work, LedgerError> {
        ask!(self, |connection| work(&mut connection))
    }

    async fn expire(&self, of: Option<&[RunId]>) -> Result<u64, LedgerError> {
        repeat!(self, "which notifications are too old", |loan| expire(&mut loan, of))
    }

    async fn unrouted(&self, of: Option<&[RunId]>, limit: u32) -> Result<Vec<Notice>, LedgerError> {
        ask!(self, |connection| outbox::unrouted(&mut connection, of, limit))
    }

    async fn route(&self, routes: &[(String, Route)]) -> Result<(), LedgerError> {
        repeat!(self, "where notifications go", |loan| route(&mut loan, routes))
    }

    async fn take(&self, channel: &str, sender: &str, limit: u32, lease: Duration) -> Result<Vec<Taken>, LedgerError> {
        repeat!(self, "who sends notifications", |loan| take(&mut loan, (channel, sender), limit, lease))
    }

    async fn settle(&self, taken: &Taken, sender: &str, settled: &Settled) -> Result<bool, LedgerError> {
        repeat!(self, "what came of a notification", |loan| settle(&mut loan, taken, sender, settled))
    }

    async fn hurry(&self, channel: &str) -> Result<u64, LedgerError> {
        repeat!(self, "which notifications are due now", |loan| hurry(&mut loan, channel))
    }

    async fn notices(&self, query: &NoticeQuery) -> Result<Vec<NoticeRow>, LedgerError> {
        ask!(self, self.pool.begin(SNAPSHOT), |connection| outbox::notices(&mut connection, query))
    }

    async fn backlog(&self) -> Result<Backlog, LedgerError> {
        ask!(self, |connection| outbox::backlog(&mut connection))
    }
}

async fn now(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(NOW).fetch_one(connection).await
}

async fn work(connection: &mut PgConnection) -> Result<Work, sqlx::Error> {
    let now = now(connection).await?;
    outbox::work(connection, now).await
}

async fn expire(connection: &mut PgConnection, of: Option<&[RunId]>) -> Result<(u64, bool), ReadError> {
    let now = now(connection).await?;
    let late = outbox::expire(connection, of, now).await?;
    Ok((late, late > 0))
}

async fn hurry(connection: &mut PgConnection, channel: &str) -> Result<(u64, bool), ReadError> {
    let now = now(connection).await?;
    let hurried = outbox::hurry(connection, channel, now).await?;
    Ok((hurried, hurried > 0))
}

async fn route(connection: &mut PgConnection, routes: &[(String, Route)]) -> Result<((), bool), ReadError> {
    let now = now(connection).await?;
    outbox::route(connection, routes, now).await?;
    Ok(((), true))
}

async fn take(
    connection: &mut PgConnection,
    of: (&str, &str),
    limit: u32,
    lease: Duration,
) -> Result<(Vec<Taken>, bool), ReadError> {
    let now = now(connection).await?;
    Ok(outbox::take(connection, of, limit, lease, now).await?)
}

async fn settle(
    connection: &mut PgConnection,
    taken: &Taken,
    sender: &str,
    settled: &Settled,
) -> Result<(bool, bool), ReadError> {
    let now = now(connection).await?;
    let done = outbox::settle(connection, taken, sender, settled, now).await?;
    Ok((done, done))
}
