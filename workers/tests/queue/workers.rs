//! What happens to worker processes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runward_services::Redis;
use runward_workers::queue::redis::Pace;

use crate::world::{PREFIX, Worker, all_numbers, hint, hints, push, queue, queue_at, until};

/// A worker in a process of its own, to be killed.
struct Host {
    process: Child,
    taken: Arc<Mutex<Vec<u64>>>,
}

impl Host {
    fn start(redis: &Redis, slots: usize, does: &str) -> Host {
        let mut process = Command::new(env!("CARGO_BIN_EXE_runward-queue-host"))
            .args([&redis.url(), PREFIX, "db", &slots.to_string(), does])
            .stdin(Stdio::piped()) // its end is the end of this test, and then its own
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, taken) = (BufReader::new(process.stdout.take().unwrap()).lines(), Arc::default());
        let list: Arc<Mutex<Vec<u64>>> = Arc::clone(&taken);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                list.lock().unwrap().push(line.parse().unwrap());
            }
        });
        Host { process, taken }
    }

    fn taken(&self) -> Vec<u64> {
        self.taken.lock().unwrap().clone()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test]
async fn what_a_killed_worker_held_reaches_another() {
    let redis = Redis::start();
    let queue = queue_at(&redis.url(), Pace { beat: Duration::from_millis(200), ..Pace::default() });
    let mut victim = Host::start(&redis, 3, "hang");
    push(&*queue, &hints("db", 0..5)).await;
    until(|| victim.taken().len() == 3).await;
    victim.process.kill().unwrap();
    victim.process.wait().unwrap();
    let worker = Worker::start(&queue, &["db"], 4);
    // The two that waited at once; a hint of the sweeper at once; the three when the silence is long enough.
    push(&*queue, &[hint("db", 9)]).await;
    until(|| all_numbers(&[&worker]).is_superset(&[3, 4, 9].into())).await;
    until(|| all_numbers(&[&worker]) == [0, 1, 2, 3, 4, 9].into()).await;
    until(|| redis.command(&["zcard", "test:hints:db:workers"]) == "1").await;
}

#[tokio::test]
async fn workers_in_two_processes_share_and_one_may_die_at_any_time() {
    let redis = Redis::start();
    let queue = queue(&redis);
    let (one, two) = (Host::start(&redis, 4, "take"), Host::start(&redis, 4, "take"));
    push(&*queue, &hints("db", 0..400)).await;
    until(|| one.taken().len() > 20 && two.taken().len() > 20).await;
    one.signal(Signal::SIGKILL);
    push(&*queue, &hints("db", 400..800)).await;
    // At most what was in the hands of the first is missing, and that the sweeper says again under a new number.
    until(|| redis.command(&["llen", "test:hints:db:active"]) == "0").await;
    push(&*queue, &[hint("db", 1_000)]).await;
    until(|| two.taken().contains(&1_000)).await;
    let missing = (0..800).filter(|number| !one.taken().contains(number) && !two.taken().contains(number));
    assert!(missing.count() <= 4 + 1, "no more than its slots, and one on the way");
}

#[tokio::test]
async fn a_worker_that_was_frozen_goes_on() {
    let redis = Redis::start();
    let queue = queue_at(&redis.url(), Pace { beat: Duration::from_millis(200), ..Pace::default() });
    let frozen = Host::start(&redis, 1, "take");
    push(&*queue, &[hint("db", 1)]).await;
    until(|| frozen.taken() == [1]).await;
    frozen.signal(Signal::SIGSTOP);
    // The other hears that it is silent, and takes it off the list.
    let other = Worker::start(&queue, &["db"], 1);
    until(|| redis.command(&["zcard", "test:hints:db:workers"]) == "2").await;
    until(|| redis.command(&["zcard", "test:hints:db:workers"]) == "1").await;
    other.stop().await;
    frozen.signal(Signal::SIGCONT);
    push(&*queue, &[hint("db", 2)]).await;
    until(|| frozen.taken().contains(&2)).await;
}

#[tokio::test]
async fn a_stopped_worker_leaves_nothing_behind() {
    let redis = Redis::start();
    let queue = queue(&redis);
    let worker = Worker::start(&queue, &["db"], 2);
    push(&*queue, &hints("db", 0..20)).await;
    until(|| worker.count() == 20).await;
    until(|| redis.command(&["hlen", "test:hints:db:data"]) == "0").await;
    worker.stop().await;
    assert_eq!(redis.command(&["keys", "test:hints:*"]), "");
}
