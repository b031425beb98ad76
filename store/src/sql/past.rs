//! What a forecast is made of: the newest runs of a runbook that succeeded.
//!
//! Every row that is read is one that is answered: the runs come from an index in their order, and the attempts of each from
//! their own place, so that nothing has to be sorted before a limit holds, however large the runs were.
//! Part of SQLite's ledger and of Postgres' ([`crate::sql`]).

use runward_engine::plan::history::PastRun;
use sqlx::Row as _;

use super::{Connection, Row, shown, stored};
use crate::ledger::PAST_ATTEMPTS_MAX;

pub(super) const RUNS: &str = "SELECT id, finished_at - COALESCE(started_at, created_at) AS took FROM runs \
                    WHERE name = $1 AND status = 'succeeded' ORDER BY id DESC LIMIT $2";
pub(super) const ATTEMPTS: &str = "SELECT unit, ended_at - COALESCE(started_at, claimed_at) AS took FROM attempts \
                        WHERE run_id = $1 AND status = 'succeeded' LIMIT $2";

pub(super) async fn past(connection: &mut Connection, name: &str, runs: u32) -> Result<Vec<PastRun>, sqlx::Error> {
    let mut left = PAST_ATTEMPTS_MAX;
    let mut past = Vec::new();
    for run in sqlx::query(RUNS).bind(stored(name)).bind(i64::from(runs)).fetch_all(&mut *connection).await? {
        let id: String = run.try_get("id")?;
        let rows = sqlx::query(ATTEMPTS).bind(id).bind(i64::from(left)).fetch_all(&mut *connection).await?;
        let all = (rows.len() as u32) < left;
        if !all && !past.is_empty() {
            break; // of which only a part was read
        }
        let attempts = rows.iter().map(|row| Ok((row.try_get("unit").map(shown)?, took(row)?)));
        past.push(PastRun { took_ms: took(&run)?, attempts: attempts.collect::<Result<_, sqlx::Error>>()? });
        if !all {
            break;
        }
        left -= rows.len() as u32;
    }
    Ok(past)
}

/// A clock that was set back makes nothing shorter than nothing.
fn took(row: &Row) -> Result<u64, sqlx::Error> {
    Ok(u64::try_from(row.try_get::<i64, _>("took")?).unwrap_or(0))
}
