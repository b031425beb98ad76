//! Opening the file, creating it, and bringing its schema up to date.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};

use super::BUSY_SECONDS;
use super::errors::translate;
use crate::error::LedgerError;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite");

/// `PRAGMA user_version` of a ledger this program writes: the number of its migrations.
pub(super) fn schema_known() -> i64 {
    MIGRATIONS.iter().count() as i64
}

pub(super) async fn open(path: &Path) -> Result<SqliteConnection, LedgerError> {
    let exists = path.try_exists().map_err(|error| open_error(path, &error))?;
    if exists {
        let mut connection = connect(path, false).await?;
        if schema_found(&mut connection, path).await? == schema_known() {
            return Ok(connection);
        }
    }
    // Rare: the first start on this folder, or the first one of a newer version. One process at a time.
    let _guard = lock_beside(path)?;
    let mut connection = connect(path, true).await?;
    let found = schema_found(&mut connection, path).await?;
    if found < schema_known() {
        // Only while the file is empty, before anything else is written to it: so that pruning can give space back.
        sqlx::query("PRAGMA auto_vacuum=INCREMENTAL")
            .execute(&mut connection)
            .await
            .map_err(|error| translate(path, error))?;
        sqlx::query("PRAGMA journal_mode=WAL")
            .execute(&mut connection)
            .await
            .map_err(|error| translate(path, error))?;
        migrate(&mut connection, path).await?;
        let sql = format!("PRAGMA user_version={}", schema_known());
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.map_err(|error| translate(path, error))?;
    }
    Ok(connection)
}

/// Each migration is one transaction. A table that is written anew is gone for a moment, so references are not enforced
/// meanwhile, which can only be said outside of a transaction.
async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), LedgerError> {
    let failed = |error| translate(path, error);
    sqlx::query("PRAGMA foreign_keys=OFF").execute(&mut *connection).await.map_err(failed)?;
    MIGRATIONS.run_direct(None, &mut *connection, false).await.map_err(|error| migrate_error(path, &error))?;
    sqlx::query("PRAGMA foreign_keys=ON").execute(&mut *connection).await.map_err(failed)?;
    Ok(())
}

fn migrate_error(path: &Path, error: &MigrateError) -> LedgerError {
    let path = path.display().to_string();
    match error {
        MigrateError::VersionMismatch(step) => {
            LedgerError::OtherBuild { path, message: format!("its schema has another step {step} than this one") }
        }
        MigrateError::VersionMissing(step) => LedgerError::OtherBuild {
            path,
            message: format!("its schema has a step {step} that this one does not know"),
        },
        other => LedgerError::Open { path, message: other.to_string() },
    }
}

pub(super) async fn connect(path: &Path, create: bool) -> Result<SqliteConnection, LedgerError> {
    if create {
        // SQLite would create it with the umask's mode; the ledger holds parameters, which are nobody else's business.
        let created = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        created.map_err(|error| open_error(path, &error))?;
    }
    SqliteConnectOptions::new()
        .filename(path)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(BUSY_SECONDS))
        .statement_cache_capacity(64)
        .connect()
        .await
        .map_err(|error| translate(path, error))
}

async fn schema_found(connection: &mut SqliteConnection, path: &Path) -> Result<i64, LedgerError> {
    let found: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| translate(path, error))?;
    if found > schema_known() {
        return Err(LedgerError::NewerSchema { path: path.display().to_string(), found, known: schema_known() });
    }
    Ok(found)
}

fn lock_beside(path: &Path) -> Result<Flock<File>, LedgerError> {
    let lock = path.with_extension("lock");
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&lock)
        .map_err(|error| open_error(&lock, &error))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| open_error(&lock, &errno.into()))
}

fn open_error(path: &Path, error: &std::io::Error) -> LedgerError {
    let path = path.display().to_string();
    match error.kind() {
        std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
            LedgerError::ReadOnly { path, message: error.to_string() }
        }
        std::io::ErrorKind::StorageFull => LedgerError::Full { path },
        _ => LedgerError::Open { path, message: error.to_string() },
    }
}
