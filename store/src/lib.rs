//! The ledger: what runward remembers.
//!
//! One narrow trait, [`Ledger`]; behind it [`MemoryLedger`], [`SqliteLedger`] and [`PostgresLedger`], held to the same
//! promises by [`conformance`]. The ledger decides nothing: every change of a run goes through `engine::run::execute` inside one
//! transaction, and what is stored is the events that came out, hash-chained ([`chain`]), with the rows they touch.

#![allow(clippy::duplicate_mod, reason = "what is in sql/ is compiled for each database")]

#[macro_use]
mod sql;

mod administration;
pub mod anchor;
pub mod chain;
pub mod check;
pub mod conformance;
mod error;
pub mod failpoint;
pub mod fleet;
mod ledger;
mod memory;
pub mod outbox;
mod postgres;
mod sqlite;
pub mod timeline;
pub mod timetable;

pub use administration::{AdminEntry, AdminEvent, DeliveryRef, PrunedRun, SecretChange, SkippedTicks, UnknownStart};
pub use error::LedgerError;
pub use fleet::Fleet;
pub use ledger::{
    Announced, Committed, LastRun, Ledger, NewRun, Next, PAST_ATTEMPTS_MAX, Reply, RunQuery, RunView, StoredEvent,
    Triggered, command,
};
pub use memory::{Fate, MemoryLedger, Surroundings};
pub use outbox::Outbox;
pub use postgres::{Line, PostgresLedger, PostgresStats, ServerError, ServerHealth, ServerStatus, Standbys, Trouble};
pub use sqlite::{Examined, SqliteLedger, Stats, examine};
pub use timetable::Timetable;
