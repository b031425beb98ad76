//! Which of its attempts a driver keeps alive: those that may start elsewhere, and that its own session watches on the
//! record. What another session is said to watch may be given up at any moment.

use std::collections::BTreeMap;

use runward_engine::run::{ClaimId, SessionId, Unit};

use super::Driver;
use crate::supervisor::protocol::Lease;

impl Driver<'_> {
    /// How long an attempt of this unit may take to start, and whether it may live on, if nothing more is heard of this worker.
    pub(super) fn lease_of(&self, unit: Unit) -> Option<Lease> {
        let until_ms = self.setting.leases.as_ref()?.until_ms();
        Some(Lease { until_ms, strict: self.view.state.is_strict(unit) })
    }

    pub(super) fn keep_alive(&mut self) {
        let Some(leases) = &self.setting.leases else { return };
        let state = &self.view.state;
        let strict = self
            .course
            .watched(state)
            .filter(|it| state.live_attempt(&it.claim).is_some_and(|(unit, _)| state.is_strict(unit)));
        let wanted: BTreeMap<&ClaimId, &SessionId> = strict.map(|attempt| (&attempt.claim, &attempt.session)).collect();
        self.kept.retain(|claim, _| wanted.contains_key(claim));
        for (claim, session) in wanted {
            if let (false, Some(requests)) = (self.kept.contains_key(claim), self.crew.member(session)) {
                self.kept.insert(claim.clone(), leases.keep(claim, requests));
            }
        }
    }
}
