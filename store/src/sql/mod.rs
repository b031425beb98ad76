//! What SQLite and Postgres are asked in the same words.
//!
//! Ids are TEXT, times and numbers BIGINT, JSON is TEXT, and `$1` works in both. The files `read`, `past`, `prune`, `ticks` and `outbox` here are
//! modules of [`crate::sqlite`] and of [`crate::postgres`], each compiled for the connection of its parent: no layer
//! between them and the driver, and nothing that only one of the two could do.

/// Notices of many rows (`items!`), whose rows of JSON are those of `crate::outbox::rows`.
macro_rules! into_notices {
    () => {
        "INSERT INTO notices (id, kind, runbook, run_id, at, body) SELECT item.value ->> 'id', item.value ->> 'kind', \
         item.value ->> 'runbook', item.value ->> 'run', CAST(item.value ->> 'at' AS BIGINT), item.value ->> 'body' FROM "
    };
}

/// That a runbook succeeds is news only where its last end that is known was another one.
macro_rules! are_news {
    () => {
        "(item.value ->> 'kind' <> 'recovered' OR 'recovered' <> (SELECT last.kind FROM notices AS last \
         WHERE last.runbook = item.value ->> 'runbook' AND last.kind IN ('failed', 'timed_out', 'lost', 'recovered') \
         ORDER BY last.at DESC, last.id DESC LIMIT 1))"
    };
}

use crate::error::LedgerError;

/// An error of the database, or one that already says what is wrong.
#[derive(Debug)]
pub(crate) enum ReadError {
    Database(sqlx::Error),
    Ledger(LedgerError),
}

impl From<sqlx::Error> for ReadError {
    fn from(error: sqlx::Error) -> Self {
        ReadError::Database(error)
    }
}

impl From<LedgerError> for ReadError {
    fn from(error: LedgerError) -> Self {
        ReadError::Ledger(error)
    }
}
