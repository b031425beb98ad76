//! Too much of everything: junk, real hints, finished ones.

use runward_services::Redis;
use runward_workers::queue::{Pushed, Queue};

use crate::world::{Worker, hint, hints, push, push_until_taken, queue, until};

fn script(redis: &Redis, text: &str) -> String {
    redis.command(&["eval", text, "0"])
}

/// Nothing of any hint is left.
async fn until_tidy(redis: &Redis) {
    until(|| {
        let left = redis.command(&["keys", "test:hints:*"]);
        left.lines().all(|key| key.contains(":workers")) && redis.command(&["hlen", "test:hints:db:data"]) == "0"
    })
    .await;
}

/// Whole entries whose bodies are no hints, in the form in which apalis-redis fetches them.
const BODIES: &str = "
    local bodies = {'x', '', '{}', '[1]', '\\255\\254', '{\"v\":2,\"runs\":[]}', '{\"v\":1,\"run\":\"r\",\"label\":\"web\",\"dispatch\":1}'}
    for i = 1, 10000 do
      local id = 'junk.' .. i
      redis.call('hset', 'test:hints:db:data', id, bodies[i % #bodies + 1])
      redis.call('hset', 'test:hints:db:meta:' .. id, 'attempts', 0, 'max_attempts', 1, 'status', 'Pending')
      redis.call('rpush', 'test:hints:db:active', id)
    end";

/// Ids that lead nowhere, ids that apalis-redis writes back differently, metadata that it cannot read, the same twice.
const IDS: &str = "
    local q = 'test:hints:db'
    for i = 1, 2500 do
      redis.call('rpush', q .. ':active', 'nothing.' .. i, '00' .. i, '\\255' .. i, 'twice.1')
      redis.call('hset', q .. ':data', '00' .. i, '{}')
      redis.call('hset', q .. ':meta:00' .. i, 'attempts', 'many', 'status', 'Odd')
    end
    redis.call('hset', q .. ':data', 'twice.1', '{}')
    redis.call('set', q .. ':meta:twice.1', 'not a hash')";

#[tokio::test]
async fn ten_thousand_bodies_of_junk_are_acknowledged_and_counted() {
    let redis = Redis::start();
    let queue = queue(&redis);
    script(&redis, BODIES);
    push(&*queue, &[hint("db", 1)]).await;
    let worker = Worker::start(&queue, &["db"], 16);
    until(|| worker.count() == 1).await;
    assert_eq!(queue.health().junk, 10_000);
    assert_eq!(queue.health().restarts, 0, "none of them ended the worker");
    until_tidy(&redis).await;
}

#[tokio::test]
async fn junk_that_apalis_cannot_read_does_not_keep_hints_from_the_worker() {
    let redis = Redis::start();
    let queue = queue(&redis);
    script(&redis, IDS);
    push(&*queue, &[hint("db", 1)]).await;
    let worker = Worker::start(&queue, &["db"], 4);
    until(|| worker.count() == 1).await;
    // And the same under a worker that lives.
    script(&redis, IDS);
    push_until_taken(&*queue, &worker, "db").await;
    until(|| queue.health().outage.is_none()).await;
    until_tidy(&redis).await;
}

#[tokio::test]
async fn keys_of_the_wrong_type_are_thrown_away() {
    let redis = Redis::start();
    let queue = queue(&redis);
    for key in ["active", "data", "workers", "done", "dead", "scheduled"] {
        redis.command(&["set", &format!("test:hints:db:{key}"), "junk"]);
    }
    let worker = Worker::start(&queue, &["db"], 4);
    push_until_taken(&*queue, &worker, "db").await;
}

#[tokio::test]
async fn nine_thousand_scheduled_tasks_poison_nothing() {
    let redis = Redis::start();
    let queue = queue(&redis);
    let poison = "for i = 1, 9000 do redis.call('zadd', 'test:hints:db:scheduled', i, 'p.' .. i) end";
    script(&redis, poison);
    let worker = Worker::start(&queue, &["db"], 4);
    push(&*queue, &[hint("db", 1)]).await;
    until(|| worker.count() == 1).await;
    script(&redis, poison);
    push_until_taken(&*queue, &worker, "db").await;
    until(|| redis.command(&["zcard", "test:hints:db:scheduled"]) == "0").await;
}

#[tokio::test]
async fn ten_thousand_hints_wait_for_the_first_worker_and_leave_nothing_behind() {
    let redis = Redis::start();
    let queue = queue(&redis);
    push(&*queue, &hints("db", 0..10_000)).await;
    let worker = Worker::start(&queue, &["db"], 16);
    until(|| worker.count() == 10_000).await;
    let mut numbers = worker.numbers();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10_000).collect::<Vec<_>>(), "each once");
    until_tidy(&redis).await;
    let memory = redis.command(&["info", "memory"]);
    let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim();
    assert!(used.parse::<u64>().unwrap() < 4 << 20, "{used} bytes of memory after 10,000 hints");
}

#[tokio::test]
async fn a_list_that_is_long_enough_takes_no_more() {
    let redis = Redis::start();
    let queue = queue(&redis);
    let pushed = queue.push_hints(&hints("db", 0..20_100)).await.unwrap();
    assert_eq!(pushed, Pushed { new: 20_000, known: 0, refused: 100 });
    push(&*queue, &[hint("web", 1)]).await;
}
