//! What an attempt printed on some machine, read from the ledger: the same items as beside its spool.

use std::collections::VecDeque;
use std::sync::Arc;

use runward_engine::run::{ClaimId, RunId};
use runward_store::{Fleet, LedgerError};

use super::frames::unpack;
use crate::supervisor::log::LogItem;

/// Parts that are asked for at once.
const PARTS: u32 = 8;
/// Reads an attempt's output. [`Remote::next`] says `None` at the current end: ask again later to follow a running step.
pub struct Remote {
    fleet: Arc<dyn Fleet>,
    run: RunId,
    claim: ClaimId,
    /// Behind what is in `waiting`.
    offset: u64,
    waiting: VecDeque<LogItem>,
}

impl Remote {
    pub fn new(fleet: Arc<dyn Fleet>, run: RunId, claim: ClaimId) -> Remote {
        Remote { fleet, run, claim, offset: 0, waiting: VecDeque::new() }
    }

    pub async fn next(&mut self) -> Result<Option<LogItem>, LedgerError> {
        if self.waiting.is_empty() {
            self.fetch().await?;
        }
        Ok(self.waiting.pop_front())
    }

    /// Bytes of both outputs before the next item.
    pub fn offset(&self) -> u64 {
        let later = self.waiting.iter().map(|item| match item {
            LogItem::Chunk { bytes, .. } => bytes.len() as u64,
            LogItem::Gap { bytes } => *bytes,
        });
        self.offset - later.sum::<u64>()
    }

    /// Bytes of both outputs that have arrived.
    pub async fn end(&self) -> Result<u64, LedgerError> {
        Ok(self.fleet.shipped(&self.run, &self.claim).await?.to)
    }

    /// Passes over everything but the last `keep` bytes of what is there; says how many it passed over.
    pub async fn skip_to_last(&mut self, keep: u64) -> Result<u64, LedgerError> {
        let (from, to) = (self.offset(), self.end().await?.saturating_sub(keep));
        if to <= from {
            return Ok(0);
        }
        (self.offset, self.waiting) = (to, VecDeque::new());
        Ok(to - from)
    }

    /// Whether everything that was kept is read, and nothing more will come.
    pub async fn is_whole(&self) -> Result<bool, LedgerError> {
        let shipped = self.fleet.shipped(&self.run, &self.claim).await?;
        Ok(shipped.complete && shipped.to <= self.offset())
    }

    async fn fetch(&mut self) -> Result<(), LedgerError> {
        for part in self.fleet.log(&self.run, &self.claim, self.offset, PARTS).await? {
            let items = unpack(&part, &mut self.offset).ok_or_else(|| {
                let (run, claim) = (&self.run, &self.claim);
                LedgerError::Other(format!(
                    "the output of attempt {claim} of run {run} is damaged at byte {}",
                    part.from
                ))
            })?;
            self.waiting.extend(items);
        }
        Ok(())
    }
}
