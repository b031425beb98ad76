//! The Postgres ledger passes the suite, and what only a server and a line to it can do wrong.

#![allow(clippy::unwrap_used)]

mod failover;
mod letters;
mod lines;
mod loads;
mod logs;
mod many;
mod ready;
mod server;
mod sessions;
mod ticks;
mod together;

use std::sync::Arc;
use std::thread;

use runward_engine::run::command::Report;
use runward_engine::run::event::{LogDigest, Outcome};
use runward_engine::run::outputs::Outputs;
use runward_engine::run::place::Place;
use runward_engine::run::{Command, Unit};
use runward_services::Postgres;
use runward_store::{Ledger, LedgerError, Outbox, PostgresLedger, RunView, Timetable, command};

/// A server with a database that is made ready.
async fn ready() -> (Postgres, String) {
    let postgres = Postgres::start();
    let url = postgres.database("runward");
    PostgresLedger::migrate(&url).await.unwrap();
    (postgres, url)
}

/// Something with its own thread, runtime and connections.
fn process<T: Send + 'static, F: Future<Output = T>>(
    work: impl FnOnce() -> F + Send + 'static,
) -> thread::JoinHandle<T> {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work())
    })
}

/// A ledger on a server that lasts as long as the test's process.
async fn fresh() -> Arc<dyn Ledger> {
    let (postgres, url) = ready().await;
    Box::leak(Box::new(postgres));
    Arc::new(PostgresLedger::open(&url).await.unwrap())
}

/// Claims a step for the worker in `home`.
fn claim(step: u32, claim: &str, home: &str) -> Command {
    let place = Some(Place { home: home.into(), host: "h".to_owned() });
    Command::Claim { unit: Unit::step(step), claim: claim.into(), session: home.into(), boot: "b".into(), place }
}

fn settle(claim: &str) -> Command {
    let report = Report {
        outcome: Outcome::Succeeded,
        outputs: Outputs::new(),
        error: None,
        log: LogDigest::default(),
        started_at: None,
        ended_at: None,
        orphans: Vec::new(),
    };
    Command::Settle { claim: claim.into(), report: Box::new(report) }
}

async fn accept(ledger: &PostgresLedger, view: &mut RunView, wanted: Command) {
    says(ledger, view, wanted).await.unwrap().unwrap();
}

async fn says(
    ledger: &PostgresLedger,
    view: &mut RunView,
    wanted: Command,
) -> Result<Result<(), runward_engine::run::Reject>, LedgerError> {
    command(ledger, view, wanted, "tester").await
}

runward_store::ledger_conformance!(fresh);

async fn table() -> Arc<dyn Timetable> {
    let (postgres, url) = ready().await;
    Box::leak(Box::new(postgres));
    Arc::new(PostgresLedger::open(&url).await.unwrap())
}

runward_store::timetable_conformance!(table);

async fn outbox() -> Arc<dyn Outbox> {
    let (postgres, url) = ready().await;
    Box::leak(Box::new(postgres));
    Arc::new(PostgresLedger::open(&url).await.unwrap())
}

runward_store::outbox_conformance!(outbox);
