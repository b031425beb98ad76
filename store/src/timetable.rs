//! What the ledger knows of schedules: who fires which, up to when every tick is decided, and what each came to.
//!
//! A tick is decided once: the row with its key is written in the transaction that records the run, or the skip on the
//! ledger's own record. Any number of servers may try; one of them is first, and the others see what it did. Times are those
//! of the ledger's clock, so a server whose clock is wrong fires nothing early.

use async_trait::async_trait;
use runward_engine::run::{HomeId, RunId};
use runward_engine::schedule::entry::{Schedule, Tick};
use serde::{Deserialize, Serialize};

use crate::error::LedgerError;
use crate::ledger::{Ledger, NewRun};

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
    /// Every tick up to here is decided, in epoch milliseconds. Of one that is new: the moment it became known.
    pub cursor: i64,
    pub disabled: Option<Disabled>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    pub at: i64,
    pub by: String,
    pub reason: String,
}

/// A tick to be decided now.
#[derive(Debug, Clone)]
pub enum Decision {
    /// A run of its own, unless its [`Schedule::overlap`] says otherwise.
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

/// The answer to a [`Decision`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    Now(Outcome),
    /// By another server, or by this one before.
    Before(Outcome),
    /// The ledger's clock says it is not due yet: so many milliseconds more.
    Early(i64),
    /// The schedule is not what it was: read the files again.
    Changed,
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
    /// The hosts whose servers have it. Two rows of one name: their files differ.
    pub hosts: Vec<String>,
    pub last: Option<TickRow>,
}

#[async_trait]
pub trait Timetable: Ledger {
    /// The ledger's clock, in epoch milliseconds.
    async fn now(&self) -> Result<i64, LedgerError>;

    /// From now on this home fires these schedules and no others. One that nobody fired before begins now.
    async fn post(&self, home: &HomeId, host: &str, entries: &[Entry]) -> Result<Vec<Standing>, LedgerError>;

    /// What is posted by this home, as it stands now.
    async fn posted(&self, home: &HomeId) -> Result<Vec<Standing>, LedgerError>;

    /// Decides one tick, in one transaction: exactly once, whoever else tries.
    async fn decide(
        &self,
        home: &HomeId,
        entry: &Entry,
        decision: Decision,
        actor: &str,
    ) -> Result<Decided, LedgerError>;

    /// Every tick up to here is decided. Never goes back.
    async fn passed(&self, entries: &[(Entry, i64)]) -> Result<(), LedgerError>;

    /// Ticks that wait for a run that is over by now, with the schedule each belongs to.
    async fn waiting(&self, home: &HomeId) -> Result<Vec<(Standing, Tick)>, LedgerError>;

    /// Runs that a tick started and that are not at their end.
    async fn unfinished(&self) -> Result<Vec<RunId>, LedgerError>;

    async fn schedules(&self) -> Result<Vec<ScheduleRow>, LedgerError>;

    /// The newest ticks of a schedule, or of all.
    async fn ticks(&self, schedule: Option<&str>, limit: u32) -> Result<Vec<TickRow>, LedgerError>;
}
