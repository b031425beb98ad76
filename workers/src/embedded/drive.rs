//! One run, driven until it is over, rests, or this server leaves it.

use std::cell::Cell;

use runward_engine::run::group::Member;
use runward_engine::run::notice;
use runward_engine::run::{Offer, Recorded, Reject, RunId, RunState};
use runward_store::{Ledger, LedgerError};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, mpsc};
use tracing::{debug, info};

use super::Post;
use crate::driver::{Ask, Drive, DriveError, Driver, Observer, Setting};
use crate::home::{DriverLock, DriverLockError};

pub(super) enum End {
    Finished,
    /// Nothing more can happen without a person; as of this event.
    Rests(u64),
    /// Somebody else has it.
    Left,
    Failed(String),
}

/// `starting`: room for runs that are being taken up.
pub(super) async fn drive(post: &Post, run: &RunId, starting: &Semaphore, asks: mpsc::UnboundedReceiver<Ask>) -> End {
    let slot = starting.acquire().await.expect("it is never closed");
    match drive_it(post, run, slot, asks).await {
        Ok(end) => end,
        Err(DriveError::Ledger(LedgerError::NoSuchRun(_))) => End::Left, // pruned
        Err(error) => End::Failed(error.to_string()),
    }
}

async fn drive_it(
    post: &Post,
    run: &RunId,
    slot: SemaphorePermit<'_>,
    mut asks: mpsc::UnboundedReceiver<Ask>,
) -> Result<End, DriveError> {
    let server = &post.server;
    let lock = match DriverLock::take(&server.home, run, &format!("server of {}", server.actor)) {
        Ok(lock) => lock,
        Err(DriverLockError::Taken { .. }) => return Ok(End::Left),
        Err(DriverLockError::Home(error)) => return Err(error.into()),
    };
    let ledger: &dyn Ledger = &*server.ledger;
    let view = ledger.load(run).await?;
    if view.state.status.is_terminal() {
        return Ok(End::Finished);
    }
    let setting = Setting {
        home: &server.home,
        ledger,
        supervisor: server.supervisor.clone(),
        session: post.session.clone(),
        line: Some(post.line.clone()),
        actor: server.actor.clone(),
        boot: server.boot.clone(),
        new_session: server.new_session,
        new_claim: server.new_claim,
        log_bytes_max: server.log_bytes_max,
        place: None,
        offer: Offer::All,
        slots: None,
        leases: None,
    };
    let mut driver = Driver::new(setting, lock, view);
    let seen = Seen { slot: Cell::new(Some(slot)), tell: &post.tell };
    let end = driver.drive(&mut asks, &seen).await?;
    let state = driver.state();
    debug!(%run, ?end, "driven");
    Ok(match end {
        Drive::Finished => {
            info!(%run, name = state.name, status = state.status.as_str(), "over");
            End::Finished
        }
        Drive::Waiting => {
            info!(%run, name = state.name, "it waits for somebody: `runward show` says for what");
            End::Rests(state.seq)
        }
        Drive::Left | Drive::Idle => End::Left,
    })
}

/// Once the first steps are on the record, the next run may begin.
struct Seen<'a> {
    slot: Cell<Option<SemaphorePermit<'a>>>,
    tell: &'a Notify,
}

impl Observer for Seen<'_> {
    fn changed(&self, _: &RunState, news: &[Recorded]) {
        self.slot.take();
        if news.iter().any(|recorded| notice::is_cause(&recorded.event)) {
            self.tell.notify_one();
        }
    }

    fn child(&self, _: &RunState, _: &[Recorded]) {}

    fn waiting(&self, _: &RunState, _: &[Member]) {
        self.slot.take();
    }

    fn refused(&self, reject: &Reject) {
        info!("refused: {reject}");
    }
}
