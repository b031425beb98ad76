//! What `resume`, `retry` and `rollback` have in common: they begin something in a run and then see it to its end. Where
//! that means to drive it, they hold its driver's lock before they say a word.

use std::time::Duration;

use runward_engine::run::RunId;
use runward_store::{LedgerError, RunView};
use runward_workers::home::DriverLockError;
use tokio::time::Instant;

use super::drive::{detach, drive, named};
use super::follow::{self, Stake};
use super::give;
use crate::args::CommandIdArgs;
use crate::failure::Failure;
use crate::open::{Opened, Seat};
use crate::view::Showing;

/// How long somebody who holds the lock of a run at rest may take to begin, or to leave.
const BEGINNING_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Who is at the wheel, and the run as it is then.
pub enum Wheel<'a> {
    Mine(Seat<'a>, RunView),
    /// The command was given before, with this id.
    Given(RunView),
    /// Somebody else drives it.
    Taken(RunView, DriverLockError),
}

/// Takes the wheel. Two with one command id who come at the same moment are one: the second waits for the word of the first.
pub async fn take<'a>(opened: &'a Opened, run: &RunId, id: &CommandIdArgs) -> Result<Wheel<'a>, Failure> {
    let give_up = Instant::now() + BEGINNING_MAX;
    loop {
        let taken = opened.seat(run);
        let view = match opened.ledger().load(run).await {
            // Pruned in between: taking the lock has made its folder again.
            Err(error @ LedgerError::NoSuchRun(_)) => {
                taken.into_iter().for_each(|seat| seat.forget(run));
                return Err(error.into());
            }
            loaded => loaded?,
        };
        if give::is_known(&view, id) {
            return Ok(Wheel::Given(view));
        }
        match taken {
            Ok(seat) => return Ok(Wheel::Mine(seat, view)),
            Err(error @ DriverLockError::Home(_)) => return Err(error.into()),
            Err(_) if id.command_id.is_some() && view.state.is_at_rest() && Instant::now() < give_up => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(taken) => return Ok(Wheel::Taken(view, taken)),
        }
    }
}

/// Sees to its end what was begun, here or in the background.
pub async fn go(
    opened: &Opened,
    seat: Seat<'_>,
    view: RunView,
    detached: bool,
    showing: Showing,
) -> Result<i32, Failure> {
    match seat {
        Seat::Driver(home, lock) if detached => {
            drop(lock);
            detach(opened, home, &view.state.id, showing.format)
        }
        Seat::Driver(home, lock) => drive(opened, home, lock, view, showing).await,
        Seat::Onlooker if detached => {
            named(&view.state.id, showing.format, None);
            Ok(0)
        }
        Seat::Onlooker => follow::to_its_end(opened, view, showing, Stake::Begun).await,
    }
}
