//! The SQLite ledger passes the suite, and what only a file can do wrong.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use runward_engine::run::{Command, Unit};
use runward_store::conformance::new_run;
use runward_store::outbox::NoticeQuery;
use runward_store::{Ledger, LedgerError, Outbox, RunQuery, SqliteLedger, Timetable, command};
use sqlx::Connection;
use tempfile::TempDir;

/// A ledger whose folder lasts as long as the test's process.
async fn fresh() -> Arc<dyn Ledger> {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
    Arc::new(SqliteLedger::open(&dir.join("ledger.db")).await.unwrap())
}

runward_store::ledger_conformance!(fresh);

async fn table() -> Arc<dyn Timetable> {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
    Arc::new(SqliteLedger::open(&dir.join("ledger.db")).await.unwrap())
}

runward_store::timetable_conformance!(table);

async fn outbox() -> Arc<dyn Outbox> {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
    Arc::new(SqliteLedger::open(&dir.join("ledger.db")).await.unwrap())
}

runward_store::outbox_conformance!(outbox);

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
async fn nothing_is_written_to_a_file_that_is_not_the_ledger_any_more() {
    let dir = TempDir::new().unwrap();
    let (path, away) = (dir.path().join("ledger.db"), dir.path().join("away.db"));
    let ledger = SqliteLedger::open(&path).await.unwrap();
    let mut view = ledger.trigger(new_run("before", None)).await.unwrap().view;
    std::fs::rename(&path, &away).unwrap();
    let refused = |error: LedgerError| assert!(matches!(error, LedgerError::Replaced { .. }), "{error}");
    refused(ledger.trigger(new_run("gone", None)).await.unwrap_err());
    refused(ledger.refresh(&mut view).await.unwrap_err());
    // Another one in its place, as a restored backup is.
    std::fs::copy(&away, &path).unwrap();
    refused(ledger.trigger(new_run("replaced", None)).await.unwrap_err());
    std::fs::rename(&away, &path).unwrap();
    ledger.trigger(new_run("back", None)).await.unwrap();
    assert_eq!(ledger.runs(&RunQuery::default()).await.unwrap().len(), 2);
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
async fn a_change_that_did_not_reach_its_run_is_refused_also_where_somebody_is_told() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    let ledger = SqliteLedger::open(&path).await.unwrap();
    let mut new = runward_store::conformance::new_run("run-1", None);
    new.definition.source = "steps:\n  - {id: a, run: x, on-lost: hold}\n".to_owned();
    new.params.clear();
    let mut view = ledger.trigger(new).await.unwrap().view;
    let (unit, claim) = (Unit::step(0), "c".into());
    let taken = Command::Claim { unit, claim, session: "s".into(), boot: "b".into(), place: None };
    command(&ledger, &mut view, taken, "tester").await.unwrap().unwrap();
    // The row of the run does not change, whatever is said to it.
    let deaf = "CREATE TRIGGER deaf BEFORE UPDATE ON runs BEGIN SELECT raise(IGNORE); END";
    sqlx::query(deaf).execute(&mut raw(&path).await).await.unwrap();
    let lost = Command::Lose { claim: "c".into(), evidence: "gone".to_owned(), with: None };
    let refused = command(&ledger, &mut view, lost, "tester").await.map(drop).unwrap_err();
    assert!(refused.to_string().contains("moved on"), "{refused}");
    assert!(ledger.notices(&NoticeQuery::default()).await.unwrap().is_empty());
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
async fn a_ledger_of_another_build_is_refused_with_what_to_do() {
    for (change, words) in [
        ("UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1", "another step 1 than"),
        (
            "INSERT INTO _sqlx_migrations SELECT 999, description, installed_on, success, checksum, execution_time \
          FROM _sqlx_migrations WHERE version = 1",
            "a step 999 that this one does not know",
        ),
    ] {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("ledger.db");
        SqliteLedger::open(&path).await.unwrap();
        // As a version wrote it that was still in development: other steps, and fewer of them.
        let mut connection = raw(&path).await;
        sqlx::query(change).execute(&mut connection).await.unwrap();
        sqlx::query("PRAGMA user_version = 1").execute(&mut connection).await.unwrap();
        let error = SqliteLedger::open(&path).await.err().unwrap();
        assert!(matches!(error, LedgerError::OtherBuild { .. }) && error.to_string().contains(words), "{error}");
        let help = error.help().unwrap();
        assert!(help.contains("--state") && help.contains("the build that made it"), "{help}");
    }
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

/// A ledger as the first version left it, with a run that has a key.
async fn ledger_of_the_first_version(path: &Path) {
    let all = sqlx::migrate!("../migrations/sqlite");
    let first: Vec<_> = all.iter().take(1).cloned().collect();
    let mut connection = raw_new(path).await;
    sqlx::query("PRAGMA journal_mode=WAL").execute(&mut connection).await.unwrap();
    sqlx::migrate::Migrator::with_migrations(first).run_direct(None, &mut connection, false).await.unwrap();
    for sql in [
        "PRAGMA user_version=1",
        "INSERT INTO definitions (hash, body) VALUES ('h', '{}')",
        "INSERT INTO runs (id, name, status, generation, held, trigger, actor, key, params, definition, created_at, seq, head) \
         VALUES ('old-run', 'x', 'running', 1, 0, 'cli', 'a', 'k', '{}', 'h', 1, 1, 'x')",
    ] {
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
}

async fn raw_new(path: &Path) -> sqlx::SqliteConnection {
    sqlx::SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap()
}

#[tokio::test]
async fn a_ledger_of_the_first_version_is_brought_up_to_date_and_keeps_its_runs() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    ledger_of_the_first_version(&path).await;
    let ledger = SqliteLedger::open(&path).await.unwrap();
    assert_eq!(ledger.find("old-run").await.unwrap(), ["old-run".into()]);
    assert!(ledger.administration().await.unwrap().is_empty());
    assert_eq!(ledger.stats().await.unwrap().schema, sqlx::migrate!("../migrations/sqlite").iter().count() as i64);
    // It was made without the means to give pages back one by one: it is written anew once.
    ledger.reclaim().await.unwrap();
    let vacuum: i64 = sqlx::query_scalar("PRAGMA auto_vacuum").fetch_one(&mut raw(&path).await).await.unwrap();
    assert_eq!(vacuum, 2);
    assert_eq!(ledger.integrity().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_table_that_is_written_anew_keeps_its_rows_its_rules_and_what_refers_to_it() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    ledger_of_the_first_version(&path).await;
    let mut old = raw(&path).await;
    for sql in [
        "INSERT INTO events VALUES ('old-run', 1, 1, 'a', 'run_created', '{}', 'x')",
        "INSERT INTO steps VALUES ('old-run', 'a', 0, 'running', 1, 5, NULL, NULL, '{}')",
    ] {
        sqlx::query(sql).execute(&mut old).await.unwrap();
    }
    // A process of the earlier version may have the ledger open all the while.
    let ledger = SqliteLedger::open(&path).await.unwrap();
    let (run, steps, _) = ledger.rows(&"old-run".into()).await.unwrap();
    assert_eq!((run.status.as_str(), run.key.as_deref(), run.seq), ("running", Some("k"), 1));
    assert_eq!((steps[0].status.as_str(), steps[0].started_at), ("running", Some(5)));
    sqlx::query("UPDATE runs SET status = 'paused'").execute(&mut old).await.unwrap();
    for (sql, because) in [
        ("UPDATE runs SET status = 'asleep'", "CHECK"),
        ("UPDATE steps SET status = 'asleep'", "CHECK"),
        ("INSERT INTO steps VALUES ('no-run', 'a', 0, 'running', 1, 5, NULL, NULL, '{}')", "FOREIGN KEY"),
        ("DELETE FROM runs", "pruning"),
    ] {
        let refused = sqlx::query(sql).execute(&mut old).await.unwrap_err().to_string();
        assert!(refused.contains(because), "{sql}: {refused}");
    }
    for name in ["keys_stay_taken", "runs_are_pruned", "runs_by_definition", "runs_by_name"] {
        let sql = "SELECT sql FROM sqlite_schema WHERE name = $1";
        let stands: Option<String> = sqlx::query_scalar(sql).bind(name).fetch_optional(&mut old).await.unwrap();
        assert!(stands.is_some_and(|sql| sql.contains("ON runs")), "{name}");
    }
    assert_eq!(ledger.integrity().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_new_ledger_can_give_space_back_bit_by_bit() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    let ledger: Arc<SqliteLedger> = Arc::new(SqliteLedger::open(&path).await.unwrap());
    let mut other = raw(&path).await;
    let vacuum: i64 = sqlx::query_scalar("PRAGMA auto_vacuum").fetch_one(&mut other).await.unwrap();
    assert_eq!(vacuum, 2);
    let size = || std::fs::metadata(&path).unwrap().len();
    for sql in [
        "INSERT INTO blobs (sha256, bytes) VALUES ('x', zeroblob(20000000))",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "DELETE FROM blobs",
    ] {
        sqlx::query(sql).execute(&mut other).await.unwrap();
    }
    assert!(size() > 20_000_000);
    assert!(ledger.reclaim().await.unwrap() > 19_000_000);
    assert!(size() < 1_000_000, "{}", size());
}

#[tokio::test]
async fn the_schema_itself_lets_no_run_go_and_no_key_come_back() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    let ledger: Arc<dyn Ledger> = Arc::new(SqliteLedger::open(&path).await.unwrap());
    runward_store::conformance::the_key_of_a_pruned_run_stays_taken(Arc::clone(&ledger)).await;
    let mut other = raw(&path).await;
    for sql in [
        "DELETE FROM pruned",
        "UPDATE pruned SET key = NULL",
        "DELETE FROM administration",
        "UPDATE administration SET actor = 'nobody'",
        "DELETE FROM runs",
        "DELETE FROM seal",
        "UPDATE seal SET key = randomblob(32)",
        "INSERT INTO runs SELECT 'x', name, status, generation, held, trigger, actor, 'nightly', params, definition, \
         created_at, started_at, finished_at, seq, head FROM runs",
    ] {
        // Without the references, which would refuse some of these by themselves.
        sqlx::query("PRAGMA foreign_keys=OFF").execute(&mut other).await.unwrap();
        let refused = sqlx::query(sql).execute(&mut other).await.map(|done| done.rows_affected());
        assert!(refused.is_err(), "{sql}: {refused:?}");
    }
}

#[tokio::test]
async fn a_changed_record_of_the_ledger_is_found() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    let ledger = Arc::new(SqliteLedger::open(&path).await.unwrap());
    runward_store::conformance::a_pruned_run_is_gone_and_on_the_record(Arc::clone(&ledger) as Arc<dyn Ledger>).await;
    assert_eq!(ledger.integrity().await.unwrap(), Vec::<String>::new());
    let mut other = raw(&path).await;
    for name in ["administration_stands_update", "administration_stands_delete", "pruned_stands_delete"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DROP TRIGGER {name}"))).execute(&mut other).await.unwrap();
    }
    sqlx::query("PRAGMA foreign_keys=OFF").execute(&mut other).await.unwrap();
    sqlx::query("DELETE FROM pruned WHERE id = 'run-1'").execute(&mut other).await.unwrap();
    let found = ledger.integrity().await.unwrap();
    assert!(found.len() == 1 && found[0].contains("run-1") && found[0].contains("its mark"), "{found:?}");
    sqlx::query("DELETE FROM administration WHERE seq = 2").execute(&mut other).await.unwrap();
    assert!(matches!(ledger.administration().await, Err(LedgerError::Record { seq: 3, .. })));
}

#[tokio::test]
async fn a_changed_tick_is_found_and_named() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    let ledger = Arc::new(SqliteLedger::open(&path).await.unwrap());
    runward_store::conformance::a_tick_is_skipped_while_a_run_of_its_schedule_lives(ledger.clone()).await;
    assert_eq!(ledger.integrity().await.unwrap(), Vec::<String>::new());
    let mut other = raw(&path).await;
    for sql in ["DELETE FROM ticks", "UPDATE ticks SET reason = 'x'", "UPDATE ticks SET run_id = 'by-hand'"] {
        assert!(sqlx::query(sql).execute(&mut other).await.is_err(), "{sql}");
    }
    for name in ["ticks_stand_update", "ticks_stand_delete"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DROP TRIGGER {name}"))).execute(&mut other).await.unwrap();
    }
    for (change, wanted) in TAMPERED_TICKS {
        sqlx::query("BEGIN").execute(&mut other).await.unwrap();
        sqlx::raw_sql(change).execute(&mut other).await.unwrap();
        sqlx::query("COMMIT").execute(&mut other).await.unwrap();
        let found = ledger.integrity().await.unwrap();
        assert!(found.iter().any(|line| line.contains(wanted)), "{change}: {found:?}");
    }
}

/// Each on top of those before it.
const TAMPERED_TICKS: [(&str, &str); 5] = [
    ("UPDATE ticks SET reason = 'nobody was there' WHERE reason = 'run run-1 still runs'", "says something else of it"),
    (
        "DELETE FROM ticks WHERE run_id = 'run-1'",
        "run run-1 was started by schedule suite/1, and the row of its tick is gone",
    ),
    ("UPDATE ticks SET at = at + 1 WHERE run_id = 'run-3'", "is marked as a run that was not started by it"),
    ("UPDATE ticks SET run_id = 'run-9' WHERE run_id = 'run-3'", "is marked as a run that the ledger does not have"),
    (
        "UPDATE schedules SET disabled_at = 1, disabled_by = 'eve', disabled_reason = 'x'",
        "schedule suite/1 is marked as disabled",
    ),
];
