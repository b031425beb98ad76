//! Whether the ticks are what the records say, and the records what the ticks say.
//! Part of SQLite's ledger and of Postgres' ([`crate::sql`]), within a transaction that sees one moment.

use sqlx::Row as _;

use super::{Connection, shown};

/// [`Tick::key`](runward_engine::schedule::entry::Tick::key).
macro_rules! key {
    () => {
        "ticks.nominal || ' ' || ticks.zone || CASE WHEN ticks.fold = 1 THEN ' (second)' ELSE '' END"
    };
}

/// Ticks that are marked as skipped, and those that the record of the ledger names: schedule, key, and what is said of it.
const SKIPPED: &str =
    concat!("SELECT schedule, ", key!(), ", ticks.at, count, reason, decided_at FROM ticks WHERE outcome = 'skipped'");
const ON_RECORD: &str = concat!(
    "SELECT tick.value ->> 'schedule', tick.value ->> 'key', CAST(tick.value ->> 'at' AS BIGINT), \
     CAST(tick.value ->> 'count' AS BIGINT), tick.value ->> 'reason', administration.at FROM ",
    skipped_on_record!()
);
/// What was decided before this moment may have been pruned.
const HORIZON: &str = concat!(
    "(SELECT coalesce(max(CAST(",
    entry!(),
    " ->> 'before' AS BIGINT)), 0) FROM administration WHERE kind = 'ticks_pruned')"
);
/// A tick as the first event of its run names it.
const NAMED: &str = concat!(
    "'\"tick\":{\"schedule\":\"' || ticks.schedule || '\",\"key\":\"' || ",
    key!(),
    " || '\",\"at\":' || CAST(ticks.at AS TEXT) || '}'"
);
const DISABLED: &str = "SELECT name, '', disabled_at, disabled_by FROM schedules WHERE disabled_at IS NOT NULL";
/// Those whose last switch says so.
const DISABLED_ON_RECORD: &str = concat!(
    "SELECT ",
    entry!(),
    " ->> 'schedule', '', at, actor FROM administration WHERE kind = 'schedule_disabled' AND seq IN (SELECT max(seq) \
     FROM administration WHERE kind IN ('schedule_disabled', 'schedule_enabled') GROUP BY ",
    entry!(),
    " ->> 'schedule')"
);

pub(super) async fn complaints(connection: &mut Connection) -> Result<Vec<String>, sqlx::Error> {
    let mut found = Vec::new();
    let ticks = [
        (
            format!("{SKIPPED} EXCEPT {ON_RECORD}"),
            "is marked as skipped, and the record of the ledger says something else of it, or nothing",
        ),
        (
            format!("{ON_RECORD} AND administration.at >= {HORIZON} EXCEPT {SKIPPED}"),
            "was skipped, as the record of the ledger says, and its row is gone or was changed",
        ),
        (
            concat!(
                "SELECT schedule, ",
                key!(),
                " FROM ticks WHERE outcome = 'run' AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = ticks.run_id) \
                 AND NOT EXISTS (SELECT 1 FROM pruned WHERE pruned.id = ticks.run_id)"
            )
            .to_owned(),
            "is marked as a run that the ledger does not have and never pruned",
        ),
        (
            format!(
                "SELECT schedule, {} FROM ticks JOIN events ON events.run_id = ticks.run_id AND events.seq = 1 \
                 WHERE outcome = 'run' AND replace(body, {NAMED}, '') = body",
                key!()
            ),
            "is marked as a run that was not started by it, as the record of that run says",
        ),
    ];
    for (sql, problem) in ticks {
        for row in sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut *connection).await? {
            let (schedule, key): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            found.push(format!("the tick {} of schedule {} {problem}", shown(key), shown(schedule)));
        }
    }
    let orphans = "SELECT id, schedule FROM runs WHERE schedule IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ticks \
                   WHERE ticks.run_id = runs.id AND outcome = 'run') ORDER BY id";
    for row in sqlx::query(orphans).fetch_all(&mut *connection).await? {
        let (run, schedule): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        found.push(format!("run {run} was started by schedule {}, and the row of its tick is gone", shown(schedule)));
    }
    let switches = [
        (
            format!("{DISABLED} EXCEPT {DISABLED_ON_RECORD}"),
            "is marked as disabled, but the record of the ledger does not say so",
        ),
        (format!("{DISABLED_ON_RECORD} EXCEPT {DISABLED}"), "was disabled, but is not marked so"),
    ];
    for (sql, problem) in switches {
        for row in sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(&mut *connection).await? {
            found.push(format!("schedule {} {problem}", row.try_get(0).map(shown)?));
        }
    }
    Ok(found)
}
