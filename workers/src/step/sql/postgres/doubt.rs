//! What became of a COMMIT that the server did not answer.
//!
//! A transaction has a number, and the server remembers what became of it. To know before changing anything: a server that
//! has crashed may give a number again whose transaction never reached its disk. So "committed" counts only where it has not
//! crashed or started since; "not committed" counts in any case, because what was committed keeps its number.

use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Row};

/// How long the server is asked, where the step has so much time.
const ASKS_FOR: Duration = Duration::from_secs(300);
/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(10);
const ASKS_EVERY: Duration = Duration::from_secs(1);
/// What the server says of a number that it has not given yet.
const IN_THE_FUTURE: &str = "22023";
/// Changes with each start of the server, and with each crash: then it forgets its statistics.
const LIFE: &str =
    "select pg_is_in_recovery(), pg_postmaster_start_time()::text || (select stats_reset from pg_stat_bgwriter)::text";

/// Taken just before the COMMIT.
pub(super) struct Mark {
    /// `None`: it has changed no row.
    transaction: Option<String>,
    life: Option<String>,
}

pub(super) async fn mark(connection: &mut PgConnection) -> Result<Mark, sqlx::Error> {
    let asked = sqlx::query_scalar("select txid_current_if_assigned()::text").persistent(false);
    let asked = asked.fetch_one(&mut *connection).await?;
    let life = sqlx::query(LIFE).persistent(false).fetch_one(connection).await?;
    Ok(Mark { transaction: asked, life: life.try_get(1)? })
}

/// Whether it is committed; `None`: nobody knows.
/// The step is over at `end`.
pub(super) async fn resolve(options: &PgConnectOptions, mark: &Mark, end: Instant) -> Option<bool> {
    let transaction = mark.transaction.as_ref()?;
    let end = end.min(Instant::now() + ASKS_FOR);
    while Instant::now() < end {
        match tokio::time::timeout(ANSWER, ask(options, transaction)).await {
            Ok(Ok(Some(Said::Aborted))) => return Some(false),
            Ok(Ok(Some(Said::Committed { life }))) => return (life.is_some() && life == mark.life).then_some(true),
            // Not there yet, or not at its end yet.
            Ok(Ok(None) | Err(_)) | Err(_) => {}
        }
        tokio::time::sleep(ASKS_EVERY).await;
    }
    None
}

enum Said {
    Committed { life: Option<String> },
    Aborted,
}

async fn ask(options: &PgConnectOptions, transaction: &str) -> Result<Option<Said>, sqlx::Error> {
    let mut connection = options.connect().await?;
    let row = sqlx::query(LIFE).persistent(false).fetch_one(&mut connection).await?;
    // A standby may be behind.
    if row.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let life = row.try_get(1)?;
    let asked = sqlx::query_scalar::<_, Option<String>>("select txid_status($1::text::bigint)");
    match asked.persistent(false).bind(transaction).fetch_one(&mut connection).await {
        Ok(status) => Ok(match status.as_deref() {
            Some("committed") => Some(Said::Committed { life }),
            Some("aborted") => Some(Said::Aborted),
            _ => None,
        }),
        Err(error) if super::code(&error).as_deref() == Some(IN_THE_FUTURE) => Ok(Some(Said::Aborted)),
        Err(error) => Err(error),
    }
}
