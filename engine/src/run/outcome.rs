//! What a run came to, as one word and as the exit code (docs/running.md).

use super::event::StopCause;
use super::state::{RunState, RunStatus, StepStatus};

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
        match state.status {
            RunStatus::Succeeded => Verdict::Succeeded,
            _ if !state.held().is_empty() => Verdict::Unknown,
            status if status.is_terminal() && (0..state.steps().len()).any(lost) => Verdict::Unknown,
            RunStatus::Failed if state.is_rejected() => Verdict::Rejected,
            RunStatus::Cancelled | RunStatus::Failed if matches!(state.stop, Some(StopCause::Busy { .. })) => {
                Verdict::Busy
            }
            RunStatus::Cancelled => Verdict::Cancelled,
            RunStatus::Failed | RunStatus::TimedOut if state.cancel.is_some() => Verdict::Cancelled,
            RunStatus::Failed => Verdict::Failed,
            RunStatus::TimedOut => Verdict::TimedOut,
            RunStatus::Queued | RunStatus::Running | RunStatus::Paused | RunStatus::Stopping => Verdict::Unfinished,
        }
    }

    pub fn exit_code(self) -> i32 {
        match self {
            Verdict::Succeeded => 0,
            Verdict::Failed | Verdict::TimedOut => 1,
            Verdict::Rejected => 3,
            Verdict::Cancelled => 4,
            Verdict::Busy => 5,
            Verdict::Unknown | Verdict::Unfinished => 8,
        }
    }
}
