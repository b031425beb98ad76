//! The memory ledger passes the suite.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use runward_store::{Ledger, MemoryLedger};

async fn fresh() -> Arc<dyn Ledger> {
    Arc::new(MemoryLedger::default())
}

runward_store::ledger_conformance!(fresh);
