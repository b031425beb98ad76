//! Schedules and ticks: what is asked and written of them.
//!
//! Many rows go as one JSON text, so that a batch is as many statements as it has kinds of rows, and the statements are the
//! same for any size. Part of SQLite's ledger and of Postgres' ([`crate::sql`]), within a transaction where it writes.

use std::collections::{BTreeMap, BTreeSet};

use runward_engine::run::{HomeId, RunId};
use runward_engine::schedule::entry::{Overlap, Tick};
use serde_json::{Value, json};
use sqlx::Row as _;

use super::{Connection, Row, prune, shown, stored};
use crate::administration::AdminEvent;
use crate::error::LedgerError;
use crate::sql::ReadError;
use crate::timetable::ruling::{self, Ruling, Sheet};
use crate::timetable::{Decision, Disabled, Entry, Order, Outcome, Post, ScheduleRow, Standing, TickRow, Waiting};

/// The name of a schedule among many rows.
const NAMES: &str = concat!("(SELECT item.value ->> 'name' FROM ", items!(), ")");
/// A tick among many rows.
const ITS_TICK: &str = "ticks.schedule = item.value ->> 'name' AND ticks.nominal = item.value ->> 'nominal' \
                        AND ticks.zone = item.value ->> 'zone' AND ticks.fold = CAST(item.value ->> 'fold' AS BIGINT)";
const TICK: &str = "ticks.schedule, ticks.nominal, ticks.zone, ticks.fold, ticks.at, ticks.spec, ticks.decided_at, \
                    ticks.outcome, ticks.run_id, ticks.reason, ticks.count";
const STANDING: &str = "name, schedule_specs.definition, schedule_specs.cursor, schedules.disabled_at, \
                        schedules.disabled_by, schedules.disabled_reason";

fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: BTreeSet<&str> = names.into_iter().collect();
    Value::from_iter(names.into_iter().map(|name| json!({"name": name}))).to_string()
}

fn places<'a>(ticks: impl IntoIterator<Item = (&'a str, &'a Tick)>) -> String {
    let place = |(name, tick): (&str, &Tick)| json!({"name": name, "nominal": tick.nominal, "zone": tick.zone, "fold": tick.fold});
    Value::from_iter(ticks.into_iter().map(place)).to_string()
}

/// What is known of the schedules of these orders. From here to the end of the transaction nobody else decides for them.
pub(super) async fn sheets(
    connection: &mut Connection,
    home: &HomeId,
    orders: &[Order],
) -> Result<BTreeMap<String, Sheet>, sqlx::Error> {
    let all = names(orders.iter().map(|order| order.entry.name.as_str()));
    let mut sheets = locked(connection, &all).await?;
    let sql = format!(
        "SELECT posted.name, posted.spec, cursor FROM posted JOIN schedule_specs ON schedule_specs.name = posted.name \
         AND schedule_specs.spec = posted.spec WHERE home = $2 AND posted.name IN {NAMES}"
    );
    for row in asked(connection, &sql, &all, Some(&home.0)).await? {
        let name: String = row.try_get("name")?;
        let posted = Some((row.try_get("spec")?, row.try_get("cursor")?));
        sheets.entry(name).and_modify(|sheet| sheet.posted = posted);
    }
    let exclusive = |order: &&Order| order.entry.schedule.overlap != Overlap::Allow;
    let exclusive = names(orders.iter().filter(exclusive).map(|order| order.entry.name.as_str()));
    let sql = format!(
        "SELECT schedule, max(id) AS id FROM runs WHERE schedule IN {NAMES} AND finished_at IS NULL GROUP BY schedule"
    );
    for row in asked(connection, &sql, &exclusive, None).await? {
        let name: String = row.try_get("schedule")?;
        let run = Some(RunId(row.try_get("id")?));
        sheets.entry(name).and_modify(|sheet| sheet.unfinished = run);
    }
    let ticks = places(orders.iter().map(|order| (order.entry.name.as_str(), order.decision.tick())));
    for (row, _) in decided(connection, &ticks).await? {
        sheets.entry(row.schedule).and_modify(|sheet| {
            sheet.ticks.insert(row.tick.key(), row.outcome);
        });
    }
    for order in orders {
        if let Decision::SkipMany { first, last, .. } = &order.decision {
            let taken = taken(connection, &order.entry.name, first.at, last.at).await?;
            sheets.entry(order.entry.name.clone()).and_modify(|sheet| sheet.taken.extend(taken));
        }
    }
    for (row, spec) in waits(connection, &exclusive).await? {
        if let Outcome::Waits { run } = row.outcome {
            sheets.entry(row.schedule).and_modify(|sheet| sheet.waiting.push((row.tick, run, spec)));
        }
    }
    Ok(sheets)
}

/// When the first tick of a schedule comes that has a row, between these moments.
async fn taken(connection: &mut Connection, name: &str, from: i64, to: i64) -> Result<Option<i64>, sqlx::Error> {
    let sql = "SELECT min(at) FROM ticks WHERE schedule = $1 AND at BETWEEN $2 AND $3";
    sqlx::query_scalar(sql).bind(stored(name)).bind(from).bind(to).fetch_one(connection).await
}

/// The groups whose queue decides about one of these runs, in one order.
pub(super) fn groups(orders: &[Order]) -> BTreeSet<String> {
    let group = |order: &Order| match &order.decision {
        Decision::Fire { new, .. } => {
            new.group.as_ref().filter(|group| group.when_busy.waits()).map(|group| group.name.clone())
        }
        _ => None,
    };
    orders.iter().filter_map(group).collect()
}

async fn locked(connection: &mut Connection, names: &str) -> Result<BTreeMap<String, Sheet>, sqlx::Error> {
    let sql = format!(
        "SELECT name, disabled_at, disabled_by, disabled_reason FROM schedules WHERE name IN {NAMES} ORDER BY name{}",
        locked!("schedules")
    );
    let rows = asked(connection, &sql, names, None).await?;
    rows.iter().map(|row| Ok((row.try_get("name")?, Sheet { disabled: disabled(row)?, ..Sheet::default() }))).collect()
}

/// The rows of these ticks, as far as there are any.
async fn decided(connection: &mut Connection, ticks: &str) -> Result<Vec<(TickRow, String)>, sqlx::Error> {
    let sql = format!("SELECT {TICK} FROM {} JOIN ticks ON {ITS_TICK}", items!());
    asked(connection, &sql, ticks, None).await?.iter().map(tick_row).collect()
}

/// The ticks of these schedules that wait, the oldest first.
async fn waits(connection: &mut Connection, names: &str) -> Result<Vec<(TickRow, String)>, sqlx::Error> {
    let sql = format!(
        "SELECT {TICK} FROM ticks WHERE schedule IN {NAMES} AND outcome = 'waits' ORDER BY schedule, at, nominal"
    );
    asked(connection, &sql, names, None).await?.iter().map(tick_row).collect()
}

pub(super) async fn undecided(connection: &mut Connection, ticks: &[(Entry, Tick)]) -> Result<Vec<bool>, sqlx::Error> {
    let asked = places(ticks.iter().map(|(entry, tick)| (entry.name.as_str(), tick)));
    let rows = decided(connection, &asked).await?;
    let there: BTreeSet<(String, String)> = rows.into_iter().map(|(row, _)| (row.schedule, row.tick.key())).collect();
    Ok(ticks.iter().map(|(entry, tick)| !there.contains(&(entry.name.clone(), tick.key()))).collect())
}

/// Writes everything but the runs. The ledger's own record comes last: nobody waits for it longer than for that.
pub(super) async fn write(connection: &mut Connection, ruling: &Ruling) -> Result<(), sqlx::Error> {
    if !ruling.rows.is_empty() {
        let rows = Value::from_iter(ruling.rows.iter().map(|(row, spec)| row_of(row, spec))).to_string();
        let sql = concat!(
            "INSERT INTO ticks (schedule, nominal, zone, fold, at, spec, decided_at, outcome, run_id, reason, count) \
             SELECT item.value ->> 'name', item.value ->> 'nominal', item.value ->> 'zone', \
             CAST(item.value ->> 'fold' AS BIGINT), CAST(item.value ->> 'at' AS BIGINT), item.value ->> 'spec', \
             CAST(item.value ->> 'decided_at' AS BIGINT), item.value ->> 'outcome', item.value ->> 'run', \
             item.value ->> 'reason', CAST(item.value ->> 'count' AS BIGINT) FROM ",
            items!(),
            " WHERE TRUE ON CONFLICT (schedule, nominal, zone, fold) DO UPDATE SET decided_at = excluded.decided_at, \
             outcome = excluded.outcome, run_id = excluded.run_id, reason = excluded.reason WHERE ticks.outcome = 'waits'"
        );
        let written = sqlx::query(sql).bind(rows).execute(&mut *connection).await?.rows_affected();
        if written != ruling.rows.len() as u64 {
            return Err(sqlx::Error::Protocol("a tick was decided while its schedule was locked".to_owned()));
        }
    }
    passed(connection, &ruling.passed).await?;
    Ok(())
}

/// What was skipped, on the ledger's own record.
pub(super) async fn record(
    connection: &mut Connection,
    ruling: &Ruling,
    now: i64,
    actor: &str,
) -> Result<(), sqlx::Error> {
    if !ruling.skipped.is_empty() {
        let event = AdminEvent::TicksSkipped { ticks: ruling.skipped.clone() };
        prune::append(connection, &event, now, actor).await?;
    }
    Ok(())
}

fn row_of(row: &TickRow, spec: &str) -> Value {
    let (outcome, run, reason, count) = match &row.outcome {
        Outcome::Run { run } => ("run", Some(&run.0), None, 1),
        Outcome::Waits { run } => ("waits", Some(&run.0), None, 1),
        Outcome::Skipped { reason, count } => ("skipped", None, Some(stored(reason)), *count),
    };
    json!({
        "name": row.schedule, "nominal": row.tick.nominal, "zone": row.tick.zone, "fold": row.tick.fold,
        "at": row.tick.at, "spec": spec, "decided_at": row.decided_at, "outcome": outcome, "run": run,
        "reason": reason, "count": count,
    })
}

/// As [`passed`] takes them: the name and the spec of a schedule, and up to when its ticks are decided.
pub(super) fn cursors(entries: &[(Entry, i64)]) -> Vec<(String, String, i64)> {
    entries.iter().map(|(entry, to)| (entry.name.clone(), entry.schedule.spec(), *to)).collect()
}

/// Moves cursors, and none of them back. In one order, so that two who move the same ones do not wait in a circle.
pub(super) async fn passed(
    connection: &mut Connection,
    cursors: &[(String, String, i64)],
) -> Result<bool, sqlx::Error> {
    if cursors.is_empty() {
        return Ok(false);
    }
    let of = |(name, spec, to): &(String, String, i64)| json!({"name": name, "spec": spec, "to": to});
    let cursors = Value::from_iter(cursors.iter().map(of)).to_string();
    let behind = concat!(
        "SELECT 1 FROM ",
        items!(),
        " JOIN schedule_specs ON name = item.value ->> 'name' AND spec = item.value ->> 'spec' \
         WHERE cursor < CAST(item.value ->> 'to' AS BIGINT) ORDER BY name, spec",
        locked!("schedule_specs")
    );
    if asked(connection, behind, &cursors, None).await?.is_empty() {
        return Ok(false);
    }
    let sql = concat!(
        "UPDATE schedule_specs SET cursor = CAST(item.value ->> 'to' AS BIGINT) FROM ",
        items!(),
        " WHERE name = item.value ->> 'name' AND spec = item.value ->> 'spec' \
         AND cursor < CAST(item.value ->> 'to' AS BIGINT)"
    );
    Ok(sqlx::query(sql).bind(cursors).execute(connection).await?.rows_affected() > 0)
}

/// Whether this home posts anything else than these entries.
pub(super) async fn differs(
    connection: &mut Connection,
    home: &HomeId,
    host: &str,
    entries: &[Entry],
) -> Result<bool, sqlx::Error> {
    Ok(!Change::to(connection, home, host, entries).await?.touched.is_empty())
}

/// What changes of what a home posts.
struct Change<'a> {
    /// Every name that is new, gone, or not what it was.
    touched: BTreeSet<String>,
    /// Those of them that stay, or come, with their specs.
    entries: Vec<(&'a Entry, String)>,
}

impl<'a> Change<'a> {
    async fn to(
        connection: &mut Connection,
        home: &HomeId,
        host: &str,
        entries: &'a [Entry],
    ) -> Result<Change<'a>, sqlx::Error> {
        let sql = "SELECT name, spec, host, broken FROM posted WHERE home = $1";
        let mut before = BTreeMap::new();
        for row in sqlx::query(sql).bind(&home.0).fetch_all(connection).await? {
            let broken: Option<String> = row.try_get("broken")?;
            let what: (String, String, Option<String>) =
                (row.try_get("spec")?, row.try_get("host").map(shown)?, broken.map(shown));
            before.insert(row.try_get::<String, _>("name")?, what);
        }
        let mut change = Change { touched: BTreeSet::new(), entries: Vec::new() };
        let by_name: BTreeMap<&str, &Entry> = entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
        for entry in by_name.into_values() {
            let spec = entry.schedule.spec();
            let what = (spec.clone(), host.to_owned(), entry.broken.clone());
            if before.remove(&entry.name) != Some(what) {
                change.touched.insert(entry.name.clone());
                change.entries.push((entry, spec));
            }
        }
        change.touched.extend(before.into_keys());
        Ok(change)
    }
}

/// Within a transaction in which nobody else posts. What has to be skipped comes back, written.
pub(super) async fn post(
    connection: &mut Connection,
    home: &HomeId,
    host: &str,
    entries: &[Entry],
    now: i64,
) -> Result<Ruling, sqlx::Error> {
    let change = Change::to(connection, home, host, entries).await?;
    let touched = names(change.touched.iter().map(String::as_str));
    let of = |(entry, spec): &(&Entry, String)| {
        let definition = serde_json::to_string(&entry.schedule).expect("a schedule is plain data with string keys");
        json!({
            "name": entry.name, "spec": spec, "definition": stored(&definition),
            "offset_ms": entry.schedule.offset(&entry.name), "broken": entry.broken.as_deref().map(stored),
        })
    };
    let posted = Value::from_iter(change.entries.iter().map(of)).to_string();
    let sql = concat!(
        "INSERT INTO schedules (name) SELECT item.value ->> 'name' FROM ",
        items!(),
        " WHERE TRUE ORDER BY 1 ON CONFLICT DO NOTHING"
    );
    sqlx::query(sql).bind(&posted).execute(&mut *connection).await?;
    locked(connection, &touched).await?;
    let sql = concat!(
        "INSERT INTO schedule_specs (name, spec, definition, offset_ms, cursor) SELECT item.value ->> 'name', \
         item.value ->> 'spec', item.value ->> 'definition', CAST(item.value ->> 'offset_ms' AS BIGINT), $2 FROM ",
        items!(),
        " WHERE TRUE ORDER BY 1, 2 ON CONFLICT DO NOTHING"
    );
    sqlx::query(sql).bind(&posted).bind(now).execute(&mut *connection).await?;
    let sql = format!("DELETE FROM posted WHERE home = $2 AND name IN {NAMES}");
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&touched).bind(&home.0).execute(&mut *connection).await?;
    let sql = concat!(
        "INSERT INTO posted (home, name, spec, host, broken, at) SELECT $2, item.value ->> 'name', \
         item.value ->> 'spec', $3, item.value ->> 'broken', $4 FROM ",
        items!()
    );
    let query = sqlx::query(sql).bind(&posted).bind(&home.0).bind(stored(host)).bind(now);
    query.execute(&mut *connection).await?;
    forget(connection, &touched, now).await
}

/// Specs that nobody posts any more, of these names; and what waits of them.
async fn forget(connection: &mut Connection, names: &str, now: i64) -> Result<Ruling, sqlx::Error> {
    let unposted = format!(
        "FROM schedule_specs WHERE name IN {NAMES} AND NOT EXISTS (SELECT 1 FROM posted \
         WHERE posted.name = schedule_specs.name AND posted.spec = schedule_specs.spec)"
    );
    let ordered = format!("SELECT name, spec {unposted} ORDER BY name, spec{}", locked!("schedule_specs"));
    let rows = asked(connection, &ordered, names, None).await?;
    let gone = rows.iter().map(|row| Ok((row.try_get("name")?, row.try_get("spec")?)));
    let gone: BTreeSet<(String, String)> = gone.collect::<Result<_, sqlx::Error>>()?;
    let waits = waits(connection, names).await?.into_iter();
    let waits = waits.filter(|(row, spec)| gone.contains(&(row.schedule.clone(), spec.clone())));
    let ruling = ruling::abandon(now, waits.map(|(row, spec)| (row.schedule, row.tick, spec)).collect());
    write(connection, &ruling).await?;
    sqlx::query(sqlx::AssertSqlSafe(format!("DELETE {unposted}"))).bind(names).execute(connection).await?;
    Ok(ruling)
}

pub(super) async fn posted(connection: &mut Connection, home: &HomeId) -> Result<Vec<Standing>, sqlx::Error> {
    let sql = format!(
        "SELECT posted.{STANDING}, broken FROM posted JOIN schedules ON schedules.name = posted.name \
         JOIN schedule_specs ON schedule_specs.name = posted.name AND schedule_specs.spec = posted.spec \
         WHERE home = $1 ORDER BY posted.name"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&home.0).fetch_all(connection).await?;
    rows.iter().map(standing).collect()
}

pub(super) async fn waiting(connection: &mut Connection, home: &HomeId) -> Result<Vec<Waiting>, sqlx::Error> {
    let sql = format!(
        "SELECT posted.{STANDING}, broken, {TICK}, (SELECT max(id) FROM runs WHERE runs.schedule = ticks.schedule \
         AND finished_at IS NULL) AS behind FROM posted JOIN schedules ON schedules.name = posted.name \
         JOIN schedule_specs ON schedule_specs.name = posted.name AND schedule_specs.spec = posted.spec \
         JOIN ticks ON ticks.schedule = posted.name AND ticks.spec = posted.spec AND ticks.outcome = 'waits' \
         WHERE home = $1 ORDER BY posted.name, ticks.at, ticks.nominal"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&home.0).fetch_all(connection).await?;
    let mut waiting = Vec::with_capacity(rows.len());
    for row in &rows {
        let behind: Option<String> = row.try_get("behind")?;
        let over = behind.is_none();
        let run = RunId(behind.map_or_else(|| row.try_get("run_id"), Ok)?);
        waiting.push(Waiting { standing: standing(row)?, tick: tick_row(row)?.0.tick, run, over });
    }
    Ok(waiting)
}

pub(super) async fn unfinished(connection: &mut Connection) -> Result<Vec<RunId>, sqlx::Error> {
    let sql = "SELECT id FROM runs WHERE schedule IS NOT NULL AND finished_at IS NULL ORDER BY id";
    let ids: Vec<String> = sqlx::query_scalar(sql).fetch_all(connection).await?;
    Ok(ids.into_iter().map(RunId).collect())
}

/// Within a transaction that sees one moment.
pub(super) async fn schedules(connection: &mut Connection) -> Result<Vec<ScheduleRow>, sqlx::Error> {
    let mut posts: BTreeMap<(String, String), Vec<Post>> = BTreeMap::new();
    let sql = "SELECT home, name, spec, host, broken, at FROM posted ORDER BY name, host, home";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await? {
        let broken: Option<String> = row.try_get("broken")?;
        let (home, host) = (HomeId(row.try_get("home")?), row.try_get("host").map(shown)?);
        let post = Post { home, host, at: row.try_get("at")?, broken: broken.map(shown) };
        posts.entry((row.try_get("name")?, row.try_get("spec")?)).or_default().push(post);
    }
    let sql = format!(
        "SELECT schedules.{STANDING}, schedule_specs.spec, NULL AS broken FROM schedule_specs \
         JOIN schedules ON schedules.name = schedule_specs.name ORDER BY schedules.name, schedule_specs.spec"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut *connection).await?;
    let mut schedules = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut standing = standing(row)?;
        let posts = posts.remove(&(standing.entry.name.clone(), row.try_get("spec")?)).unwrap_or_default();
        standing.entry.broken = posts.iter().find_map(|post| post.broken.clone());
        let last = ticks(connection, Some(&standing.entry.name), 1).await?.pop();
        schedules.push(ScheduleRow { standing, posts, last });
    }
    Ok(schedules)
}

pub(super) async fn ticks(
    connection: &mut Connection,
    schedule: Option<&str>,
    limit: u32,
) -> Result<Vec<TickRow>, sqlx::Error> {
    let (wanted, order) = match schedule {
        Some(_) => ("schedule = $1", "at DESC, nominal DESC"),
        None => ("$1 IS NULL", "decided_at DESC, at DESC, schedule"),
    };
    let sql = format!("SELECT {TICK} FROM ticks WHERE {wanted} ORDER BY {order} LIMIT $2");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(schedule.map(stored)).bind(i64::from(limit));
    query.fetch_all(connection).await?.iter().map(|row| Ok(tick_row(row)?.0)).collect()
}

/// Says of a schedule that it is disabled, or not any more; false if that is so already.
pub(super) async fn switch(
    connection: &mut Connection,
    event: &AdminEvent,
    at: i64,
    actor: &str,
) -> Result<bool, ReadError> {
    let (schedule, disabled) = match event {
        AdminEvent::ScheduleDisabled { schedule, reason } => (schedule, Some(reason.as_str())),
        AdminEvent::ScheduleEnabled { schedule, .. } => (schedule, None),
        _ => return Ok(true),
    };
    let sql = "SELECT disabled_at IS NOT NULL FROM schedules WHERE name = $1";
    let before: Option<bool> = sqlx::query_scalar(sql).bind(stored(schedule)).fetch_optional(&mut *connection).await?;
    let before = before.ok_or_else(|| LedgerError::NoSuchSchedule(schedule.clone()))?;
    if before == disabled.is_some() {
        return Ok(false);
    }
    sqlx::query("UPDATE schedules SET disabled_at = $2, disabled_by = $3, disabled_reason = $4 WHERE name = $1")
        .bind(stored(schedule))
        .bind(disabled.map(|_| at))
        .bind(disabled.map(|_| stored(actor)))
        .bind(disabled.map(stored))
        .execute(connection)
        .await?;
    Ok(true)
}

/// Ticks that may go: they were decided before this moment, have no run, and cannot be asked for any more.
const PRUNABLE: &str = "FROM ticks WHERE decided_at < $1 AND outcome <> 'waits' \
     AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = ticks.run_id) \
     AND NOT EXISTS (SELECT 1 FROM schedule_specs WHERE schedule_specs.name = ticks.schedule \
                     AND cursor < ticks.at + offset_ms)";
/// Ticks that go in one transaction.
const PRUNED_AT_ONCE: i64 = 5_000;

/// What a pruning will come to. Of many, those that were decided first.
pub(super) async fn prunable(connection: &mut Connection, before: i64) -> Result<AdminEvent, sqlx::Error> {
    let sql = format!("SELECT decided_at {PRUNABLE} ORDER BY decided_at LIMIT 1 OFFSET $2");
    let further: Option<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(before)
        .bind(PRUNED_AT_ONCE)
        .fetch_optional(&mut *connection)
        .await?;
    // All that were decided in the same moment go together.
    let before = further.map_or(before, |further| before.min(further + 1));
    let sql = format!("SELECT count(*) {PRUNABLE}");
    let ticks: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(before).fetch_one(connection).await?;
    Ok(AdminEvent::TicksPruned { before, ticks: ticks as u64 })
}

pub(super) async fn prune(connection: &mut Connection, before: i64) -> Result<(), sqlx::Error> {
    let sql = "UPDATE tick_horizon SET before = $1 WHERE before < $1";
    sqlx::query(sql).bind(before).execute(&mut *connection).await?;
    sqlx::query(sqlx::AssertSqlSafe(format!("DELETE {PRUNABLE}"))).bind(before).execute(connection).await?;
    Ok(())
}

/// `$1` is a JSON text of many rows.
async fn asked(
    connection: &mut Connection,
    sql: &str,
    items: &str,
    home: Option<&str>,
) -> Result<Vec<Row>, sqlx::Error> {
    let query = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).bind(items.to_owned());
    match home {
        Some(home) => query.bind(home.to_owned()).fetch_all(connection).await,
        None => query.fetch_all(connection).await,
    }
}

fn standing(row: &Row) -> Result<Standing, sqlx::Error> {
    let broken: Option<String> = row.try_get("broken")?;
    let definition: String = row.try_get("definition").map(shown)?;
    let schedule = serde_json::from_str(&definition)
        .map_err(|error| sqlx::Error::ColumnDecode { index: "definition".to_owned(), source: Box::new(error) })?;
    let entry = Entry { name: row.try_get("name")?, schedule, broken: broken.map(shown) };
    Ok(Standing { entry, cursor: row.try_get("cursor")?, disabled: disabled(row)? })
}

fn disabled(row: &Row) -> Result<Option<Disabled>, sqlx::Error> {
    let Some(at) = row.try_get("disabled_at")? else { return Ok(None) };
    let (by, reason) = (row.try_get("disabled_by").map(shown)?, row.try_get("disabled_reason").map(shown)?);
    Ok(Some(Disabled { at, by, reason }))
}

fn tick_row(row: &Row) -> Result<(TickRow, String), sqlx::Error> {
    let run = || Ok::<_, sqlx::Error>(RunId(row.try_get("run_id")?));
    let outcome = match row.try_get::<String, _>("outcome")?.as_str() {
        "run" => Outcome::Run { run: run()? },
        "waits" => Outcome::Waits { run: run()? },
        _ => {
            let count = row.try_get::<i64, _>("count")? as u64;
            Outcome::Skipped { reason: row.try_get("reason").map(shown)?, count }
        }
    };
    let tick = Tick {
        at: row.try_get("at")?,
        nominal: row.try_get("nominal")?,
        zone: row.try_get("zone")?,
        fold: row.try_get::<i64, _>("fold")? as u8,
    };
    let row_of = TickRow { schedule: row.try_get("schedule")?, tick, decided_at: row.try_get("decided_at")?, outcome };
    Ok((row_of, row.try_get("spec")?))
}
