//! What attempts printed, in parts that may come twice.

use std::sync::Arc;

use runward_engine::plan::definition::sha256;
use runward_engine::retention::Retention;
use runward_engine::run::event::LogDigest;
use runward_engine::run::{ClaimId, Command, RunId};
use runward_store::conformance::new_run;
use runward_store::fleet::{LOG_PART_BYTES_MAX, LogPart, Shipped, Unshipped};
use runward_store::{AdminEvent, Fleet, Ledger, PostgresLedger, PrunedRun};

use super::{accept, claim, process, ready, settle};

fn part(from: u64, to: u64) -> LogPart {
    LogPart { from, to, frames: (from..to).map(|byte| byte as u8).collect() }
}

async fn with_an_attempt(ledger: &PostgresLedger) -> (RunId, ClaimId) {
    let mut view = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    accept(ledger, &mut view, claim(0, "c1", "home-1")).await;
    ("run-1".into(), "c1".into())
}

#[tokio::test]
async fn a_part_that_comes_twice_or_too_late_changes_nothing() {
    let (_postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    let (run, claim) = with_an_attempt(&ledger).await;
    let ship = async |from, to, complete| ledger.ship(&run, &claim, &part(from, to), complete).await.unwrap();
    assert_eq!(ledger.shipped(&run, &claim).await.unwrap(), Shipped::default());
    ship(0, 10, false).await;
    ship(0, 10, false).await;
    ship(5, 15, true).await; // overlaps, and what it ends with is not there: so it is not the end
    assert_eq!(ledger.shipped(&run, &claim).await.unwrap(), Shipped { to: 10, complete: false });
    ship(20, 30, false).await;
    ship(10, 20, false).await;
    assert_eq!(ledger.log(&run, &claim, 0, 10).await.unwrap(), [part(0, 10), part(20, 30)]);
    assert_eq!(ledger.log(&run, &claim, 10, 10).await.unwrap(), [part(20, 30)]);
    assert_eq!(ledger.log(&run, &claim, 9, 1).await.unwrap(), [part(0, 10)]);
    ship(30, 30, true).await;
    ship(20, 30, false).await;
    assert_eq!(ledger.shipped(&run, &claim).await.unwrap(), Shipped { to: 30, complete: true });
    assert_eq!(ledger.log(&run, &claim, 0, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn two_who_ship_one_log_make_one_log() {
    const PARTS: u64 = 60;
    let (_postgres, url) = ready().await;
    let ledger = Arc::new(PostgresLedger::open(&url).await.unwrap());
    let (run, claim) = with_an_attempt(&ledger).await;
    let shipping: Vec<_> = [7, 10, 10]
        .map(|bytes| {
            let (url, run, claim) = (url.clone(), run.clone(), claim.clone());
            process(async move || {
                let ledger = PostgresLedger::open(&url).await.unwrap();
                for n in 0..PARTS {
                    let part = part(n * bytes, (n + 1) * bytes);
                    ledger.ship(&run, &claim, &part, n + 1 == PARTS && bytes == 10).await.unwrap();
                }
            })
        })
        .into();
    for one in shipping {
        one.join().unwrap();
    }
    let parts = ledger.log(&run, &claim, 0, 1_000).await.unwrap();
    assert!(parts.windows(2).all(|pair| pair[0].to <= pair[1].from), "nothing is there twice: {parts:?}");
    let end = parts.last().unwrap().to;
    assert_eq!(ledger.shipped(&run, &claim).await.unwrap(), Shipped { to: end, complete: true });
}

#[tokio::test]
async fn what_the_spool_no_longer_keeps_is_not_kept_here_either() {
    let (_postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    let (run, claim) = with_an_attempt(&ledger).await;
    for n in 0..10 {
        ledger.ship(&run, &claim, &part(n * 10, n * 10 + 10), false).await.unwrap();
    }
    ledger.thin(&run, &claim, 25, 65).await.unwrap();
    let left: Vec<u64> = ledger.log(&run, &claim, 0, 10).await.unwrap().iter().map(|part| part.from).collect();
    assert_eq!(left, [0, 10, 20, 60, 70, 80, 90], "parts that reach beyond stay");
    let large = LogPart { from: 100, to: 101, frames: vec![0; LOG_PART_BYTES_MAX + 1] };
    let error = ledger.ship(&run, &claim, &large, false).await.unwrap_err();
    assert!(error.to_string().contains("log_parts"), "{error}");
}

fn printed(settle: Command) -> Command {
    let Command::Settle { claim, mut report } = settle else { return settle };
    report.log = LogDigest { bytes: 3, dropped: 0, sha256: sha256(b"abc") };
    Command::Settle { claim, report }
}

#[tokio::test]
async fn what_ended_without_a_word_is_complete_with_its_end() {
    let (_postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    let mut view = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    let run = RunId::from("run-1");
    // Of the second one nobody knows what it printed.
    for (step, digest, complete) in [(0, sha256(b""), true), (1, String::new(), false)] {
        let id = format!("c{step}");
        accept(&ledger, &mut view, claim(step, &id, "home-1")).await;
        let Command::Settle { claim, mut report } = settle(&id) else { panic!("it settles") };
        report.log = LogDigest { bytes: 0, dropped: 0, sha256: digest };
        accept(&ledger, &mut view, Command::Settle { claim: claim.clone(), report }).await;
        assert_eq!(ledger.shipped(&run, &claim).await.unwrap(), Shipped { to: 0, complete });
    }
}

#[tokio::test]
async fn a_home_is_told_what_it_has_not_shipped_until_the_run_is_pruned() {
    let (_postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    let mut view = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    let run = RunId::from("run-1");
    let told = |claim: &str, running| Unshipped { run: "run-1".into(), claim: claim.into(), running };
    let unshipped = async || ledger.unshipped(&"home-1".into()).await.unwrap();
    for step in 0..3 {
        let id = format!("c{step}");
        accept(&ledger, &mut view, claim(step, &id, "home-1")).await;
        assert_eq!(unshipped().await.pop(), Some(told(&id, true)));
        accept(&ledger, &mut view, printed(settle(&id))).await;
    }
    assert_eq!(unshipped().await, [told("c0", false), told("c1", false), told("c2", false)]);
    ledger.ship(&run, &"c1".into(), &part(0, 10), true).await.unwrap();
    assert_eq!(unshipped().await, [told("c0", false), told("c2", false)]);
    assert!(ledger.unshipped(&"home-2".into()).await.unwrap().is_empty());
    let stats = ledger.stats().await.unwrap();
    assert!(stats.log_parts == 1 && stats.log_bytes > 0, "{stats:?}");
    let rule = Retention { older_than_ms: None, keep: Some(0) };
    let pruned = AdminEvent::RunsPruned { rule, runs: vec![PrunedRun::of(&view)] };
    ledger.administer(pruned, "tester").await.unwrap();
    assert_eq!(unshipped().await, []);
    assert_eq!(ledger.log(&run, &"c1".into(), 0, 10).await.unwrap(), []);
    // Whoever comes late with it comes in vain.
    ledger.ship(&run, &"c1".into(), &part(10, 20), true).await.unwrap();
    assert_eq!(ledger.stats().await.unwrap().log_parts, 0);
}
