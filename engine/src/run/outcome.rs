//! What a run came to, as one word and as the exit code (docs/running.md).

use super::event::StopCause;
use super::ids::Part;
use super::rollback::RolledBack;
use super::state::{RunState, RunStatus, StepStatus, UnitState};

/// How a run ends for whoever waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Succeeded,
    Failed,
    TimedOut,
    Cancelled,
    /// Its group had no room, and it does not wait: nothing of it was executed.
    Busy,
    /// It failed, was cancelled or timed out, and what was done is taken back.
    RolledBack,
    /// What was done is not, or not wholly, taken back.
    RollbackIncomplete,
    /// A step is lost or held: whether it ran to an end cannot be known.
    Unknown,
    /// A step was rejected, or not approved in time.
    Rejected,
    /// Not at its end yet.
    Unfinished,
}

impl Verdict {
    /// Where several fit, the unknown comes before the cancelled and that before the failed (docs/running.md).
    pub fn of(state: &RunState) -> Verdict {
        let lost = |step: usize| {
            state.steps()[step].whole.status == StepStatus::Lost && !state.runbook.steps[step].allow_failure
        };
        let undo_lost = state.not_taken_back().iter().any(|unit| {
            let undo = state.unit(unit.part(Part::Undo));
            state.unit(*unit).is_some_and(UnitState::is_held_by_undo)
                && undo.is_some_and(|undo| undo.status == StepStatus::Lost)
        });
        match state.status {
            RunStatus::Succeeded => Verdict::Succeeded,
            _ if !state.held().is_empty() || state.asks_for_rollback() => Verdict::Unknown,
            status if status.is_terminal() && (undo_lost || (0..state.steps().len()).any(lost)) => Verdict::Unknown,
            status if status.is_terminal() && state.rolled_back() == RolledBack::Partial => Verdict::RollbackIncomplete,
            status if status.is_terminal() && state.rolled_back() == RolledBack::Done => Verdict::RolledBack,
            RunStatus::Failed if state.is_rejected() => Verdict::Rejected,
            RunStatus::Cancelled | RunStatus::Failed if matches!(state.stop, Some(StopCause::Busy { .. })) => {
                Verdict::Busy
            }
            RunStatus::Cancelled => Verdict::Cancelled,
            RunStatus::Failed | RunStatus::TimedOut if state.cancel.is_some() => Verdict::Cancelled,
            RunStatus::Failed => Verdict::Failed,
            RunStatus::TimedOut => Verdict::TimedOut,
            RunStatus::Queued | RunStatus::Running | RunStatus::Paused => Verdict::Unfinished,
            RunStatus::Stopping | RunStatus::RollingBack => Verdict::Unfinished,
        }
    }

    pub fn exit_code(self) -> i32 {
        match self {
            Verdict::Succeeded => 0,
            Verdict::Failed | Verdict::TimedOut => 1,
            Verdict::Rejected => 3,
            Verdict::Cancelled => 4,
            Verdict::Busy => 5,
            Verdict::RolledBack => 6,
            Verdict::RollbackIncomplete => 7,
            Verdict::Unknown | Verdict::Unfinished => 8,
        }
    }
}
