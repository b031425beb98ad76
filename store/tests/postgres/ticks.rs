//! Ticks on a server: what only a line that breaks, other processes, or somebody with a client can do wrong.

use std::sync::Arc;

use runward_engine::run::HomeId;
use runward_engine::schedule::entry::{Dst, Missed, Overlap, Schedule, Tick};
use runward_services::{Proxy, Reaches};
use runward_store::conformance::{self, new_run};
use runward_store::timetable::{Decided, Decision, Entry, Order, Outcome};
use runward_store::{Ledger, PostgresLedger, RunQuery, Timetable};

use super::{process, ready};

const COMMIT: &[u8] = b"COMMIT\0";

fn entry(n: usize, overlap: Overlap) -> Entry {
    let schedule = Schedule {
        id: n.to_string(),
        cron: "* * * * *".to_owned(),
        timezone: None,
        dst: Dst::default(),
        missed: Missed::Latest,
        within_ms: 60_000,
        overlap,
        drill: false,
        severity: None,
        jitter_ms: 0,
        with: serde_json::Map::new(),
    };
    Entry { name: format!("suite/{n}"), schedule, broken: None }
}

fn fire(entry: &Entry, at: i64, run: &str) -> Order {
    let tick = Tick { at, nominal: at.to_string(), zone: "UTC".to_owned(), fold: 0 };
    Order { entry: entry.clone(), decision: Decision::Fire { tick, new: Box::new(new_run(run, None)) } }
}

async fn come(ledger: &PostgresLedger, at: i64) {
    while ledger.now().await.unwrap() < at {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_decision_that_was_not_answered_is_repeated_and_is_one_run() {
    let (postgres, _) = ready().await;
    let proxy = Proxy::to(postgres.target());
    let ledger = PostgresLedger::open(&postgres.url_through(&proxy, "runward")).await.unwrap();
    ledger.seal().await.unwrap();
    let (home, one) = (HomeId("a".to_owned()), entry(1, Overlap::Skip));
    for (n, reaches) in [Reaches::TheServer, Reaches::Nobody].into_iter().enumerate() {
        proxy.cut_at(COMMIT, reaches);
        let entries = [one.clone(), entry(n + 2, Overlap::Skip)];
        let since = ledger.post(&home, "h", &entries, "server").await.unwrap()[1].cursor;
        come(&ledger, since + 2).await;
        let orders = vec![fire(&entries[1], since + 1, &format!("run-{n}")), fire(&entries[1], since + 2, "other")];
        proxy.cut_at(COMMIT, reaches);
        let decided = ledger.decide(&home, orders, "server").await.unwrap();
        let run = Outcome::Run { run: format!("run-{n}").as_str().into() };
        assert_eq!(decided[0], Decided::Now(run), "whoever asked for it gets it");
        assert!(matches!(&decided[1], Decided::Now(Outcome::Skipped { .. }) | Decided::Before(_)), "{decided:?}");
        proxy.cut_at(COMMIT, reaches);
        ledger.passed(&[(entries[1].clone(), since + 2)]).await.unwrap();
        assert_eq!(ledger.posted(&home).await.unwrap()[1].cursor, since + 2);
    }
    assert_eq!(proxy.cuts(), 6);
    assert_eq!(ledger.runs(&RunQuery::default()).await.unwrap().len(), 2);
    assert_eq!(ledger.ticks(None, 9).await.unwrap().len(), 4);
    assert_eq!(ledger.integrity().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn many_processes_decide_the_same_ticks_once() {
    const SCHEDULES: usize = 40;
    let (_postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    let all = [Overlap::Skip, Overlap::Queue, Overlap::CancelRunning, Overlap::Allow];
    let entries: Vec<Entry> = (0..SCHEDULES).map(|n| entry(n, all[n % all.len()])).collect();
    let mut since = 0;
    for server in 0..3 {
        let home = HomeId(server.to_string());
        since = ledger.post(&home, "h", &entries, "server").await.unwrap()[0].cursor;
    }
    come(&ledger, since + 2).await;
    let servers: Vec<_> = (0..3)
        .map(|server| {
            let (url, mut entries) = (url.clone(), entries.clone());
            entries.rotate_left(server * 13);
            process(async move || {
                let ledger = PostgresLedger::open(&url).await.unwrap();
                let home = HomeId(server.to_string());
                let mut mine = 0;
                for at in [since + 1, since + 2] {
                    for batch in entries.chunks(7) {
                        let order = |entry: &Entry| fire(entry, at, &format!("{}-{at}-{server}", entry.schedule.id));
                        let orders = batch.iter().map(order).collect();
                        let decided = ledger.decide(&home, orders, "server").await.unwrap();
                        mine += decided.iter().filter(|one| matches!(one, Decided::Now(_))).count();
                    }
                    let passed: Vec<(Entry, i64)> = entries.iter().map(|entry| (entry.clone(), at)).collect();
                    ledger.passed(&passed).await.unwrap();
                }
                mine
            })
        })
        .collect();
    let decided: usize = servers.into_iter().map(|server| server.join().unwrap()).sum();
    assert_eq!(decided, 2 * SCHEDULES);
    assert_eq!(ledger.ticks(None, 1_000).await.unwrap().len(), 2 * SCHEDULES);
    let runs = ledger.runs(&RunQuery::default()).await.unwrap().len();
    assert_eq!(runs, SCHEDULES + SCHEDULES / 4, "one of each, and one more of those that may overlap");
    assert_eq!(ledger.integrity().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_changed_tick_is_found_and_named() {
    let (postgres, url) = ready().await;
    let ledger = Arc::new(PostgresLedger::open(&url).await.unwrap());
    conformance::a_tick_is_skipped_while_a_run_of_its_schedule_lives(ledger.clone()).await;
    assert_eq!(ledger.integrity().await.unwrap(), Vec::<String>::new());
    for sql in ["DELETE FROM ticks", "UPDATE ticks SET reason = 'x'", "UPDATE ticks SET run_id = 'x'", "TRUNCATE ticks"]
    {
        postgres.ask("runward", sql).expect_err(sql);
    }
    postgres.sql("runward", "ALTER TABLE ticks DISABLE TRIGGER ALL");
    for (change, wanted) in [
        (
            "UPDATE ticks SET reason = 'nobody was there' WHERE reason = 'run run-1 still runs'",
            "says something else of it",
        ),
        (
            "DELETE FROM ticks WHERE run_id = 'run-1'",
            "run run-1 was started by schedule suite/1, and the row of its tick is gone",
        ),
        ("UPDATE ticks SET at = at + 1 WHERE run_id = 'run-3'", "is marked as a run that was not started by it"),
        (
            "UPDATE ticks SET run_id = 'run-9' WHERE run_id = 'run-3'",
            "is marked as a run that the ledger does not have",
        ),
        (
            "UPDATE schedules SET disabled_at = 1, disabled_by = 'eve', disabled_reason = 'x'",
            "schedule suite/1 is marked as disabled",
        ),
    ] {
        postgres.sql("runward", change);
        let found = ledger.integrity().await.unwrap();
        assert!(found.iter().any(|line| line.contains(wanted)), "{change}: {found:?}");
    }
}
