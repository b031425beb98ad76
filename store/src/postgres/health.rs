//! How the server is, for those who look after it.

use serde::Serialize;
use sqlx::{PgConnection, Row as _};

use super::pool::answered;
use super::tries::Tries;
use super::{PostgresLedger, change};
use crate::error::LedgerError;
use crate::sql::ReadError;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerHealth {
    /// How long the oldest transaction in this database is open, in milliseconds: nothing that was removed since can be
    /// cleaned away.
    pub oldest_transaction_ms: u64,
    /// Who has it, as the server knows them.
    pub oldest_transaction_of: Option<String>,
    /// Of all clients of the server, and how many it lets in.
    pub connections: u64,
    pub connections_max: u64,
    /// Whether the server notices when its disk gives back something else than was written.
    pub checksums: bool,
}

impl PostgresLedger {
    /// The server's clock, in epoch milliseconds: that of every time on the record.
    pub async fn now(&self) -> Result<i64, LedgerError> {
        ask!(self, |connection| sqlx::query_scalar(change::NOW).fetch_one(&mut *connection))
    }

    pub async fn health(&self) -> Result<ServerHealth, LedgerError> {
        ask!(self, |connection| health(&mut connection))
    }
}

async fn health(connection: &mut PgConnection) -> Result<ServerHealth, sqlx::Error> {
    let oldest = "SELECT application_name || ', process ' || pid AS who, \
                  floor(extract(epoch FROM clock_timestamp() - xact_start) * 1000)::bigint AS since \
                  FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL \
                  AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 1";
    let oldest = sqlx::query(oldest).fetch_optional(&mut *connection).await?;
    let server = "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections, \
                  current_setting('max_connections')::bigint AS most, current_setting('data_checksums') = 'on' AS checksums";
    let server = sqlx::query(server).fetch_one(connection).await?;
    Ok(ServerHealth {
        oldest_transaction_ms: match &oldest {
            Some(row) => row.try_get::<i64, _>("since")?.max(0) as u64,
            None => 0,
        },
        oldest_transaction_of: oldest.map(|row| row.try_get("who")).transpose()?,
        connections: server.try_get::<i64, _>("connections")? as u64,
        connections_max: server.try_get::<i64, _>("most")? as u64,
        checksums: server.try_get("checksums")?,
    })
}
