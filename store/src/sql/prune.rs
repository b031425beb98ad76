//! The ledger's own record, and the removal of runs with everything that only they used.

use runward_engine::run::RunId;
use sqlx::Row as _;

use super::{
    Connection, PRUNED_ON_RECORD, UNNAMED_BLOBS, UNUSED_DEFINITIONS, outbox, shown, stored, tick_audit, ticks,
};
use crate::administration::{self, AdminEvent, PrunedRun};
use crate::chain;
use crate::sql::ReadError;

/// The pruned run that had this key.
pub(super) async fn owner(connection: &mut Connection, key: &str) -> Result<Option<RunId>, sqlx::Error> {
    let sql = "SELECT id FROM pruned WHERE key = $1";
    Ok(sqlx::query_scalar(sql).bind(stored(key)).fetch_optional(connection).await?.map(RunId))
}

/// Where the marks of pruned runs, or the ticks, and the record of the ledger say different things.
pub(super) async fn complaints(connection: &mut Connection) -> Result<Vec<String>, sqlx::Error> {
    let mut found = Vec::new();
    for (sql, problem) in [
        (
            format!("SELECT id, key FROM pruned EXCEPT {PRUNED_ON_RECORD}"),
            "is marked as pruned, but the record of the ledger does not say so",
        ),
        (
            format!("{PRUNED_ON_RECORD} EXCEPT SELECT id, key FROM pruned"),
            "was pruned, but its mark, which keeps its key taken, is gone",
        ),
        ("SELECT id, key FROM runs WHERE id IN (SELECT id FROM pruned)".to_owned(), "was pruned, but is there"),
    ] {
        for row in sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut *connection).await? {
            found.push(format!("run {} {problem}", row.try_get::<String, _>(0)?));
        }
    }
    found.extend(tick_audit::complaints(connection).await?);
    Ok(found)
}

/// Within a transaction that holds the write lock.
pub(super) async fn administer(
    connection: &mut Connection,
    event: AdminEvent,
    at: i64,
    actor: &str,
) -> Result<AdminEvent, ReadError> {
    let event = match event {
        AdminEvent::RunsPruned { rule, runs } => {
            let runs = unchanged(connection, runs).await?;
            AdminEvent::RunsPruned { rule, runs }
        }
        AdminEvent::TicksPruned { before, .. } => ticks::prunable(connection, before).await?,
        other => outbox::revive(connection, other, at).await?,
    };
    if event.is_idle() || !ticks::switch(connection, &event, at, actor).await? {
        return Ok(event);
    }
    let entry = append(connection, &event, at, actor).await?;
    if let AdminEvent::TicksPruned { before, .. } = &event {
        ticks::prune(connection, *before).await?;
        outbox::prune(connection, Some(*before), at).await?;
    }
    for run in event.pruned() {
        remove(connection, run, entry).await?;
    }
    if !event.pruned().is_empty() {
        forget_unused(connection).await?;
        outbox::prune(connection, None, at).await?;
    }
    Ok(event)
}

/// Those that are at their end, and as the caller saw them.
async fn unchanged(connection: &mut Connection, runs: Vec<PrunedRun>) -> Result<Vec<PrunedRun>, sqlx::Error> {
    let mut found = Vec::with_capacity(runs.len());
    for run in runs {
        let sql = "SELECT seq FROM runs WHERE id = $1 AND head = $2 AND seq = $3 AND finished_at IS NOT NULL";
        let same: Option<i64> = sqlx::query_scalar(sql)
            .bind(&run.id.0)
            .bind(&run.head)
            .bind(run.events as i64)
            .fetch_optional(&mut *connection)
            .await?;
        found.extend(same.map(|_| run));
    }
    Ok(found)
}

pub(super) async fn append(
    connection: &mut Connection,
    event: &AdminEvent,
    at: i64,
    actor: &str,
) -> Result<i64, sqlx::Error> {
    let last = sqlx::query("SELECT seq, hash FROM administration ORDER BY seq DESC LIMIT 1")
        .fetch_optional(&mut *connection)
        .await?;
    let (seq, previous) = match last {
        Some(row) => (row.try_get::<i64, _>("seq")? + 1, row.try_get("hash")?),
        None => (1, chain::GENESIS.to_owned()),
    };
    let body = event.body();
    sqlx::query("INSERT INTO administration (seq, at, actor, kind, body, hash) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(seq)
        .bind(at)
        .bind(stored(actor))
        .bind(event.kind())
        .bind(&body)
        .bind(administration::link(&previous, seq as u64, at, actor, &body))
        .execute(connection)
        .await?;
    Ok(seq)
}

/// The schema refuses to let a run go that is not marked as pruned first.
async fn remove(connection: &mut Connection, run: &PrunedRun, entry: i64) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO pruned (id, key, entry) VALUES ($1, $2, $3)")
        .bind(&run.id.0)
        .bind(run.key.as_deref().map(stored))
        .bind(entry)
        .execute(&mut *connection)
        .await?;
    for sql in [
        "DELETE FROM attempts WHERE run_id = $1",
        "DELETE FROM steps WHERE run_id = $1",
        "DELETE FROM events WHERE run_id = $1",
        "DELETE FROM runs WHERE id = $1",
    ] {
        sqlx::query(sql).bind(&run.id.0).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Definitions that no run has and none of them calls; and, where one went, files that no definition names.
async fn forget_unused(connection: &mut Connection) -> Result<(), sqlx::Error> {
    if sqlx::query(UNUSED_DEFINITIONS).execute(&mut *connection).await?.rows_affected() > 0 {
        sqlx::query(UNNAMED_BLOBS).execute(connection).await?;
    }
    Ok(())
}

/// Every entry: seq, at, actor, body, hash.
pub(super) async fn entries(
    connection: &mut Connection,
) -> Result<Vec<(u64, i64, String, String, String)>, sqlx::Error> {
    let rows = sqlx::query("SELECT seq, at, actor, body, hash FROM administration ORDER BY seq");
    let rows = rows.fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let seq = row.try_get::<i64, _>("seq")? as u64;
            Ok((seq, row.try_get("at")?, row.try_get("actor").map(shown)?, row.try_get("body")?, row.try_get("hash")?))
        })
        .collect()
}
