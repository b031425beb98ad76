//! Locks of things that have no row, held to the end of a transaction.
//!
//! A run is locked by its row. What remains are advisory locks of the transaction: they leave nothing behind, and
//! two names that fall on the same number only wait for each other. Whoever takes several takes them in one order: the
//! run, then the whole ledger, then what is posted, then a name (of a schedule by its row), then a group, then the ledger's
//! own record. So nobody waits in a circle.

use sqlx::PgConnection;

use crate::administration::PrunedRun;

/// The first half of a lock's number: `rw`, and what it is of.
const LEDGER: i32 = 0x7277_0001;
const NAME: i32 = 0x7277_0002;
const GROUP: i32 = 0x7277_0003;
const POSTS: i32 = 0x7277_0004;
const RECORD: i32 = 0x7277_0005;

/// Nobody prunes meanwhile: what a new run refers to stays.
pub(super) async fn ledger_stays(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    take(connection, "SELECT pg_advisory_xact_lock_shared($1, hashtext($2))", LEDGER, "").await
}

/// Nobody starts a run, prunes, or writes to the ledger's own record meanwhile.
pub(super) async fn ledger(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    take(connection, ALONE, LEDGER, "").await
}

/// Nobody else starts a run of this runbook only because there was none.
pub(super) async fn name(connection: &mut PgConnection, name: &str) -> Result<(), sqlx::Error> {
    take(connection, ALONE, NAME, name).await
}

/// Nobody else takes a permit of this group, or a place in its queue.
pub(super) async fn group(connection: &mut PgConnection, group: &str) -> Result<(), sqlx::Error> {
    take(connection, ALONE, GROUP, group).await
}

/// Nobody else changes what a server fires.
pub(super) async fn posts(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    take(connection, ALONE, POSTS, "").await
}

/// Nobody else writes to the ledger's own record: for those who do not have the whole ledger to themselves.
pub(super) async fn record(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    take(connection, ALONE, RECORD, "").await
}

/// Nobody goes on with these runs meanwhile. In one order, so that two who want the same ones do not wait in a circle.
pub(super) async fn runs(connection: &mut PgConnection, runs: &[PrunedRun]) -> Result<(), sqlx::Error> {
    let ids: Vec<&str> = runs.iter().map(|run| run.id.0.as_str()).collect();
    let sql = "SELECT 1 FROM runs WHERE id = ANY($1) ORDER BY id FOR UPDATE";
    sqlx::query(sql).bind(ids).execute(connection).await?;
    Ok(())
}

const ALONE: &str = "SELECT pg_advisory_xact_lock($1, hashtext($2))";

async fn take(connection: &mut PgConnection, sql: &'static str, kind: i32, of: &str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).bind(kind).bind(super::text::stored(of)).execute(connection).await?;
    Ok(())
}
