//! What the stories are told with: a worker that writes down what it is handed, and waiting for what has to happen.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runward_services::Redis;
use runward_workers::queue::redis::{Address, Pace, RedisQueue};
use runward_workers::queue::{Hint, Offer, Pushed, Queue, Slot, Slots};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub const PREFIX: &str = "test";

/// Waits; the test runner says when it never happens.
pub async fn until(mut happened: impl FnMut() -> bool) {
    while !happened() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn hint(label: &str, dispatch: u64) -> Hint {
    Hint { run: "0199a1b2-run".into(), label: label.to_owned(), dispatch }
}

pub fn hints(label: &str, dispatches: std::ops::Range<u64>) -> Vec<Hint> {
    dispatches.map(|dispatch| hint(label, dispatch)).collect()
}

/// How it was before any hint, as far as Redis is concerned.
pub fn queue(redis: &Redis) -> Arc<RedisQueue> {
    queue_at(&redis.url(), Pace::default())
}

pub fn queue_at(url: &str, pace: Pace) -> Arc<RedisQueue> {
    Arc::new(RedisQueue::new(Address::parse(url).unwrap(), PREFIX, pace).unwrap())
}

/// All of them, and none of them for the first time a second time.
pub async fn push(queue: &dyn Queue, hints: &[Hint]) {
    let pushed = queue.push_hints(hints).await.unwrap();
    assert_eq!(pushed, Pushed { new: hints.len() as u64, ..Pushed::default() });
}

/// Pushes until somebody hears it: what a sweeper does, with ever higher numbers.
pub async fn push_until_taken(queue: &dyn Queue, worker: &Worker, label: &str) {
    for dispatch in 1_000_000.. {
        let _ = queue.push_hints(&[hint(label, dispatch)]).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        if worker.taken().iter().any(|taken| taken.dispatch >= 1_000_000) {
            return;
        }
    }
}

pub struct Worker {
    hands: Arc<Mutex<Hands>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Hands {
    taken: Vec<Hint>,
    /// Those that it works on, while it is told to keep them.
    held: Vec<Slot>,
    keeps: bool,
}

impl Worker {
    /// With slots of its own; done with a hint as soon as it has it.
    pub fn start(queue: &Arc<impl Queue + 'static>, labels: &[&str], slots: usize) -> Worker {
        Worker::with(queue, labels, Slots::new(NonZeroUsize::new(slots).unwrap()), false)
    }

    /// As [`Worker::start`], and never done until [`Worker::let_go`].
    pub fn busy(queue: &Arc<impl Queue + 'static>, labels: &[&str], slots: usize) -> Worker {
        Worker::with(queue, labels, Slots::new(NonZeroUsize::new(slots).unwrap()), true)
    }

    pub fn with(queue: &Arc<impl Queue + 'static>, labels: &[&str], slots: Slots, keeps: bool) -> Worker {
        let hands = Arc::new(Mutex::new(Hands { keeps, ..Hands::default() }));
        let (stop, stopped) = watch::channel(false);
        let (queue, own) = (Arc::clone(queue), Arc::clone(&hands));
        let offer = Offer {
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            slots,
            take: Arc::new(move |hint, slot| {
                assert!(hint.run.0 != "panic", "this hint makes the worker panic");
                let mut hands = own.lock().unwrap();
                hands.taken.push(hint);
                if hands.keeps {
                    hands.held.push(slot);
                }
                Box::pin(async {})
            }),
        };
        let task = tokio::spawn(async move { queue.run_worker(offer, stopped).await });
        Worker { hands, stop, task }
    }

    pub fn taken(&self) -> Vec<Hint> {
        self.hands.lock().unwrap().taken.clone()
    }

    pub fn numbers(&self) -> Vec<u64> {
        self.taken().iter().map(|hint| hint.dispatch).collect()
    }

    pub fn count(&self) -> usize {
        self.hands.lock().unwrap().taken.len()
    }

    /// What it holds is done, and from now on everything at once.
    pub fn let_go(&self) {
        let mut hands = self.hands.lock().unwrap();
        hands.keeps = false;
        hands.held.clear();
    }

    pub fn stop_soon(&self) {
        self.stop.send(true).unwrap();
    }

    pub async fn stop(self) {
        self.stop_soon();
        self.task.await.unwrap();
    }
}

/// Every number that any of them was handed.
pub fn all_numbers(workers: &[&Worker]) -> BTreeSet<u64> {
    workers.iter().flat_map(|worker| worker.numbers()).collect()
}
