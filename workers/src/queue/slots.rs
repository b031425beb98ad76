//! How much a worker may have in its hands at once, whatever way it heard of it.
//!
//! One number for the whole process: hints of every label and the sweeper share it, and a slot belongs to whoever does
//! the work, not to the connection that brought the hint. So a restart of the transport never adds to it.
//!
//! Nobody queues for a slot: whoever is there first has it. A queue would give it to one that waits and is not running now.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::Notify;

/// A share in them. Clones share what they keep, too.
#[derive(Debug, Clone)]
pub struct Slots {
    shared: Arc<Shared>,
    kept: Arc<Mutex<Option<Slot>>>,
}

#[derive(Debug)]
struct Shared {
    room: Mutex<Room>,
    freed: Notify,
}

#[derive(Debug)]
struct Room {
    /// Below zero where more was adopted than there is room for.
    free: isize,
    count: usize,
    open: Open,
}

/// Whether slots are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    Always,
    /// Until this moment, unless another one is said before: a worker that is not heard of takes nothing new.
    Until(Instant),
    /// What was given out is kept.
    Closed,
}

impl Open {
    fn now(self) -> bool {
        match self {
            Open::Always => true,
            Open::Until(end) => Instant::now() < end,
            Open::Closed => false,
        }
    }
}

/// Room for one piece of work. Free again when dropped.
#[derive(Debug)]
pub struct Slot(Arc<Shared>);

impl Slots {
    pub fn new(count: NonZeroUsize) -> Slots {
        let free = isize::try_from(count.get()).unwrap_or(isize::MAX);
        let room = Room { free, count: count.get(), open: Open::Always };
        Slots { shared: Arc::new(Shared { room: Mutex::new(room), freed: Notify::new() }), kept: Arc::default() }
    }

    /// A share of its own that begins with this slot: it is the first one taken there, and by nobody else.
    pub fn keeping(&self, slot: Option<Slot>) -> Slots {
        Slots { shared: Arc::clone(&self.shared), kept: Arc::new(Mutex::new(slot)) }
    }

    /// Gives back what is kept and was not taken.
    pub fn keep_none(&self) {
        drop(self.kept());
    }

    fn kept(&self) -> Option<Slot> {
        self.kept.lock().expect("nobody panics with it").take()
    }

    pub fn try_take(&self) -> Option<Slot> {
        let kept = self.kept();
        let mut room = self.shared.room();
        let open = room.open.now() && (kept.is_some() || room.free > 0);
        room.free -= isize::from(open && kept.is_none());
        drop(room);
        if open { kept.or_else(|| Some(Slot(Arc::clone(&self.shared)))) } else { None }
    }

    /// For what runs already: it has its slot even where none is free. Until so many are given back nobody gets one.
    pub fn adopt(&self) -> Slot {
        self.shared.room().free -= 1;
        Slot(Arc::clone(&self.shared))
    }

    pub async fn take(&self) -> Slot {
        loop {
            let freed = self.shared.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable(); // a slot that is given back between the look and the wait is not missed
            if let Some(slot) = self.try_take() {
                return slot;
            }
            freed.await;
        }
    }

    /// Returns when one was given back, or they were opened. It may be taken again by then.
    pub async fn freed(&self) {
        self.shared.freed.notified().await;
    }

    /// Says whether slots are given out from now on.
    pub fn set_open(&self, open: Open) {
        self.shared.room().open = open;
        self.shared.freed.notify_waiters();
    }

    /// Nothing new is taken any more.
    pub fn is_closed(&self) -> bool {
        matches!(self.shared.room().open, Open::Closed)
    }

    /// How many are free and given out.
    pub fn free(&self) -> usize {
        let room = self.shared.room();
        if room.open.now() { usize::try_from(room.free).unwrap_or(0) } else { 0 }
    }

    pub fn taken(&self) -> usize {
        let room = self.shared.room();
        room.count.saturating_add_signed(-room.free)
    }
}

impl Shared {
    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().expect("nobody panics with it")
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.room().free += 1;
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn slots(count: usize) -> Slots {
        Slots::new(count.try_into().unwrap())
    }

    #[tokio::test]
    async fn a_slot_that_is_given_back_goes_to_one_of_those_who_wait() {
        let slots = slots(1);
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

    #[test]
    fn what_was_adopted_counts_even_where_there_is_no_room_for_it() {
        let slots = slots(1);
        let adopted = [slots.adopt(), slots.adopt()];
        assert_eq!((slots.free(), slots.taken()), (0, 2));
        let [first, second] = adopted;
        drop(first);
        assert!(slots.try_take().is_none(), "one still runs");
        drop(second);
        assert!(slots.try_take().is_some());
    }

    #[test]
    fn a_slot_that_is_kept_for_somebody_is_theirs() {
        let slots = slots(1);
        let share = slots.keeping(slots.try_take());
        assert!(slots.try_take().is_none());
        let taken = share.try_take().unwrap();
        assert!(share.try_take().is_none() && slots.free() == 0);
        drop(taken);
        let share = slots.keeping(slots.try_take());
        share.keep_none();
        assert_eq!(slots.free(), 1);
        drop(slots.keeping(slots.try_take()));
        assert_eq!(slots.free(), 1);
    }

    #[tokio::test]
    async fn nothing_is_given_out_after_the_end_and_it_can_be_opened_again() {
        let slots = slots(2);
        slots.set_open(Open::Until(Instant::now() - Duration::from_millis(1)));
        assert!(slots.try_take().is_none() && slots.free() == 0);
        let waits = tokio::spawn({
            let slots = slots.clone();
            async move { slots.take().await }
        });
        tokio::task::yield_now().await;
        slots.set_open(Open::Until(Instant::now() + Duration::from_secs(3600)));
        let taken = waits.await.unwrap();
        slots.set_open(Open::Closed);
        drop(taken);
        assert!(slots.try_take().is_none());
    }
}
