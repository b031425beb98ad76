//! What people are to be told, in a file: whoever changes anything of it has the write lock of the whole ledger.

use std::time::Duration;

use async_trait::async_trait;
use runward_engine::run::{Notice, RunId};
use sqlx::Connection as _;

use super::{SqliteLedger, outbox};
use crate::error::LedgerError;
use crate::ledger::now_ms;
use crate::outbox::{Backlog, NoticeQuery, NoticeRow, Outbox, Route, Settled, Taken, Work};

/// One transaction that writes.
macro_rules! write {
    ($ledger:ident, |$tx:ident| $work:expr) => {{
        let mut connection = $ledger.connection().await?;
        let written = async {
            let mut $tx = connection.begin_with("BEGIN IMMEDIATE").await?;
            let answer = $work.await?;
            $tx.commit().await?;
            Ok(answer)
        };
        written.await.map_err(|error| $ledger.error(error))
    }};
}

#[async_trait]
impl Outbox for SqliteLedger {
    async fn work(&self) -> Result<Work, LedgerError> {
        let mut connection = self.connection().await?;
        outbox::work(&mut connection, now_ms()).await.map_err(|error| self.error(error))
    }

    async fn expire(&self, of: Option<&[RunId]>) -> Result<u64, LedgerError> {
        write!(self, |tx| outbox::expire(&mut tx, of, now_ms()))
    }

    async fn unrouted(&self, of: Option<&[RunId]>, limit: u32) -> Result<Vec<Notice>, LedgerError> {
        let mut connection = self.connection().await?;
        outbox::unrouted(&mut connection, of, limit).await.map_err(|error| self.error(error))
    }

    async fn route(&self, routes: &[(String, Route)]) -> Result<(), LedgerError> {
        write!(self, |tx| outbox::route(&mut tx, routes, now_ms()))
    }

    async fn take(&self, channel: &str, sender: &str, limit: u32, lease: Duration) -> Result<Vec<Taken>, LedgerError> {
        let taken = write!(self, |tx| outbox::take(&mut tx, (channel, sender), limit, lease, now_ms()));
        taken.map(|(taken, _)| taken)
    }

    async fn settle(&self, taken: &Taken, sender: &str, settled: &Settled) -> Result<bool, LedgerError> {
        write!(self, |tx| outbox::settle(&mut tx, taken, sender, settled, now_ms()))
    }

    async fn hurry(&self, channel: &str) -> Result<u64, LedgerError> {
        write!(self, |tx| outbox::hurry(&mut tx, channel, now_ms()))
    }

    async fn notices(&self, query: &NoticeQuery) -> Result<Vec<NoticeRow>, LedgerError> {
        let mut connection = self.connection().await?;
        let mut tx = connection.begin().await.map_err(|error| self.error(error))?;
        outbox::notices(&mut tx, query).await.map_err(|error| self.error(error))
    }

    async fn backlog(&self) -> Result<Backlog, LedgerError> {
        let mut connection = self.connection().await?;
        outbox::backlog(&mut connection).await.map_err(|error| self.error(error))
    }
}
