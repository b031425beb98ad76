//! What SQLite and Postgres are asked in the same words.
//!
//! Ids are TEXT, times and numbers BIGINT, JSON is TEXT, and `$1` works in both. The files `read`, `past` and `prune` here are
//! modules of [`crate::sqlite`] and of [`crate::postgres`], each compiled for the connection of its parent: no layer
//! between them and the driver, and nothing that only one of the two could do.

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
