//! Reading rows and events: the same words for SQLite and Postgres. Part of both ([`crate::sql`]).

use std::collections::BTreeMap;

use runward_engine::plan::{Definition, Seal, definition};
use runward_engine::run::group::{Member, Permit, Priority};
use runward_engine::run::ids::split_unit_name;
use runward_engine::run::rows::{AttemptRow, RunRow, StepRow};
use runward_engine::run::{Recorded, RolledBack, RunId};
use serde_json::{Map, Value};
use sqlx::Row as _;

use super::{Connection, Row, shown, stored};
use crate::anchor::Head;
use crate::error::LedgerError;
use crate::ledger::{Compared, RunQuery, RunView, StoredEvent};
use crate::sql::ReadError;

const RUN_COLUMNS: &str = "SELECT id, name, status, generation, held, waits, rollback, trigger, actor, key, parent, \
     parent_step, params, definition, grp, permit, permit_at, priority, schedule, created_at, started_at, finished_at, seq \
     FROM runs";

pub(super) async fn load(connection: &mut Connection, run: &RunId) -> Result<RunView, ReadError> {
    let hash: Option<String> = sqlx::query_scalar("SELECT definition FROM runs WHERE id = $1")
        .bind(&run.0)
        .fetch_optional(&mut *connection)
        .await?;
    let hash = hash.ok_or_else(|| LedgerError::NoSuchRun(run.clone()))?;
    let mut view = RunView::empty(run, &definition(connection, &hash).await?)?;
    let (events, bodies) = events(connection, run, 0).await?;
    view.fold(events, &bodies)?;
    Ok(view)
}

/// Brings a view up to date, and says what was new.
pub(super) async fn catch_up(connection: &mut Connection, view: &mut RunView) -> Result<Vec<Recorded>, ReadError> {
    let id = view.state.id.clone();
    if view.stale {
        reload(connection, view).await?;
        return Ok(Vec::new());
    }
    let last: Option<(i64, String)> =
        sqlx::query_as("SELECT seq, head FROM runs WHERE id = $1").bind(&id.0).fetch_optional(&mut *connection).await?;
    let (seq, head) = last.ok_or_else(|| LedgerError::NoSuchRun(id.clone()))?;
    tail(connection, view, seq as u64, &head).await
}

/// What the ledger has, for a view that may be ahead of it. What it had acknowledged has to be in there.
pub(super) async fn reload(connection: &mut Connection, view: &mut RunView) -> Result<(), ReadError> {
    let run = view.state.id.clone();
    let (known, head) = view.acknowledged.clone();
    *view = load(connection, &run).await?;
    let hash: Option<String> = sqlx::query_scalar("SELECT hash FROM events WHERE run_id = $1 AND seq = $2")
        .bind(&run.0)
        .bind(known as i64)
        .fetch_optional(connection)
        .await?;
    if known > 0 && hash.as_ref() != Some(&head) {
        return Err(LedgerError::GoneBack { run, known, seq: view.state.seq }.into());
    }
    Ok(())
}

/// As [`catch_up`], of a view that is not stale, where the last event is known to be `seq`, with the hash `head`.
pub(super) async fn tail(
    connection: &mut Connection,
    view: &mut RunView,
    seq: u64,
    head: &str,
) -> Result<Vec<Recorded>, ReadError> {
    let id = view.state.id.clone();
    match view.compared_with(seq, head) {
        Compared::Same => return Ok(Vec::new()),
        Compared::Behind => {}
        Compared::Ahead => return Err(view.ahead_of(seq).into()),
    }
    let (events, bodies) = events(connection, &id, view.state.seq).await?;
    let news = events.iter().map(|event| event.recorded.clone()).collect();
    let next = view.state.seq + 1;
    match view.fold(events, &bodies) {
        // What is known is not what is before it there. If that was changed by hand, whoever reads all of it finds it.
        Err(LedgerError::Tampered { seq: at, .. }) if at == next => Err(view.ahead_of(seq).into()),
        done => Ok(done.map(|()| news)?),
    }
}

pub(super) async fn events(
    connection: &mut Connection,
    run: &RunId,
    after: u64,
) -> Result<(Vec<StoredEvent>, Vec<String>), ReadError> {
    let sql = "SELECT seq, at, actor, body, hash FROM events WHERE run_id = $1 AND seq > $2 ORDER BY seq";
    let rows = sqlx::query(sql).bind(&run.0).bind(after as i64).fetch_all(connection).await?;
    rows.iter().map(|row| event(row, run)).collect()
}

/// An event of this run, and what it was made of.
pub(super) fn event(row: &Row, run: &RunId) -> Result<(StoredEvent, String), ReadError> {
    let body: String = row.try_get("body")?;
    let seq = row.try_get::<i64, _>("seq")? as u64;
    let event = serde_json::from_str(&body).map_err(|error| LedgerError::Tampered {
        run: run.clone(),
        seq,
        message: format!("its body cannot be read: {error}"),
    })?;
    let recorded = Recorded { seq, at: row.try_get("at")?, actor: text(row, "actor")?, event };
    Ok((StoredEvent { recorded, hash: row.try_get("hash")? }, body))
}

/// Where the chain of each run ends.
pub(super) async fn heads(connection: &mut Connection) -> Result<BTreeMap<RunId, Head>, sqlx::Error> {
    let rows: Vec<(String, i64, String)> =
        sqlx::query_as("SELECT id, seq, head FROM runs").fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(id, seq, hash)| (RunId(id), Head { seq: seq as u64, hash })).collect())
}

/// The runs whose id starts or ends with this.
pub(super) async fn find(connection: &mut Connection, part: &str) -> Result<Vec<RunId>, sqlx::Error> {
    let sql = "SELECT id FROM runs WHERE substr(id, 1, length($1)) = $1 \
               OR substr(id, length(id) - length($1) + 1) = $1 ORDER BY id";
    let ids: Vec<String> = sqlx::query_scalar(sql).bind(stored(part)).fetch_all(connection).await?;
    Ok(ids.into_iter().map(RunId).collect())
}

/// The content of a pinned file.
pub(super) async fn blob(connection: &mut Connection, sha256: &str) -> Result<Vec<u8>, ReadError> {
    let bytes: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT bytes FROM blobs WHERE sha256 = $1").bind(sha256).fetch_optional(connection).await?;
    let bytes = bytes.ok_or_else(|| LedgerError::NoSuchDefinition(sha256.to_owned()))?;
    if definition::sha256(&bytes) != sha256 {
        return Err(LedgerError::ChangedFile { sha256: sha256.to_owned() }.into());
    }
    Ok(bytes)
}

pub(super) async fn definition(connection: &mut Connection, hash: &str) -> Result<Definition, ReadError> {
    let body: Option<String> = sqlx::query_scalar("SELECT body FROM definitions WHERE hash = $1")
        .bind(hash)
        .fetch_optional(connection)
        .await?;
    let body = body.ok_or_else(|| LedgerError::NoSuchDefinition(hash.to_owned()))?;
    let definition: Definition =
        serde_json::from_str(&body).map_err(|error| unreadable(hash, format!("cannot be read: {error}")))?;
    if definition.hash() != hash {
        return Err(unreadable(hash, "was changed after it was recorded".to_owned()).into());
    }
    Ok(definition)
}

pub(super) async fn seal(connection: &mut Connection) -> Result<Seal, sqlx::Error> {
    let key: Vec<u8> = sqlx::query_scalar("SELECT key FROM seal").fetch_one(connection).await?;
    let key = key.try_into().map_err(|_| sqlx::Error::Protocol("the key of the ledger has another length".into()))?;
    Ok(Seal::new(key))
}

fn unreadable(hash: &str, message: String) -> LedgerError {
    LedgerError::Unreadable { hash: hash.to_owned(), message }
}

pub(super) async fn runs(connection: &mut Connection, query: &RunQuery) -> Result<Vec<RunRow>, sqlx::Error> {
    // Said plainly, so that an index answers.
    let name = if query.name.is_some() { "name = $1" } else { "$1 IS NULL" };
    let key = if query.key.is_some() { "key = $4" } else { "$4 IS NULL" };
    let unfinished = if query.unfinished { "$2 AND finished_at IS NULL" } else { "NOT $2" };
    let without_children = if query.without_children { "$3 AND parent IS NULL" } else { "NOT $3" };
    let limit = query.limit.map_or(i64::MAX, i64::from);
    let sql = format!(
        "{RUN_COLUMNS} WHERE {name} AND {key} AND {unfinished} AND {without_children} ORDER BY id DESC LIMIT {limit}"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(query.name.as_deref().map(stored))
        .bind(query.unfinished)
        .bind(query.without_children)
        .bind(query.key.as_deref().map(stored))
        .fetch_all(connection)
        .await?;
    rows.iter().map(run_of).collect()
}

/// The runs that hold a permit of a group, and those that wait for one, by their turn.
pub(super) async fn members(connection: &mut Connection, group: &str) -> Result<Vec<Member>, sqlx::Error> {
    let sql = "SELECT id, name, actor, status, held, priority, permit, permit_at, created_at FROM runs \
               WHERE grp = $1 AND permit IS NOT NULL";
    let rows = sqlx::query(sql).bind(stored(group)).fetch_all(connection).await?;
    let mut members: Vec<Member> =
        rows.iter().filter_map(|row| member_of(row).transpose()).collect::<Result<_, _>>()?;
    members.sort_by_key(Member::order);
    Ok(members)
}

fn member_of(row: &Row) -> Result<Option<Member>, sqlx::Error> {
    let Some(permit) = permit(row)? else { return Ok(None) };
    let taken_at: Option<i64> = row.try_get("permit_at")?;
    Ok(Some(Member {
        run: RunId(row.try_get("id")?),
        name: text(row, "name")?,
        actor: text(row, "actor")?,
        status: row.try_get("status")?,
        held: row.try_get("held")?,
        priority: priority(row)?,
        permit,
        since: taken_at.map_or_else(|| row.try_get("created_at"), Ok)?,
    }))
}

fn permit(row: &Row) -> Result<Option<Permit>, sqlx::Error> {
    let word: Option<String> = row.try_get("permit")?;
    Ok(word.map(|word| if word == Permit::Holds.as_str() { Permit::Holds } else { Permit::Waits }))
}

fn priority(row: &Row) -> Result<Priority, sqlx::Error> {
    let at: i64 = row.try_get("priority")?;
    Ok(usize::try_from(at).ok().and_then(|at| Priority::ALL.get(at)).copied().unwrap_or_default())
}

/// The rows of one run: steps in file order, attempts by time. Within a transaction that sees one moment.
pub(super) async fn rows(
    connection: &mut Connection,
    id: &RunId,
) -> Result<(RunRow, Vec<StepRow>, Vec<AttemptRow>), ReadError> {
    let row = run(connection, id).await?.ok_or_else(|| LedgerError::NoSuchRun(id.clone()))?;
    let steps = steps(connection, id).await?;
    let attempts = attempts(connection, id).await?;
    Ok((row, steps, attempts))
}

pub(super) async fn run(connection: &mut Connection, run: &RunId) -> Result<Option<RunRow>, sqlx::Error> {
    let sql = format!("{RUN_COLUMNS} WHERE id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&run.0).fetch_optional(connection).await?;
    row.as_ref().map(run_of).transpose()
}

pub(super) async fn steps(connection: &mut Connection, run: &RunId) -> Result<Vec<StepRow>, sqlx::Error> {
    let sql = "SELECT unit, position, status, attempts, started_at, ended_at, error, outputs FROM steps \
               WHERE run_id = $1";
    let rows = sqlx::query(sql).bind(&run.0).fetch_all(connection).await?;
    let rows: Result<Vec<StepRow>, sqlx::Error> = rows
        .iter()
        .map(|row| {
            Ok(StepRow {
                unit: text(row, "unit")?,
                position: number(row, "position")?,
                status: row.try_get("status")?,
                attempts: number(row, "attempts")?,
                started_at: row.try_get("started_at")?,
                ended_at: row.try_get("ended_at")?,
                error: maybe(row, "error")?,
                outputs: map(row, "outputs")?,
            })
        })
        .collect();
    // In file order, each step followed by its items, and these by their parts: no order of texts.
    let place = |row: &StepRow| (row.position, split_unit_name(&row.unit).map(|(_, item, part)| (item, part)));
    rows.map(|mut rows| {
        rows.sort_by_key(place);
        rows
    })
}

pub(super) async fn attempts(connection: &mut Connection, run: &RunId) -> Result<Vec<AttemptRow>, sqlx::Error> {
    let sql = "SELECT claim, unit, attempt, generation, session, watched_by, status, claimed_at, started_at, ended_at, code, signal, \
               error, log_bytes, log_dropped, log_sha256, home, host FROM attempts WHERE run_id = $1 ORDER BY claimed_at, claim";
    let rows = sqlx::query(sql).bind(&run.0).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            Ok(AttemptRow {
                claim: row.try_get("claim")?,
                unit: text(row, "unit")?,
                attempt: number(row, "attempt")?,
                generation: number(row, "generation")?,
                session: text(row, "session")?,
                watched_by: text(row, "watched_by")?,
                home: row.try_get("home")?,
                host: maybe(row, "host")?,
                status: row.try_get("status")?,
                claimed_at: row.try_get("claimed_at")?,
                started_at: row.try_get("started_at")?,
                ended_at: row.try_get("ended_at")?,
                code: row.try_get("code")?,
                signal: row.try_get("signal")?,
                error: maybe(row, "error")?,
                log_bytes: row.try_get::<i64, _>("log_bytes")? as u64,
                log_dropped: row.try_get::<i64, _>("log_dropped")? as u64,
                log_sha256: row.try_get("log_sha256")?,
            })
        })
        .collect()
}

fn run_of(row: &Row) -> Result<RunRow, sqlx::Error> {
    Ok(RunRow {
        id: RunId(row.try_get("id")?),
        name: text(row, "name")?,
        status: row.try_get("status")?,
        generation: number(row, "generation")?,
        held: row.try_get("held")?,
        waits: maybe(row, "waits")?,
        rollback: rolled_back(row)?,
        trigger: text(row, "trigger")?,
        schedule: maybe(row, "schedule")?,
        actor: text(row, "actor")?,
        key: maybe(row, "key")?,
        parent: row.try_get::<Option<String>, _>("parent")?.map(RunId),
        parent_step: maybe(row, "parent_step")?,
        params: map(row, "params")?,
        definition: row.try_get("definition")?,
        group: maybe(row, "grp")?,
        permit: permit(row)?,
        permit_at: row.try_get("permit_at")?,
        priority: priority(row)?,
        created_at: row.try_get("created_at")?,
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
        seq: row.try_get::<i64, _>("seq")? as u64,
    })
}

fn rolled_back(row: &Row) -> Result<RolledBack, sqlx::Error> {
    let word: String = row.try_get("rollback")?;
    serde_json::from_value(word.into())
        .map_err(|error| sqlx::Error::ColumnDecode { index: "rollback".to_owned(), source: Box::new(error) })
}

fn text(row: &Row, column: &str) -> Result<String, sqlx::Error> {
    row.try_get(column).map(shown)
}

fn maybe(row: &Row, column: &str) -> Result<Option<String>, sqlx::Error> {
    Ok(row.try_get::<Option<String>, _>(column)?.map(shown))
}

fn number(row: &Row, column: &str) -> Result<u32, sqlx::Error> {
    Ok(row.try_get::<i64, _>(column)? as u32)
}

/// A row is only a picture of the events: one that somebody spoiled must keep nobody from reading all others. No name has
/// parentheses, so whoever compares it with the events finds it.
fn map(row: &Row, column: &str) -> Result<Map<String, Value>, sqlx::Error> {
    let text: String = row.try_get(column)?;
    Ok(serde_json::from_str(&text).unwrap_or_else(|_| Map::from_iter([("(unreadable)".to_owned(), text.into())])))
}
