//! Many processes on one database: each with its own thread, runtime and connections.

use std::sync::Arc;

use runward_engine::run::{Command, Reject, RunId, RunStatus};
use runward_store::conformance::new_run;
use runward_store::{Ledger, LedgerError, PostgresLedger, RunQuery, check, command};

use super::{claim, process, settle};

#[tokio::test]
async fn many_make_a_database_ready_at_once() {
    let postgres = runward_services::Postgres::start();
    let url = postgres.database("runward");
    let migrating: Vec<_> = (0..8)
        .map(|_| {
            let url = url.clone();
            process(async move || PostgresLedger::migrate(&url).await.map(|status| status.schema))
        })
        .collect();
    for done in migrating {
        assert!(done.join().unwrap().unwrap() >= 1);
    }
    assert_eq!(postgres.sql("runward", "SELECT count(*) FROM seal"), "1");
}

#[tokio::test]
async fn a_step_is_claimed_by_one_of_many_processes() {
    const STEPS: u32 = 24;
    let (_postgres, url) = super::ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    let mut new = new_run("run-1", None);
    let steps = (0..STEPS).fold(String::new(), |text, n| text + &format!("  - {{id: s{n}, needs: [], run: x}}\n"));
    new.definition.source = format!("max-parallel: {STEPS}\nsteps:\n{steps}");
    new.params.clear();
    ledger.trigger(new).await.unwrap();
    let workers: Vec<_> = (0..5)
        .map(|worker| {
            let url = url.clone();
            process(async move || {
                let ledger = PostgresLedger::open(&url).await.unwrap();
                let mut view = ledger.load(&"run-1".into()).await.unwrap();
                let mut mine = 0;
                for step in 0..STEPS {
                    let id = format!("{worker}-{step}");
                    match command(&ledger, &mut view, claim(step, &id, "s"), "tester").await.unwrap() {
                        Ok(()) => mine += 1,
                        Err(Reject::NotReady { .. } | Reject::Terminal { .. }) => continue,
                        Err(other) => panic!("{other:?}"),
                    }
                    command(&ledger, &mut view, settle(&id), "tester").await.unwrap().unwrap();
                }
                mine
            })
        })
        .collect();
    let claimed: u32 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    assert_eq!(claimed, STEPS);
    let run = RunId::from("run-1");
    assert_eq!(ledger.load(&run).await.unwrap().state.status, RunStatus::Succeeded);
    assert_eq!(check::run(&ledger, &run).await.unwrap().differences, Vec::<String>::new());
}

#[tokio::test]
async fn a_key_is_one_run_whichever_process_comes_first_and_whatever_the_order_of_what_it_brings() {
    let (_postgres, url) = super::ready().await;
    let workers: Vec<_> = (0..6)
        .map(|worker| {
            let url = url.clone();
            process(async move || {
                let ledger = PostgresLedger::open(&url).await.unwrap();
                let mut created = 0;
                for n in 0..10 {
                    let mut new = new_run(&format!("run-{worker}-{n}"), Some(&format!("key-{n}")));
                    // The same files, said in another order.
                    new.blobs.extend((0..5).map(|file| (format!("{file}"), vec![file])));
                    new.blobs.rotate_left(worker % 5);
                    new.definition.path = format!("/{n}");
                    created += u32::from(ledger.trigger(new).await.unwrap().created);
                }
                created
            })
        })
        .collect();
    assert_eq!(workers.into_iter().map(|worker| worker.join().unwrap()).sum::<u32>(), 10);
    let ledger = PostgresLedger::open(&url).await.unwrap();
    assert_eq!(ledger.runs(&RunQuery::default()).await.unwrap().len(), 10);
}

#[tokio::test]
async fn somebody_who_holds_a_run_keeps_others_waiting_and_nobody_is_harmed() {
    let (postgres, url) = super::ready().await;
    let ledger = Arc::new(PostgresLedger::open(&url).await.unwrap());
    let mut view = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
    let hold = "BEGIN; SELECT 1 FROM runs WHERE id = 'run-1' FOR UPDATE";
    sqlx::raw_sql(hold).execute(&mut other).await.unwrap();
    let mine = Arc::clone(&ledger);
    let waiting = tokio::spawn(async move {
        let replied = command(&*mine, &mut view, Command::Pause { reason: None }, "tester").await;
        (replied, view)
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'runward' AND wait_event_type = 'Lock'";
    while postgres.sql("runward", waits) == "0" {
        tokio::task::yield_now().await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    let (replied, mut view) = waiting.await.unwrap();
    replied.unwrap().unwrap();
    sqlx::raw_sql(hold).execute(&mut other).await.unwrap();
    let error = command(&*ledger, &mut view, Command::Unpause, "tester").await.unwrap_err();
    assert!(matches!(&error, LedgerError::Server(_)) && error.to_string().contains("busy"), "{error}");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    ledger.refresh(&mut view).await.unwrap();
    assert_eq!(view.state.seq, 2, "nothing has come of it");
    command(&*ledger, &mut view, Command::Unpause, "tester").await.unwrap().unwrap();
}
