//! What the ledger knows of schedules: who fires which, up to when every tick is decided, and what each came to.
//!
//! A tick is decided once: the row with its key is written in the transaction that records the run, or the skip on the
//! ledger's own record. Any number of servers may try; one of them is first, and the others see what it did. Times are those
//! of the ledger's clock, so a server whose clock is wrong fires nothing early.

pub(crate) mod ruling;

use async_trait::async_trait;
use runward_engine::run::{HomeId, RunId};
use runward_engine::schedule::entry::{Schedule, Tick};
use serde::{Deserialize, Serialize};

use crate::error::LedgerError;
use crate::ledger::{Ledger, NewRun};

/// Orders of one call of [`Timetable::decide`]. More of them are taken, and keep others waiting for longer.
pub const DECIDED_AT_ONCE: usize = 32;
/// Ticks of one schedule that wait for its runs.
pub const WAITING_MAX: usize = 10;

/// A schedule as a server read it in a file. `name` is `RUNBOOK/ID`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub name: String,
    pub schedule: Schedule,
    /// Why its runbook cannot run now: its ticks are skipped with this reason, by the last definition that could be read.
    pub broken: Option<String>,
}

/// What the ledger says about an entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub entry: Entry,
    /// Every tick that came, jitter included, up to here is decided, in epoch milliseconds. Of one that is new: the moment
    /// it became known.
    pub cursor: i64,
    pub disabled: Option<Disabled>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    pub at: i64,
    pub by: String,
    pub reason: String,
}

/// What is to be decided of a schedule.
#[derive(Debug, Clone)]
pub struct Order {
    pub entry: Entry,
    pub decision: Decision,
}

#[derive(Debug, Clone)]
pub enum Decision {
    /// A run of its own, unless its [`Schedule::overlap`] says otherwise. `new` is asked for under the id that it has each
    /// time, so that whoever asks again is told that the run is the one it asked for.
    Fire {
        tick: Tick,
        new: Box<NewRun>,
    },
    Skip {
        tick: Tick,
        reason: String,
    },
    /// Many at once, after a long time without a server: all from the first to the last, both included.
    SkipMany {
        first: Tick,
        last: Tick,
        count: u64,
        reason: String,
    },
}

/// What a tick came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Run {
        run: RunId,
    },
    Skipped {
        reason: String,
        /// So many ticks, of which this is the last one.
        count: u64,
    },
    /// For the end of a run of the same schedule.
    Waits {
        run: RunId,
    },
}

/// The answer to an [`Order`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    Now(Outcome),
    /// By another server, or by this one before.
    Before(Outcome),
    /// Before, and nothing is left to say of it alone: it was skipped together with many, or its row was pruned; or the
    /// schedule was not known yet when it came.
    Passed,
    /// The ledger's clock says it is not due yet: so many milliseconds more.
    Early(i64),
    /// This home does not fire this schedule as it is there: read the files again. Or, of many that were to be skipped, a part
    /// is decided: skip the rest one by one.
    Changed,
}

/// A tick that waits for a run of its schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    pub standing: Standing,
    pub tick: Tick,
    pub run: RunId,
    /// No run of the schedule is in its way any more.
    pub over: bool,
}

/// What became of one tick, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TickRow {
    pub schedule: String,
    #[serde(flatten)]
    pub tick: Tick,
    pub decided_at: i64,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A schedule that at least one server fires, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleRow {
    pub standing: Standing,
    /// Whose servers have it. Two rows of one name: their files differ.
    pub posts: Vec<Post>,
    pub last: Option<TickRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Post {
    pub home: HomeId,
    pub host: String,
    /// Since when it is as it is.
    pub at: i64,
    pub broken: Option<String>,
}

#[async_trait]
pub trait Timetable: Ledger {
    /// The ledger's clock, in epoch milliseconds.
    async fn now(&self) -> Result<i64, LedgerError>;

    /// From now on this home fires these schedules and no others. One that nobody fired before begins now. Of one that
    /// nobody fires any more, what waits is skipped.
    async fn post(
        &self,
        home: &HomeId,
        host: &str,
        entries: &[Entry],
        actor: &str,
    ) -> Result<Vec<Standing>, LedgerError>;

    /// What is posted by this home, as it stands now, by name.
    async fn posted(&self, home: &HomeId) -> Result<Vec<Standing>, LedgerError>;

    /// Which of them nobody has decided. One that waits counts as decided.
    async fn undecided(&self, ticks: &[(Entry, Tick)]) -> Result<Vec<bool>, LedgerError>;

    /// Decides ticks in one transaction: each exactly once, whoever else tries. One answer an order.
    async fn decide(&self, home: &HomeId, orders: Vec<Order>, actor: &str) -> Result<Vec<Decided>, LedgerError>;

    /// Every tick up to here is decided. Never goes back.
    async fn passed(&self, entries: &[(Entry, i64)]) -> Result<(), LedgerError>;

    /// Ticks that wait, of the schedules that this home fires: by name, the oldest first. Who is next is decided again by
    /// [`Decision::Fire`].
    async fn waiting(&self, home: &HomeId) -> Result<Vec<Waiting>, LedgerError>;

    /// Runs that a tick started and that are not at their end.
    async fn unfinished(&self) -> Result<Vec<RunId>, LedgerError>;

    /// By name.
    async fn schedules(&self) -> Result<Vec<ScheduleRow>, LedgerError>;

    /// The newest ticks of a schedule, or of all, the newest first.
    async fn ticks(&self, schedule: Option<&str>, limit: u32) -> Result<Vec<TickRow>, LedgerError>;
}
