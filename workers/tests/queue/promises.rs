//! What every queue promises, each story told of both.

use std::sync::Arc;

use runward_services::Redis;
use runward_workers::queue::in_process::InProcess;
use runward_workers::queue::{Hint, Pushed, Queue, Slots};

use crate::world::{Worker, all_numbers, hint, hints, push, queue, until};

macro_rules! promises {
    ($($name:ident),* $(,)?) => {
        mod in_process {
            $(#[tokio::test]
            async fn $name() {
                super::$name(Arc::new(super::InProcess::default())).await;
            })*
            use std::sync::Arc;
        }
        mod redis {
            $(#[tokio::test]
            async fn $name() {
                let redis = super::Redis::start();
                super::$name(super::queue(&redis)).await;
            })*
        }
    };
}

promises! {
    a_hint_reaches_workers_of_its_label_only,
    a_hint_that_waits_is_there_once,
    a_higher_number_is_never_swallowed,
    hints_of_a_label_come_in_order,
    a_full_worker_leaves_hints_to_others,
    labels_share_the_slots_and_an_idle_worker_holds_none,
    two_workers_share,
    a_stopped_worker_takes_nothing_more,
    a_panic_of_the_worker_costs_one_hint,
}

async fn a_hint_reaches_workers_of_its_label_only(queue: Arc<impl Queue + 'static>) {
    let (db, web) = (Worker::start(&queue, &["db"], 4), Worker::start(&queue, &["web", "linux"], 4));
    push(&*queue, &[hint("db", 1), hint("linux", 2), hint("web", 3), hint("db", 4)]).await;
    until(|| db.count() == 2 && web.count() == 2).await;
    assert_eq!(all_numbers(&[&db]), [1, 4].into());
    assert_eq!(all_numbers(&[&web]), [2, 3].into());
    assert_eq!(queue.health().taken, 4);
    assert!(queue.health().outage.is_none());
}

async fn a_hint_that_waits_is_there_once(queue: Arc<impl Queue + 'static>) {
    push(&*queue, &[hint("db", 1)]).await;
    let again = queue.push_hints(&[hint("db", 1), hint("db", 1), hint("db", 2)]).await.unwrap();
    assert_eq!(again, Pushed { new: 1, known: 2, refused: 0 });
    let worker = Worker::start(&queue, &["db"], 1);
    until(|| worker.count() == 2).await;
    assert_eq!(worker.numbers(), [1, 2]);
}

async fn a_higher_number_is_never_swallowed(queue: Arc<impl Queue + 'static>) {
    let worker = Worker::start(&queue, &["db"], 1);
    for number in 1..20 {
        push(&*queue, &[hint("db", number)]).await;
        until(|| worker.count() as u64 == number).await;
    }
}

async fn hints_of_a_label_come_in_order(queue: Arc<impl Queue + 'static>) {
    push(&*queue, &hints("db", 0..60)).await;
    let worker = Worker::start(&queue, &["db"], 1);
    until(|| worker.count() == 60).await;
    assert_eq!(worker.numbers(), (0..60).collect::<Vec<_>>());
}

async fn a_full_worker_leaves_hints_to_others(queue: Arc<impl Queue + 'static>) {
    let full = Worker::busy(&queue, &["db"], 2);
    push(&*queue, &hints("db", 0..2)).await;
    until(|| full.count() == 2).await;
    push(&*queue, &hints("db", 2..5)).await;
    let other = Worker::start(&queue, &["db"], 1);
    until(|| other.count() == 3).await;
    assert_eq!(full.numbers(), [0, 1]);
    other.stop().await;
    full.let_go();
    push(&*queue, &[hint("db", 5)]).await;
    until(|| full.count() == 3).await;
}

async fn labels_share_the_slots_and_an_idle_worker_holds_none(queue: Arc<impl Queue + 'static>) {
    let slots = Slots::new(1.try_into().unwrap());
    let one = Worker::with(&queue, &["db", "web"], slots.clone(), true);
    // The sweeper of the same worker takes the slot while the queue waits, and gives it back.
    let swept = slots.take().await;
    push(&*queue, &[hint("db", 1), hint("web", 2)]).await;
    assert_eq!(one.count(), 0);
    drop(swept);
    until(|| one.count() == 1).await;
    let other = Worker::start(&queue, &["db", "web"], 4);
    until(|| other.count() == 1).await;
    assert_eq!(one.count(), 1);
    assert_eq!(all_numbers(&[&one, &other]), [1, 2].into());
    other.stop().await;
    one.let_go();
    push(&*queue, &[hint("web", 3), hint("db", 4)]).await;
    until(|| one.count() == 3).await;
    drop(slots.take().await);
}

async fn two_workers_share(queue: Arc<impl Queue + 'static>) {
    // Each can hold as many as half of them, so neither gets on without the other.
    let (one, two) = (Worker::busy(&queue, &["db"], 50), Worker::busy(&queue, &["db"], 50));
    push(&*queue, &hints("db", 0..100)).await;
    until(|| one.count() == 50 && two.count() == 50).await;
    assert_eq!(all_numbers(&[&one, &two]), (0..100).collect());
}

async fn a_stopped_worker_takes_nothing_more(queue: Arc<impl Queue + 'static>) {
    let first = Worker::start(&queue, &["db"], 4);
    push(&*queue, &[hint("db", 1)]).await;
    until(|| first.count() == 1).await;
    first.stop().await;
    push(&*queue, &[hint("db", 2)]).await;
    let second = Worker::start(&queue, &["db"], 4);
    until(|| second.count() == 1).await;
    assert_eq!(second.numbers(), [2]);
}

async fn a_panic_of_the_worker_costs_one_hint(queue: Arc<impl Queue + 'static>) {
    let worker = Worker::start(&queue, &["db"], 1);
    let bad = Hint { run: "panic".into(), ..hint("db", 1) };
    push(&*queue, &[bad, hint("db", 2)]).await;
    until(|| worker.count() == 1).await;
    push(&*queue, &[hint("db", 3)]).await;
    until(|| worker.count() == 2).await;
    assert_eq!(worker.numbers(), [2, 3]);
}
