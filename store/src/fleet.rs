//! What the members of a cluster have to know of each other, beside the runs: what is ready, who is there, and what
//! steps printed.
//!
//! Nothing of it is on the record and nothing of it decides: a run is claimed, settled and lost by commands of
//! [`Ledger::commit`] alone. Times of a lease are never compared across machines: whoever waits for a session to fall
//! silent counts on its own clock how long its `beat` has not moved.
//!
//! Only Postgres has it: a ledger in a file or in memory belongs to one machine, whose driver finds everything by itself.

use std::time::Duration;

use async_trait::async_trait;
use runward_engine::run::{ClaimId, HomeId, RunId, SessionId};
use serde::Serialize;

use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::timeline::Timeline;

/// A run in which something can be done, for those who listen to this call (`engine::run::place`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    pub run: RunId,
    pub call: String,
    /// From when it was, in epoch milliseconds of the ledger's clock; about 0 if at once.
    pub since: i64,
    /// The last event of the run at that moment.
    pub seq: u64,
}

/// One start of a worker or a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewSession {
    pub id: SessionId,
    pub home: HomeId,
    pub host: String,
    pub pid: u32,
    pub boot: String,
    /// The version of the program.
    pub version: String,
    pub labels: Vec<String>,
    /// Steps it carries out at once; 0 for a server.
    pub concurrency: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    #[serde(flatten)]
    pub new: NewSession,
    /// Counted up by each sign of life.
    pub beat: u64,
    /// When it began and when it was last heard, in epoch milliseconds of the ledger's clock: for people.
    pub joined_at: i64,
    pub heard_at: i64,
    /// Takes nothing new.
    pub draining: bool,
    pub end: Option<SessionEnd>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEnd {
    /// It said goodbye, and nothing was running.
    Left,
    /// It was silent for too long: what it watches is lost, unless somebody else adopts it in time.
    Silent,
}

/// An attempt that is running as far as the ledger knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attended {
    pub run: RunId,
    pub claim: ClaimId,
    pub home: Option<HomeId>,
    pub watched_by: SessionId,
}

/// Bytes of the largest [`LogPart`], with the heads of its frames.
pub const LOG_PART_BYTES_MAX: usize = 256 * 1024;

/// A piece of what an attempt printed: frames as its spool has them, at most [`LOG_PART_BYTES_MAX`] of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPart {
    /// Bytes of both outputs before this part, and after it. Between two parts some may be missing: not kept.
    pub from: u64,
    pub to: u64,
    pub frames: Vec<u8>,
}

/// How much of the output of an attempt has arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shipped {
    /// Up to which byte.
    pub to: u64,
    /// Nothing more comes: its end has arrived, too.
    pub complete: bool,
}

/// An attempt whose output has not arrived whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unshipped {
    pub run: RunId,
    pub claim: ClaimId,
    /// Its end is not on the record yet.
    pub running: bool,
}

#[async_trait]
pub trait Fleet: Ledger {
    /// What is due now for these calls: the oldest runs first, then timers.
    async fn ready(&self, calls: &[String], limit: u32) -> Result<Vec<Ready>, LedgerError>;

    /// Nothing could be done there: it comes up again after this time, unless something is recorded in the run before.
    /// Does nothing if something has happened since the ledger said that it is ready.
    async fn put_off(&self, ready: &Ready, by: Duration) -> Result<(), LedgerError>;

    /// Whoever has something to do in this run looks soon: one of its children, or its parent, has changed.
    async fn stir(&self, run: &RunId) -> Result<(), LedgerError>;

    async fn join(&self, session: &NewSession) -> Result<(), LedgerError>;

    /// A sign of life. False: the session is at its end, and whatever it watched is not its own any more.
    async fn beat(&self, session: &SessionId, draining: bool) -> Result<bool, LedgerError>;

    /// A session says goodbye.
    async fn leave(&self, session: &SessionId) -> Result<(), LedgerError>;

    /// Declares a session dead that has not been heard since this beat; false if it has, or if it was at its end before.
    async fn bury(&self, session: &SessionId, beat: u64) -> Result<bool, LedgerError>;

    /// Those that are there, and those that ended in the last day or still have attempts.
    async fn sessions(&self) -> Result<Vec<Session>, LedgerError>;

    /// Every running attempt that has a home.
    async fn attended(&self) -> Result<Vec<Attended>, LedgerError>;

    /// On which history of its database the ledger is, and was left. None: on none of its own, because it is a standby.
    async fn timeline(&self) -> Result<Option<Timeline>, LedgerError>;

    /// Which of these attempts are neither on the record nor pruned.
    async fn unknown(&self, started: &[(RunId, ClaimId)]) -> Result<Vec<(RunId, ClaimId)>, LedgerError>;

    /// Adds what an attempt printed. A part that is there already, or that begins before the end of what is there,
    /// changes nothing: it was shipped twice. `complete`: nothing more comes.
    async fn ship(&self, run: &RunId, claim: &ClaimId, part: &LogPart, complete: bool) -> Result<(), LedgerError>;

    /// What lies between these bytes is no longer kept in the spool, so it is not kept here either. Parts that reach
    /// beyond them stay.
    async fn thin(&self, run: &RunId, claim: &ClaimId, from: u64, to: u64) -> Result<(), LedgerError>;

    /// The attempts of a home whose output has not arrived whole, the oldest first.
    async fn unshipped(&self, home: &HomeId) -> Result<Vec<Unshipped>, LedgerError>;

    async fn shipped(&self, run: &RunId, claim: &ClaimId) -> Result<Shipped, LedgerError>;

    /// Parts that end after this byte, in order, at most so many.
    async fn log(&self, run: &RunId, claim: &ClaimId, after: u64, limit: u32) -> Result<Vec<LogPart>, LedgerError>;
}
