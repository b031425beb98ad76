//! Hints: who should look at the ledger now. The only room that names apalis.
//!
//! A hint is a doorbell. It is pushed after the commit that made a step ready, best effort, and it may get lost, arrive
//! twice, late or in another order: the claim in the ledger decides, and every worker also reads the ledger itself every
//! few seconds. So nothing in here is ever needed for a run to go on; it only makes it go on at once.
//! docs/decisions/0012-hints.md says what is relied on.
//!
//! - [`in_process`]: for one process with its own ledger
//! - [`redis`]: for a cluster

mod health;
mod hint;
pub mod in_process;
pub mod redis;
mod slots;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

pub use health::{Health, Outage};
pub use hint::Hint;
pub use slots::{Open, Slot, Slots};

/// Takes a hint. Returns when it is decided what comes of it (a claim is committed, or refused); whoever does the work
/// keeps the slot until it is done.
pub type Take = Arc<dyn Fn(Hint, Slot) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What a worker offers to the queue.
#[derive(Clone)]
pub struct Offer {
    pub labels: Vec<String>,
    pub slots: Slots,
    pub take: Take,
}

#[async_trait]
pub trait Queue: Send + Sync {
    /// Never waits longer than a few seconds, whatever state the transport is in. An error costs latency, nothing else.
    async fn push_hints(&self, hints: &[Hint]) -> Result<Pushed, Unheard>;

    /// Hands hints to the worker until `stop` says true, whatever happens in between. While no slot is free, hints stay
    /// where other workers find them.
    async fn run_worker(&self, offer: Offer, stop: watch::Receiver<bool>);

    fn health(&self) -> Health;
}

/// What became of pushed hints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pushed {
    pub new: u64,
    /// Repetitions of hints that are still there.
    pub known: u64,
    /// Too many are waiting already: the workers have enough to do, and the sweepers find the rest.
    pub refused: u64,
}

/// The hints of this push are not delivered. No step is lost by that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; steps start at the pace of the sweeper until it is back")]
pub struct Unheard(String);

/// Until `stop` says true, or nobody is left who could say it.
async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
