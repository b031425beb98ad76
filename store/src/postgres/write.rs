//! Writing a change: the head of the run, its events, and the rows they touch, in one statement.
//!
//! The rows go as one array a column, so the statement is the same for one row and for ten thousand: it is prepared once,
//! and a change is one trip to the server, whatever its size.

use std::collections::BTreeMap;

use runward_engine::run::calls::calls;
use runward_engine::run::group::Permit;
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

/// The rows below a run; `$1` is its id, `$2` to `$35` are arrays, `$36` is the time. Nothing is written unless `$holds`.
macro_rules! rows_of_a_run {
    ($holds:literal) => {
        concat!(
            "new_events AS ( \
           INSERT INTO events (run_id, seq, at, actor, kind, body, hash) SELECT $1, new.* \
           FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[]) AS new WHERE ",
            $holds,
            "), new_steps AS ( \
           INSERT INTO steps (run_id, unit, position, status, attempts, started_at, ended_at, error, outputs) \
           SELECT $1, new.* FROM unnest($8::text[], $9::bigint[], $10::text[], $11::bigint[], $12::bigint[], \
                                        $13::bigint[], $14::text[], $15::text[]) AS new WHERE ",
            $holds,
            " ON CONFLICT (run_id, unit) DO UPDATE SET status = excluded.status, attempts = excluded.attempts, \
             started_at = excluded.started_at, ended_at = excluded.ended_at, error = excluded.error, \
             outputs = excluded.outputs \
         ), new_attempts AS ( \
           INSERT INTO attempts (run_id, claim, unit, attempt, generation, session, watched_by, status, claimed_at, \
                                 started_at, ended_at, code, signal, error, log_bytes, log_dropped, log_sha256, \
                                 home, host) \
           SELECT $1, new.* FROM unnest($16::text[], $17::text[], $18::bigint[], $19::bigint[], $20::text[], \
                                        $21::text[], $22::text[], $23::bigint[], $24::bigint[], $25::bigint[], \
                                        $26::int[], $27::int[], $28::text[], $29::bigint[], $30::bigint[], \
                                        $31::text[], $32::text[], $33::text[]) AS new WHERE ",
            $holds,
            " ON CONFLICT (run_id, unit, attempt) DO UPDATE SET watched_by = excluded.watched_by, \
             status = excluded.status, started_at = excluded.started_at, ended_at = excluded.ended_at, \
             code = excluded.code, signal = excluded.signal, error = excluded.error, \
             log_bytes = excluded.log_bytes, log_dropped = excluded.log_dropped, log_sha256 = excluded.log_sha256 \
         ), new_logs AS ( \
           INSERT INTO logs (run_id, claim, home) SELECT $1, claim, home \
           FROM unnest($16::text[], $22::text[], $32::text[]) AS new (claim, status, home) \
           WHERE status = 'running' AND home IS NOT NULL AND ",
            $holds,
            " ON CONFLICT DO NOTHING \
         ), empty_logs AS ( \
           UPDATE logs SET complete = TRUE \
           FROM unnest($16::text[], $22::text[], $29::bigint[], $31::text[]) AS ended (claim, status, bytes, sha256) \
           WHERE logs.run_id = $1 AND logs.claim = ended.claim AND status <> 'running' \
             AND sha256 <> '' AND bytes = 0 AND NOT complete AND ",
            $holds,
            "), not_ready AS ( \
           DELETE FROM ready WHERE run_id = $1 AND call <> ALL ($34::text[]) AND ",
            $holds,
            "), now_ready AS ( \
           INSERT INTO ready (run_id, call, since) SELECT $1, new.* \
           FROM unnest($34::text[], $35::bigint[]) AS new (call, since) WHERE ",
            $holds,
            " ON CONFLICT (run_id, call) DO UPDATE SET since = excluded.since \
             WHERE ready.since <> excluded.since AND (ready.since > $36 OR excluded.since > $36) \
         ) "
        )
    };
}

/// What changes of a run itself, from `$37` on; `$48` is the hash of the event that it follows: a number alone could be that
/// of another event, in a database that has lost some.
macro_rules! head_of_a_run {
    () => {
        "UPDATE runs SET status = $37, generation = $38, held = $39, permit = $40, permit_at = $41, waits = $42, \
                         rollback = $43, started_at = $44, finished_at = $45, seq = $46, head = $47 \
         WHERE id = $1 AND head = $48"
    };
}

/// A new run; `$tell` writes what it tells people, `$60`, where it does.
macro_rules! new_run {
    ($tell:expr) => {
        concat!(
            "WITH ",
            rows_of_a_run!("TRUE"),
            $tell,
            "INSERT INTO runs (id, status, generation, held, permit, permit_at, waits, rollback, started_at, finished_at, \
                               seq, head, name, trigger, actor, key, parent, parent_step, params, definition, grp, \
                               priority, created_at, schedule) \
             VALUES ($1, $37, $38, $39, $40, $41, $42, $43, $44, $45, $46, $47, \
                     $48, $49, $50, $51, $52, $53, $54, $55, $56, $57, $58, $59)"
        )
    };
}

/// What a commit tells people, as one JSON text: in its own statement, so that a commit that tells nothing is as it was.
macro_rules! told {
    ($notices:literal, $holds:literal) => {
        concat!(
            ", new_notices AS (",
            into_notices!(),
            "jsonb_array_elements(",
            $notices,
            "::text::jsonb) AS item (value) WHERE ",
            $holds,
            " AND ",
            are_news!(),
            " ON CONFLICT DO NOTHING) "
        )
    };
}

/// All of it, or nothing, if the run has moved on or it is not about that time (`$36`, in milliseconds).
macro_rules! at_once {
    ($tell:expr) => {
        concat!(
            "WITH clock AS (SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now), head AS (",
            head_of_a_run!(),
            " AND abs((SELECT now FROM clock) - $36) <= 100 RETURNING id), ",
            rows_of_a_run!("EXISTS (SELECT FROM head)"),
            $tell,
            "SELECT now, EXISTS (SELECT FROM head) FROM clock"
        )
    };
}

const NEW_RUN: [&str; 2] = [new_run!(""), new_run!(told!("$60", "TRUE"))];
/// Of a run that is locked.
const CHANGES: [&str; 2] = [
    concat!("WITH ", rows_of_a_run!("TRUE"), head_of_a_run!()),
    concat!("WITH ", rows_of_a_run!("TRUE"), told!("$49", "TRUE"), head_of_a_run!()),
];
/// Of a run that is not.
const CHANGES_AT_ONCE: [&str; 2] = [at_once!(""), at_once!(told!("$49", "EXISTS (SELECT FROM head)"))];

type Statement = Query<'static, sqlx::Postgres, PgArguments>;

/// The notices of a commit as one JSON text, if there are any.
struct Told(Option<String>);

impl Told {
    fn of(view: &RunView, events: &[Linked]) -> Told {
        let notices = outbox::notices_of(&view.state, events);
        Told((!notices.is_empty()).then(|| stored(&outbox::rows(&notices)).into_owned()))
    }

    fn statement(&self, texts: [&'static str; 2]) -> Statement {
        sqlx::query(texts[usize::from(self.0.is_some())])
    }

    /// Its value comes last.
    fn bind(self, statement: Statement) -> Statement {
        match self.0 {
            Some(notices) => statement.bind(notices),
            None => statement,
        }
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
    events: &[Linked],
    now: i64,
) -> Result<(), sqlx::Error> {
    let (row, told) = (rows::run_row(&view.state), Told::of(view, events));
    let statement = head(below(told.statement(NEW_RUN), view, events, now), &row, view);
    let statement = statement
        .bind(stored(&row.name).into_owned())
        .bind(stored(&row.trigger).into_owned())
        .bind(stored(&row.actor).into_owned())
        .bind(maybe(row.key.as_deref()))
        .bind(row.parent.map(|parent| parent.0))
        .bind(maybe(row.parent_step.as_deref()))
        .bind(json(&row.params))
        .bind(row.definition)
        .bind(maybe(row.group.as_deref()))
        .bind(row.priority as i64)
        .bind(row.created_at)
        .bind(maybe(row.schedule.as_deref()));
    told.bind(statement).execute(connection).await?;
    Ok(())
}

/// Events of a run that exists, and what they change. `after`: the hash of the event before them.
pub(super) async fn changes(
    connection: &mut PgConnection,
    view: &mut RunView,
    after: &str,
    events: &[Linked],
    now: i64,
) -> Result<(), ReadError> {
    let (row, told) = (rows::run_row(&view.state), Told::of(view, events));
    let statement = head(below(told.statement(CHANGES), view, events, now), &row, view).bind(after.to_owned());
    if told.bind(statement).execute(connection).await?.rows_affected() != 1 {
        let message = format!("run {} moved on while its row was locked", row.id);
        return Err(LedgerError::Other(message).into());
    }
    Ok(())
}

/// As [`changes`], without a lock and outside of a transaction: the server's clock, and whether it was written.
pub(super) async fn at_once(
    connection: &mut PgConnection,
    view: &mut RunView,
    after: &str,
    events: &[Linked],
    now: i64,
) -> Result<(i64, bool), sqlx::Error> {
    let (row, told) = (rows::run_row(&view.state), Told::of(view, events));
    let statement = head(below(told.statement(CHANGES_AT_ONCE), view, events, now), &row, view);
    let answer = told.bind(statement.bind(after.to_owned())).fetch_one(connection).await?;
    Ok((answer.try_get(0)?, answer.try_get(1)?))
}

/// `$37` to `$47`: what changes of a run.
fn head(statement: Statement, row: &RunRow, view: &RunView) -> Statement {
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
        .bind(view.head.clone())
}

/// `$1` to `$36`: the run's id, its events, the rows that they touched, and where it can go on from this moment.
fn below(statement: Statement, view: &mut RunView, events: &[Linked], now: i64) -> Statement {
    let touched = view.state.take_touched();
    let state = &view.state;
    let steps: Vec<StepRow> = touched.iter().filter_map(|unit| rows::step_row(state, *unit)).collect();
    let attempts: Vec<AttemptRow> = touched.iter().flat_map(|unit| rows::recent_attempt_rows(state, *unit)).collect();
    let statement = steps_of(events_of(statement.bind(state.id.0.clone()), events), &steps);
    calls_of(attempts_of(statement, &attempts), calls(state), now)
}

fn events_of(statement: Statement, events: &[Linked]) -> Statement {
    statement
        .bind(column(events, |(event, _)| event.recorded.seq as i64))
        .bind(column(events, |(event, _)| event.recorded.at))
        .bind(column(events, |(event, _)| stored(&event.recorded.actor).into_owned()))
        .bind(column(events, |(event, _)| event.recorded.event.kind()))
        .bind(column(events, |(_, body)| body.clone()))
        .bind(column(events, |(event, _)| event.hash.clone()))
}

fn steps_of(statement: Statement, steps: &[StepRow]) -> Statement {
    statement
        .bind(column(steps, |step| stored(&step.unit).into_owned()))
        .bind(column(steps, |step| i64::from(step.position)))
        .bind(column(steps, |step| step.status.clone()))
        .bind(column(steps, |step| i64::from(step.attempts)))
        .bind(column(steps, |step| step.started_at))
        .bind(column(steps, |step| step.ended_at))
        .bind(column(steps, |step| maybe(step.error.as_deref())))
        .bind(column(steps, |step| json(&step.outputs)))
}

fn attempts_of(statement: Statement, attempts: &[AttemptRow]) -> Statement {
    statement
        .bind(column(attempts, |attempt| attempt.claim.clone()))
        .bind(column(attempts, |attempt| stored(&attempt.unit).into_owned()))
        .bind(column(attempts, |attempt| i64::from(attempt.attempt)))
        .bind(column(attempts, |attempt| i64::from(attempt.generation)))
        .bind(column(attempts, |attempt| stored(&attempt.session).into_owned()))
        .bind(column(attempts, |attempt| stored(&attempt.watched_by).into_owned()))
        .bind(column(attempts, |attempt| attempt.status.clone()))
        .bind(column(attempts, |attempt| attempt.claimed_at))
        .bind(column(attempts, |attempt| attempt.started_at))
        .bind(column(attempts, |attempt| attempt.ended_at))
        .bind(column(attempts, |attempt| attempt.code))
        .bind(column(attempts, |attempt| attempt.signal))
        .bind(column(attempts, |attempt| maybe(attempt.error.as_deref())))
        .bind(column(attempts, |attempt| attempt.log_bytes as i64))
        .bind(column(attempts, |attempt| attempt.log_dropped as i64))
        .bind(column(attempts, |attempt| attempt.log_sha256.clone()))
        .bind(column(attempts, |attempt| attempt.home.clone()))
        .bind(column(attempts, |attempt| maybe(attempt.host.as_deref())))
}

/// All of them, changed or not: what is there is compared with them where it is, so a row that was put off comes up, and
/// no row stays that another version wrote for another reason.
fn calls_of(statement: Statement, calls: BTreeMap<String, i64>, now: i64) -> Statement {
    let (calls, since): (Vec<String>, Vec<i64>) = calls.into_iter().unzip();
    statement.bind(calls).bind(since).bind(now)
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
