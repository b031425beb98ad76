//! How much a worker may have in its hands at once, whatever way it heard of it.
//!
//! One number for the whole process: hints of every label and the sweeper share it, and a slot belongs to whoever does
//! the work, not to the connection that brought the hint. So a restart of the transport never adds to it.
//!
//! Nobody queues for a slot: whoever is there first has it. A queue would give it to one that waits and is not running now.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

#[derive(Debug, Clone)]
pub struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free: Mutex<usize>,
    freed: Notify,
}

/// Room for one piece of work. Free again when dropped.
#[derive(Debug)]
pub struct Slot(Arc<Shared>);

impl Slots {
    pub fn new(count: NonZeroUsize) -> Slots {
        Slots(Arc::new(Shared { free: Mutex::new(count.get()), freed: Notify::new() }))
    }

    pub fn try_take(&self) -> Option<Slot> {
        let mut free = self.0.free.lock().expect("nobody panics with it");
        *free = free.checked_sub(1)?;
        Some(Slot(Arc::clone(&self.0)))
    }

    pub async fn take(&self) -> Slot {
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable(); // a slot that is given back between the look and the wait is not missed
            if let Some(slot) = self.try_take() {
                return slot;
            }
            freed.await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *self.0.free.lock().expect("nobody panics with it") += 1;
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slot_that_is_given_back_goes_to_one_of_those_who_wait() {
        let slots = Slots::new(1.try_into().unwrap());
        let taken = slots.take().await;
        assert!(slots.try_take().is_none());
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let slots = slots.clone();
                tokio::spawn(async move { drop(slots.take().await) })
            })
            .collect();
        tokio::task::yield_now().await;
        drop(taken);
        for one in waiting {
            one.await.unwrap();
        }
        assert!(slots.try_take().is_some());
    }
}
