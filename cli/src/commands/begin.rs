//! What `resume`, `retry` and `rollback` have in common: they begin something in a run and then drive it, so they hold its
//! driver's lock before they say a word.

use std::time::Duration;

use runward_engine::run::RunId;
use runward_store::{Ledger, LedgerError, RunView};
use runward_workers::home::{DriverLock, DriverLockError};
use tokio::time::Instant;

use super::drive::{detach, drive};
use super::give;
use crate::actor::actor;
use crate::args::CommandIdArgs;
use crate::failure::Failure;
use crate::open::Opened;
use crate::view::Showing;

/// How long somebody who holds the lock of a run at rest may take to begin, or to leave.
const BEGINNING_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Who is at the wheel, and the run as it is then.
pub enum Wheel {
    Mine(DriverLock, RunView),
    /// The command was given before, with this id.
    Given(RunView),
    /// Somebody else drives it.
    Taken(RunView, DriverLockError),
}

/// Takes the wheel. Two with one command id who come at the same moment are one: the second waits for the word of the first.
pub async fn take(opened: &Opened, run: &RunId, id: &CommandIdArgs) -> Result<Wheel, Failure> {
    let give_up = Instant::now() + BEGINNING_MAX;
    loop {
        let taken = DriverLock::take(&opened.home, run, &actor());
        let view = match opened.ledger.load(run).await {
            // Pruned in between: taking the lock has made its folder again.
            Err(error @ LedgerError::NoSuchRun(_)) => {
                opened.home.forget(run);
                return Err(error.into());
            }
            loaded => loaded?,
        };
        if give::is_known(&view, id) {
            return Ok(Wheel::Given(view));
        }
        match taken {
            Ok(lock) => return Ok(Wheel::Mine(lock, view)),
            Err(error @ DriverLockError::Home(_)) => return Err(error.into()),
            Err(_) if id.command_id.is_some() && view.state.is_at_rest() && Instant::now() < give_up => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(taken) => return Ok(Wheel::Taken(view, taken)),
        }
    }
}

/// Drives what was begun: here, or in the background.
pub async fn go(
    opened: &Opened,
    lock: DriverLock,
    view: RunView,
    detached: bool,
    showing: Showing,
) -> Result<i32, Failure> {
    if detached {
        drop(lock);
        return detach(opened, &view.state.id, showing.format);
    }
    drive(opened, lock, view, showing).await
}
