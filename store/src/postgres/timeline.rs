//! What the server says of the history that it is on, and which one the ledger was left on: see [`crate::timeline`].

use runward_engine::run::{ClaimId, RunId};
use serde_json::Value;
use sqlx::{PgConnection, Row as _};
use tracing::debug;

use super::errors::is_definite;
use crate::administration::AdminEvent;
use crate::sql::ReadError;
use crate::timeline::{Comparison, Timeline, is_open};

/// A server that is in recovery is on no timeline of its own yet.
const CURRENT: &str = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN \
     (SELECT system_identifier FROM pg_control_system())::text || '/' \
     || ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END";
const ACCEPTED: &str =
    "SELECT body::jsonb ->> 'timeline' FROM administration WHERE kind = 'timeline_accepted' ORDER BY seq DESC LIMIT 1";
const COMPARED: &str = "SELECT body FROM administration WHERE kind = 'journals_compared' ORDER BY seq";
/// Of these, what is neither on the record nor pruned.
const UNKNOWN: &str = "SELECT run, claim FROM unnest($1::text[], $2::text[]) AS started (run, claim) \
     WHERE NOT EXISTS (SELECT FROM attempts WHERE run_id = run AND attempts.claim = started.claim) \
     AND NOT EXISTS (SELECT FROM pruned WHERE id = run)";

/// Whether steps may be claimed on this connection. Asked outside of a transaction.
pub(super) async fn admits(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let sql = format!("SELECT ({CURRENT}), ({ACCEPTED})");
    let asked = sqlx::query_as(sqlx::AssertSqlSafe(sql)).fetch_one(connection).await;
    match asked {
        Ok((current, accepted)) => Ok(open(current, accepted)),
        // There are services that do not tell: then nobody can know.
        Err(error) if is_definite(&error) => {
            debug!(%error, "the server does not say on which timeline it is");
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

fn open(current: Option<String>, accepted: Option<String>) -> bool {
    current.is_some_and(|current| is_open(&current, accepted.as_deref()))
}

pub(super) async fn read(connection: &mut PgConnection) -> Result<Option<Timeline>, ReadError> {
    let Some(current): Option<String> = sqlx::query_scalar(CURRENT).fetch_one(&mut *connection).await? else {
        return Ok(None);
    };
    let accepted: Option<String> = sqlx::query_scalar(ACCEPTED).fetch_optional(&mut *connection).await?;
    let mut compared = Vec::new();
    if !is_open(&current, accepted.as_deref()) {
        let bodies: Vec<String> = sqlx::query_scalar(COMPARED).fetch_all(connection).await?;
        compared = bodies.iter().filter_map(|body| comparison(body, &current)).collect();
    }
    Ok(Some(Timeline { current, accepted, compared }))
}

fn comparison(body: &str, current: &str) -> Option<Comparison> {
    let value: Value = serde_json::from_str(body).ok()?;
    let AdminEvent::JournalsCompared { timeline, home, host, unknown } = serde_json::from_value(value).ok()? else {
        return None;
    };
    let unheld = unknown.iter().filter(|start| !start.held).count() as u64;
    (timeline == current).then_some(Comparison { home, host, unknown: unknown.len() as u64, unheld })
}

pub(super) async fn unknown(
    connection: &mut PgConnection,
    started: &[(RunId, ClaimId)],
) -> Result<Vec<(RunId, ClaimId)>, sqlx::Error> {
    let (runs, claims): (Vec<&str>, Vec<&str>) =
        started.iter().map(|(run, claim)| (run.0.as_str(), claim.0.as_str())).unzip();
    let rows = sqlx::query(UNKNOWN).bind(runs).bind(claims).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((RunId(row.try_get(0)?), ClaimId(row.try_get(1)?)))).collect()
}
