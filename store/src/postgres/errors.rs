//! Postgres' error codes as something a person can act on, and which of them pass by themselves.

use sqlx::error::DatabaseError;

use super::trouble::{ServerError, Trouble};
use crate::error::LedgerError;
use crate::sql::ReadError;

pub(super) fn at(place: &str, error: ReadError) -> LedgerError {
    match error {
        ReadError::Database(error) => translate(place, error),
        ReadError::Ledger(error) => error,
    }
}

/// Of the connection, before or after anything was said on it.
pub(super) fn translate(place: &str, error: sqlx::Error) -> LedgerError {
    let (trouble, message) = match error {
        sqlx::Error::Io(error) => (Trouble::Unreachable, error.to_string()),
        sqlx::Error::Tls(error) => (Trouble::Unreachable, error.to_string()),
        // What comes of a line that ends in the middle of a greeting.
        sqlx::Error::Protocol(message) => (Trouble::Unreachable, message),
        sqlx::Error::Configuration(error) => (Trouble::Address, error.to_string()),
        sqlx::Error::Database(error) => return said(place, &*error),
        error => return LedgerError::Other(format!("{error} ({place})")),
    };
    LedgerError::Server(ServerError { place: place.to_owned(), trouble, message })
}

/// The codes are those of the manual's appendix A.
fn said(place: &str, error: &dyn DatabaseError) -> LedgerError {
    let message = error.message().to_owned();
    let code = error.code().unwrap_or_default();
    let trouble = match &*code {
        "28P01" | "28000" => Trouble::Login,
        "3D000" => Trouble::NoDatabase,
        "42501" => Trouble::Forbidden,
        "25006" => Trouble::ReadOnly,
        "42P01" | "42703" => Trouble::NotMigrated,
        "53300" | "55P03" | "40001" | "40P01" | "57014" | "25P03" => Trouble::Busy,
        "53100" => return LedgerError::Full { path: place.to_owned() },
        "58030" | "58P01" => return LedgerError::Disk { path: place.to_owned(), message },
        "XX001" | "XX002" => return LedgerError::Corrupt { path: place.to_owned(), message },
        code if code.starts_with("08") || code.starts_with("57P") => Trouble::Unreachable,
        code => return LedgerError::Other(format!("{message} (Postgres code {code}, {place})")),
    };
    LedgerError::Server(ServerError { place: place.to_owned(), trouble, message })
}

/// Whether the same, tried again from the start, may well succeed: somebody was in the way, or the line is new.
pub(super) fn passes(error: &ReadError) -> bool {
    match error {
        ReadError::Database(sqlx::Error::Io(_) | sqlx::Error::Protocol(_)) => true,
        ReadError::Database(sqlx::Error::Database(error)) => {
            let code = error.code().unwrap_or_default();
            // Deadlock, serialisation, lock timeout, too many connections, and a server that goes down or comes up; and
            // a row that somebody else wrote or removed between a look and a write: the next look finds it so.
            ["40P01", "40001", "55P03", "53300", "23505", "23503"].contains(&&*code)
                || code.starts_with("08")
                || code.starts_with("57P")
        }
        _ => false,
    }
}

/// Whether the server has said that a COMMIT failed. One that is going down may say so after it has committed.
pub(super) fn is_definite(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| !code.starts_with("57") && !code.starts_with("08"))
}
