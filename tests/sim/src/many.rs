//! Many seeds, on all cores.

use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::outcome::{Counters, Outcome, Total, Violation};
use crate::world::{Setting, World};

/// When to stop: whatever comes first. A violation always stops.
#[derive(Debug, Clone, Copy)]
pub struct Until {
    pub seeds: u64,
    pub attempts: u64,
    pub time: Duration,
}

/// Lives through `first`, `first + 1`, ... Each thread calls `before` once.
pub fn seeds(first: u64, until: Until, before: &(dyn Fn() + Sync)) -> Total {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let (next, attempts, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let total = Mutex::new(Total::default());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                before();
                let mut own = Total::default();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let enough = attempts.load(Ordering::Relaxed) >= until.attempts || began.elapsed() >= until.time;
                    if n >= until.seeds || enough || stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let outcome = live(first.wrapping_add(n));
                    attempts.fetch_add(outcome.attempts, Ordering::Relaxed);
                    if outcome.violation.is_some() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    own.add(outcome);
                }
                total.lock().unwrap_or_else(std::sync::PoisonError::into_inner).merge(own);
            });
        }
    });
    total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A panic is a broken promise like any other.
fn live(seed: u64) -> Outcome {
    let setting = Setting { seed, ..Setting::default() };
    catch_unwind(|| World::live(&setting)).unwrap_or_else(|_| Outcome {
        seed,
        attempts: 0,
        events: 0,
        runs: 0,
        digest: 0,
        counters: Counters::default(),
        struck: Vec::new(),
        violation: Some(Violation { invariant: "panic", what: "something panicked".to_owned(), at_ms: 0 }),
    })
}
