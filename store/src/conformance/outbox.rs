//! What people are to be told: there with its event or not at all, routed once, and delivered at least once (fault F55).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use runward_engine::run::event::Outcome as Ended;
use runward_engine::run::notice::Kind;
use runward_engine::run::{Command, Notice};
use runward_engine::runbook::notify::Severity;
use tokio::task::JoinSet;

use super::{accept, claim, new_run, prune, settle};
use crate::administration::{AdminEvent, DeliveryRef, PrunedRun};
use crate::ledger::NewRun;
use crate::outbox::{DeliveryState, NoticeQuery, Outbox, Route, Settled, Taken, Unrouted};

/// Generates one test for each promise. `$make` is an async function that gives a fresh `Arc<dyn Outbox>`.
#[macro_export]
macro_rules! outbox_conformance {
    ($make:path) => {
        $crate::outbox_conformance!(
            @each $make:
            a_run_that_fails_is_told_with_its_step_and_why,
            a_success_is_told_only_after_a_failure,
            what_waits_for_people_is_told,
            a_notify_step_is_done_when_it_is_written,
            a_notice_is_routed_once,
            a_delivery_is_one_senders_until_its_lease_is_over,
            a_delivery_that_fails_comes_due_again_and_ends_in_time,
            what_waits_for_a_receiver_that_answers_again_is_due_at_once,
            what_is_dead_is_tried_again_on_the_record,
            notices_go_with_their_runs_once_they_are_settled,
            of_many_senders_each_delivery_has_one,
            whatever_becomes_of_senders_each_message_arrives_or_is_counted_as_dead
        );
    };
    (@each $make:path: $($name:ident),+) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::conformance::$name($make().await).await;
            }
        )+
    };
}

pub(super) type Letters = Arc<dyn Outbox>;

const LEASE: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(3600);

/// A run of one step.
fn one(id: &str, source: &str) -> NewRun {
    let mut new = new_run(id, None);
    new.definition.source = source.to_owned();
    new.params.clear();
    new
}

const ONE: &str = "severity: P1\nsteps:\n  - {id: a, run: x}\n";

/// A run of one step that ends so.
pub(super) async fn ends(ledger: &dyn Outbox, id: &str, outcome: Ended) {
    let mut view = ledger.trigger(one(id, ONE)).await.unwrap().view;
    accept(ledger, &mut view, claim(0, &format!("{id}-c"))).await;
    accept(ledger, &mut view, settle(&format!("{id}-c"), outcome)).await;
    assert!(view.state.status.is_terminal());
}

pub(super) const FAILED: Ended = Ended::Failed { code: Some(7), signal: None };

async fn all(ledger: &dyn Outbox) -> Vec<Notice> {
    let rows = ledger.notices(&NoticeQuery::default()).await.unwrap();
    rows.into_iter().rev().map(|row| row.notice).collect()
}

pub(super) async fn to(ledger: &dyn Outbox, channels: &[&str]) -> Vec<Notice> {
    let open = ledger.unrouted(None, 100).await.unwrap();
    let channels: Vec<String> = channels.iter().map(|&channel| channel.to_owned()).collect();
    let routes: Vec<_> = open.iter().map(|notice| (notice.id.clone(), Route::To(channels.clone()))).collect();
    ledger.route(&routes).await.unwrap();
    open
}

async fn take(ledger: &dyn Outbox, channel: &str, lease: Duration) -> Vec<Taken> {
    ledger.take(channel, "me", 10, lease).await.unwrap()
}

pub async fn a_run_that_fails_is_told_with_its_step_and_why(ledger: Letters) {
    ends(&*ledger, "run-1", FAILED).await;
    let told = all(&*ledger).await;
    assert_eq!(told.len(), 1, "{told:#?}");
    let last = ledger.load(&"run-1".into()).await.unwrap().state.seq;
    assert_eq!(told[0].id, format!("run-1-{last}-failed"));
    assert_eq!((told[0].kind, told[0].severity, told[0].runbook.as_str()), (Kind::Failed, Severity::P1, "suite"));
    assert_eq!((told[0].run.clone(), told[0].step.as_deref()), (Some("run-1".into()), Some("a")));
    assert_eq!(told, ledger.unrouted(Some(&["run-1".into()]), 9).await.unwrap());
    assert!(ledger.unrouted(Some(&["run-2".into()]), 9).await.unwrap().is_empty());
    assert!(ledger.work().await.unwrap().unrouted);
}

pub async fn a_success_is_told_only_after_a_failure(ledger: Letters) {
    for (id, outcome) in
        [("run-1", Ended::Succeeded), ("run-2", FAILED), ("run-3", Ended::Succeeded), ("run-4", Ended::Succeeded)]
    {
        ends(&*ledger, id, outcome).await;
        let before = ledger.load(&id.into()).await.unwrap().state.finished_at.unwrap();
        // What ends later is told later, also where a clock counts in milliseconds.
        while std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64 <= before {
            tokio::task::yield_now().await;
        }
    }
    let told: Vec<_> = all(&*ledger).await.into_iter().map(|it| (it.run.unwrap().0, it.kind)).collect();
    assert_eq!(told, [("run-2".to_owned(), Kind::Failed), ("run-3".to_owned(), Kind::Recovered)]);
}

pub async fn what_waits_for_people_is_told(ledger: Letters) {
    let source = "steps:\n  - {id: agree, approve: {by: [dba], count: 2}}\n";
    ledger.trigger(one("run-1", source)).await.unwrap();
    let told = all(&*ledger).await;
    assert_eq!((told[0].kind, told[0].step.as_deref()), (Kind::Approval, Some("agree")));
    assert_eq!(told[0].reason.as_deref(), Some("approval by dba, 0 of 2"));
    let source = "steps:\n  - {id: a, run: x, on-lost: hold}\n";
    let mut view = ledger.trigger(one("run-2", source)).await.unwrap().view;
    accept(&*ledger, &mut view, claim(0, "c")).await;
    accept(&*ledger, &mut view, Command::Lose { claim: "c".into(), evidence: "备份 gone\0".into(), with: None }).await;
    let held = all(&*ledger).await.into_iter().find(|it| it.kind == Kind::Held).unwrap();
    assert_eq!((held.step.as_deref(), held.reason.as_deref()), (Some("a"), Some("备份 gone\0")));
}

pub async fn a_notify_step_is_done_when_it_is_written(ledger: Letters) {
    let source = "steps:\n  - {id: tell, notify: {channel: ops, text: 'hello ${{ run.name }}'}}\n";
    let view = ledger.trigger(one("run-1", source)).await.unwrap().view;
    assert_eq!(view.state.status.as_str(), "succeeded");
    let told = all(&*ledger).await;
    assert_eq!(told.len(), 1, "that it succeeded is no news: {told:#?}");
    assert_eq!((told[0].kind, told[0].channel.as_deref()), (Kind::Message, Some("ops")));
    assert_eq!(told[0].reason.as_deref(), Some("hello suite"));
}

pub async fn a_notice_is_routed_once(ledger: Letters) {
    ends(&*ledger, "run-1", FAILED).await;
    let told = to(&*ledger, &["ops", "oncall"]).await;
    let late = [(told[0].id.clone(), Route::Nowhere(Unrouted::NoRoute)), ("unknown".to_owned(), Route::To(vec![]))];
    ledger.route(&late).await.unwrap();
    let row = ledger.notices(&NoticeQuery::default()).await.unwrap().remove(0);
    assert_eq!((row.unrouted, row.nowhere), (false, None));
    let channels: Vec<&str> = row.deliveries.iter().map(|it| it.channel.as_str()).collect();
    assert_eq!(channels, ["oncall", "ops"]);
    let work = ledger.work().await.unwrap();
    assert!(!work.unrouted);
    assert_eq!(work.channels.into_iter().collect::<BTreeSet<_>>(), ["oncall".into(), "ops".into()].into());
    ends(&*ledger, "run-2", FAILED).await;
    let open = ledger.unrouted(None, 10).await.unwrap().remove(0);
    ledger.route(&[(open.id, Route::Nowhere(Unrouted::NoRoute))]).await.unwrap();
    let row = ledger.notices(&NoticeQuery { run: Some("run-2".into()), ..NoticeQuery::default() }).await.unwrap();
    assert_eq!((row.len(), row[0].nowhere, row[0].deliveries.len()), (1, Some(Unrouted::NoRoute), 0));
    assert_eq!(ledger.backlog().await.unwrap().unrouted, 0);
}

pub async fn a_delivery_is_one_senders_until_its_lease_is_over(ledger: Letters) {
    ends(&*ledger, "run-1", FAILED).await;
    to(&*ledger, &["ops"]).await;
    assert!(take(&*ledger, "oncall", LEASE).await.is_empty());
    let first = take(&*ledger, "ops", Duration::ZERO).await.remove(0);
    assert_eq!(first.tries, 1);
    // Whoever had it is gone, and the next one sends the same notice.
    let second = loop {
        if let Some(taken) = ledger.take("ops", "you", 10, LEASE).await.unwrap().pop() {
            break taken;
        }
    };
    assert_eq!((second.tries, &second.notice), (2, &first.notice));
    assert!(take(&*ledger, "ops", LEASE).await.is_empty());
    assert!(!ledger.settle(&first, "me", &Settled::DELIVERED).await.unwrap(), "it is not mine any more");
    assert!(ledger.settle(&second, "you", &Settled::DELIVERED).await.unwrap());
    assert!(!ledger.settle(&second, "you", &Settled::Dead { error: "x".into() }).await.unwrap());
    let row = ledger.notices(&NoticeQuery::default()).await.unwrap().remove(0).deliveries.remove(0);
    assert_eq!((row.state, row.tries, row.error), (DeliveryState::Delivered, 2, None));
}

pub async fn a_delivery_that_fails_comes_due_again_and_ends_in_time(ledger: Letters) {
    ends(&*ledger, "run-1", FAILED).await;
    to(&*ledger, &["ops"]).await;
    let taken = take(&*ledger, "ops", LEASE).await.remove(0);
    let later = |after| Settled::Later { after, error: "nothing listens \0 备".into(), away: true };
    assert!(ledger.settle(&taken, "me", &later(LONG)).await.unwrap());
    let work = ledger.work().await.unwrap();
    assert!(work.channels.is_empty() && work.next_ms.is_some_and(|ms| ms > 3_000_000), "{work:?}");
    let row = ledger.notices(&NoticeQuery::default()).await.unwrap().remove(0).deliveries.remove(0);
    assert_eq!((row.state, row.error.as_deref()), (DeliveryState::Waiting, Some("nothing listens \0 备")));
    ends(&*ledger, "run-2", FAILED).await;
    to(&*ledger, &["ops"]).await;
    let taken = take(&*ledger, "ops", LEASE).await.remove(0);
    assert!(ledger.settle(&taken, "me", &later(LONG * 25)).await.unwrap());
    let dead = NoticeQuery { state: Some(DeliveryState::Dead), ..NoticeQuery::default() };
    let row = ledger.notices(&dead).await.unwrap();
    assert_eq!((row.len(), row[0].notice.run.clone()), (1, Some("run-2".into())));
    assert!(row[0].deliveries[0].error.as_ref().unwrap().contains("given up"), "{row:?}");
    let backlog = ledger.backlog().await.unwrap();
    assert_eq!((backlog.waiting, backlog.dead), (1, 1));
    assert!(backlog.oldest.is_some());
}

pub async fn what_waits_for_a_receiver_that_answers_again_is_due_at_once(ledger: Letters) {
    for id in ["run-1", "run-2", "run-3"] {
        ends(&*ledger, id, FAILED).await;
    }
    to(&*ledger, &["ops", "oncall"]).await;
    let later = |away| Settled::Later { after: LONG, error: "nothing listens".into(), away };
    let [taken, other] = [take(&*ledger, "ops", LEASE).await, take(&*ledger, "oncall", LEASE).await];
    for taken in taken[..2].iter().chain(&other) {
        assert!(ledger.settle(taken, "me", &later(true)).await.unwrap());
    }
    assert_eq!(ledger.hurry("ops").await.unwrap(), 2, "not what is being sent, and not another channel's");
    assert_eq!(ledger.hurry("ops").await.unwrap(), 0);
    assert_eq!(ledger.work().await.unwrap().channels, ["ops"]);
    let again = take(&*ledger, "ops", LEASE).await;
    assert_eq!(again.iter().map(|it| it.tries).collect::<Vec<_>>(), [2, 2]);
    assert!(ledger.settle(&taken[2], "me", &Settled::DELIVERED).await.unwrap());
    assert!(ledger.settle(&again[0], "me", &later(false)).await.unwrap());
    assert!(ledger.settle(&again[1], "me", &Settled::DELIVERED).await.unwrap());
    assert_eq!(ledger.hurry("ops").await.unwrap(), 0, "its receiver was there, and did not take it");
}

pub async fn what_is_dead_is_tried_again_on_the_record(ledger: Letters) {
    ends(&*ledger, "run-1", FAILED).await;
    to(&*ledger, &["ops"]).await;
    let taken = take(&*ledger, "ops", LEASE).await.remove(0);
    ledger.settle(&taken, "me", &Settled::Dead { error: "550 no such user".into() }).await.unwrap();
    let wanted = |notice: &str| AdminEvent::DeliveriesRetried {
        deliveries: vec![DeliveryRef { notice: notice.to_owned(), channel: "ops".to_owned() }],
        reason: Some("mended".to_owned()),
    };
    ledger.administer(wanted("unknown"), "alice").await.unwrap();
    ledger.administer(wanted(&taken.notice.id), "alice").await.unwrap();
    ledger.administer(wanted(&taken.notice.id), "alice").await.unwrap();
    let record = ledger.administration().await.unwrap();
    assert_eq!((record.len(), &record[0].event), (1, &wanted(&taken.notice.id)));
    let again = take(&*ledger, "ops", LEASE).await.remove(0);
    assert_eq!((again.tries, again.notice.id), (1, taken.notice.id));
}

pub async fn notices_go_with_their_runs_once_they_are_settled(ledger: Letters) {
    for id in ["run-1", "run-2"] {
        ends(&*ledger, id, FAILED).await;
        to(&*ledger, &["ops"]).await;
    }
    let taken = take(&*ledger, "ops", LEASE).await;
    let first = taken.iter().find(|it| it.notice.run == Some("run-1".into())).unwrap();
    assert!(ledger.settle(first, "me", &Settled::DELIVERED).await.unwrap());
    for id in ["run-1", "run-2"] {
        let run = PrunedRun::of(&ledger.load(&id.into()).await.unwrap());
        assert_eq!(prune(&*ledger, vec![run]).await.len(), 1);
    }
    let left: Vec<_> = all(&*ledger).await.into_iter().map(|it| it.run.unwrap().0).collect();
    assert_eq!(left, ["run-2"], "what is on its way arrives");
}

pub async fn of_many_senders_each_delivery_has_one(ledger: Letters) {
    const MANY: usize = 12;
    for n in 0..MANY {
        ends(&*ledger, &format!("run-{n:02}"), FAILED).await;
    }
    to(&*ledger, &["ops"]).await;
    let mut senders = JoinSet::new();
    for n in 0..6 {
        let ledger = Arc::clone(&ledger);
        senders.spawn(async move {
            let (sender, mut had) = (format!("sender {n}"), Vec::new());
            for _ in 0..MANY {
                for taken in ledger.take("ops", &sender, 1, LEASE).await.unwrap() {
                    assert!(ledger.settle(&taken, &sender, &Settled::DELIVERED).await.unwrap());
                    had.push(taken.notice.id);
                }
            }
            had
        });
    }
    let sent: Vec<String> = senders.join_all().await.into_iter().flatten().collect();
    let left = ledger.take("ops", "last", 100, LEASE).await.unwrap().len();
    let different: BTreeSet<&String> = sent.iter().collect();
    assert_eq!((different.len(), sent.len() + left), (sent.len(), MANY));
}
