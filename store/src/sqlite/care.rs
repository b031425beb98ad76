//! Looking after the file: what is in it, whether it is whole, and giving space back.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::{Row, SqliteConnection};

use super::{BUSY_SECONDS, SqliteLedger, prune};
use crate::error::LedgerError;

/// Pages given back in one go, while others wait for the write lock.
const PAGES_AT_ONCE: i64 = 1_000;
/// `PRAGMA auto_vacuum` of a ledger whose free pages can be given back bit by bit.
const INCREMENTAL: i64 = 2;

/// What is in the ledger. Sizes are in bytes, times in epoch milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    pub schema: i64,
    /// Runs by status, held ones counted as `held`.
    pub runs: BTreeMap<String, u64>,
    pub oldest: Option<i64>,
    pub events: u64,
    pub definitions: u64,
    pub blobs: u64,
    pub blob_bytes: u64,
    pub page_bytes: u64,
    pub pages: u64,
    /// Pages of the file that hold nothing.
    pub free_pages: u64,
}

impl SqliteLedger {
    pub async fn stats(&self) -> Result<Stats, LedgerError> {
        let mut connection = self.connection().await?;
        stats(&mut connection).await.map_err(|error| self.error(error))
    }

    /// SQLite's own check of the file and of the references in it, and whether the pruned runs are those that the
    /// ledger's record names. `Ok` holds what is wrong, nothing if all is well.
    pub async fn integrity(&self) -> Result<Vec<String>, LedgerError> {
        let mut connection = self.connection().await?;
        complaints(&mut connection).await.map_err(|error| self.error(error))
    }

    /// Gives free pages back to the file system, a few at a time, so that runs under way do not wait. A ledger made
    /// by an earlier version is written anew once. Returns the bytes given back.
    pub async fn reclaim(&self) -> Result<u64, LedgerError> {
        let mut connection = self.connection().await?;
        reclaim(&mut connection).await.map_err(|error| self.error(error))
    }
}

async fn number(connection: &mut SqliteConnection, sql: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(sql).fetch_one(connection).await
}

async fn stats(connection: &mut SqliteConnection) -> Result<Stats, sqlx::Error> {
    let by_status =
        "SELECT CASE WHEN held THEN 'held' ELSE status END AS state, count(*) AS n FROM runs GROUP BY 1 ORDER BY 1";
    let rows = sqlx::query(by_status).fetch_all(&mut *connection).await?;
    let runs = rows.iter().map(|row| Ok((row.try_get("state")?, row.try_get::<i64, _>("n")? as u64)));
    let runs = runs.collect::<Result<_, sqlx::Error>>()?;
    Ok(Stats {
        schema: number(connection, "PRAGMA user_version").await?,
        runs,
        oldest: sqlx::query_scalar("SELECT min(created_at) FROM runs").fetch_one(&mut *connection).await?,
        events: number(connection, "SELECT count(*) FROM events").await? as u64,
        definitions: number(connection, "SELECT count(*) FROM definitions").await? as u64,
        blobs: number(connection, "SELECT count(*) FROM blobs").await? as u64,
        blob_bytes: number(connection, "SELECT coalesce(sum(length(bytes)), 0) FROM blobs").await? as u64,
        page_bytes: number(connection, "PRAGMA page_size").await? as u64,
        pages: number(connection, "PRAGMA page_count").await? as u64,
        free_pages: number(connection, "PRAGMA freelist_count").await? as u64,
    })
}

async fn complaints(connection: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
    let lines: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut *connection).await?;
    let mut found: Vec<String> = lines.into_iter().filter(|line| line != "ok").collect();
    for row in sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut *connection).await? {
        let (table, parent): (String, String) = (row.try_get("table")?, row.try_get("parent")?);
        found.push(format!("a row of `{table}` names a row of `{parent}` that does not exist"));
    }
    found.extend(prune::complaints(connection).await?);
    Ok(found)
}

async fn reclaim(connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let before = number(connection, "PRAGMA page_count").await?;
    if number(connection, "PRAGMA auto_vacuum").await? != INCREMENTAL {
        sqlx::query("PRAGMA auto_vacuum=INCREMENTAL").execute(&mut *connection).await?;
        sqlx::query("VACUUM").execute(&mut *connection).await?;
    }
    let mut free = number(connection, "PRAGMA freelist_count").await?;
    while free > 0 {
        let sql = format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})");
        sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut *connection).await?;
        let left = number(connection, "PRAGMA freelist_count").await?;
        if left >= free {
            break; // somebody else frees as fast: next time
        }
        free = left;
    }
    // The file itself becomes shorter when the log is written back. A reader can be in the way; then it happens later.
    sqlx::query("PRAGMA busy_timeout=1000").fetch_all(&mut *connection).await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_all(&mut *connection).await?;
    let patient = format!("PRAGMA busy_timeout={}", BUSY_SECONDS * 1000);
    sqlx::query(sqlx::AssertSqlSafe(patient)).fetch_all(&mut *connection).await?;
    let after = number(connection, "PRAGMA page_count").await?;
    Ok((before - after).max(0) as u64 * number(connection, "PRAGMA page_size").await? as u64)
}
