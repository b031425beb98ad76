//! What was done to the ledger itself: its own record, one chain, beside the events of the runs.
//!
//! A run that was pruned is on it with the hash of its last event, so that whoever noted that hash elsewhere can tell a
//! run that was removed by the rules from one that somebody made disappear.

use runward_engine::retention::Retention;
use runward_engine::run::{ClaimId, HomeId, RunId};
use serde::{Deserialize, Serialize};

use crate::chain;
use crate::error::LedgerError;
use crate::ledger::RunView;

/// Stored for ever: a variant may gain optional fields, but never change its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AdminEvent {
    /// Runs were removed, by this rule.
    RunsPruned {
        rule: Retention,
        runs: Vec<PrunedRun>,
    },
    /// Somebody looked whether all is well.
    LedgerChecked {
        runs: u64,
        problems: u64,
    },
    /// These ticks came to no run.
    TicksSkipped {
        ticks: Vec<SkippedTicks>,
    },
    /// From now on the ticks of this schedule are skipped.
    ScheduleDisabled {
        schedule: String,
        reason: String,
    },
    ScheduleEnabled {
        schedule: String,
        reason: String,
    },
    /// Ticks that were decided before this moment were removed: those without a run, or whose run was pruned.
    TicksPruned {
        before: i64,
        ticks: u64,
    },
    /// Deliveries that were given up are tried again, from the start.
    DeliveriesRetried {
        deliveries: Vec<DeliveryRef>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A sealed secret of the machine that the actor names was set or removed. Its value is nowhere.
    SecretChanged {
        name: String,
        change: SecretChange,
    },
    /// So many sealed secrets of a machine are under a new key.
    SecretsRotated {
        secrets: u64,
    },
    /// Everything that was acknowledged is there, on this timeline of the database, as far as anybody can know
    /// ([`crate::timeline`]).
    TimelineAccepted {
        timeline: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A worker has looked for what it started and the ledger on this timeline does not know.
    JournalsCompared {
        timeline: String,
        home: HomeId,
        host: String,
        unknown: Vec<UnknownStart>,
    },
}

/// An attempt that has started and is not on the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownStart {
    pub run: RunId,
    pub claim: ClaimId,
    /// Its run is paused because of it.
    pub held: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretChange {
    Set,
    Removed,
}

/// A notice on its way by a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRef {
    pub notice: String,
    pub channel: String,
}

/// One tick, or many of one schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedTicks {
    pub schedule: String,
    /// Of many: the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Of many: the last of them.
    pub key: String,
    pub at: i64,
    pub count: u64,
    pub reason: String,
}

/// What stays of a run that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedRun {
    pub id: RunId,
    pub name: String,
    pub status: String,
    /// Who started it.
    pub actor: String,
    pub created_at: i64,
    pub finished_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub events: u64,
    /// The hash of its last event.
    pub head: String,
}

/// One entry of the ledger's own record. `at` is in epoch milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminEntry {
    pub seq: u64,
    pub at: i64,
    pub actor: String,
    #[serde(flatten)]
    pub event: AdminEvent,
    pub hash: String,
}

impl PrunedRun {
    /// As of the last event that the view knows.
    pub fn of(view: &RunView) -> PrunedRun {
        let state = &view.state;
        PrunedRun {
            id: state.id.clone(),
            name: state.name.clone(),
            status: state.status.as_str().to_owned(),
            actor: state.actor.clone(),
            created_at: state.created_at,
            finished_at: state.finished_at,
            key: state.key.clone(),
            events: state.seq,
            head: view.head.clone(),
        }
    }
}

impl AdminEvent {
    /// The stored name of the kind, as in its JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            AdminEvent::RunsPruned { .. } => "runs_pruned",
            AdminEvent::LedgerChecked { .. } => "ledger_checked",
            AdminEvent::TicksSkipped { .. } => "ticks_skipped",
            AdminEvent::ScheduleDisabled { .. } => "schedule_disabled",
            AdminEvent::ScheduleEnabled { .. } => "schedule_enabled",
            AdminEvent::TicksPruned { .. } => "ticks_pruned",
            AdminEvent::DeliveriesRetried { .. } => "deliveries_retried",
            AdminEvent::SecretChanged { .. } => "secret_changed",
            AdminEvent::SecretsRotated { .. } => "secrets_rotated",
            AdminEvent::TimelineAccepted { .. } => "timeline_accepted",
            AdminEvent::JournalsCompared { .. } => "journals_compared",
        }
    }

    /// Nothing came of it.
    pub(crate) fn is_idle(&self) -> bool {
        match self {
            AdminEvent::RunsPruned { runs, .. } => runs.is_empty(),
            AdminEvent::TicksPruned { ticks, .. } => *ticks == 0,
            AdminEvent::DeliveriesRetried { deliveries, .. } => deliveries.is_empty(),
            _ => false,
        }
    }

    /// The runs that it removes.
    pub fn pruned(&self) -> &[PrunedRun] {
        match self {
            AdminEvent::RunsPruned { runs, .. } => runs,
            _ => &[],
        }
    }

    pub(crate) fn body(&self) -> String {
        serde_json::to_string(self).expect("what is recorded is plain data: its JSON cannot fail")
    }
}

/// The hash of an entry: as that of an event, in a chain whose name no run can have.
pub(crate) fn link(previous: &str, seq: u64, at: i64, actor: &str, body: &str) -> String {
    chain::link(previous, &RunId("ledger".to_owned()), seq, at, actor, body)
}

/// Entries as they were stored, checked against their chain.
pub(crate) fn verified(stored: Vec<(u64, i64, String, String, String)>) -> Result<Vec<AdminEntry>, LedgerError> {
    let mut previous = chain::GENESIS.to_owned();
    let mut entries = Vec::with_capacity(stored.len());
    for (n, (seq, at, actor, body, hash)) in stored.into_iter().enumerate() {
        let broken = |message: String| LedgerError::Record { seq, message };
        if seq != n as u64 + 1 {
            return Err(broken("an entry is missing before it".to_owned()));
        }
        if link(&previous, seq, at, &actor, &body) != hash {
            return Err(broken("it, or an entry before it, was changed after it was recorded".to_owned()));
        }
        let event = serde_json::from_str(&body).map_err(|error| broken(format!("its body cannot be read: {error}")))?;
        previous.clone_from(&hash);
        entries.push(AdminEntry { seq, at, actor, event, hash });
    }
    Ok(entries)
}
