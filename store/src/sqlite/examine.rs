//! Looking at a ledger without changing it: not creating it, not migrating it, not waiting for others.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::errors::translate;
use super::open::schema_known;
use crate::error::LedgerError;

/// What a look at a ledger found.
#[derive(Debug)]
pub struct Examined {
    /// Of the file, and of this program.
    pub schema: i64,
    pub schema_known: i64,
    /// `wal` is the one in which what is acknowledged survives power loss without readers and writers in each other's way.
    pub journal_mode: String,
    /// What SQLite complains about; None where the file is too large for a quick look.
    pub complaints: Option<Vec<String>>,
    /// Whether the write lock could be had at once.
    pub writable: Result<(), LedgerError>,
}

/// Others are waited for as long as this.
const PATIENCE: Duration = Duration::from_millis(500);

/// `quick_max`: a file of more bytes is not read through.
pub async fn examine(path: &Path, quick_max: u64) -> Result<Examined, LedgerError> {
    let bytes = std::fs::metadata(path)
        .map_err(|error| LedgerError::Open { path: path.display().to_string(), message: error.to_string() })?;
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        .connect()
        .await
        .map_err(|error| translate(path, error))?;
    let examined = look(&mut connection, path, bytes.len() <= quick_max).await;
    let _ = connection.close().await; // it was only looked at
    examined.map_err(|error| translate(path, error))
}

async fn look(connection: &mut SqliteConnection, path: &Path, quick: bool) -> Result<Examined, sqlx::Error> {
    let schema = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    let journal_mode = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
    let complaints = if quick { Some(complaints(connection).await?) } else { None };
    let lock = sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await;
    let writable = lock.map(|_| ()).map_err(|error| translate(path, error));
    if writable.is_ok() {
        sqlx::query("ROLLBACK").execute(connection).await?;
    }
    Ok(Examined { schema, schema_known: schema_known(), journal_mode, complaints, writable })
}

async fn complaints(connection: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
    let lines: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(10)").fetch_all(connection).await?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}
