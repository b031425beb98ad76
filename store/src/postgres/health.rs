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

/// Who else gets what is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Standbys {
    pub streaming: u64,
    /// Nothing is acknowledged before some of them have it.
    pub waited_for: bool,
}

/// The way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Local,
    Encrypted,
    Clear,
}

impl PostgresLedger {
    pub async fn standbys(&self) -> Result<Standbys, LedgerError> {
        ask!(self, |connection| standbys(&mut connection))
    }

    pub async fn line(&self) -> Result<Line, LedgerError> {
        ask!(self, |connection| way(&mut connection))
    }

    /// The server's clock, in epoch milliseconds: that of every time on the record.
    pub async fn now(&self) -> Result<i64, LedgerError> {
        ask!(self, |connection| sqlx::query_scalar(change::NOW).fetch_one(&mut *connection))
    }

    pub async fn health(&self) -> Result<ServerHealth, LedgerError> {
        ask!(self, |connection| health(&mut connection))
    }
}

/// As seen by this session, whose `synchronous_commit` may be another one than the server's.
async fn standbys(connection: &mut PgConnection) -> Result<Standbys, sqlx::Error> {
    let sql = "SELECT (SELECT count(*) FROM pg_stat_replication) AS streaming, \
               current_setting('synchronous_standby_names') <> '' \
               AND current_setting('synchronous_commit') NOT IN ('off', 'local') AS waited_for";
    let row = sqlx::query(sql).fetch_one(connection).await?;
    Ok(Standbys { streaming: row.try_get::<i64, _>("streaming")? as u64, waited_for: row.try_get("waited_for")? })
}

async fn way(connection: &mut PgConnection) -> Result<Line, sqlx::Error> {
    let sql = "SELECT coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false), \
               coalesce(inet_client_addr() <<= '127.0.0.0/8' OR inet_client_addr() = '::1', true)";
    Ok(match sqlx::query_as(sql).fetch_one(connection).await? {
        (true, _) => Line::Encrypted,
        (false, true) => Line::Local,
        (false, false) => Line::Clear,
    })
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
