//! What people did to a run, for those who come after: a refusal says who was faster, and when.

use serde::Serialize;

use super::command::{Reject, Resolution};
use super::ids::Unit;
use super::state::{RunState, RunStatus};

/// What a person did. `at` in epoch milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Act {
    pub by: String,
    pub at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The last cancel of this generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancel {
    pub act: Act,
    pub force: bool,
    pub rollback: bool,
}

/// What a person said became of a held step, or of an undo that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resolved {
    #[serde(rename = "as")]
    pub resolution: Resolution,
    #[serde(flatten)]
    pub act: Act,
}

impl RunState {
    /// What was said last about this unit, in this generation.
    pub fn resolved(&self, unit: Unit) -> Option<&Resolved> {
        self.resolved.get(&unit)
    }

    /// Who cancelled this generation.
    pub fn cancelled(&self) -> Option<&Act> {
        self.cancel.as_ref().map(|cancel| &cancel.act)
    }

    /// Who paused it, because the run it is a step of is paused.
    pub fn paused_with_parent(&self) -> Option<&Act> {
        self.paused.as_ref().filter(|_| self.paused_with_parent)
    }

    /// At its end, or waiting for a person to say whether it is taken back.
    pub fn is_at_rest(&self) -> bool {
        self.status.is_terminal() || self.asks_for_rollback()
    }

    /// The refusal of whatever comes after the end.
    pub(super) fn over(&self) -> Reject {
        let by = self.cancelled().filter(|_| self.status == RunStatus::Cancelled).cloned();
        Reject::Terminal { status: self.status, at: self.finished_at.unwrap_or(self.created_at), by }
    }

    /// Who last began something in it: this generation, or what became of this unit.
    pub(super) fn last_word(&self, unit: Unit) -> Option<Act> {
        let resolved = self.resolved(unit).map(|resolved| &resolved.act);
        resolved.into_iter().chain(&self.resumed).max_by_key(|act| act.at).cloned()
    }
}
