//! The Postgres ledger passes the suite.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use runward_services::Postgres;
use runward_store::{Ledger, PostgresLedger};

/// A ledger on a server that lasts as long as the test's process.
async fn fresh() -> Arc<dyn Ledger> {
    let postgres = Box::leak(Box::new(Postgres::start()));
    let url = postgres.database("runward");
    PostgresLedger::migrate(&url).await.unwrap();
    Arc::new(PostgresLedger::open(&url).await.unwrap())
}

runward_store::ledger_conformance!(fresh);
