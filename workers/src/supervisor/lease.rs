//! Until when attempts may live that can start elsewhere when their worker falls silent (`lease: strict`).
//!
//! The worker says it after each sign of life that the ledger has confirmed, in the time of this machine since it was
//! started, which no setting of a clock changes and which goes on while the machine sleeps. To know before changing anything:
//! a lease is given to single attempts, and only to those that this session watches on the record. A word to a whole machine
//! would keep alive what somebody else may give up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::time::{ClockId, clock_gettime};
use runward_engine::run::ClaimId;

use super::client::Requests;

/// The time of this machine since it was started, in milliseconds.
pub fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(|time| (time.tv_sec(), time.tv_nsec()));
    let (seconds, nanos) = now.unwrap_or_default(); // every kernel this runs on has that clock
    seconds as u64 * 1_000 + nanos as u64 / 1_000_000
}

/// What a session of a worker keeps alive, and until when.
#[derive(Clone)]
pub struct Leases(Arc<Mutex<Inner>>);

struct Inner {
    until_ms: u64,
    kept: BTreeMap<ClaimId, Requests>,
}

/// An attempt is kept alive as long as this is there.
pub struct Kept {
    leases: Leases,
    claim: ClaimId,
}

impl Leases {
    /// `until_ms`: see [`Leases::extend`].
    pub fn new(until_ms: u64) -> Leases {
        Leases(Arc::new(Mutex::new(Inner { until_ms, kept: BTreeMap::new() })))
    }

    pub fn until_ms(&self) -> u64 {
        self.inner().until_ms
    }

    /// A sign of life was confirmed: whatever is kept may live until then ([`now_ms`]), counted from when it was sent.
    pub fn extend(&self, until_ms: u64) {
        let mut inner = self.inner();
        inner.until_ms = inner.until_ms.max(until_ms);
        for (claim, requests) in &inner.kept {
            let _ = requests.lease(&claim.0, inner.until_ms); // nobody there: then it does not live either
        }
    }

    /// This session watches the attempt on the record. `requests`: to the supervisor that has it.
    pub(crate) fn keep(&self, claim: &ClaimId, requests: &Requests) -> Kept {
        let mut inner = self.inner();
        let _ = requests.lease(&claim.0, inner.until_ms); // as above
        inner.kept.insert(claim.clone(), requests.clone());
        Kept { leases: self.clone(), claim: claim.clone() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.leases.inner().kept.remove(&self.claim);
    }
}
