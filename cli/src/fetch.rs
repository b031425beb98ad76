//! Fetches from the ledger of a cluster what steps print on other hosts, for those who look on.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use runward_engine::run::{ClaimId, Event, Recorded, RunId, RunState};
use runward_store::LedgerError;
use runward_store::fleet::Fleet;
use runward_workers::logs::Remote;
use tokio::time::Instant;

use crate::open::Opened;
use crate::outputs::{End, LAG_BYTES_MAX, Outputs, Piece, Shared};

/// Attempts looked at in one look: with more, their turn comes with the next.
const AT_ONCE: usize = 32;
/// How long is waited, all in all in one look, for what has ended but has not arrived.
const REST_MAX: Duration = Duration::from_secs(3);
const REST_POLL: Duration = Duration::from_millis(50);

/// What somebody who looks on reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reads {
    /// Whether it is shown what runs prints.
    pub live: bool,
    /// Lines, of those that run and when they are over; of what is too much at once, so many bytes at its end.
    pub lines: Option<u64>,
    /// When an attempt is over, so many bytes of its end.
    pub ends: Option<u64>,
}

/// On one machine there is nothing to fetch.
pub struct Fetcher {
    from: Option<(Arc<dyn Fleet>, Shared)>,
    remotes: BTreeMap<ClaimId, Remote>,
    turn: usize,
}

/// An attempt that is over, and whose output has not arrived whole.
pub struct Missing {
    pub unit: String,
    pub host: String,
}

impl Fetcher {
    pub fn new(opened: &Opened, outputs: &Outputs) -> Fetcher {
        let from = match (opened.cluster(), outputs) {
            (Some(cluster), Outputs::Fetched(fetched)) => Some((cluster.fleet(), Rc::clone(fetched))),
            _ => None,
        };
        Fetcher { from, remotes: BTreeMap::new(), turn: 0 }
    }

    /// Everything that has to be there before these news of a run are shown.
    pub async fn before(
        &mut self,
        state: &RunState,
        news: &[Recorded],
        reads: Reads,
    ) -> Result<Vec<Missing>, LedgerError> {
        let mut missing = Vec::new();
        if self.from.is_none() {
            return Ok(missing);
        }
        if let Some(keep) = reads.lines.filter(|_| reads.live) {
            self.lines(state, keep).await?;
        }
        let give_up = Instant::now() + REST_MAX;
        for recorded in news {
            let (claim, unit, patience) = match &recorded.event {
                Event::AttemptSettled { claim, unit, log, .. } if log.bytes > 0 => (claim, unit, give_up),
                // Who could send more is gone.
                Event::AttemptLost { claim, unit, .. } => (claim, unit, Instant::now()),
                _ => continue,
            };
            let whole = self.whole(&state.id, claim, patience).await?;
            if let Some(keep) = reads.lines {
                self.fetch(&state.id, claim, keep).await?;
            }
            if let Some(keep) = reads.ends {
                self.end(&state.id, claim, keep, !whole).await?;
            }
            let shown = reads.lines.is_some() || reads.ends.is_some();
            if !whole
                && shown
                && let Some(host) = host_of(state, unit, claim)
            {
                missing.push(Missing { unit: unit.clone(), host });
            }
        }
        Ok(missing)
    }

    /// They were shown.
    pub fn after(&mut self, news: &[Recorded]) {
        for recorded in news {
            if let Event::AttemptSettled { claim, .. } | Event::AttemptLost { claim, .. } = &recorded.event {
                self.forget(claim);
            }
        }
    }

    /// Whoever reads this attempt next begins at its beginning.
    pub fn forget(&mut self, claim: &ClaimId) {
        let Some((_, fetched)) = &self.from else { return };
        let mut fetched = fetched.borrow_mut();
        fetched.pieces.remove(claim);
        fetched.ends.remove(claim);
        self.remotes.remove(claim);
    }

    async fn lines(&mut self, state: &RunState, keep: u64) -> Result<(), LedgerError> {
        let live: Vec<ClaimId> = state.live().keys().cloned().collect();
        let from = if live.len() > AT_ONCE { self.turn % live.len() } else { 0 };
        self.turn = self.turn.wrapping_add(AT_ONCE);
        for claim in live.iter().cycle().skip(from).take(live.len().min(AT_ONCE)) {
            self.fetch(&state.id, claim, keep).await?;
        }
        Ok(())
    }

    /// What is there of this attempt and was not fetched yet.
    pub async fn fetch(&mut self, run: &RunId, claim: &ClaimId, keep: u64) -> Result<(), LedgerError> {
        let Some((fleet, fetched)) = &self.from else { return Ok(()) };
        let new = || Remote::new(Arc::clone(fleet), run.clone(), claim.clone());
        let remote = self.remotes.entry(claim.clone()).or_insert_with(new);
        let mut pieces = Vec::new();
        if remote.end().await?.saturating_sub(remote.offset()) > LAG_BYTES_MAX {
            pieces.push(Piece::PassedOver(remote.skip_to_last(keep).await?));
        }
        while let Some(item) = remote.next().await? {
            pieces.push(Piece::Item(item));
        }
        fetched.borrow_mut().pieces.entry(claim.clone()).or_default().extend(pieces);
        Ok(())
    }

    /// The last bytes of an attempt that is over.
    pub async fn end(&mut self, run: &RunId, claim: &ClaimId, keep: u64, more: bool) -> Result<(), LedgerError> {
        let Some((fleet, fetched)) = &self.from else { return Ok(()) };
        let mut remote = Remote::new(Arc::clone(fleet), run.clone(), claim.clone());
        let mut end = End { skipped: remote.skip_to_last(keep).await?, items: Vec::new(), more };
        while let Some(item) = remote.next().await? {
            end.items.push(item);
        }
        fetched.borrow_mut().ends.insert(claim.clone(), end);
        Ok(())
    }

    /// Whether all of it has arrived, at last.
    async fn whole(&self, run: &RunId, claim: &ClaimId, give_up: Instant) -> Result<bool, LedgerError> {
        loop {
            let whole = self.is_whole(run, claim).await?;
            if whole || Instant::now() >= give_up {
                return Ok(whole);
            }
            tokio::time::sleep(REST_POLL).await;
        }
    }

    /// Whether all of it is in the ledger.
    pub async fn is_whole(&self, run: &RunId, claim: &ClaimId) -> Result<bool, LedgerError> {
        match &self.from {
            Some((fleet, _)) => Ok(fleet.shipped(run, claim).await?.complete),
            None => Ok(true),
        }
    }
}

/// Where an attempt ran.
pub fn host_of(state: &RunState, unit: &str, claim: &ClaimId) -> Option<String> {
    let unit = state.unit(state.unit_named(unit)?)?;
    let attempt = unit.attempts.iter().find(|attempt| attempt.claim == *claim)?;
    attempt.place.as_ref().map(|place| place.host.clone())
}
