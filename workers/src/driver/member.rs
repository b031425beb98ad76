//! One driver of several: what of a run is its own while others work on the same run.
//!
//! Each of them reads the same record and commits under the same lock, so none has to know of the others. What it must not
//! do is judge an attempt whose journal is in another state folder, or stay where there is nothing for it.

use std::collections::{BTreeMap, BTreeSet};

use runward_engine::mutated;
use runward_engine::run::state::Attempt;
use runward_engine::run::todo::Todo;
use runward_engine::run::{ClaimId, Offer, Place, RunState, SessionId};

#[derive(Debug)]
pub(super) struct Member {
    pub(super) place: Place,
    pub(super) offer: Offer,
    /// It has asked the group of the run for a permit: once a visit.
    asked: bool,
    /// Attempts of its own that it has seen running, and who keeps them.
    watched: BTreeMap<ClaimId, SessionId>,
}

impl Member {
    pub(super) fn new(place: Place, offer: Offer) -> Member {
        Member { place, offer, asked: false, watched: BTreeMap::new() }
    }

    pub(super) fn owns(&self, attempt: &Attempt) -> bool {
        attempt.place.as_ref().is_some_and(|place| place.home == self.place.home || mutated!(ForeignAttempts))
    }

    /// Whether a permit is still to be asked for in this visit.
    pub(super) fn asks(&mut self, todo: &Todo) -> bool {
        todo.enter && !std::mem::replace(&mut self.asked, true)
    }

    /// Whether it has nothing to do here before something happens that it is called for again.
    pub(super) fn is_through(&self, state: &RunState, todo: &Todo) -> bool {
        todo.claims.is_empty() && self.own(state).next().is_none()
    }

    fn own<'s>(&self, state: &'s RunState) -> impl Iterator<Item = &'s Attempt> {
        let live = state.live().keys().filter_map(|claim| state.live_attempt(claim));
        live.map(|(_, attempt)| attempt).filter(|attempt| self.owns(attempt))
    }

    /// What it has seen running and is at its end on the record, by the word of somebody else: it has been given up, and must
    /// not go on. `ended`: those whose end it knows itself.
    pub(super) fn given_up(&mut self, state: &RunState, ended: &BTreeSet<ClaimId>) -> Vec<(ClaimId, SessionId)> {
        let now = self.own(state).map(|attempt| (attempt.claim.clone(), attempt.session.clone()));
        let now: BTreeMap<ClaimId, SessionId> = now.filter(|(claim, _)| !ended.contains(claim)).collect();
        let before = std::mem::replace(&mut self.watched, now);
        before.into_iter().filter(|(claim, _)| !self.watched.contains_key(claim) && !ended.contains(claim)).collect()
    }

    /// It knows the end of this one itself.
    pub(super) fn is_over(&mut self, claim: &ClaimId) {
        self.watched.remove(claim);
    }
}

#[cfg(test)]
mod tests;
