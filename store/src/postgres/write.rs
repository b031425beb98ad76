//! Writing changes: the head of a run, its events, and the rows they touch, in one statement.
//!
//! The rows go as one array a column, so the statement is the same for one row and for ten thousand, and of many runs: it is
//! prepared once, and a change is one trip to the server, whatever its size.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use runward_engine::run::RunId;
use runward_engine::run::calls::calls;
use runward_engine::run::group::Permit;
use runward_engine::run::notice::{Kind, Notice};
use runward_engine::run::rows::{self, AttemptRow, RunRow, StepRow};
use serde_json::{Map, Value};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Row as _};

use super::text::stored;
use crate::error::LedgerError;
use crate::ledger::{Linked, NewRun, RunView};
use crate::outbox;
use crate::sql::ReadError;

/// The rows below runs; `$1` has their ids, `$2` to `$39` are arrays, `$40` is the time. Nothing is written of a run for which
/// `$holds` does not, which knows it as `run_id`.
macro_rules! rows_of_runs {
    ($holds:literal) => {
        concat!(
            "new_events AS ( \
           INSERT INTO events (run_id, seq, at, actor, kind, body, hash) SELECT new.* \
           FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[]) \
                AS new (run_id) WHERE ",
            $holds,
            "), new_steps AS ( \
           INSERT INTO steps (run_id, unit, position, status, attempts, started_at, ended_at, error, outputs) \
           SELECT new.* FROM unnest($9::text[], $10::text[], $11::bigint[], $12::text[], $13::bigint[], $14::bigint[], \
                                    $15::bigint[], $16::text[], $17::text[]) AS new (run_id) WHERE ",
            $holds,
            " ON CONFLICT (run_id, unit) DO UPDATE SET status = excluded.status, attempts = excluded.attempts, \
             started_at = excluded.started_at, ended_at = excluded.ended_at, error = excluded.error, \
             outputs = excluded.outputs \
         ), new_attempts AS ( \
           INSERT INTO attempts (run_id, claim, unit, attempt, generation, session, watched_by, status, claimed_at, \
                                 started_at, ended_at, code, signal, error, log_bytes, log_dropped, log_sha256, \
                                 home, host) \
           SELECT new.* FROM unnest($18::text[], $19::text[], $20::text[], $21::bigint[], $22::bigint[], $23::text[], \
                                    $24::text[], $25::text[], $26::bigint[], $27::bigint[], $28::bigint[], \
                                    $29::int[], $30::int[], $31::text[], $32::bigint[], $33::bigint[], $34::text[], \
                                    $35::text[], $36::text[]) AS new (run_id) WHERE ",
            $holds,
            " ON CONFLICT (run_id, unit, attempt) DO UPDATE SET watched_by = excluded.watched_by, \
             status = excluded.status, started_at = excluded.started_at, ended_at = excluded.ended_at, \
             code = excluded.code, signal = excluded.signal, error = excluded.error, \
             log_bytes = excluded.log_bytes, log_dropped = excluded.log_dropped, log_sha256 = excluded.log_sha256 \
         ), new_logs AS ( \
           INSERT INTO logs (run_id, claim, home) SELECT run_id, claim, home \
           FROM unnest($18::text[], $19::text[], $25::text[], $35::text[]) AS new (run_id, claim, status, home) \
           WHERE status = 'running' AND home IS NOT NULL AND ",
            $holds,
            " ON CONFLICT DO NOTHING \
         ), empty_logs AS ( \
           UPDATE logs SET complete = TRUE \
           FROM (SELECT * FROM unnest($18::text[], $19::text[], $25::text[], $32::bigint[], $34::text[]) \
                 AS new (run_id, claim, status, bytes, sha256) WHERE ",
            $holds,
            ") AS ended \
           WHERE logs.run_id = ended.run_id AND logs.claim = ended.claim AND status <> 'running' \
             AND sha256 <> '' AND bytes = 0 AND NOT complete \
         ), not_ready AS ( \
           DELETE FROM ready WHERE run_id = ANY ($1) AND NOT EXISTS ( \
             SELECT FROM unnest($37::text[], $38::text[]) AS new (id, call) WHERE id = run_id AND new.call = ready.call) \
             AND ",
            $holds,
            "), now_ready AS ( \
           INSERT INTO ready (run_id, call, since) SELECT new.* \
           FROM unnest($37::text[], $38::text[], $39::bigint[]) AS new (run_id) WHERE ",
            $holds,
            " ON CONFLICT (run_id, call) DO UPDATE SET since = excluded.since \
             WHERE ready.since <> excluded.since AND (ready.since > $40 OR excluded.since > $40) \
         ) "
        )
    };
}

/// A new run; `$tell` writes what it tells people, `$64`, where it does.
macro_rules! new_run {
    ($tell:expr) => {
        concat!(
            "WITH ",
            rows_of_runs!("TRUE"),
            $tell,
            "INSERT INTO runs (id, status, generation, held, permit, permit_at, waits, rollback, started_at, finished_at, \
                               seq, head, name, trigger, actor, key, parent, parent_step, params, definition, grp, \
                               priority, created_at, schedule) \
             VALUES ($1[1], $41, $42, $43, $44, $45, $46, $47, $48, $49, $50, $51, \
                     $52, $53, $54, $55, $56, $57, $58, $59, $60, $61, $62, $63)"
        )
    };
}

/// What a commit tells people, as one JSON text: in its own statement, so that a commit that tells nothing is as it was.
macro_rules! told {
    ($notices:expr) => {
        concat!(", new_notices AS (", into_notices!(), $notices, " WHERE ", are_news!(), " ON CONFLICT DO NOTHING) ")
    };
}

/// A change of one run. `$52` is the hash of the event that it follows: a number alone could be that of another event, in a
/// database that has lost some.
macro_rules! one {
    ($tell:expr) => {
        concat!(
            "WITH ",
            rows_of_runs!("TRUE"),
            $tell,
            "UPDATE runs SET status = $41, generation = $42, held = $43, permit = $44, permit_at = $45, waits = $46, \
                             rollback = $47, started_at = $48, finished_at = $49, seq = $50, head = $51 \
             WHERE id = $1[1] AND head = $52"
        )
    };
}

/// Changes of runs that are not locked: each with all of its rows or none, if its run has moved on, or somebody else is at
/// it, or it is not about that time (`$53`, in milliseconds). `$41` to `$53` are arrays.
macro_rules! together {
    ($tell:expr) => {
        concat!(
            "WITH clock AS (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now), \
             free AS (SELECT id FROM runs WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED), \
             done AS ( \
               UPDATE runs SET status = new.status, generation = new.generation, held = new.held, permit = new.permit, \
                               permit_at = new.permit_at, waits = new.waits, rollback = new.rollback, \
                               started_at = new.started_at, finished_at = new.finished_at, seq = new.seq, head = new.head \
               FROM unnest($1::text[], $41::text[], $42::bigint[], $43::bool[], $44::text[], $45::bigint[], $46::text[], \
                           $47::text[], $48::bigint[], $49::bigint[], $50::bigint[], $51::text[], $52::text[], \
                           $53::bigint[]) AS new (id, status, generation, held, permit, permit_at, waits, rollback, \
                                                  started_at, finished_at, seq, head, after, now) \
               WHERE runs.id = new.id AND runs.head = new.after AND runs.id IN (SELECT id FROM free) \
                 AND abs((SELECT now FROM clock) - new.now) <= 250 RETURNING runs.id \
             ), ",
            rows_of_runs!("run_id IN (SELECT id FROM done)"),
            $tell,
            "SELECT now, id FROM clock LEFT JOIN done ON TRUE"
        )
    };
}

const NEW_RUN: [&str; 2] = [new_run!(""), new_run!(told!("jsonb_array_elements($64::text::jsonb) AS item (value)"))];
/// Of a run that is locked.
const CHANGE: [&str; 2] = [one!(""), one!(told!("jsonb_array_elements($53::text::jsonb) AS item (value)"))];
/// Of runs that are not. That a runbook is well again is told once.
const TOGETHER: &str = together!(told!(
    "(SELECT DISTINCT ON (CASE value ->> 'kind' WHEN 'recovered' THEN value ->> 'runbook' ELSE value ->> 'id' END) value \
      FROM jsonb_array_elements($54::text::jsonb) AS each (value) \
      WHERE value ->> 'run' IN (SELECT id FROM done)) AS item (value)"
));

type Statement = Query<'static, sqlx::Postgres, PgArguments>;

/// What a commit writes.
pub(super) struct Change {
    row: RunRow,
    /// The hash of its last event, and of the one before its first.
    head: String,
    after: String,
    events: Arc<Vec<Linked>>,
    steps: Vec<StepRow>,
    attempts: Vec<AttemptRow>,
    /// All of them, changed or not: what is there is compared with them where it is, so a row that was put off comes up,
    /// and no row stays that another version wrote for another reason.
    calls: BTreeMap<String, i64>,
    notices: Vec<Notice>,
    /// When it was decided, by the server's clock.
    now: i64,
}

impl Change {
    /// `after`: the hash of the event before these.
    pub(super) fn of(view: &mut RunView, after: String, events: Arc<Vec<Linked>>, now: i64) -> Change {
        let touched = view.state.take_touched();
        let state = &view.state;
        Change {
            row: rows::run_row(state),
            head: view.head.clone(),
            after,
            steps: touched.iter().filter_map(|unit| rows::step_row(state, *unit)).collect(),
            attempts: touched.iter().flat_map(|unit| rows::recent_attempt_rows(state, *unit)).collect(),
            calls: calls(state),
            notices: outbox::notices_of(state, &events),
            events,
            now,
        }
    }

    pub(super) fn run(&self) -> &RunId {
        &self.row.id
    }

    /// The runbook whose run has failed in it.
    pub(super) fn fails(&self) -> Option<&str> {
        let failed = |notice: &&Notice| outbox::is_end(notice.kind) && notice.kind != Kind::Recovered;
        self.notices.iter().find(failed).map(|notice| notice.runbook.as_str())
    }

    /// The runbook whose run has succeeded in it.
    pub(super) fn recovers(&self) -> Option<&str> {
        self.notices.iter().find(|notice| notice.kind == Kind::Recovered).map(|notice| notice.runbook.as_str())
    }
}

/// The definition, those it calls and their files, kept once by content.
///
/// Where a definition is there, so are its files: nobody prunes while a run is recorded ([`super::locks::ledger_stays`]).
/// In the order of their names, so that two who record the same ones wait for each other in one direction only.
pub(super) async fn definitions<'a>(
    connection: &mut PgConnection,
    runs: impl IntoIterator<Item = &'a NewRun>,
) -> Result<(), sqlx::Error> {
    let (mut definitions, mut blobs) = (BTreeMap::new(), BTreeMap::new());
    for new in runs {
        definitions.extend(new.called.iter().chain([&new.definition]).map(|one| (one.hash(), one)));
        blobs.extend(new.blobs.iter().map(|(sha256, bytes)| (sha256.as_str(), bytes.as_slice())));
    }
    let hashes: Vec<&str> = definitions.keys().map(String::as_str).collect();
    let there: Vec<String> = sqlx::query_scalar("SELECT hash FROM definitions WHERE hash = ANY($1)")
        .bind(&hashes)
        .fetch_all(&mut *connection)
        .await?;
    definitions.retain(|hash, _| !there.contains(hash));
    if definitions.is_empty() {
        return Ok(());
    }
    let (names, contents): (Vec<&str>, Vec<&[u8]>) = blobs.into_iter().unzip();
    let sql = "INSERT INTO blobs (sha256, bytes) SELECT * FROM unnest($1::text[], $2::bytea[]) AS new (sha256, bytes) \
               ORDER BY sha256 ON CONFLICT DO NOTHING";
    sqlx::query(sql).bind(names).bind(contents).execute(&mut *connection).await?;
    let bodies = definitions.values().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
    let bodies = bodies.expect("a definition is plain data: its JSON cannot fail");
    let hashes: Vec<String> = definitions.into_keys().collect();
    let sql = "INSERT INTO definitions (hash, body) SELECT * FROM unnest($1::text[], $2::text[]) AS new (hash, body) \
               ORDER BY hash ON CONFLICT DO NOTHING";
    sqlx::query(sql).bind(hashes).bind(bodies).execute(connection).await?;
    Ok(())
}

/// A new run with its first events.
pub(super) async fn run(
    connection: &mut PgConnection,
    view: &mut RunView,
    events: Vec<Linked>,
    now: i64,
) -> Result<(), sqlx::Error> {
    let change = &Change::of(view, String::new(), Arc::new(events), now);
    let row = &change.row;
    let statement = head(below(statement_of(NEW_RUN, change), &[change]), change)
        .bind(stored(&row.name).into_owned())
        .bind(stored(&row.trigger).into_owned())
        .bind(stored(&row.actor).into_owned())
        .bind(maybe(row.key.as_deref()))
        .bind(row.parent.as_ref().map(|parent| parent.0.clone()))
        .bind(maybe(row.parent_step.as_deref()))
        .bind(json(&row.params))
        .bind(row.definition.clone())
        .bind(maybe(row.group.as_deref()))
        .bind(row.priority as i64)
        .bind(row.created_at)
        .bind(maybe(row.schedule.as_deref()));
    tell(statement, change).execute(connection).await?;
    Ok(())
}

/// A change of a run that is locked.
pub(super) async fn one(connection: &mut PgConnection, change: Change) -> Result<(), ReadError> {
    let change = &change;
    let statement = head(below(statement_of(CHANGE, change), &[change]), change).bind(change.after.clone());
    if tell(statement, change).execute(connection).await?.rows_affected() != 1 {
        let message = format!("run {} moved on while its row was locked", change.run());
        return Err(LedgerError::Other(message).into());
    }
    Ok(())
}

/// Changes of different runs, without a lock and outside of a transaction: the server's clock, and whose was written.
pub(super) async fn together(
    connection: &mut PgConnection,
    changes: &[&Change],
) -> Result<(i64, BTreeSet<RunId>), sqlx::Error> {
    let statement = below(sqlx::query(TOGETHER), changes);
    let of_rows = |of: fn(&RunRow) -> Option<i64>| column(changes, |change| of(&change.row));
    let statement = statement
        .bind(column(changes, |change| change.row.status.clone()))
        .bind(column(changes, |change| i64::from(change.row.generation)))
        .bind(column(changes, |change| change.row.held))
        .bind(column(changes, |change| change.row.permit.map(Permit::as_str)))
        .bind(of_rows(|row| row.permit_at))
        .bind(column(changes, |change| maybe(change.row.waits.as_deref())))
        .bind(column(changes, |change| change.row.rollback.as_str()))
        .bind(of_rows(|row| row.started_at))
        .bind(of_rows(|row| row.finished_at))
        .bind(column(changes, |change| change.row.seq as i64))
        .bind(column(changes, |change| change.head.clone()))
        .bind(column(changes, |change| change.after.clone()))
        .bind(column(changes, |change| change.now));
    let rows = statement.bind(notices(changes)).fetch_all(connection).await?;
    let now = rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
    let done = rows.iter().map(|row| row.try_get::<Option<String>, _>(1)).collect::<Result<Vec<_>, _>>()?;
    Ok((now, done.into_iter().flatten().map(RunId).collect()))
}

/// The one without notices, or the one with them.
fn statement_of(texts: [&'static str; 2], change: &Change) -> Statement {
    sqlx::query(texts[usize::from(!change.notices.is_empty())])
}

/// The notices come last, if there are any.
fn tell(statement: Statement, change: &Change) -> Statement {
    if change.notices.is_empty() { statement } else { statement.bind(notices(&[change])) }
}

fn notices(changes: &[&Change]) -> String {
    stored(&outbox::rows(changes.iter().flat_map(|change| &change.notices))).into_owned()
}

/// `$41` to `$51`: what changes of one run.
fn head(statement: Statement, change: &Change) -> Statement {
    let row = &change.row;
    statement
        .bind(row.status.clone())
        .bind(i64::from(row.generation))
        .bind(row.held)
        .bind(row.permit.map(Permit::as_str))
        .bind(row.permit_at)
        .bind(maybe(row.waits.as_deref()))
        .bind(row.rollback.as_str())
        .bind(row.started_at)
        .bind(row.finished_at)
        .bind(row.seq as i64)
        .bind(change.head.clone())
}

/// `$1` to `$40`: the ids of the runs, their events, the rows that these touched, and where they can go on from this moment.
fn below(statement: Statement, changes: &[&Change]) -> Statement {
    let statement = statement.bind(column(changes, |change| change.row.id.0.clone()));
    let statement = calls_of(attempts_of(steps_of(events_of(statement, changes), changes), changes), changes);
    statement.bind(changes.iter().map(|change| change.now).max())
}

fn events_of(statement: Statement, changes: &[&Change]) -> Statement {
    let events = &Rows::of(changes, |change| &change.events);
    statement
        .bind(events.runs())
        .bind(events.column(|(event, _)| event.recorded.seq as i64))
        .bind(events.column(|(event, _)| event.recorded.at))
        .bind(events.column(|(event, _)| stored(&event.recorded.actor).into_owned()))
        .bind(events.column(|(event, _)| event.recorded.event.kind()))
        .bind(events.column(|(_, body)| body.clone()))
        .bind(events.column(|(event, _)| event.hash.clone()))
}

fn steps_of(statement: Statement, changes: &[&Change]) -> Statement {
    let steps = &Rows::of(changes, |change| &change.steps);
    statement
        .bind(steps.runs())
        .bind(steps.column(|step| stored(&step.unit).into_owned()))
        .bind(steps.column(|step| i64::from(step.position)))
        .bind(steps.column(|step| step.status.clone()))
        .bind(steps.column(|step| i64::from(step.attempts)))
        .bind(steps.column(|step| step.started_at))
        .bind(steps.column(|step| step.ended_at))
        .bind(steps.column(|step| maybe(step.error.as_deref())))
        .bind(steps.column(|step| json(&step.outputs)))
}

fn attempts_of(statement: Statement, changes: &[&Change]) -> Statement {
    let attempts = &Rows::of(changes, |change| &change.attempts);
    statement
        .bind(attempts.runs())
        .bind(attempts.column(|attempt| attempt.claim.clone()))
        .bind(attempts.column(|attempt| stored(&attempt.unit).into_owned()))
        .bind(attempts.column(|attempt| i64::from(attempt.attempt)))
        .bind(attempts.column(|attempt| i64::from(attempt.generation)))
        .bind(attempts.column(|attempt| stored(&attempt.session).into_owned()))
        .bind(attempts.column(|attempt| stored(&attempt.watched_by).into_owned()))
        .bind(attempts.column(|attempt| attempt.status.clone()))
        .bind(attempts.column(|attempt| attempt.claimed_at))
        .bind(attempts.column(|attempt| attempt.started_at))
        .bind(attempts.column(|attempt| attempt.ended_at))
        .bind(attempts.column(|attempt| attempt.code))
        .bind(attempts.column(|attempt| attempt.signal))
        .bind(attempts.column(|attempt| maybe(attempt.error.as_deref())))
        .bind(attempts.column(|attempt| attempt.log_bytes as i64))
        .bind(attempts.column(|attempt| attempt.log_dropped as i64))
        .bind(attempts.column(|attempt| attempt.log_sha256.clone()))
        .bind(attempts.column(|attempt| attempt.home.clone()))
        .bind(attempts.column(|attempt| maybe(attempt.host.as_deref())))
}

fn calls_of(statement: Statement, changes: &[&Change]) -> Statement {
    let calls =
        changes.iter().flat_map(|change| change.calls.iter().map(|(call, since)| (change.run(), (call, *since))));
    let (runs, (calls, since)): (Vec<String>, (Vec<String>, Vec<i64>)) =
        calls.map(|(run, (call, since))| (run.0.clone(), (call.clone(), since))).unzip();
    statement.bind(runs).bind(calls).bind(since)
}

/// Rows of many runs, each with the id of its run.
struct Rows<'a, R>(Vec<(&'a RunId, &'a R)>);

impl<'a, R> Rows<'a, R> {
    fn of(changes: &'a [&'a Change], rows: fn(&'a Change) -> &'a [R]) -> Rows<'a, R> {
        let of_one = |change: &'a Change| rows(change).iter().map(|row| (change.run(), row));
        Rows(changes.iter().copied().flat_map(of_one).collect())
    }

    fn runs(&self) -> Vec<String> {
        self.0.iter().map(|(run, _)| run.0.clone()).collect()
    }

    fn column<T>(&self, of: impl Fn(&R) -> T) -> Vec<T> {
        self.0.iter().map(|(_, row)| of(row)).collect()
    }
}

fn column<R, T>(rows: &[R], of: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

fn maybe(text: Option<&str>) -> Option<String> {
    text.map(|text| stored(text).into_owned())
}

fn json(map: &Map<String, Value>) -> String {
    serde_json::to_string(map).expect("JSON values with string keys always serialise")
}
