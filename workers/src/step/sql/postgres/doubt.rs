//! What became of a COMMIT that the server did not answer.
//!
//! A transaction has a number, and the server remembers what became of it. To know before changing anything: a server that
//! has crashed may give a number again whose transaction never reached its disk. So "committed" counts only where it has not
//! crashed or started since; "not committed" counts also after that, because what was committed keeps its number. Neither
//! counts where another server answers, or one whose history has branched off since: after a failover its numbers are
//! those of other transactions, and the one that was asked to commit may still live somewhere.

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

/// Which branch of the history of which cluster: a promotion begins another one. Nobody has to answer this: a service
/// that is not quite Postgres may know nothing of it.
const HISTORY: &str =
    "select system_identifier::text || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) from pg_control_system()";

/// Taken just before the COMMIT.
pub(super) struct Mark {
    /// `None`: it has changed no row.
    transaction: Option<String>,
    server: Server,
}

/// Who answers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Server {
    life: Option<String>,
    history: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    Committed,
    NotCommitted,
    /// Nobody knows, because of this.
    Unknown(&'static str),
}

/// Asked before the transaction begins: what goes wrong in one ends it. A standby that is promoted lets nobody write in
/// what began before.
pub(super) async fn history(connection: &mut PgConnection) -> Option<String> {
    sqlx::query_scalar(HISTORY).persistent(false).fetch_one(connection).await.ok().flatten()
}

/// `history`: what [`history`] said.
pub(super) async fn mark(connection: &mut PgConnection, history: Option<String>) -> Result<Mark, sqlx::Error> {
    let asked = sqlx::query_scalar("select txid_current_if_assigned()::text").persistent(false);
    let asked = asked.fetch_one(&mut *connection).await?;
    let life = sqlx::query(LIFE).persistent(false).fetch_one(connection).await?;
    Ok(Mark { transaction: asked, server: Server { life: life.try_get(1)?, history } })
}

/// The step is over at `end`.
pub(super) async fn resolve(options: &PgConnectOptions, mark: &Mark, end: Instant) -> Became {
    const NOBODY: Became = Became::Unknown("nobody answered what became of it");
    let Some(transaction) = &mark.transaction else { return NOBODY };
    let end = end.min(Instant::now() + ASKS_FOR);
    while Instant::now() < end {
        if let Ok(Ok(Some((committed, server)))) = tokio::time::timeout(ANSWER, ask(options, transaction)).await {
            return judge(&mark.server, &server, committed);
        }
        // Not there yet, or not at its end yet.
        tokio::time::sleep(ASKS_EVERY).await;
    }
    NOBODY
}

/// Whether the word of a server counts for another one, which may be itself.
fn judge(asked: &Server, answers: &Server, committed: bool) -> Became {
    let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
    match (same(&asked.life, &answers.life), same(&asked.history, &answers.history)) {
        (true, _) if committed => Became::Committed,
        (true, _) => Became::NotCommitted,
        (false, true) if !committed => Became::NotCommitted,
        (false, true) => Became::Unknown("the server was started anew, and may have given its number to another one"),
        (false, false) => Became::Unknown(
            "another server answers there now, or its history has branched off (a failover?), and does not know that one",
        ),
    }
}

async fn ask(options: &PgConnectOptions, transaction: &str) -> Result<Option<(bool, Server)>, sqlx::Error> {
    let mut connection = options.connect().await?;
    let row = sqlx::query(LIFE).persistent(false).fetch_one(&mut connection).await?;
    // A standby may be behind.
    if row.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let server = Server { life: row.try_get(1)?, history: history(&mut connection).await };
    let asked = sqlx::query_scalar::<_, Option<String>>("select txid_status($1::text::bigint)");
    match asked.persistent(false).bind(transaction).fetch_one(&mut connection).await {
        Ok(status) => Ok(match status.as_deref() {
            Some("committed") => Some((true, server)),
            Some("aborted") => Some((false, server)),
            _ => None,
        }),
        Err(error) if super::code(&error).as_deref() == Some(IN_THE_FUTURE) => Ok(Some((false, server))),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_counts_only_of_who_was_asked() {
        let server = |life: &str, history: &str| {
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            Server { life: some(life), history: some(history) }
        };
        let asked = server("life", "history");
        for (answers, committed, not) in [
            (server("life", "history"), Some(true), Some(false)),
            (server("life", ""), Some(true), Some(false)),
            (server("another life", "history"), None, Some(false)),
            (server("another life", "another history"), None, None),
            (server("another life", ""), None, None),
            (server("", "history"), None, Some(false)),
        ] {
            let known = |committed| match judge(&asked, &answers, committed) {
                Became::Committed => Some(true),
                Became::NotCommitted => Some(false),
                Became::Unknown(_) => None,
            };
            assert_eq!((known(true), known(false)), (committed, not), "{answers:?}");
        }
        assert!(matches!(judge(&Server::default(), &Server::default(), false), Became::Unknown(_)));
    }
}
