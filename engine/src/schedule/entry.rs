//! An entry of `on.schedule`: when a runbook is due, and what becomes of it then. And one due time of it, a tick.
//!
//! A schedule that is edited is another one from then on: its `spec` tells them apart.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::plan::definition::sha256;
use crate::plan::hash::canonical;
use crate::runbook::notify::Severity;

/// As it is written, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Names it within its runbook: `id`, else its position, from 1.
    pub id: String,
    /// Five fields with the meaning of Vixie cron, or a nickname.
    pub cron: String,
    /// An IANA zone; `None`: the system's.
    pub timezone: Option<String>,
    /// What is not said here depends on the expression, see `schedule::ticks`.
    pub dst: Dst,
    pub missed: Missed,
    /// A missed tick older than this is not made up for.
    pub within_ms: i64,
    pub overlap: Overlap,
    /// Every tick comes up to this much later; how much is the same each time.
    pub jitter_ms: i64,
    /// Parameters, of their declared types.
    pub with: Map<String, Value>,
    /// Of its runbook, where that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// It starts the drill of its runbook.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drill: bool,
}

/// The hour that does not exist, and the hour that exists twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dst {
    pub gap: Option<Gap>,
    pub repeat: Option<Repeat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// Due at the first moment after it.
    Shift,
    Skip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    First,
    Last,
    Both,
}

/// Which ticks are made up for that came due while no server ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    None,
    #[default]
    Latest,
    /// The newest ten.
    All,
}

/// What becomes of a tick while a run of the same schedule lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    #[default]
    Skip,
    /// It waits until that run is over.
    Queue,
    /// That run is cancelled, and it waits until that is over; one that waited before is skipped.
    CancelRunning,
    Allow,
}

/// One due time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tick {
    /// When it comes, in epoch milliseconds, without jitter.
    pub at: i64,
    /// What the expression says, as the clocks of `zone` show it: `2026-10-25T02:30`. In a gap they never do.
    pub nominal: String,
    pub zone: String,
    /// 1: the second time that the clocks show it.
    pub fold: u8,
}

/// The tick that a run was started by, as its record names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TickRef {
    /// `RUNBOOK/ID`.
    pub schedule: String,
    /// [`Tick::key`].
    pub key: String,
    pub at: i64,
}

impl Schedule {
    /// Which schedule this is: SHA-256 of everything that is said of it.
    pub fn spec(&self) -> String {
        let whole = serde_json::to_value(self).expect("a schedule is plain data with string keys");
        sha256(canonical(&whole).as_bytes())
    }

    /// How much later its ticks come, in milliseconds: a part of `jitter`, always the same for this name (`RUNBOOK/ID`).
    pub fn offset(&self, name: &str) -> i64 {
        let hash = Sha256::digest(name.as_bytes());
        let number = hash.iter().take(7).fold(0, |number, byte| number << 8 | i64::from(*byte));
        number.checked_rem(self.jitter_ms).unwrap_or(0)
    }
}

impl Tick {
    /// `2026-10-25T02:30 Europe/Berlin`; names the tick within its schedule.
    pub fn key(&self) -> String {
        let again = if self.fold == 1 { " (second)" } else { "" };
        format!("{} {}{again}", self.nominal, self.zone)
    }
}
