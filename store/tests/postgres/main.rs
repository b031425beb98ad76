//! The Postgres ledger passes the suite, and what only a server and a line to it can do wrong.

#![allow(clippy::unwrap_used)]

mod lines;
mod many;
mod server;

use std::sync::Arc;

use runward_services::Postgres;
use runward_store::{Ledger, PostgresLedger};

/// A server with a database that is made ready.
async fn ready() -> (Postgres, String) {
    let postgres = Postgres::start();
    let url = postgres.database("runward");
    PostgresLedger::migrate(&url).await.unwrap();
    (postgres, url)
}

/// A ledger on a server that lasts as long as the test's process.
async fn fresh() -> Arc<dyn Ledger> {
    let (postgres, url) = ready().await;
    Box::leak(Box::new(postgres));
    Arc::new(PostgresLedger::open(&url).await.unwrap())
}

runward_store::ledger_conformance!(fresh);
