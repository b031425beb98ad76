//! What is relied on of apalis-redis 1.0.0: its keys, its values and its scripts. A new version that changes one of them
//! fails here first, and then src/queue/redis has to be read again.

use apalis_redis::{Config, RedisStorage};
use runward_services::Redis;
use runward_workers::queue::redis::Pace;

use crate::world::{Worker, hint, push, queue, queue_at, until};

const Q: &str = "test:hints:db";

fn get(redis: &Redis, words: &[&str]) -> String {
    let (command, key) = (words[0], format!("{Q}:{}", words[1]));
    let mut all = vec![command, &key];
    all.extend(&words[2..]);
    redis.command(&all)
}

#[tokio::test]
async fn what_is_pushed_has_this_form() {
    let redis = Redis::start();
    push(&*queue(&redis), &[hint("db", 3)]).await;
    assert_eq!(get(&redis, &["lrange", "active", "0", "-1"]), "0199a1b2-run.3");
    let body = r#"{"v":1,"run":"0199a1b2-run","label":"db","dispatch":3}"#;
    assert_eq!(get(&redis, &["hgetall", "data"]), format!("0199a1b2-run.3\n{body}"));
    let meta = get(&redis, &["hgetall", "meta:0199a1b2-run.3"]);
    assert_eq!(meta, "attempts\n0\nmax_attempts\n1\nstatus\nPending\nidempotency_key");
    assert_eq!(redis.command(&["dbsize"]), "3");
}

/// The form above is that of its own push, which goes through `scheduled`.
#[tokio::test]
async fn apalis_redis_pushes_the_same_form() {
    use apalis_core::backend::TaskSink;
    use apalis_core::task::builder::TaskBuilder;
    use apalis_core::task::task_id::TaskId;

    let redis = Redis::start();
    let conn = apalis_redis::connect(redis.url()).await.unwrap();
    let mut storage = RedisStorage::<u32>::new(conn).with_config(Config::default().queue(Q).emit_events(false));
    let task = TaskBuilder::new(7).task_id(TaskId::from_string("run.3")).max_attempts(1).build();
    storage.push_task(task).await.unwrap();
    assert_eq!(get(&redis, &["hgetall", "data"]), "run.3\n7");
    assert_eq!(get(&redis, &["zcard", "scheduled"]), "1");
    assert_eq!(get(&redis, &["exists", "active"]), "0");
    let meta = get(&redis, &["hgetall", "meta:run.3"]);
    for field in ["attempts\n0", "max_attempts\n1", "status\nPending", "idempotency_key"] {
        assert!(meta.contains(field), "{meta}");
    }
}

#[tokio::test]
async fn a_hint_at_work_and_a_finished_one_leave_these_traces() {
    let redis = Redis::start();
    // So slowly that it is not cleaned up between two looks.
    let slow = std::time::Duration::from_secs(3600);
    let queue = queue_at(&redis.url(), Pace { beat: slow, silent: slow * 6, ..Pace::default() });
    let worker = Worker::start(&queue, &["db"], 1);
    push(&*queue, &[hint("db", 3)]).await;
    until(|| get(&redis, &["smembers", "done"]) == "0199a1b2-run.3").await;
    let name = get(&redis, &["zrange", "workers", "0", "-1"]);
    assert!(!name.is_empty() && !name.contains('\n'), "{name}");
    let own = get(&redis, &["hget", &format!("workers:metadata:{name}"), "backend_name"]);
    assert_eq!(own, "RedisStorage");
    let expires = get(&redis, &["pttl", &format!("workers:metadata:{name}")]);
    assert!(expires.parse::<i64>().unwrap() > 0, "apalis-redis keeps the time to live of a sign of life");
    let meta = get(&redis, &["hgetall", "meta:0199a1b2-run.3"]);
    for field in ["status\nDone", "attempts\n1", "result\n"] {
        assert!(meta.contains(field), "{meta}");
    }
    assert_eq!(get(&redis, &["exists", &format!("inflight:{name}")]), "0");
    assert_eq!(get(&redis, &["llen", "active"]), "0");

    push(&*queue, &[hint("web", 1)]).await; // nobody's: it waits
    worker.stop().await;
    let keys = redis.command(&["keys", "*"]);
    let mut keys: Vec<&str> = keys.lines().filter(|key| !key.starts_with("test:hints:web:")).collect();
    keys.sort_unstable();
    let left =
        ["core:apalis:queues:list", "test:hints:db:data", "test:hints:db:done", "test:hints:db:meta:0199a1b2-run.3"];
    assert_eq!(keys, left);
}

/// Redis is the witness: these are the digests of the scripts of apalis-redis 1.0.0 that a worker runs.
#[tokio::test]
async fn the_scripts_of_apalis_redis_are_those_that_were_read() {
    const SCRIPTS: [(&str, &str); 4] = [
        ("register_worker", "0d5fbce91e1dcff1121ece41f7169da3c0e39194"),
        ("keep_alive", "5c1d697dfa0d68de2954ceefa235f87162ecc839"),
        ("fetch_next", "f053fd9b41b61a2d32b8b7d8dba3f1a96e3aa6e1"),
        ("handle_results", "8484d0d3ad46723dcfb37f839d4ca67fca29d664"),
    ];
    let redis = Redis::start();
    let quick = Pace { beat: std::time::Duration::from_millis(50), ..Pace::default() };
    let queue = queue_at(&redis.url(), quick);
    let worker = Worker::start(&queue, &["db"], 1);
    push(&*queue, &[hint("db", 1)]).await;
    until(|| worker.count() == 1).await;
    for (name, digest) in SCRIPTS {
        println!("{name}");
        until(|| redis.command(&["script", "exists", digest]) == "1").await;
    }
}
