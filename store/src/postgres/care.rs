//! What is in the ledger, and whether what refers to each other does.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::{PgConnection, Row as _};

use super::pool::answered;
use super::tries::Tries;
use super::{PostgresLedger, SNAPSHOT, prune};
use crate::error::LedgerError;
use crate::sql::ReadError;

/// What is in the ledger. Sizes are in bytes, times in epoch milliseconds.
#[derive(Debug, Clone, Serialize)]
pub struct PostgresStats {
    /// Runs by status, held ones counted as `held`.
    pub runs: BTreeMap<String, u64>,
    pub oldest: Option<i64>,
    pub events: u64,
    pub definitions: u64,
    pub blobs: u64,
    pub blob_bytes: u64,
    /// Of what steps printed, and what these parts take on the server's disk.
    pub log_parts: u64,
    pub log_bytes: u64,
    /// What the database takes on the server's disk.
    pub database_bytes: u64,
}

impl PostgresLedger {
    pub async fn stats(&self) -> Result<PostgresStats, LedgerError> {
        ask!(self, self.pool.begin(SNAPSHOT), |connection| stats(&mut connection))
    }

    /// Whether the pruned runs are those that the ledger's record names. `Ok` holds what is wrong, nothing if all is well.
    /// (Whether a file is whole the server itself knows: `pg_amcheck`, and checksums.)
    pub async fn integrity(&self) -> Result<Vec<String>, LedgerError> {
        ask!(self, self.pool.begin(SNAPSHOT), |connection| prune::complaints(&mut connection))
    }
}

async fn stats(connection: &mut PgConnection) -> Result<PostgresStats, sqlx::Error> {
    let by_status =
        "SELECT CASE WHEN held THEN 'held' ELSE status END AS state, count(*) AS n FROM runs GROUP BY 1 ORDER BY 1";
    let rows = sqlx::query(by_status).fetch_all(&mut *connection).await?;
    let runs = rows.iter().map(|row| Ok((row.try_get("state")?, row.try_get::<i64, _>("n")? as u64)));
    let runs = runs.collect::<Result<_, sqlx::Error>>()?;
    let sql = "SELECT (SELECT min(created_at) FROM runs) AS oldest, (SELECT count(*) FROM events) AS events, \
               (SELECT count(*) FROM definitions) AS definitions, (SELECT count(*) FROM blobs) AS blobs, \
               (SELECT coalesce(sum(length(bytes)), 0)::bigint FROM blobs) AS blob_bytes, \
               (SELECT count(*) FROM log_parts) AS log_parts, pg_total_relation_size('log_parts') AS log_bytes, \
               pg_database_size(current_database()) AS database_bytes";
    let row = sqlx::query(sql).fetch_one(connection).await?;
    let number = |column: &str| row.try_get::<i64, _>(column).map(|number| number as u64);
    Ok(PostgresStats {
        runs,
        oldest: row.try_get("oldest")?,
        events: number("events")?,
        definitions: number("definitions")?,
        blobs: number("blobs")?,
        blob_bytes: number("blob_bytes")?,
        log_parts: number("log_parts")?,
        log_bytes: number("log_bytes")?,
        database_bytes: number("database_bytes")?,
    })
}
