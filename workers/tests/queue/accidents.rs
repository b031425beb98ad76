//! What happens to Redis itself: emptied, frozen, killed, away.

use std::time::Duration;

use runward_services::{Redis, Signal};
use runward_workers::queue::Queue;

use crate::world::{Worker, hint, hints, push, push_until_taken, queue, until};

#[tokio::test]
async fn redis_is_emptied_while_nothing_happens() {
    let redis = Redis::start();
    let queue = queue(&redis);
    let worker = Worker::start(&queue, &["db"], 2);
    push(&*queue, &[hint("db", 1)]).await;
    until(|| worker.count() == 1).await;
    redis.command(&["flushall"]);
    push_until_taken(&*queue, &worker, "db").await;
    until(|| queue.health().outage.is_none()).await;
    assert!(queue.health().restarts > 0, "the worker registered again");
}

#[tokio::test]
async fn redis_is_emptied_while_everything_is_busy() {
    let redis = Redis::start();
    let queue = queue(&redis);
    let worker = Worker::busy(&queue, &["db"], 2);
    push(&*queue, &hints("db", 0..50)).await;
    until(|| worker.count() == 2).await;
    redis.command(&["flushall"]);
    until(|| queue.health().restarts > 0).await;
    assert_eq!(worker.count(), 2, "what is under way goes on, and keeps its slots");
    // The 48 are gone. What needs them says so again, as the sweeper does.
    push(&*queue, &hints("db", 100..110)).await;
    worker.let_go();
    until(|| worker.count() == 12).await;
}

#[tokio::test]
async fn redis_answers_nobody_for_two_seconds() {
    let redis = Redis::start();
    let queue = queue(&redis);
    let worker = Worker::start(&queue, &["db"], 2);
    push(&*queue, &[hint("db", 1)]).await;
    until(|| worker.count() == 1).await;
    redis.freeze();
    let second = [hint("db", 2)];
    let (during, ()) = tokio::join!(queue.push_hints(&second), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        redis.thaw();
    });
    if let Err(unheard) = during {
        assert!(unheard.to_string().contains("does not answer in time"), "{unheard}");
    }
    push_until_taken(&*queue, &worker, "db").await;
    until(|| queue.health().outage.is_none()).await;
}

#[tokio::test]
async fn redis_is_killed_and_comes_back_empty() {
    let mut redis = Redis::start();
    let queue = queue(&redis);
    let worker = Worker::busy(&queue, &["db"], 2);
    push(&*queue, &hints("db", 0..10)).await;
    until(|| worker.count() == 2).await;
    redis.stop(Signal::Kill);
    until(|| queue.health().outage.is_some()).await;
    redis.start_again();
    until(|| queue.health().outage.is_none()).await;
    assert_eq!(worker.count(), 2);
    worker.let_go();
    push_until_taken(&*queue, &worker, "db").await;
}

#[tokio::test]
async fn while_redis_is_away_pushes_fail_softly_and_say_what_is_wrong() {
    let mut redis = Redis::start();
    let queue = queue(&redis);
    let worker = Worker::start(&queue, &["db"], 2);
    push(&*queue, &[hint("db", 1)]).await;
    until(|| worker.count() == 1).await;
    redis.stop(Signal::Terminate);
    until(|| queue.health().outage.is_some()).await;
    let began = queue.health().outage.unwrap().since;
    for number in 2..200 {
        let unheard = queue.push_hints(&[hint("db", number)]).await.unwrap_err().to_string();
        assert!(unheard.starts_with("Redis at unix:///"), "{unheard}");
        assert!(unheard.ends_with("steps start at the pace of the sweeper until it is back"), "{unheard}");
    }
    let restarts = queue.health().restarts;
    until(|| queue.health().restarts > restarts + 2).await;
    let outage = queue.health().outage.unwrap();
    assert_eq!((outage.label.as_str(), outage.since), ("db", began), "an outage is as old as its beginning");
    redis.start_again();
    push_until_taken(&*queue, &worker, "db").await;
    until(|| queue.health().outage.is_none()).await;
}

#[tokio::test]
async fn a_worker_that_starts_before_redis_waits_for_it() {
    let mut redis = Redis::start();
    redis.stop(Signal::Kill);
    let queue = queue(&redis);
    let worker = Worker::start(&queue, &["db"], 2);
    until(|| queue.health().restarts > 1).await;
    redis.start_again();
    push_until_taken(&*queue, &worker, "db").await;
}

#[tokio::test]
async fn a_worker_stops_while_redis_is_away() {
    let mut redis = Redis::start();
    let queue = queue(&redis);
    let worker = Worker::busy(&queue, &["db"], 1);
    push(&*queue, &[hint("db", 1)]).await;
    until(|| worker.count() == 1).await;
    redis.stop(Signal::Kill);
    until(|| queue.health().outage.is_some()).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_full_redis_costs_hints_and_nothing_else() {
    let redis = Redis::start_with(&["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"]);
    let queue = queue(&redis);
    let mut unheard = String::new();
    for number in 0.. {
        match queue.push_hints(&hints("db", number * 500..(number + 1) * 500)).await {
            Ok(pushed) if pushed.refused == 0 => {}
            Ok(_) => panic!("the list is longer than this Redis is large"),
            Err(error) => {
                unheard = error.to_string();
                break;
            }
        }
    }
    assert!(unheard.contains("is full: raise its maxmemory"), "{unheard}");
    redis.command(&["config", "set", "maxmemory", "100mb"]);
    let worker = Worker::start(&queue, &["db"], 16);
    push_until_taken(&*queue, &worker, "db").await;
}
