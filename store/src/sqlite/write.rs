//! Writing a change: the head of the run, its events, and the rows they touch, in as few statements as there are tables.
//!
//! Every statement sent to SQLite is a trip to another thread and back, so a change goes as one text of several
//! statements. Its shape depends only on how many rows of each kind there are: the next change of the same shape finds
//! its statements prepared.

use runward_engine::run::group::Permit;
use runward_engine::run::rows::{self, AttemptRow, StepRow};
use serde_json::{Map, Value};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::outbox;
use crate::ledger::{Linked, NewRun, RunView};
use crate::outbox::notices_of;

/// Rows of one statement. SQLite takes 32,766 values in one.
const ROWS_MAX: usize = 500;

/// The definition, those it calls and their files, kept once by content.
pub(super) async fn definition(connection: &mut SqliteConnection, new: &NewRun) -> Result<(), sqlx::Error> {
    for (sha256, bytes) in &new.blobs {
        sqlx::query("INSERT INTO blobs (sha256, bytes) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(sha256)
            .bind(bytes)
            .execute(&mut *connection)
            .await?;
    }
    for definition in new.called.iter().chain([&new.definition]) {
        let body = serde_json::to_string(definition).expect("a definition is plain data: its JSON cannot fail");
        sqlx::query("INSERT INTO definitions (hash, body) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(definition.hash())
            .bind(body)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// A new run with its first events.
pub(super) async fn run(
    connection: &mut SqliteConnection,
    view: &mut RunView,
    events: &[Linked],
) -> Result<(), sqlx::Error> {
    let row = rows::run_row(&view.state);
    let mut batch = Batch::new(
        "INSERT INTO runs (id, name, status, generation, held, waits, rollback, trigger, actor, key, parent, parent_step, params, \
         definition, grp, permit, permit_at, priority, schedule, created_at, started_at, finished_at, seq, head) VALUES (",
    );
    let mut values = batch.text.separated(", ");
    values.push_bind(row.id.0).push_bind(row.name).push_bind(row.status).push_bind(i64::from(row.generation));
    values.push_bind(row.held).push_bind(row.waits).push_bind(row.rollback.as_str());
    values.push_bind(row.trigger).push_bind(row.actor).push_bind(row.key);
    values.push_bind(row.parent.map(|parent| parent.0)).push_bind(row.parent_step);
    values.push_bind(json(&row.params)).push_bind(row.definition).push_bind(row.group);
    values.push_bind(row.permit.map(Permit::as_str)).push_bind(row.permit_at).push_bind(row.priority as i64);
    values.push_bind(row.schedule).push_bind(row.created_at);
    values.push_bind(row.started_at).push_bind(row.finished_at).push_bind(row.seq as i64).push_bind(view.head.clone());
    batch.text.push(")");
    batch.append(connection, view, events).await
}

/// Events of a run that exists, and what they change.
pub(super) async fn changes(
    connection: &mut SqliteConnection,
    view: &mut RunView,
    events: &[Linked],
) -> Result<(), sqlx::Error> {
    let row = rows::run_row(&view.state);
    let before = events.first().map_or(row.seq, |(event, _)| event.recorded.seq) as i64 - 1;
    let mut batch = Batch::new("UPDATE runs SET ");
    let mut values = batch.text.separated(", ");
    values.push("status = ").push_bind_unseparated(row.status);
    values.push("generation = ").push_bind_unseparated(i64::from(row.generation));
    values.push("held = ").push_bind_unseparated(row.held);
    values.push("permit = ").push_bind_unseparated(row.permit.map(Permit::as_str));
    values.push("permit_at = ").push_bind_unseparated(row.permit_at);
    values.push("waits = ").push_bind_unseparated(row.waits);
    values.push("rollback = ").push_bind_unseparated(row.rollback.as_str());
    values.push("started_at = ").push_bind_unseparated(row.started_at);
    values.push("finished_at = ").push_bind_unseparated(row.finished_at);
    values.push("seq = ").push_bind_unseparated(row.seq as i64);
    values.push("head = ").push_bind_unseparated(view.head.clone());
    batch.text.push(" WHERE id = ").push_bind(row.id.0).push(" AND seq = ").push_bind(before);
    batch.append(connection, view, events).await
}

/// Statements that go together.
struct Batch {
    text: QueryBuilder<Sqlite>,
    /// How many rows they have to change.
    rows: u64,
}

impl Batch {
    /// Begins with a statement that changes one row.
    fn new(first: &str) -> Batch {
        Batch { text: QueryBuilder::new(first), rows: 1 }
    }

    async fn append(
        mut self,
        connection: &mut SqliteConnection,
        view: &mut RunView,
        events: &[Linked],
    ) -> Result<(), sqlx::Error> {
        let run = view.state.id.0.clone();
        let touched = view.state.take_touched();
        let state = &view.state;
        let steps: Vec<StepRow> = touched.iter().filter_map(|unit| rows::step_row(state, *unit)).collect();
        let attempts: Vec<AttemptRow> =
            touched.iter().flat_map(|unit| rows::recent_attempt_rows(state, *unit)).collect();
        for events in events.chunks(ROWS_MAX) {
            self.events(&run, events);
        }
        for steps in steps.chunks(ROWS_MAX) {
            self.steps(&run, steps);
        }
        for attempts in attempts.chunks(ROWS_MAX) {
            self.attempts(&run, attempts);
        }
        let notices = notices_of(state, events);
        let changed = self.text.build().execute(&mut *connection).await?.rows_affected();
        if changed != self.rows {
            return Err(sqlx::Error::Protocol(format!("run {run} moved on while its write lock was held")));
        }
        // By itself: that somebody recovered may be no news, and then it is no row.
        outbox::write(connection, &notices).await
    }

    fn events(&mut self, run: &str, events: &[Linked]) {
        self.rows += events.len() as u64;
        self.text.push("; INSERT INTO events (run_id, seq, at, actor, kind, body, hash) ");
        self.text.push_values(events, |mut row, (event, body)| {
            let recorded = &event.recorded;
            row.push_bind(run.to_owned()).push_bind(recorded.seq as i64).push_bind(recorded.at);
            row.push_bind(recorded.actor.clone()).push_bind(recorded.event.kind());
            row.push_bind(body.clone()).push_bind(event.hash.clone());
        });
    }

    fn steps(&mut self, run: &str, steps: &[StepRow]) {
        self.rows += steps.len() as u64;
        self.text.push(
            "; INSERT INTO steps (run_id, unit, position, status, attempts, started_at, ended_at, error, outputs) ",
        );
        self.text.push_values(steps, |mut row, step| {
            row.push_bind(run.to_owned()).push_bind(step.unit.clone()).push_bind(i64::from(step.position));
            row.push_bind(step.status.clone()).push_bind(i64::from(step.attempts));
            row.push_bind(step.started_at).push_bind(step.ended_at);
            row.push_bind(step.error.clone()).push_bind(json(&step.outputs));
        });
        self.text.push(
            " ON CONFLICT (run_id, unit) DO UPDATE SET status = excluded.status, attempts = excluded.attempts, \
             started_at = excluded.started_at, ended_at = excluded.ended_at, error = excluded.error, \
             outputs = excluded.outputs",
        );
    }

    fn attempts(&mut self, run: &str, attempts: &[AttemptRow]) {
        self.rows += attempts.len() as u64;
        self.text.push(
            "; INSERT INTO attempts (claim, run_id, unit, attempt, generation, session, watched_by, status, \
             claimed_at, started_at, ended_at, code, signal, error, log_bytes, log_dropped, log_sha256, home, host) ",
        );
        self.text.push_values(attempts, |mut row, attempt| {
            row.push_bind(attempt.claim.clone()).push_bind(run.to_owned()).push_bind(attempt.unit.clone());
            row.push_bind(i64::from(attempt.attempt)).push_bind(i64::from(attempt.generation));
            row.push_bind(attempt.session.clone()).push_bind(attempt.watched_by.clone());
            row.push_bind(attempt.status.clone()).push_bind(attempt.claimed_at);
            row.push_bind(attempt.started_at).push_bind(attempt.ended_at).push_bind(attempt.code);
            row.push_bind(attempt.signal).push_bind(attempt.error.clone()).push_bind(attempt.log_bytes as i64);
            row.push_bind(attempt.log_dropped as i64).push_bind(attempt.log_sha256.clone());
            row.push_bind(attempt.home.clone()).push_bind(attempt.host.clone());
        });
        self.text.push(
            " ON CONFLICT (run_id, unit, attempt) DO UPDATE SET watched_by = excluded.watched_by, \
             status = excluded.status, started_at = excluded.started_at, ended_at = excluded.ended_at, \
             code = excluded.code, signal = excluded.signal, error = excluded.error, \
             log_bytes = excluded.log_bytes, log_dropped = excluded.log_dropped, log_sha256 = excluded.log_sha256",
        );
    }
}

fn json(map: &Map<String, Value>) -> String {
    serde_json::to_string(map).expect("JSON values with string keys always serialise")
}
