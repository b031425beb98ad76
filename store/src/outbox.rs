//! What people are to be told, and how far that has come.
//!
//! A notice is written in the transaction of the event that it tells of (`engine::run::notice`): it is there if and only if
//! that happened. Everything else happens later, by whoever delivers: a notice is routed once, which makes one delivery for
//! each channel; a delivery is taken for a while, tried, and settled. Whoever dies in between leaves one that comes due again,
//! so that each arrives at least once (fault F55), always with the id of its notice. No run ever waits for any of it.

use std::time::Duration;

use async_trait::async_trait;
use runward_engine::run::notice::{self, Kind};
use runward_engine::run::{Notice, RunId, RunState};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::LedgerError;
use crate::ledger::{Ledger, Linked};

/// A notice that is older when somebody comes to route it is not sent any more, and a delivery is given up after so long.
pub const STALE_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What becomes of a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To these, each once.
    To(Vec<String>),
    Nowhere(Unrouted),
}

/// Why nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unrouted {
    /// No route of the configuration is for it.
    NoRoute,
    /// Nobody came to route it for a day.
    TooOld,
}

/// What there is to do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    pub unrouted: bool,
    /// The channels of deliveries that are due.
    pub channels: Vec<String>,
    /// In how many milliseconds the next delivery comes due, where none is now.
    pub next_ms: Option<u64>,
}

/// A delivery that is this sender's for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    pub notice: Notice,
    pub channel: String,
    /// This try, from 1.
    pub tries: u32,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    Delivered {
        /// Whom it did not reach all the same, and why.
        missed: Option<String>,
    },
    /// Again after this time, unless that is too late.
    Later {
        after: Duration,
        error: String,
        /// It reached nobody, for a reason that holds for every message of its channel.
        away: bool,
    },
    /// Never again by itself.
    Dead { error: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    Waiting,
    Delivered,
    Dead,
}

/// A notice and how far it has come, for people. Times are epoch milliseconds of the ledger's clock.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NoticeRow {
    #[serde(flatten)]
    pub notice: Notice,
    /// Nobody has looked at it yet.
    pub unrouted: bool,
    /// Why nobody is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nowhere: Option<Unrouted>,
    /// By channel.
    pub deliveries: Vec<DeliveryRow>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryRow {
    pub channel: String,
    pub state: DeliveryState,
    pub tries: u32,
    /// When it is tried again; while somebody tries, when that is over at the latest.
    pub due_at: i64,
    /// When it is given up.
    pub until: i64,
    pub ended_at: Option<i64>,
    /// What the last try came to; of one that was delivered, whom it did not reach.
    pub error: Option<String>,
    /// Whether that reached nobody.
    pub away: bool,
}

/// Which notices: the newest first.
#[derive(Debug, Clone, Default)]
pub struct NoticeQuery {
    pub run: Option<RunId>,
    /// Only those with such a delivery.
    pub state: Option<DeliveryState>,
    pub limit: Option<u32>,
}

/// How much there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Backlog {
    pub unrouted: u64,
    pub waiting: u64,
    /// Since when the oldest of those two waits.
    pub oldest: Option<i64>,
    pub dead: u64,
}

#[async_trait]
pub trait Outbox: Ledger {
    /// One question, and no lock: cheap enough to be asked every second.
    async fn work(&self) -> Result<Work, LedgerError>;

    /// Nobody is told any more of what nobody has routed for a day, by the clock of the ledger alone: how many those are.
    async fn expire(&self, of: Option<&[RunId]>) -> Result<u64, LedgerError>;

    /// Notices that nobody has routed, the oldest first. `of`: only those of these runs.
    async fn unrouted(&self, of: Option<&[RunId]>, limit: u32) -> Result<Vec<Notice>, LedgerError>;

    /// Says where each of these goes. One that was routed by somebody else stays as it is.
    async fn route(&self, routes: &[(String, Route)]) -> Result<(), LedgerError>;

    /// Deliveries of this channel that are due: nobody else gets them for so long. Those whose time is over are given up,
    /// whatever the limit.
    async fn take(&self, channel: &str, sender: &str, limit: u32, lease: Duration) -> Result<Vec<Taken>, LedgerError>;

    /// Says what came of a try. False if it is not this sender's any more.
    async fn settle(&self, taken: &Taken, sender: &str, settled: &Settled) -> Result<bool, LedgerError>;

    /// Its receiver took a message: what reached nobody before and waits to be tried again is due now. How many those are. What
    /// somebody has taken stays his, and what the receiver itself did not take keeps its pauses.
    async fn hurry(&self, channel: &str) -> Result<u64, LedgerError>;

    async fn notices(&self, query: &NoticeQuery) -> Result<Vec<NoticeRow>, LedgerError>;

    async fn backlog(&self) -> Result<Backlog, LedgerError>;
}

impl Unrouted {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Unrouted::NoRoute => "no_route",
            Unrouted::TooOld => "too_old",
        }
    }

    pub(crate) fn named(word: &str) -> Option<Unrouted> {
        [Unrouted::NoRoute, Unrouted::TooOld].into_iter().find(|one| one.as_str() == word)
    }
}

impl Settled {
    pub const DELIVERED: Settled = Settled::Delivered { missed: None };

    pub(crate) fn is_away(&self) -> bool {
        matches!(self, Settled::Later { away: true, .. })
    }
}

impl DeliveryState {
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Waiting => "waiting",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Dead => "dead",
        }
    }

    pub(crate) fn named(word: &str) -> DeliveryState {
        match word {
            "delivered" => DeliveryState::Delivered,
            "dead" => DeliveryState::Dead,
            _ => DeliveryState::Waiting,
        }
    }
}

/// What is written of a try at `now`, of a delivery that is given up at `until`: its state, when it is due again, and why.
pub(crate) fn outcome(settled: &Settled, now: i64, until: i64) -> (DeliveryState, i64, Option<String>) {
    match settled {
        Settled::Delivered { missed } => (DeliveryState::Delivered, now, missed.clone()),
        Settled::Dead { error } => (DeliveryState::Dead, now, Some(error.clone())),
        Settled::Later { after, error, .. } => {
            let due = now.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
            match due < until {
                true => (DeliveryState::Waiting, due, Some(error.clone())),
                false => (DeliveryState::Dead, now, Some(format!("given up after too many tries: {error}"))),
            }
        }
    }
}

/// What these events of a run tell people. `state`: after all of them.
pub(crate) fn notices_of(state: &RunState, events: &[Linked]) -> Vec<Notice> {
    events.iter().filter_map(|(event, _)| notice::of(state, &event.recorded)).collect()
}

/// Notices as a JSON text of many rows.
pub(crate) fn rows<'a>(notices: impl IntoIterator<Item = &'a Notice>) -> String {
    let row = |notice: &Notice| {
        let body = serde_json::to_string(notice).expect("a notice is plain data: its JSON cannot fail");
        json!({
            "id": notice.id, "kind": notice.kind.as_str(), "runbook": notice.runbook,
            "run": notice.run.as_ref().map(|run| &run.0), "at": notice.at, "body": body,
        })
    };
    Value::from_iter(notices.into_iter().map(row)).to_string()
}

/// How the runs of a runbook came to their end, as far as anybody is told.
pub(crate) fn is_end(kind: Kind) -> bool {
    matches!(kind, Kind::Failed | Kind::TimedOut | Kind::Lost | Kind::Recovered)
}
