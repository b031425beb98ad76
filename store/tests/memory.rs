//! The memory ledger passes the suite.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use runward_store::{Ledger, MemoryLedger, Outbox, Timetable};

async fn fresh() -> Arc<dyn Ledger> {
    Arc::new(MemoryLedger::default())
}

runward_store::ledger_conformance!(fresh);

async fn table() -> Arc<dyn Timetable> {
    Arc::new(MemoryLedger::default())
}

runward_store::timetable_conformance!(table);

async fn outbox() -> Arc<dyn Outbox> {
    Arc::new(MemoryLedger::default())
}

runward_store::outbox_conformance!(outbox);
