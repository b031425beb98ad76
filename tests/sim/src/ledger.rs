//! The real ledger in memory, with the clock of the simulated machine and the fates of its writes.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use runward_store::{Fate, MemoryLedger, Surroundings};

/// What the world sets and the ledger reads.
#[derive(Debug, Clone, Default)]
pub struct Dials {
    now_ms: Arc<AtomicI64>,
    fate: Arc<AtomicU8>,
}

impl Dials {
    pub fn set_now_ms(&self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Of the next write.
    pub fn set_fate(&self, fate: Fate) {
        let number = match fate {
            Fate::Done => 0,
            Fate::Refused => 1,
            Fate::Vanished => 2,
            Fate::Unanswered => 3,
        };
        self.fate.store(number, Ordering::Relaxed);
    }

    pub fn ledger(&self) -> MemoryLedger {
        MemoryLedger::amid(self.clone())
    }
}

impl Surroundings for Dials {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn fate(&self) -> Fate {
        [Fate::Done, Fate::Refused, Fate::Vanished, Fate::Unanswered][usize::from(self.fate.load(Ordering::Relaxed))]
    }
}

/// What a future comes to that never waits: those of the ledger in memory.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a ledger in memory never waits"),
    }
}
