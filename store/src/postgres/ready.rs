//! Which runs can go on: rows as a function of the state, written with every commit.
//!
//! A row says from when. What can be done at once is due since 0, and not since some time of the server's clock: one that
//! is set back hides nothing but timers (F28). A row that somebody has put off comes up again with the next commit of its
//! run.

use std::collections::BTreeMap;
use std::time::Duration;

use runward_engine::run::group::Permit;
use runward_engine::run::place::ENGINE;
use runward_engine::run::{RunId, RunState};
use sqlx::{PgConnection, Row as _};

use super::text::stored;
use crate::fleet::Ready;
use crate::ledger::Announced;
use crate::sql::ReadError;

/// What is due now for these calls: the oldest runs first, then timers.
pub(super) async fn due(
    connection: &mut PgConnection,
    calls: &[String],
    limit: u32,
) -> Result<Vec<Ready>, sqlx::Error> {
    let sql = concat!(
        "SELECT run_id, call, since, seq FROM ready JOIN runs ON runs.id = run_id WHERE call = ANY($1) AND since <= ",
        now!(),
        " ORDER BY since, run_id LIMIT $2"
    );
    let rows = sqlx::query(sql).bind(calls).bind(i64::from(limit)).fetch_all(connection).await?;
    let ready = rows.iter().map(|row| {
        Ok(Ready {
            run: RunId(row.try_get("run_id")?),
            call: row.try_get("call")?,
            since: row.try_get("since")?,
            seq: row.try_get::<i64, _>("seq")? as u64,
        })
    });
    ready.collect()
}

/// Everything that is announced of a run.
pub(super) async fn announced(connection: &mut PgConnection, run: &RunId) -> Result<Announced, sqlx::Error> {
    let sql =
        concat!("SELECT call, since, now FROM (SELECT ", now!(), " AS now) AS clock LEFT JOIN ready ON run_id = $1");
    let rows = sqlx::query(sql).bind(&run.0).fetch_all(connection).await?;
    let mut announced = Announced { calls: BTreeMap::new(), at: 0 };
    for row in &rows {
        announced.at = row.try_get("now")?;
        if let Some(call) = row.try_get("call")? {
            announced.calls.insert(call, row.try_get("since")?);
        }
    }
    Ok(announced)
}

/// Whoever records something in the run, or stirs it, changes what is compared here; while somebody records, nothing is
/// put off.
pub(super) async fn put_off(connection: &mut PgConnection, ready: &Ready, by: Duration) -> Result<(), sqlx::Error> {
    let sql = concat!(
        "WITH quiet AS (SELECT 1 FROM runs WHERE id = $1 AND seq = $5 FOR NO KEY UPDATE SKIP LOCKED) \
         UPDATE ready SET since = ",
        now!(),
        " + $4 FROM quiet WHERE run_id = $1 AND call = $2 AND since = $3"
    );
    sqlx::query(sql)
        .bind(&ready.run.0)
        .bind(&ready.call)
        .bind(ready.since)
        .bind(by.as_millis() as i64)
        .bind(ready.seq as i64)
        .execute(connection)
        .await?;
    Ok(())
}

/// Brings a row up now, and changes it in any case, so that nobody puts it off who has looked before.
macro_rules! stirred {
    () => {
        concat!("UPDATE ready SET since = CASE WHEN since <= ", now!(), " THEN since - 1 ELSE ", now!(), " END ")
    };
}

pub(super) async fn stir(connection: &mut PgConnection, run: &RunId) -> Result<(), sqlx::Error> {
    let sql = concat!(stirred!(), "WHERE run_id = $1 AND call = $2");
    sqlx::query(sql).bind(&run.0).bind(ENGINE).execute(connection).await?;
    Ok(())
}

/// A run that has given its permit back, or its turn, wakes those whose turn it may be now. Rows that somebody else is
/// writing are passed over, so that nobody waits in a circle: they come up by themselves.
pub(super) async fn pass_on(
    connection: &mut PgConnection,
    before: Option<Permit>,
    state: &RunState,
) -> Result<(), ReadError> {
    let Some(group) = state.group.as_ref().filter(|_| before.is_some() && state.permit().is_none()) else {
        return Ok(());
    };
    let sql = concat!(
        stirred!(),
        "FROM (SELECT run_id AS next FROM ready JOIN runs ON runs.id = run_id \
               WHERE grp = $2 AND permit = 'waits' AND call = $3 AND id <> $1 ORDER BY priority, id LIMIT $4 \
               FOR UPDATE OF ready SKIP LOCKED) AS waiting WHERE run_id = next AND call = $3"
    );
    sqlx::query(sql)
        .bind(&state.id.0)
        .bind(stored(&group.name))
        .bind(ENGINE)
        .bind(i64::from(group.limit.get()))
        .execute(connection)
        .await?;
    Ok(())
}
