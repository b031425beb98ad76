//! Runs that are loaded at the same time share a statement, and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use runward_engine::run::{Command, Reject};
use runward_store::conformance::new_run;
use runward_store::{Ledger, LedgerError, PostgresLedger, RunView, command};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use super::{claim, ready};

const RUNS: usize = 24;

async fn loaded(ledger: &Arc<PostgresLedger>, runs: &[String]) -> Vec<Result<RunView, LedgerError>> {
    let mut loading = JoinSet::new();
    for (n, run) in runs.iter().cloned().enumerate() {
        let ledger = Arc::clone(ledger);
        loading.spawn(async move { (n, ledger.load(&run.as_str().into()).await) });
    }
    let mut loaded = loading.join_all().await;
    loaded.sort_by_key(|(n, _)| *n);
    loaded.into_iter().map(|(_, view)| view).collect()
}

#[tokio::test]
async fn each_gets_its_own_run_or_what_is_wrong_with_it() {
    let (postgres, url) = ready().await;
    let theirs = PostgresLedger::open(&url).await.unwrap();
    let mut runs = Vec::new();
    for n in 0..RUNS {
        let mut view = theirs.trigger(new_run(&format!("run-{n:02}"), None)).await.unwrap().view;
        for _ in 0..n {
            command(&theirs, &mut view, Command::Pause { reason: None }, "tester").await.unwrap().unwrap();
            command(&theirs, &mut view, Command::Unpause, "tester").await.unwrap().unwrap();
        }
        runs.push(view.state.id.0);
    }
    let seqs = |n: usize| 2 * n as u64;
    let first = theirs.load(&"run-00".into()).await.unwrap().state.seq;
    for sql in [
        "ALTER TABLE events DISABLE TRIGGER USER",
        "UPDATE events SET actor = 'mallory' WHERE run_id = 'run-03' AND seq = 2",
        "UPDATE events SET body = '{' WHERE run_id = 'run-05' AND seq = 2",
    ] {
        postgres.sql("runward", sql);
    }
    runs.extend(["run-07", "run-07", "none"].map(str::to_owned));
    for _ in 0..5 {
        let ledger = Arc::new(PostgresLedger::open(&url).await.unwrap());
        for (run, loaded) in runs.iter().zip(loaded(&ledger, &runs).await) {
            match (run.as_str(), loaded) {
                ("run-03" | "run-05", Err(LedgerError::Tampered { run: of, seq: 2, .. })) => assert_eq!(of.0, *run),
                ("none", Err(LedgerError::NoSuchRun(of))) => assert_eq!(of.0, "none"),
                (name, Ok(view)) => {
                    let n = name.strip_prefix("run-").unwrap().parse().unwrap();
                    assert_eq!((view.state.id.0.as_str(), view.state.seq), (name, first + seqs(n)));
                }
                (name, other) => panic!("{name}: {other:?}"),
            }
        }
    }
}

/// Whoever loads has heard the clock: what a process commits first goes in one trip, and together.
#[tokio::test]
async fn what_is_loaded_at_once_is_changed_in_a_few_statements() {
    let (postgres, url) = ready().await;
    let theirs = PostgresLedger::open(&url).await.unwrap();
    let mut runs = Vec::new();
    for n in 0..RUNS {
        runs.push(theirs.trigger(new_run(&format!("run-{n:02}"), None)).await.unwrap().view.state.id.0);
    }
    let ledger = Arc::new(PostgresLedger::open(&url).await.unwrap());
    let mut claiming = JoinSet::new();
    for view in loaded(&ledger, &runs).await {
        let (ledger, mut view) = (Arc::clone(&ledger), view.unwrap());
        claiming.spawn(async move {
            let wanted = claim(0, &format!("c-{}", view.state.id), "s");
            command(&*ledger, &mut view, wanted, "tester").await.unwrap().unwrap();
        });
    }
    claiming.join_all().await;
    let sql = "SELECT count(DISTINCT xmin::text) FROM events WHERE kind = 'attempt_claimed'";
    let written: usize = postgres.sql("runward", sql).parse().unwrap();
    assert!(written < RUNS / 2, "{written} transactions");
}

/// What records nothing waits for nobody; what others have recorded is told all the same.
#[tokio::test]
async fn a_commit_that_has_nothing_to_record_takes_no_lock() {
    const HELD: Duration = Duration::from_secs(3);
    let (_postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    ledger.trigger(new_run("run-1", None)).await.unwrap();
    let mut view = ledger.load(&"run-1".into()).await.unwrap();
    let mut other = view.clone();
    let mut holder = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT FROM runs WHERE id = 'run-1' FOR UPDATE").execute(&mut holder).await.unwrap();
    let began = Instant::now();
    let refused = command(&ledger, &mut view, Command::Unpause, "tester").await.unwrap();
    assert!(refused.is_err() && began.elapsed() < HELD, "{refused:?} after {:?}", began.elapsed());
    sqlx::raw_sql("ROLLBACK").execute(&mut holder).await.unwrap();

    command(&ledger, &mut other, Command::Pause { reason: None }, "other").await.unwrap().unwrap();
    let mut once = Some(Command::Unpause);
    let committed = ledger.commit(&mut view, &mut |_| once.take(), "tester").await.unwrap();
    let kinds: Vec<_> = committed.news.iter().map(|recorded| recorded.event.kind()).collect();
    assert_eq!(kinds, ["run_paused", "run_unpaused"], "of what there is: {:?}", committed.replies);
    let mut once = Some(Command::Unpause);
    let committed = ledger.commit(&mut view, &mut |_| once.take(), "tester").await.unwrap();
    assert!(
        matches!(committed.replies[..], [Err(Reject::NotPaused { .. })]) && committed.news.is_empty(),
        "{committed:?}"
    );
}
