//! Who is there, and who is not any more.

use std::sync::Arc;

use runward_services::Signal;
use runward_store::conformance::new_run;
use runward_store::fleet::{NewSession, SessionEnd};
use runward_store::{Fleet, Ledger, PostgresLedger};

use super::{accept, claim, process, ready, says};

fn session(id: &str) -> NewSession {
    NewSession {
        id: id.into(),
        home: "home-1".into(),
        host: "db-host".into(),
        pid: 4711,
        boot: "b".into(),
        version: "0.1.0".into(),
        labels: vec!["db".into(), "linux".into()],
        concurrency: 16,
    }
}

#[tokio::test]
async fn a_session_is_there_until_it_leaves_or_is_buried() {
    let (_postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    for id in ["s1", "s2"] {
        ledger.join(&session(id)).await.unwrap();
        assert!(ledger.beat(&id.into(), false).await.unwrap());
    }
    ledger.join(&session("s1")).await.unwrap();
    assert!(ledger.beat(&"s1".into(), true).await.unwrap());
    let there = ledger.sessions().await.unwrap();
    assert_eq!((there[0].new.clone(), there[0].beat, there[0].draining), (session("s1"), 2, true));
    assert_eq!((there[1].beat, there[1].draining, there[1].end), (1, false, None));
    assert!(there[0].heard_at >= there[0].joined_at);
    ledger.leave(&"s1".into()).await.unwrap();
    assert!(!ledger.bury(&"s2".into(), 0).await.unwrap(), "it was heard since");
    assert!(ledger.bury(&"s2".into(), 1).await.unwrap());
    assert!(!ledger.bury(&"s2".into(), 1).await.unwrap() && !ledger.bury(&"s1".into(), 2).await.unwrap());
    for id in ["s1", "s2", "nobody"] {
        assert!(!ledger.beat(&id.into(), false).await.unwrap());
    }
    let ends: Vec<_> = ledger.sessions().await.unwrap().into_iter().map(|session| session.end).collect();
    assert_eq!(ends, [Some(SessionEnd::Left), Some(SessionEnd::Silent)]);
}

#[tokio::test]
async fn of_a_beat_and_a_burial_at_once_one_is_first_and_the_other_is_told() {
    let (_postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    const SESSIONS: usize = 12;
    for n in 0..SESSIONS {
        ledger.join(&session(&format!("s{n}"))).await.unwrap();
    }
    let at_once = |work: fn(PostgresLedger) -> _| {
        let url = url.clone();
        process(async move || work(PostgresLedger::open(&url).await.unwrap()).await)
    };
    let beating = |ledger: PostgresLedger| {
        Box::pin(async move {
            let mut told = vec![0_u64; SESSIONS];
            for n in (0..SESSIONS).cycle().take(SESSIONS * 20) {
                let id = format!("s{n}").as_str().into();
                told[n] += u64::from(ledger.beat(&id, false).await.unwrap());
            }
            told
        }) as std::pin::Pin<Box<dyn Future<Output = Vec<u64>>>>
    };
    let burying = |ledger: PostgresLedger| {
        Box::pin(async move {
            let mut buried = vec![0_u64; SESSIONS];
            while ledger.sessions().await.unwrap().iter().any(|session| session.end.is_none()) {
                for seen in ledger.sessions().await.unwrap() {
                    let n: usize = seen.new.id.0[1..].parse().unwrap();
                    buried[n] += u64::from(ledger.bury(&seen.new.id, seen.beat).await.unwrap());
                }
            }
            buried
        }) as std::pin::Pin<Box<dyn Future<Output = Vec<u64>>>>
    };
    let (beats, burials) = ([at_once(beating), at_once(beating)], [at_once(burying), at_once(burying)]);
    let sum = |all: [std::thread::JoinHandle<Vec<u64>>; 2]| {
        let [a, b] = all.map(|one| one.join().unwrap());
        a.into_iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>()
    };
    let (beats, burials) = (sum(beats), sum(burials));
    assert_eq!(burials, [1; SESSIONS], "each is buried once");
    for (n, told) in beats.into_iter().enumerate() {
        let sessions = ledger.sessions().await.unwrap();
        let found = sessions.iter().find(|session| session.new.id.0 == format!("s{n}")).unwrap();
        assert_eq!(found.beat, told, "a beat that counted was confirmed, and no other");
    }
}

#[tokio::test]
async fn a_beat_waits_for_no_other_work_of_its_process() {
    let (postgres, url) = ready().await;
    let ledger = Arc::new(PostgresLedger::open(&url).await.unwrap());
    ledger.join(&session("s1")).await.unwrap();
    let view = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    let mut other = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT 1 FROM runs WHERE id = 'run-1' FOR UPDATE").execute(&mut other).await.unwrap();
    let busy: Vec<_> = (0..8)
        .map(|n| {
            let (ledger, mut view) = (Arc::clone(&ledger), view.clone());
            tokio::spawn(async move { says(&ledger, &mut view, claim(0, &format!("c{n}"), "h")).await })
        })
        .collect();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'runward' AND wait_event_type = 'Lock'";
    while postgres.sql("runward", waits) == "0" {
        tokio::task::yield_now().await;
    }
    assert!(ledger.beat(&"s1".into(), false).await.unwrap());
    assert!(busy.iter().all(|one| !one.is_finished()));
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    for one in busy {
        one.await.unwrap().unwrap().ok();
    }
}

#[tokio::test]
async fn beats_go_on_when_the_server_is_back() {
    let (mut postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    ledger.join(&session("s1")).await.unwrap();
    assert!(ledger.beat(&"s1".into(), false).await.unwrap());
    postgres.stop(Signal::Quit);
    ledger.beat(&"s1".into(), false).await.unwrap_err();
    postgres.start_again();
    assert!(ledger.beat(&"s1".into(), false).await.unwrap());
}

#[tokio::test]
async fn a_session_that_ended_long_ago_is_forgotten_when_nothing_refers_to_it() {
    let (postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    let mut view = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    accept(&ledger, &mut view, claim(0, "c1", "s1")).await;
    for id in ["s1", "s2", "s3"] {
        ledger.join(&session(id)).await.unwrap();
        ledger.leave(&id.into()).await.unwrap();
    }
    postgres.sql("runward", "UPDATE sessions SET ended_at = ended_at - 100000000 WHERE id <> 's3'");
    let ids = async || {
        let sessions = ledger.sessions().await.unwrap();
        sessions.into_iter().map(|session| session.new.id.0).collect::<Vec<_>>()
    };
    assert_eq!(ids().await, ["s1", "s3"]);
    ledger.join(&session("s4")).await.unwrap();
    assert_eq!(ids().await, ["s1", "s3", "s4"]);
    assert_eq!(postgres.sql("runward", "SELECT count(*) FROM sessions"), "3");
    let attended = ledger.attended().await.unwrap();
    assert_eq!((attended.len(), &attended[0].claim.0, &attended[0].watched_by.0), (1, &"c1".into(), &"s1".into()));
}
