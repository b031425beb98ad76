//! Writing a change: events first, then the rows they touch, then the head of the run.

use runward_engine::run::rows;
use serde_json::{Map, Value};
use sqlx::SqliteConnection;

use crate::ledger::{Linked, NewRun, RunView};

/// The definition and its files, kept once by content.
pub(super) async fn definition(connection: &mut SqliteConnection, new: &NewRun) -> Result<(), sqlx::Error> {
    for (sha256, bytes) in &new.blobs {
        sqlx::query("INSERT INTO blobs (sha256, bytes) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(sha256)
            .bind(bytes)
            .execute(&mut *connection)
            .await?;
    }
    let body = serde_json::to_string(&new.definition).expect("a definition is plain data: its JSON cannot fail");
    sqlx::query("INSERT INTO definitions (hash, body) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(new.definition.hash())
        .bind(body)
        .execute(connection)
        .await?;
    Ok(())
}

/// A new run with its first events.
pub(super) async fn run(
    connection: &mut SqliteConnection,
    view: &mut RunView,
    events: &[Linked],
) -> Result<(), sqlx::Error> {
    let row = rows::run_row(&view.state);
    let sql = "INSERT INTO runs (id, name, status, generation, held, trigger, actor, key, params, definition, created_at, \
               started_at, finished_at, seq, head) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    sqlx::query(sql)
        .bind(&row.id.0)
        .bind(&row.name)
        .bind(&row.status)
        .bind(i64::from(row.generation))
        .bind(row.held)
        .bind(&row.trigger)
        .bind(&row.actor)
        .bind(&row.key)
        .bind(json(&row.params))
        .bind(&row.definition)
        .bind(row.created_at)
        .bind(row.started_at)
        .bind(row.finished_at)
        .bind(row.seq as i64)
        .bind(&view.head)
        .execute(&mut *connection)
        .await?;
    append(connection, view, events).await
}

/// Events of a run that exists, and what they change.
pub(super) async fn changes(
    connection: &mut SqliteConnection,
    view: &mut RunView,
    events: &[Linked],
) -> Result<(), sqlx::Error> {
    let row = rows::run_row(&view.state);
    let first = events.first().map_or(row.seq, |(event, _)| event.recorded.seq);
    let sql = "UPDATE runs SET status = $3, generation = $4, held = $5, started_at = $6, finished_at = $7, seq = $8, \
               head = $9 WHERE id = $1 AND seq = $2";
    let changed = sqlx::query(sql)
        .bind(&row.id.0)
        .bind(first as i64 - 1)
        .bind(&row.status)
        .bind(i64::from(row.generation))
        .bind(row.held)
        .bind(row.started_at)
        .bind(row.finished_at)
        .bind(row.seq as i64)
        .bind(&view.head)
        .execute(&mut *connection)
        .await?;
    if changed.rows_affected() != 1 {
        return Err(sqlx::Error::Protocol(format!("run {} moved on while its write lock was held", row.id)));
    }
    append(connection, view, events).await
}

async fn append(connection: &mut SqliteConnection, view: &mut RunView, events: &[Linked]) -> Result<(), sqlx::Error> {
    let run = view.state.id.0.clone();
    for (event, body) in events {
        let recorded = &event.recorded;
        sqlx::query(
            "INSERT INTO events (run_id, seq, at, actor, kind, body, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&run)
        .bind(recorded.seq as i64)
        .bind(recorded.at)
        .bind(&recorded.actor)
        .bind(recorded.event.kind())
        .bind(body)
        .bind(&event.hash)
        .execute(&mut *connection)
        .await?;
    }
    for unit in view.state.take_touched() {
        if let Some(row) = rows::step_row(&view.state, unit) {
            step(connection, &run, &row).await?;
        }
        for row in rows::recent_attempt_rows(&view.state, unit) {
            attempt(connection, &run, &row).await?;
        }
    }
    Ok(())
}

async fn step(connection: &mut SqliteConnection, run: &str, row: &rows::StepRow) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO steps (run_id, unit, position, status, attempts, started_at, ended_at, error, outputs) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (run_id, unit) DO UPDATE SET \
               status = excluded.status, attempts = excluded.attempts, started_at = excluded.started_at, \
               ended_at = excluded.ended_at, error = excluded.error, outputs = excluded.outputs";
    sqlx::query(sql)
        .bind(run)
        .bind(&row.unit)
        .bind(i64::from(row.position))
        .bind(&row.status)
        .bind(i64::from(row.attempts))
        .bind(row.started_at)
        .bind(row.ended_at)
        .bind(&row.error)
        .bind(json(&row.outputs))
        .execute(connection)
        .await?;
    Ok(())
}

async fn attempt(connection: &mut SqliteConnection, run: &str, row: &rows::AttemptRow) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO attempts (claim, run_id, unit, attempt, generation, session, status, claimed_at, started_at, \
               ended_at, code, signal, error, log_bytes, log_dropped, log_sha256) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
               ON CONFLICT (run_id, unit, attempt) DO UPDATE SET session = excluded.session, status = excluded.status, \
               started_at = excluded.started_at, ended_at = excluded.ended_at, code = excluded.code, \
               signal = excluded.signal, error = excluded.error, log_bytes = excluded.log_bytes, \
               log_dropped = excluded.log_dropped, log_sha256 = excluded.log_sha256";
    sqlx::query(sql)
        .bind(&row.claim)
        .bind(run)
        .bind(&row.unit)
        .bind(i64::from(row.attempt))
        .bind(i64::from(row.generation))
        .bind(&row.session)
        .bind(&row.status)
        .bind(row.claimed_at)
        .bind(row.started_at)
        .bind(row.ended_at)
        .bind(row.code)
        .bind(row.signal)
        .bind(&row.error)
        .bind(row.log_bytes as i64)
        .bind(row.log_dropped as i64)
        .bind(&row.log_sha256)
        .execute(connection)
        .await?;
    Ok(())
}

fn json(map: &Map<String, Value>) -> String {
    serde_json::to_string(map).expect("JSON values with string keys always serialise")
}
