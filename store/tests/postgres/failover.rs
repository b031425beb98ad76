//! A standby takes over that lacks what was acknowledged.

use runward_engine::run::Event;
use runward_services::Pair;
use runward_store::conformance::new_run;
use runward_store::{AdminEvent, Fleet, Ledger, LedgerError, PostgresLedger, Trouble};

use super::{accept, claim, says, settle};

async fn ready() -> (Pair, PostgresLedger) {
    let pair = Pair::new();
    let url = pair.database("runward");
    PostgresLedger::migrate(&url).await.unwrap();
    let ledger = PostgresLedger::open(&url).await.unwrap();
    (pair, ledger)
}

async fn trust(ledger: &PostgresLedger) {
    let timeline = ledger.timeline().await.unwrap().unwrap().current;
    ledger.administer(AdminEvent::TimelineAccepted { timeline, reason: None }, "ann").await.unwrap();
}

#[tokio::test]
async fn nothing_is_claimed_on_a_promoted_standby_until_that_is_accepted_and_what_is_missing_is_named() {
    let (pair, ledger) = ready().await;
    trust(&ledger).await;
    let mut ahead = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    pair.cut_standby();
    accept(&ledger, &mut ahead, claim(0, "c1", "h1")).await;
    pair.fail_over();

    let mut view = ledger.load(&"run-1".into()).await.unwrap();
    assert!(view.state.seq < ahead.state.seq, "the claim is lost");
    match says(&ledger, &mut view, claim(0, "c2", "h2")).await {
        Err(LedgerError::Server(error)) => assert_eq!(error.trouble, Trouble::Promoted),
        other => panic!("{other:?}"),
    }
    let unknown = ledger.unknown(&[("run-1".into(), "c1".into())]).await.unwrap();
    assert_eq!(unknown, [("run-1".into(), "c1".into())]);
    let timeline = ledger.timeline().await.unwrap().unwrap();
    assert!(!timeline.is_open() && timeline.current.ends_with("/2"), "{timeline:?}");

    trust(&ledger).await;
    let mut view = ledger.load(&"run-1".into()).await.unwrap();
    accept(&ledger, &mut view, claim(0, "c2", "h2")).await;
    assert_eq!(ledger.unknown(&[("run-1".into(), "c2".into())]).await.unwrap(), []);
}

/// Both have as many events, and not the same.
#[tokio::test]
async fn whoever_knows_another_history_records_nothing_in_this_one() {
    let (pair, ledger) = ready().await;
    let mut ahead = ledger.trigger(new_run("run-1", None)).await.unwrap().view;
    pair.cut_standby();
    accept(&ledger, &mut ahead, claim(0, "c1", "h1")).await;
    let mut looks = ledger.load(&"run-1".into()).await.unwrap();
    pair.fail_over();
    let mut view = ledger.load(&"run-1".into()).await.unwrap();
    accept(&ledger, &mut view, claim(0, "c2", "h2")).await;
    assert_eq!(ahead.state.seq, view.state.seq);

    let gone_back = ledger.refresh(&mut looks).await;
    assert!(
        matches!(&gone_back, Err(LedgerError::GoneBack { known, .. }) if *known == view.state.seq),
        "{gone_back:?}"
    );
    let said = says(&ledger, &mut ahead, settle("c1")).await;
    assert!(matches!(said, Err(LedgerError::GoneBack { .. })), "{said:?}");
    let whole = ledger.load(&"run-1".into()).await.unwrap();
    let claims = ledger.events(&"run-1".into(), 0).await.unwrap();
    let claims = claims.iter().filter(|it| matches!(it.recorded.event, Event::AttemptClaimed { .. }));
    assert_eq!((claims.count(), &whole.head), (1, &view.head));
}
