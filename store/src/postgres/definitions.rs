//! Definitions that were read before. One never changes under its hash, and a worker meets the same one with every run.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use runward_engine::plan::Definition;
use runward_engine::run::RunId;
use runward_engine::runbook::model::Runbook;

use crate::error::LedgerError;
use crate::ledger::parsed;

/// How many are kept: those used last.
const KEPT: usize = 64;

#[derive(Default)]
pub(super) struct Definitions(Mutex<VecDeque<Arc<Known>>>);

pub(super) struct Known {
    hash: String,
    pub(super) definition: Definition,
    runbook: OnceLock<Arc<Runbook>>,
}

impl Definitions {
    pub(super) fn get(&self, hash: &str) -> Option<Arc<Known>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|known| known.hash == hash)?;
        let known = kept.remove(at)?;
        kept.push_front(Arc::clone(&known));
        Some(known)
    }

    /// Some of them may have been pruned.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// `definition` was read from the ledger, and its hash is this one.
    pub(super) fn keep(&self, hash: &str, definition: Definition) -> Arc<Known> {
        let known = Arc::new(Known { hash: hash.to_owned(), definition, runbook: OnceLock::new() });
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|known| known.hash != hash);
        kept.push_front(Arc::clone(&known));
        kept.truncate(KEPT);
        known
    }
}

impl Known {
    /// `run`: for the error.
    pub(super) fn runbook(&self, run: &RunId) -> Result<Arc<Runbook>, LedgerError> {
        if let Some(runbook) = self.runbook.get() {
            return Ok(Arc::clone(runbook));
        }
        let runbook = parsed(run, &self.definition)?;
        Ok(Arc::clone(self.runbook.get_or_init(|| runbook)))
    }
}
