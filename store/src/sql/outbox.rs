//! Notices and deliveries: what is asked and written of them, within a transaction where it writes.
//!
//! Part of SQLite's ledger and of Postgres' ([`crate::sql`]). Whoever changes a notice or a delivery locks its row first; a
//! row that somebody else has locked is passed over where deliveries are taken.

use std::collections::BTreeMap;
use std::time::Duration;

use runward_engine::run::{Notice, RunId};
use serde_json::{Value, json};
use sqlx::Row as _;

use super::{Connection, Row, shown, stored};
use crate::administration::{AdminEvent, DeliveryRef};
use crate::outbox::{
    Backlog, DeliveryRow, DeliveryState, NoticeQuery, NoticeRow, Route, STALE_AFTER, Settled, Taken, Unrouted, Work,
    outcome, rows,
};

/// In the transaction of what they tell of.
pub(super) async fn write(connection: &mut Connection, notices: &[Notice]) -> Result<(), sqlx::Error> {
    if !notices.is_empty() {
        let sql = concat!(into_notices!(), items!(), " WHERE ", are_news!(), " ON CONFLICT DO NOTHING");
        sqlx::query(sql).bind(stored(&rows(notices))).execute(connection).await?;
    }
    Ok(())
}

pub(super) async fn work(connection: &mut Connection, now: i64) -> Result<Work, sqlx::Error> {
    let sql = "SELECT NULL AS channel, min(at) AS due FROM notices WHERE routing IS NULL UNION ALL \
               SELECT channel, min(due_at) AS due FROM deliveries WHERE state = 'waiting' GROUP BY channel";
    let mut work = Work::default();
    for row in sqlx::query(sql).fetch_all(connection).await? {
        let (channel, due): (Option<String>, Option<i64>) = (row.try_get("channel")?, row.try_get("due")?);
        match (channel, due) {
            (None, due) => work.unrouted = due.is_some(),
            (Some(channel), Some(due)) if due <= now => work.channels.push(shown(channel)),
            (Some(_), due) => {
                let left = due.map(|due| (due - now) as u64);
                work.next_ms = work.next_ms.into_iter().chain(left).min();
            }
        }
    }
    Ok(work)
}

/// Which notices are meant, where `$1` is what [`ids_of`] says.
fn wanted(of: Option<&[RunId]>) -> &'static str {
    match of {
        Some(_) => concat!("AND run_id IN (SELECT item.value ->> 'id' FROM ", items!(), ") "),
        None => "AND $1 IS NOT NULL ",
    }
}

fn ids_of(of: Option<&[RunId]>) -> String {
    ids(of.unwrap_or_default().iter().map(|run| run.0.as_str()))
}

pub(super) async fn expire(connection: &mut Connection, of: Option<&[RunId]>, now: i64) -> Result<u64, sqlx::Error> {
    let sql = format!(
        "UPDATE notices SET routing = 'too_old' WHERE id IN (SELECT id FROM notices WHERE routing IS NULL AND at < $2 {}{})",
        wanted(of),
        passing!("notices")
    );
    let stale = now.saturating_sub(STALE_AFTER.as_millis() as i64);
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(ids_of(of)).bind(stale);
    Ok(query.execute(connection).await?.rows_affected())
}

pub(super) async fn unrouted(
    connection: &mut Connection,
    of: Option<&[RunId]>,
    limit: u32,
) -> Result<Vec<Notice>, sqlx::Error> {
    let sql = format!("SELECT body FROM notices WHERE routing IS NULL {}ORDER BY at, id LIMIT $2", wanted(of));
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(ids_of(of)).bind(i64::from(limit));
    query.fetch_all(connection).await?.iter().map(|row| notice(row, "body")).collect()
}

pub(super) async fn route(
    connection: &mut Connection,
    routes: &[(String, Route)],
    now: i64,
) -> Result<(), sqlx::Error> {
    let sql = concat!(
        "SELECT id FROM notices WHERE routing IS NULL AND id IN (SELECT item.value ->> 'id' FROM ",
        items!(),
        ") ORDER BY id",
        locked!("notices")
    );
    let all = ids(routes.iter().map(|(id, _)| id.as_str()));
    let open: Vec<String> = sqlx::query_scalar(sql).bind(all).fetch_all(&mut *connection).await?;
    let until = now.saturating_add(STALE_AFTER.as_millis() as i64);
    let (mut deliveries, mut routings) = (Vec::new(), Vec::new());
    for (id, route) in routes.iter().filter(|(id, _)| open.contains(id)) {
        let routing = match route {
            Route::To(channels) => {
                deliveries.extend(channels.iter().map(|channel| json!({"id": id, "channel": stored(channel)})));
                "routed"
            }
            Route::Nowhere(why) => why.as_str(),
        };
        routings.push(json!({"id": id, "routing": routing}));
    }
    let sql = concat!(
        "INSERT INTO deliveries (notice, channel, state, tries, due_at, until) SELECT item.value ->> 'id', \
         item.value ->> 'channel', 'waiting', 0, $2, $3 FROM ",
        items!(),
        " WHERE TRUE ON CONFLICT DO NOTHING"
    );
    let query = sqlx::query(sql).bind(Value::from(deliveries).to_string()).bind(now).bind(until);
    query.execute(&mut *connection).await?;
    let sql = concat!(
        "UPDATE notices SET routing = item.value ->> 'routing' FROM ",
        items!(),
        " WHERE notices.id = item.value ->> 'id'"
    );
    sqlx::query(sql).bind(Value::from(routings).to_string()).execute(connection).await?;
    Ok(())
}

/// Gives up what is due of a channel, and for how long it was to be tried is over.
async fn give_up(connection: &mut Connection, channel: &str, now: i64) -> Result<u64, sqlx::Error> {
    let sql = concat!(
        "UPDATE deliveries SET state = 'dead', ended_at = $2, sender = NULL, \
         error = 'given up, it was not delivered in a day' || coalesce(': ' || error, '') WHERE (notice, channel) IN \
         (SELECT notice, channel FROM deliveries WHERE state = 'waiting' AND channel = $1 AND due_at <= $2 AND until <= $2",
        passing!("deliveries"),
        ")"
    );
    Ok(sqlx::query(sql).bind(stored(channel)).bind(now).execute(connection).await?.rows_affected())
}

/// Takes what is due of a channel, if anything, and says whether it has written anything.
pub(super) async fn take(
    connection: &mut Connection,
    (channel, sender): (&str, &str),
    limit: u32,
    lease: Duration,
    now: i64,
) -> Result<(Vec<Taken>, bool), sqlx::Error> {
    let given_up = give_up(connection, channel, now).await?;
    let sql = concat!(
        "UPDATE deliveries SET sender = $1, due_at = $2, tries = tries + 1 WHERE (notice, channel) IN \
         (SELECT notice, channel FROM deliveries WHERE state = 'waiting' AND channel = $3 AND due_at <= $4 \
          ORDER BY due_at, notice LIMIT $5",
        passing!("deliveries"),
        ") RETURNING notice, tries"
    );
    let query = sqlx::query(sql).bind(sender).bind(now.saturating_add(lease.as_millis() as i64)).bind(stored(channel));
    let rows = query.bind(now).bind(i64::from(limit)).fetch_all(&mut *connection).await?;
    let tries: BTreeMap<String, i64> = rows
        .iter()
        .map(|row| Ok((row.try_get("notice")?, row.try_get("tries")?)))
        .collect::<Result<_, sqlx::Error>>()?;
    let sql = concat!(
        "SELECT id, body FROM notices WHERE id IN (SELECT item.value ->> 'id' FROM ",
        items!(),
        ") ORDER BY at, id"
    );
    let found = sqlx::query(sql).bind(ids(tries.keys().map(String::as_str))).fetch_all(connection).await?;
    let taken = |row: &Row| {
        let id: String = row.try_get("id")?;
        let tries = tries.get(&id).copied().unwrap_or_default() as u32;
        Ok(Taken { notice: notice(row, "body")?, channel: channel.to_owned(), tries })
    };
    let taken: Vec<Taken> = found.iter().map(taken).collect::<Result<_, sqlx::Error>>()?;
    Ok((taken, given_up > 0 || !tries.is_empty()))
}

pub(super) async fn settle(
    connection: &mut Connection,
    taken: &Taken,
    sender: &str,
    settled: &Settled,
    now: i64,
) -> Result<bool, sqlx::Error> {
    let sql = concat!(
        "SELECT until FROM deliveries WHERE notice = $1 AND channel = $2 AND state = 'waiting' AND sender = $3",
        locked!("deliveries")
    );
    let query = sqlx::query_scalar(sql).bind(&taken.notice.id).bind(stored(&taken.channel)).bind(sender);
    let Some(until) = query.fetch_optional(&mut *connection).await? else { return Ok(false) };
    let (state, due_at, error) = outcome(settled, now, until);
    let sql = "UPDATE deliveries SET state = $3, due_at = $4, ended_at = $5, error = $6, away = $7, sender = NULL \
               WHERE notice = $1 AND channel = $2";
    sqlx::query(sql)
        .bind(&taken.notice.id)
        .bind(stored(&taken.channel))
        .bind(state.as_str())
        .bind(due_at)
        .bind((state != DeliveryState::Waiting).then_some(now))
        .bind(error.as_deref().map(stored))
        .bind(settled.is_away())
        .execute(connection)
        .await?;
    Ok(true)
}

pub(super) async fn hurry(connection: &mut Connection, channel: &str, now: i64) -> Result<u64, sqlx::Error> {
    let sql = concat!(
        "UPDATE deliveries SET due_at = $2 WHERE (notice, channel) IN (SELECT notice, channel FROM deliveries \
         WHERE state = 'waiting' AND channel = $1 AND due_at > $2 AND sender IS NULL AND away",
        passing!("deliveries"),
        ")"
    );
    Ok(sqlx::query(sql).bind(stored(channel)).bind(now).execute(connection).await?.rows_affected())
}

/// Deliveries that were given up, from the start again; those that nobody has given up are left out.
pub(super) async fn revive(
    connection: &mut Connection,
    event: AdminEvent,
    now: i64,
) -> Result<AdminEvent, sqlx::Error> {
    let AdminEvent::DeliveriesRetried { deliveries, reason } = event else { return Ok(event) };
    let until = now.saturating_add(STALE_AFTER.as_millis() as i64);
    let mut revived: Vec<DeliveryRef> = Vec::new();
    for delivery in deliveries {
        let sql = "UPDATE deliveries SET state = 'waiting', tries = 0, due_at = $3, until = $4, ended_at = NULL \
                   WHERE notice = $1 AND channel = $2 AND state = 'dead'";
        let query = sqlx::query(sql).bind(&delivery.notice).bind(stored(&delivery.channel)).bind(now).bind(until);
        if query.execute(&mut *connection).await?.rows_affected() > 0 {
            revived.push(delivery);
        }
    }
    Ok(AdminEvent::DeliveriesRetried { deliveries: revived, reason })
}

pub(super) async fn notices(connection: &mut Connection, query: &NoticeQuery) -> Result<Vec<NoticeRow>, sqlx::Error> {
    let of_run = if query.run.is_some() { "run_id = $1" } else { "$1 IS NULL" };
    // In the text, so that an index of one state answers.
    let of_state = match query.state.map(DeliveryState::as_str) {
        Some(state) => format!("id IN (SELECT notice FROM deliveries WHERE state = '{state}')"),
        None => "TRUE".to_owned(),
    };
    let sql =
        format!("SELECT body, routing FROM notices WHERE {of_run} AND {of_state} ORDER BY at DESC, id DESC LIMIT $2");
    let asked = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(query.run.as_ref().map(|run| run.0.clone()))
        .bind(query.limit.map_or(i64::MAX, i64::from));
    let mut found = Vec::new();
    for row in asked.fetch_all(&mut *connection).await? {
        let routing: Option<String> = row.try_get("routing")?;
        found.push(NoticeRow {
            notice: notice(&row, "body")?,
            unrouted: routing.is_none(),
            nowhere: routing.as_deref().and_then(Unrouted::named),
            deliveries: Vec::new(),
        });
    }
    let mut deliveries = deliveries(connection, &found).await?;
    for row in &mut found {
        row.deliveries = deliveries.remove(&row.notice.id).unwrap_or_default();
    }
    Ok(found)
}

async fn deliveries(
    connection: &mut Connection,
    of: &[NoticeRow],
) -> Result<BTreeMap<String, Vec<DeliveryRow>>, sqlx::Error> {
    let sql = concat!(
        "SELECT notice, channel, state, tries, due_at, until, ended_at, error, away FROM deliveries \
         WHERE notice IN (SELECT item.value ->> 'id' FROM ",
        items!(),
        ") ORDER BY notice, channel"
    );
    let ids = ids(of.iter().map(|row| row.notice.id.as_str()));
    let mut found: BTreeMap<String, Vec<DeliveryRow>> = BTreeMap::new();
    for row in sqlx::query(sql).bind(ids).fetch_all(connection).await? {
        let error: Option<String> = row.try_get("error")?;
        found.entry(row.try_get("notice")?).or_default().push(DeliveryRow {
            channel: row.try_get("channel").map(shown)?,
            state: DeliveryState::named(&row.try_get::<String, _>("state")?),
            tries: row.try_get::<i64, _>("tries")? as u32,
            due_at: row.try_get("due_at")?,
            until: row.try_get("until")?,
            ended_at: row.try_get("ended_at")?,
            error: error.map(shown),
            away: row.try_get("away")?,
        });
    }
    Ok(found)
}

pub(super) async fn backlog(connection: &mut Connection) -> Result<Backlog, sqlx::Error> {
    let sql = "SELECT (SELECT count(*) FROM notices WHERE routing IS NULL) AS unrouted, \
               (SELECT count(*) FROM deliveries WHERE state = 'waiting') AS waiting, \
               (SELECT min(at) FROM notices WHERE routing IS NULL \
                OR id IN (SELECT notice FROM deliveries WHERE state = 'waiting')) AS oldest, \
               (SELECT count(*) FROM deliveries WHERE state = 'dead') AS dead";
    let row = sqlx::query(sql).fetch_one(connection).await?;
    let number = |column: &str| row.try_get::<i64, _>(column).map(|number| number as u64);
    Ok(Backlog {
        unrouted: number("unrouted")?,
        waiting: number("waiting")?,
        oldest: row.try_get("oldest")?,
        dead: number("dead")?,
    })
}

/// Removes what is settled of runs that are gone, and of ticks that were missed before this moment. What still waits stays.
pub(super) async fn prune(connection: &mut Connection, ticks_before: Option<i64>, now: i64) -> Result<(), sqlx::Error> {
    // Chosen once: what was settled between two statements would lose its notice and keep its deliveries.
    const GONE: &str = concat!(
        "SELECT id FROM notices WHERE (routing IS NOT NULL OR at < $1) AND (CASE WHEN run_id IS NULL THEN at < $2 \
         ELSE NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = run_id) END) \
         AND NOT EXISTS (SELECT 1 FROM deliveries WHERE notice = notices.id AND state = 'waiting') ORDER BY id",
        passing!("notices")
    );
    let stale = now.saturating_sub(STALE_AFTER.as_millis() as i64);
    let query = sqlx::query_scalar(GONE).bind(stale).bind(ticks_before.unwrap_or(i64::MIN));
    let gone: Vec<String> = query.fetch_all(&mut *connection).await?;
    let gone = ids(gone.iter().map(String::as_str));
    for sql in [
        concat!("DELETE FROM deliveries WHERE notice IN (SELECT item.value ->> 'id' FROM ", items!(), ")"),
        concat!("DELETE FROM notices WHERE id IN (SELECT item.value ->> 'id' FROM ", items!(), ")"),
    ] {
        sqlx::query(sql).bind(&gone).execute(&mut *connection).await?;
    }
    Ok(())
}

fn ids<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    Value::from_iter(ids.map(|id| json!({"id": id}))).to_string()
}

fn notice(row: &Row, column: &str) -> Result<Notice, sqlx::Error> {
    let body: String = row.try_get(column).map(shown)?;
    serde_json::from_str(&body)
        .map_err(|error| sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(error) })
}
