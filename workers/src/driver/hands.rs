//! What a driver has in its hands: a slot of its worker for each attempt of its own that runs.
//!
//! A slot is free again as soon as the end of its attempt is known, before that is on the record: so the same commit can
//! claim the next step. An attempt that was adopted runs whether there is room for it or not; then nothing is claimed until
//! the worker has less to do than it may.

use std::collections::{BTreeMap, BTreeSet};

use runward_engine::run::ClaimId;

use crate::queue::{Slot, Slots};

#[derive(Default)]
pub(super) struct Hands {
    /// `None`: as much as the run allows.
    slots: Option<Slots>,
    kept: BTreeMap<ClaimId, Slot>,
    /// For the next claim.
    spare: Option<Slot>,
    /// Something could be claimed, and there was no room.
    full: bool,
}

impl Hands {
    pub(super) fn new(slots: Option<Slots>) -> Hands {
        Hands { slots, ..Hands::default() }
    }

    /// Room for this claim, if there is any.
    pub(super) fn take(&mut self, claim: &ClaimId) -> bool {
        let Some(slots) = &self.slots else { return true };
        match self.spare.take().or_else(|| slots.try_take()) {
            Some(slot) => _ = self.kept.insert(claim.clone(), slot),
            None => self.full = true,
        }
        !self.full
    }

    /// A commit is about to be made. `is_over`: attempts whose end is known.
    pub(super) fn let_go(&mut self, is_over: impl Fn(&ClaimId) -> bool) {
        self.full = false;
        self.kept.retain(|claim, _| !is_over(claim));
    }

    /// These run, and no others.
    pub(super) fn hold(&mut self, running: &BTreeSet<ClaimId>) {
        self.spare = None;
        let Some(slots) = &self.slots else { return };
        self.kept.retain(|claim, _| running.contains(claim));
        for claim in running {
            self.kept.entry(claim.clone()).or_insert_with(|| slots.adopt());
        }
    }

    /// There will be no room any more.
    pub(super) fn are_bound(&self) -> bool {
        self.slots.as_ref().is_some_and(Slots::is_closed)
    }

    /// Waits for the room that was missing; for ever, if none was.
    pub(super) async fn room(&mut self) {
        match &self.slots {
            Some(slots) if self.full => self.spare = Some(slots.take().await),
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(names: &[&str]) -> BTreeSet<ClaimId> {
        names.iter().map(|name| ClaimId::from(*name)).collect()
    }

    #[tokio::test]
    async fn what_was_adopted_counts_and_nothing_is_claimed_until_there_is_room() {
        let slots = Slots::new(2.try_into().unwrap());
        let mut hands = Hands::new(Some(slots.clone()));
        hands.hold(&claims(&["a", "b", "c"]));
        assert!(!hands.take(&"d".into()));
        hands.let_go(|claim| claim.0 == "a");
        assert!(!hands.take(&"d".into()), "two still run");
        hands.let_go(|claim| claim.0 == "b");
        assert!(hands.take(&"d".into()));
        hands.hold(&claims(&["c", "d"]));
        assert!(!hands.take(&"e".into()) && slots.try_take().is_none());
        let mut others = Hands::new(Some(slots.clone()));
        assert!(!others.take(&"f".into()));
        drop(hands);
        others.room().await;
        others.let_go(|_| false);
        assert!(others.take(&"f".into()));
    }

    #[tokio::test]
    async fn where_nothing_is_counted_there_is_always_room() {
        let mut hands = Hands::new(None);
        assert!((0..100).all(|n| hands.take(&ClaimId(n.to_string()))));
    }
}
