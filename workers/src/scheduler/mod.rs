//! Fires schedules: reads what the files say, finds what is due by the ledger's clock, and has each tick decided once.
//!
//! Any number of servers do the same, none of them leads. A tick is decided by the transaction that writes its row, so two that
//! try at once are one too many at most. What a server knows can be forgotten at any moment: the ledger has the cursor of each
//! schedule, and whatever is due after it is found again. Nothing here carries out a run.
//!
//! - [`Scheduler`]: one round after the other; [`run`]: the rounds, and when the next one is
//! - `table`: what is due, and when the next is, of what the ledger has told; `clock`: what time it is there. Both are pure
//! - `lanes`: several pieces of work at once

mod clock;
mod lanes;
mod round;
mod table;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono_tz::Tz;
use runward_engine::run::{HomeId, RunId};
use runward_engine::schedule::entry::Tick;
use runward_store::timetable::{Entry, Timetable};
use runward_store::{LedgerError, NewRun};
use tokio::sync::Notify;

use crate::worker::Pace;

pub use round::{Rest, Scheduler};

/// Between two tries at a ledger that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// What a server needs that fires schedules.
pub struct Scheduling {
    pub timetable: Arc<dyn Timetable>,
    pub runbooks: Box<dyn Runbooks>,
    /// The zone of schedules that name none.
    pub zone: Tz,
    pub pace: Pace,
}

/// The runbooks of this machine.
pub trait Runbooks {
    /// Whether the files are others than when they were last read.
    fn have_changed(&mut self) -> bool;

    /// Every schedule there is, each name once. `posted`: what this server has fired so far, for files that cannot be read now.
    fn read(&mut self, posted: &[Entry]) -> Vec<Entry>;

    /// The run of a tick, from its file as it is now.
    fn new_run(&self, entry: &Entry, tick: &Tick) -> Result<Box<NewRun>, NoRun>;
}

/// Why a tick cannot become a run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoRun {
    /// The file has another schedule by now.
    Changed,
    /// The runbook cannot run, for this reason.
    Broken(String),
}

/// Who hears what comes of it.
pub trait Audience {
    /// This run is there, and somebody should carry it on.
    fn fired(&self, run: &RunId);

    /// Something was recorded in this run.
    fn changed(&self, run: &RunId);

    fn ledger_failed(&self, what: &str, error: &LedgerError);

    /// A round is over, and the ledger has answered.
    fn came_round(&self, standing: &Standing);
}

/// How it stands, for whoever asks the server how it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Schedules that this server fires.
    pub schedules: usize,
    pub disabled: usize,
    /// Those whose runbook cannot run, with the reason.
    pub broken: Vec<(String, String)>,
    /// When the next tick is due, in epoch milliseconds of the ledger's clock.
    pub next: Option<i64>,
}

/// Round after round, for ever. `wake`: something has happened that a waiting tick may wait for.
pub async fn run(
    scheduling: Scheduling,
    home: &HomeId,
    host: &str,
    wake: &Notify,
    audience: &dyn Audience,
) -> std::convert::Infallible {
    let mut scheduler = Scheduler::new(scheduling, home.clone(), host.to_owned());
    loop {
        let rest = match scheduler.round(audience).await {
            Ok(rest) => rest,
            Err(error) => {
                audience.ledger_failed("schedules are not fired", &error);
                Rest { pause: AGAIN, wakes: false }
            }
        };
        pause(&mut scheduler, rest, wake).await;
    }
}

/// Until it is time, or the files have changed.
async fn pause(scheduler: &mut Scheduler, rest: Rest, wake: &Notify) {
    let (end, files) = (Instant::now() + rest.pause, scheduler.pace().files);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let step = left.min(files);
        tokio::select! {
            () = tokio::time::sleep(step) => {}
            () = wake.notified(), if rest.wakes => return,
        }
        if step == left || scheduler.have_files_changed() {
            return;
        }
    }
}
