//! What attempts printed, in parts.
//!
//! The row of a log comes with the claim of its attempt ([`super::write`]) and says how far its parts go; it is what
//! two who ship the same log wait for each other at.

use runward_engine::run::{ClaimId, HomeId, RunId};
use sqlx::{PgConnection, Row as _};

use crate::failpoint::{self, Point};
use crate::fleet::{LogPart, Shipped, Unshipped};

/// A part that continues the log becomes its last one, and only the last one is stored, once. So is what comes a second
/// time told from what is new, in one statement.
pub(super) async fn ship(
    connection: &mut PgConnection,
    run: &RunId,
    claim: &ClaimId,
    part: &LogPart,
    complete: bool,
) -> Result<(), sqlx::Error> {
    let sql = "WITH log AS ( \
                 UPDATE logs SET part = CASE WHEN upto <= $3 THEN $3 ELSE part END, \
                                 upto = CASE WHEN upto <= $3 THEN $4 ELSE upto END, \
                                 complete = complete OR $6 AND (upto <= $3 OR $4 <= upto) \
                 WHERE run_id = $1 AND claim = $2 RETURNING part, upto) \
               INSERT INTO log_parts (run_id, claim, part, upto, frames) SELECT $1, $2, $3, $4, $5 FROM log \
               WHERE part = $3 AND upto = $4 AND $3 < $4 ON CONFLICT DO NOTHING";
    sqlx::query(sql)
        .bind(&run.0)
        .bind(&claim.0)
        .bind(part.from as i64)
        .bind(part.to as i64)
        .bind(&part.frames)
        .bind(complete)
        .execute(connection)
        .await?;
    Ok(failpoint::fails_at(Point::AfterShip)?)
}

pub(super) async fn thin(
    connection: &mut PgConnection,
    run: &RunId,
    claim: &ClaimId,
    from: u64,
    to: u64,
) -> Result<(), sqlx::Error> {
    let sql = "DELETE FROM log_parts WHERE run_id = $1 AND claim = $2 AND part >= $3 AND upto <= $4";
    sqlx::query(sql).bind(&run.0).bind(&claim.0).bind(from as i64).bind(to as i64).execute(connection).await?;
    Ok(())
}

pub(super) async fn unshipped(connection: &mut PgConnection, home: &HomeId) -> Result<Vec<Unshipped>, sqlx::Error> {
    let sql = "SELECT run_id, claim, EXISTS (SELECT 1 FROM attempts WHERE attempts.run_id = logs.run_id \
                 AND attempts.claim = logs.claim AND status = 'running') AS running \
               FROM logs WHERE home = $1 AND NOT complete ORDER BY claim";
    let rows = sqlx::query(sql).bind(&home.0).fetch_all(connection).await?;
    let unshipped = rows.iter().map(|row| {
        let (run, claim) = (RunId(row.try_get("run_id")?), ClaimId(row.try_get("claim")?));
        Ok(Unshipped { run, claim, running: row.try_get("running")? })
    });
    unshipped.collect()
}

pub(super) async fn shipped(
    connection: &mut PgConnection,
    run: &RunId,
    claim: &ClaimId,
) -> Result<Shipped, sqlx::Error> {
    let sql = "SELECT upto, complete FROM logs WHERE run_id = $1 AND claim = $2";
    let row = sqlx::query(sql).bind(&run.0).bind(&claim.0).fetch_optional(connection).await?;
    let shipped =
        row.map(|row| Ok(Shipped { to: row.try_get::<i64, _>("upto")? as u64, complete: row.try_get("complete")? }));
    shipped.unwrap_or(Ok(Shipped::default()))
}

pub(super) async fn parts(
    connection: &mut PgConnection,
    run: &RunId,
    claim: &ClaimId,
    after: u64,
    limit: u32,
) -> Result<Vec<LogPart>, sqlx::Error> {
    let sql = "SELECT part, upto, frames FROM log_parts WHERE run_id = $1 AND claim = $2 AND upto > $3 \
               ORDER BY part LIMIT $4";
    let rows = sqlx::query(sql).bind(&run.0).bind(&claim.0).bind(after as i64).bind(i64::from(limit));
    let rows = rows.fetch_all(connection).await?;
    let number = |row: &sqlx::postgres::PgRow, column: &str| row.try_get::<i64, _>(column).map(|number| number as u64);
    let parts = rows.iter().map(|row| {
        Ok(LogPart { from: number(row, "part")?, to: number(row, "upto")?, frames: row.try_get("frames")? })
    });
    parts.collect()
}
