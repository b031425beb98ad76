//! Whether the server can hold a ledger, and whether the database is made ready for this program.

use sqlx::migrate::Migrator;
use sqlx::postgres::PgRow;
use sqlx::{ConnectOptions, Connection as _, PgConnection, Row as _};

use super::address::Address;
use super::errors::translate;
use super::pool::answered;
use super::trouble::{ServerError, Trouble};
use crate::error::LedgerError;
use crate::failpoint::{self, Point};

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres");

/// `server_version_num` of Postgres 14.
const OLDEST: i32 = 140_000;

/// What a look at a server found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ServerStatus {
    /// `user@host:port/database`.
    pub place: String,
    /// Of the server, as it says it: `15.18`.
    pub version: String,
    /// Migrations of the database, and of this program.
    pub schema: i64,
    pub schema_known: i64,
    /// Cannot be written: a standby, or made so.
    pub read_only: bool,
    /// Settings with which a crash can take back what was acknowledged, as `name = value`.
    pub loses_commits: Vec<String>,
    /// The server acknowledges commits that are not on its disk yet, unless a session asks for more, as this one does.
    pub acknowledges_early: bool,
    #[serde(skip)]
    version_number: i32,
    encoding: String,
}

impl ServerStatus {
    /// Why no ledger is opened there, if so.
    pub fn refusal(&self) -> Option<ServerError> {
        self.trouble().or_else(|| self.unready())
    }

    /// What is wrong with the server itself.
    pub(super) fn trouble(&self) -> Option<ServerError> {
        let error = |trouble, message: String| Some(ServerError { place: self.place.clone(), trouble, message });
        if self.version_number < OLDEST {
            return error(Trouble::TooOld, format!("it is version {}", self.version));
        }
        if self.encoding != "UTF8" {
            return error(Trouble::Encoding, format!("its encoding is {}", self.encoding));
        }
        if !self.loses_commits.is_empty() {
            return error(Trouble::LosesCommits, self.loses_commits.join(", "));
        }
        None
    }

    /// Whether this program can work with the tables.
    pub(super) fn unready(&self) -> Option<ServerError> {
        let error = |trouble, message: String| Some(ServerError { place: self.place.clone(), trouble, message });
        let (found, known) = (self.schema, self.schema_known);
        match found.cmp(&known) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => {
                error(Trouble::NewerSchema, format!("schema {found}, this one knows {known}"))
            }
            std::cmp::Ordering::Less if found == 0 => {
                error(Trouble::NotMigrated, "it has no tables of a ledger".to_owned())
            }
            std::cmp::Ordering::Less => error(Trouble::NotMigrated, format!("schema {found}, this one needs {known}")),
        }
    }
}

pub(super) async fn connect(address: &Address) -> Result<PgConnection, LedgerError> {
    let connected = answered(async { address.options.connect().await }).await;
    connected.map_err(|error| translate(&address.place, error))
}

/// What the server is, and how far the database is made ready.
pub(super) async fn status(connection: &mut PgConnection, place: &str) -> Result<ServerStatus, LedgerError> {
    let sql = "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version, \
               current_setting('server_encoding') AS encoding, current_setting('fsync') AS fsync, \
               current_setting('full_page_writes') AS full_page_writes, \
               current_setting('synchronous_commit') = 'off' AS acknowledges_early, \
               pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS read_only, \
               to_regclass('_sqlx_migrations') IS NOT NULL AS migrated";
    let failed = |error| translate(place, error);
    let row = answered(async { sqlx::query(sql).fetch_one(&mut *connection).await }).await.map_err(failed)?;
    let migrated: bool = row.try_get("migrated").map_err(failed)?;
    let schema = if migrated {
        let sql = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success";
        answered(async { sqlx::query_scalar(sql).fetch_one(&mut *connection).await }).await.map_err(failed)?
    } else {
        0
    };
    read(&row, place, schema).map_err(failed)
}

fn read(row: &PgRow, place: &str, schema: i64) -> Result<ServerStatus, sqlx::Error> {
    let mut loses_commits = Vec::new();
    for name in ["fsync", "full_page_writes"] {
        let value: String = row.try_get(name)?;
        if value != "on" {
            loses_commits.push(format!("{name} = {value}"));
        }
    }
    Ok(ServerStatus {
        place: place.to_owned(),
        version: row.try_get("version")?,
        schema,
        schema_known: MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0),
        read_only: row.try_get("read_only")?,
        loses_commits,
        acknowledges_early: row.try_get("acknowledges_early")?,
        version_number: row.try_get("number")?,
        encoding: row.try_get("encoding")?,
    })
}

/// Brings the tables up to date. Several may do this at once: each migration is made by one of them, under a lock that is held for it
/// alone, and is there already for the others. It is one transaction: one that is interrupted has not happened.
pub(super) async fn migrate(address: &Address) -> Result<ServerStatus, LedgerError> {
    let place = &address.place;
    let mut connection = connect(address).await?;
    let found = status(&mut connection, place).await?;
    if let Some(trouble) = found.trouble() {
        return Err(trouble.into());
    }
    if found.schema > found.schema_known {
        return Err(found.unready().expect("it is newer").into());
    }
    if found.schema < found.schema_known {
        let patient = "SET statement_timeout = '10min'; SET lock_timeout = '10min'";
        sqlx::raw_sql(patient).execute(&mut connection).await.map_err(|error| translate(place, error))?;
        for migration in MIGRATIONS.iter() {
            let upto = Some(migration.version);
            MIGRATIONS.run_direct(upto, &mut connection, false).await.map_err(|error| failed(place, error))?;
            failpoint::fails_at(Point::BetweenMigrations).map_err(|error| translate(place, error.into()))?;
        }
    }
    let now = status(&mut connection, place).await?;
    let _ = connection.close().await; // everything was said
    Ok(now)
}

fn failed(place: &str, error: sqlx::migrate::MigrateError) -> LedgerError {
    use sqlx::migrate::MigrateError::{Execute, ExecuteMigration};
    match error {
        Execute(error) | ExecuteMigration(error, _) => translate(place, error),
        error => LedgerError::Open { path: place.to_owned(), message: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> ServerStatus {
        ServerStatus {
            place: "ops@h:5432/d".into(),
            version: "13.11".into(),
            schema: 1,
            schema_known: 1,
            read_only: false,
            loses_commits: Vec::new(),
            acknowledges_early: false,
            version_number: 130_011,
            encoding: "UTF8".into(),
        }
    }

    #[test]
    fn a_server_that_is_too_old_is_refused_with_its_version() {
        let said = found().trouble().unwrap();
        assert_eq!(said.to_string(), "the Postgres ops@h:5432/d is too old: it is version 13.11");
        assert!(said.help().contains("14 or newer"));
        assert!(ServerStatus { version_number: OLDEST, ..found() }.trouble().is_none());
    }
}
