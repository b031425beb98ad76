//! What can be wrong with the server, in words; and what the tables themselves refuse.

use std::fs;
use std::sync::Arc;

use runward_services::{Postgres, Signal};
use runward_store::conformance::{self, new_run};
use runward_store::{Ledger, LedgerError, PostgresLedger, RunQuery, Trouble};

use super::ready;

/// Why it is not opened, and everything that is said about it.
async fn refused(url: &str) -> (Trouble, String) {
    match PostgresLedger::open(url).await.map(|_| ()) {
        Err(LedgerError::Server(error)) => (error.trouble, format!("{error}; {}", error.help())),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_or_lets_nobody_in_is_an_error_that_says_what_to_do() {
    let (mut postgres, url) = ready().await;
    assert_eq!(refused(&postgres.url("another")).await.0, Trouble::NoDatabase);
    let hba = postgres.folder().join("data/pg_hba.conf");
    fs::write(hba, "local postgres all trust\nlocal all all scram-sha-256\n").unwrap();
    postgres.sql("postgres", "SET password_encryption = 'scram-sha-256'; ALTER ROLE runward PASSWORD 'right'");
    postgres.sql("postgres", "SELECT pg_reload_conf()");
    let with = |password: &str| format!("{url}&password={password}");
    while PostgresLedger::open(&with("wrong")).await.is_ok() {} // until it has read its configuration again
    let (trouble, said) = refused(&with("wr0ng")).await;
    assert_eq!(trouble, Trouble::Login);
    assert!(said.contains("pg_hba.conf") && said.contains("runward@") && !said.contains("wr0ng"), "{said}");
    PostgresLedger::open(&with("right")).await.unwrap();
    postgres.stop(Signal::Interrupt);
    let (trouble, said) = refused(&with("right")).await;
    assert_eq!(trouble, Trouble::Unreachable);
    assert!(said.contains("pg_isready") && !said.contains("right "), "{said}");
}

#[tokio::test]
async fn a_database_that_is_not_ready_is_refused_and_so_is_one_of_a_newer_runward() {
    let postgres = Postgres::start();
    let url = postgres.database("runward");
    let (trouble, said) = refused(&url).await;
    assert_eq!(trouble, Trouble::NotMigrated);
    assert!(said.contains("runward db migrate"), "{said}");
    let status = PostgresLedger::status(&url).await.unwrap();
    assert_eq!((status.schema, status.read_only, status.loses_commits.len()), (0, false, 0));
    let migrated = PostgresLedger::migrate(&url).await.unwrap();
    assert_eq!(migrated.schema, migrated.schema_known);
    let newer = "INSERT INTO _sqlx_migrations SELECT 999, 'newer', now(), true, '', 0";
    postgres.sql("runward", newer);
    assert_eq!(refused(&url).await.0, Trouble::NewerSchema);
    assert!(
        matches!(PostgresLedger::migrate(&url).await, Err(LedgerError::Server(error)) if error.trouble == Trouble::NewerSchema)
    );
}

#[tokio::test]
async fn a_server_that_loses_commits_or_cannot_hold_every_text_is_refused() {
    let (mut postgres, url) = ready().await;
    postgres.sql("postgres", "CREATE DATABASE plain ENCODING 'SQL_ASCII' TEMPLATE template0");
    assert_eq!(refused(&postgres.url("plain")).await.0, Trouble::Encoding);
    postgres.stop(Signal::Interrupt);
    postgres.start_again_with(&["fsync=off"]);
    let (trouble, said) = refused(&url).await;
    assert_eq!(trouble, Trouble::LosesCommits);
    assert!(said.contains("fsync = off"), "{said}");
}

#[tokio::test]
async fn a_commit_is_durable_where_the_server_is_set_to_acknowledge_it_too_early() {
    let (mut postgres, url) = ready().await;
    postgres.stop(Signal::Interrupt);
    postgres.start_again_with(&["synchronous_commit=off", "wal_writer_delay=10s"]);
    let ledger = PostgresLedger::open(&url).await.unwrap();
    for n in 0..5 {
        ledger.trigger(new_run(&format!("run-{n}"), None)).await.unwrap();
    }
    postgres.stop(Signal::Kill);
    postgres.start_again();
    assert_eq!(ledger.runs(&RunQuery::default()).await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_standby_can_be_read_and_not_written() {
    let (mut postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    ledger.trigger(new_run("run-1", None)).await.unwrap();
    postgres.stop(Signal::Interrupt);
    fs::write(postgres.folder().join("data/standby.signal"), "").unwrap();
    postgres.start_again();
    let ledger = PostgresLedger::open(&url).await.unwrap();
    assert!(PostgresLedger::status(&url).await.unwrap().read_only);
    assert_eq!(ledger.find("run-1").await.unwrap().len(), 1);
    match ledger.trigger(new_run("run-2", None)).await {
        Err(LedgerError::Server(error)) => {
            assert_eq!(error.trouble, Trouble::ReadOnly);
            assert!(error.help().contains("primary"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_tables_themselves_let_nothing_go_that_was_recorded() {
    let (postgres, url) = ready().await;
    let ledger: Arc<dyn Ledger> = Arc::new(PostgresLedger::open(&url).await.unwrap());
    conformance::the_key_of_a_pruned_run_stays_taken(Arc::clone(&ledger)).await;
    for sql in [
        "DELETE FROM pruned",
        "UPDATE pruned SET key = NULL",
        "DELETE FROM administration",
        "UPDATE administration SET actor = 'nobody'",
        "DELETE FROM runs",
        "DELETE FROM events",
        "UPDATE events SET actor = 'nobody'",
        "TRUNCATE events",
        "TRUNCATE runs CASCADE",
        "DELETE FROM seal",
        "UPDATE seal SET key = sha256('x')",
        "UPDATE runs SET status = 'asleep'",
        "UPDATE runs SET finished_at = NULL, status = 'succeeded'",
        "UPDATE runs SET permit = 'holds', permit_at = 1",
        "INSERT INTO steps SELECT id, 'x', 0, 'asleep', 0, NULL, NULL, NULL, '{}' FROM runs",
        "INSERT INTO steps SELECT 'no-run', 'x', 0, 'ready', 0, NULL, NULL, NULL, '{}'",
        "INSERT INTO runs (id, name, status, generation, held, rollback, trigger, actor, key, params, definition, priority, \
         created_at, seq, head) SELECT 'x', name, status, generation, held, rollback, trigger, actor, 'nightly', params, \
         definition, priority, created_at, seq, head FROM runs",
    ] {
        postgres.ask("runward", sql).expect_err(sql);
    }
}

#[tokio::test]
async fn at_most_one_attempt_of_a_step_is_alive_whoever_writes() {
    let (postgres, url) = ready().await;
    let ledger: Arc<dyn Ledger> = Arc::new(PostgresLedger::open(&url).await.unwrap());
    conformance::of_many_claims_of_a_step_one_is_accepted(Arc::clone(&ledger)).await;
    let another = "INSERT INTO attempts SELECT 'c', run_id, unit, attempt + 1, generation, session, watched_by, status, \
                   claimed_at, started_at, ended_at, code, signal, error, log_bytes, log_dropped, log_sha256 FROM attempts";
    let why = postgres.ask("runward", another).unwrap_err();
    assert!(why.contains("one_live_attempt"), "{why}");
}

#[tokio::test]
async fn a_changed_event_is_found() {
    let (postgres, url) = ready().await;
    let ledger: Arc<dyn Ledger> = Arc::new(PostgresLedger::open(&url).await.unwrap());
    conformance::rows_are_what_the_events_say_at_every_step(Arc::clone(&ledger)).await;
    postgres.sql("runward", "ALTER TABLE events DISABLE TRIGGER ALL");
    for (change, seq) in [
        ("UPDATE events SET actor = 'nobody' WHERE seq = 3", 3),
        ("UPDATE events SET actor = 'tester' WHERE seq = 3; DELETE FROM events WHERE seq = 4", 5),
    ] {
        postgres.sql("runward", change);
        match ledger.load(&"run-1".into()).await {
            Err(LedgerError::Tampered { seq: found, .. }) => assert_eq!(found, seq),
            other => panic!("{change}: {:?}", other.map(|view| view.head)),
        }
    }
}

#[tokio::test]
async fn a_changed_record_of_the_ledger_is_found() {
    let (postgres, url) = ready().await;
    let ledger = Arc::new(PostgresLedger::open(&url).await.unwrap());
    conformance::a_pruned_run_is_gone_and_on_the_record(Arc::clone(&ledger) as Arc<dyn Ledger>).await;
    assert_eq!(ledger.integrity().await.unwrap(), Vec::<String>::new());
    assert_eq!(ledger.stats().await.unwrap().definitions, 0);
    let change = "ALTER TABLE pruned DISABLE TRIGGER ALL; ALTER TABLE administration DISABLE TRIGGER ALL; ";
    postgres.sql("runward", &format!("{change} DELETE FROM pruned WHERE id = 'run-1'"));
    let found = ledger.integrity().await.unwrap();
    assert!(found.len() == 1 && found[0].contains("run-1") && found[0].contains("its mark"), "{found:?}");
    postgres.sql("runward", "DELETE FROM administration WHERE seq = 2");
    assert!(matches!(ledger.administration().await, Err(LedgerError::Record { seq: 3, .. })));
}
