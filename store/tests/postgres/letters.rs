//! What people are to be told, on a server.

use std::time::Duration;

use runward_engine::run::Command;
use runward_store::conformance::new_run;
use runward_store::outbox::{DeliveryState, NoticeQuery, Route, Unrouted};
use runward_store::{Ledger, Outbox, PostgresLedger};

use super::{accept, claim, ready};

#[tokio::test]
async fn what_is_too_late_is_given_up_whoever_looks() {
    let (postgres, url) = ready().await;
    let ledger = PostgresLedger::open(&url).await.unwrap();
    for id in ["run-1", "run-2"] {
        let mut new = new_run(id, None);
        new.definition.source = "steps:\n  - {id: a, run: x, on-lost: hold}\n".to_owned();
        new.params.clear();
        let mut view = ledger.trigger(new).await.unwrap().view;
        accept(&ledger, &mut view, claim(0, &format!("c-{id}"), "home-1")).await;
        let lost = Command::Lose { claim: format!("c-{id}").as_str().into(), evidence: "gone".to_owned(), with: None };
        accept(&ledger, &mut view, lost).await;
    }
    let open = ledger.unrouted(None, 10).await.unwrap();
    ledger.route(&[(open[0].id.clone(), Route::To(vec!["room".to_owned()]))]).await.unwrap();
    postgres.sql("runward", "UPDATE deliveries SET until = due_at; UPDATE notices SET at = 0 WHERE routing IS NULL");
    // Nobody here has that channel, and nothing is to be sent.
    assert!(ledger.take("room", "me", 0, Duration::ZERO).await.unwrap().is_empty());
    assert_eq!(ledger.expire(Some(&["run-1".into()])).await.unwrap(), 0);
    assert_eq!((ledger.expire(None).await.unwrap(), ledger.expire(None).await.unwrap()), (1, 0));
    let rows = ledger.notices(&NoticeQuery::default()).await.unwrap();
    let states: Vec<_> = rows.iter().flat_map(|row| &row.deliveries).map(|row| row.state).collect();
    assert_eq!(states, [DeliveryState::Dead], "{rows:#?}");
    assert!(rows.iter().any(|row| row.nowhere == Some(Unrouted::TooOld)), "{rows:#?}");
}
