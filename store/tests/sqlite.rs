//! The SQLite ledger passes the suite, and what only a file can do wrong.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use runward_store::{Ledger, LedgerError, SqliteLedger};
use sqlx::Connection;
use tempfile::TempDir;

/// A ledger whose folder lasts as long as the test's process.
async fn fresh() -> Arc<dyn Ledger> {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
    Arc::new(SqliteLedger::open(&dir.join("ledger.db")).await.unwrap())
}

runward_store::ledger_conformance!(fresh);

async fn raw(path: &Path) -> sqlx::SqliteConnection {
    sqlx::SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap()
}

#[tokio::test]
async fn the_library_has_no_known_way_to_corrupt_a_wal() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    SqliteLedger::open(&path).await.unwrap();
    let mut connection = raw(&path).await;
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut connection).await.unwrap();
    let parts: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
    assert!(parts >= vec![3, 51, 3], "SQLite {version} may corrupt a WAL with two connections");
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn a_changed_event_is_found() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    let ledger: Arc<dyn Ledger> = Arc::new(SqliteLedger::open(&path).await.unwrap());
    runward_store::conformance::rows_are_what_the_events_say_at_every_step(Arc::clone(&ledger)).await;
    let mut connection = raw(&path).await;
    let changed = sqlx::query("UPDATE events SET actor = 'nobody' WHERE seq = 3").execute(&mut connection).await;
    assert!(changed.is_err(), "the ledger itself refuses a change");
    sqlx::query("DROP TRIGGER events_stand_update").execute(&mut connection).await.unwrap();
    for (change, seq) in [
        ("UPDATE events SET actor = 'nobody' WHERE seq = 3", 3),
        ("UPDATE events SET actor = 'tester' WHERE seq = 3", 0),
        ("UPDATE events SET body = replace(body, '\"code\":7', '\"code\":0') WHERE body LIKE '%\"code\":7%'", 6),
        ("DELETE FROM events WHERE seq = 4", 5),
    ] {
        sqlx::query(change).execute(&mut connection).await.unwrap();
        match ledger.load(&"run-1".into()).await {
            Err(LedgerError::Tampered { seq: found, .. }) => assert!(found >= seq, "{change}: found at {found}"),
            other => assert_eq!(seq, 0, "{change}: {:?}", other.map(|view| view.head)),
        }
    }
}

#[tokio::test]
async fn a_file_that_is_no_ledger_is_refused_with_its_name() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    std::fs::write(&path, "these are not the bytes you are looking for".repeat(100)).unwrap();
    match SqliteLedger::open(&path).await {
        Err(error @ LedgerError::Corrupt { .. }) => assert!(error.to_string().contains("ledger.db"), "{error}"),
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    SqliteLedger::open(&path).await.unwrap();
    sqlx::query("PRAGMA user_version = 999").execute(&mut raw(&path).await).await.unwrap();
    assert!(matches!(SqliteLedger::open(&path).await, Err(LedgerError::NewerSchema { found: 999, .. })));
}

#[tokio::test]
async fn many_open_a_new_ledger_at_once() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    let opening: Vec<_> = (0..20)
        .map(|_| {
            let path = path.clone();
            // Its own thread and runtime, as another process would have.
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(SqliteLedger::open(&path)).map(|_| ())
            })
        })
        .collect();
    for opened in opening {
        opened.join().unwrap().unwrap();
    }
}
