//! What happened to a run. Stored for ever, hash-chained, and the only thing a state is made from: a variant may gain
//! optional fields, but never change its meaning.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::approval::Decision;
use super::child::Parent;
use super::command::Resolution;
use super::group::{Group, Priority};
use super::ids::{ClaimId, HomeId, RunId, SessionId};
use super::objectives::{Measured, Objective};
use super::outputs::Outputs;
use super::rollback::RolledBack;
use super::state::{RunStatus, StepStatus};
use crate::schedule::entry::TickRef;

/// An event in its place: `seq` counts from 1 without gaps, `at` is the ledger's clock in epoch milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    pub seq: u64,
    pub at: i64,
    /// Who caused it: `alice@host (terminal)`, `driver`, ...
    pub actor: String,
    pub event: Event,
}

/// Units are named `step` or `step[item]`, their parts `step.undo` or `step[item].check`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Event {
    RunCreated {
        /// The runbook's name.
        name: String,
        /// SHA-256 of the pinned definition.
        definition: String,
        params: Map<String, Value>,
        /// `cli`, `schedule`, `webhook`, ...
        trigger: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Jitter is drawn from it.
        seed: u64,
        /// Of a run that a `runbook` step of another one started.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<Parent>,
        /// The hash of the plan, see [`plan_hash`](crate::plan::plan_hash).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plan: Option<String>,
        /// It was started from a saved plan.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        planned: Option<Planned>,
        /// The system's time zone, where the runbook names times without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
        /// Who asked for the run, by every name they are known by, where that is more than the actor's login name.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        requester: Vec<String>,
        /// Runs that it must not overlap with.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<Group>,
        #[serde(default, skip_serializing_if = "Priority::is_normal")]
        priority: Priority,
        /// The tick of a schedule that started it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tick: Option<TickRef>,
    },
    /// What follows was asked for in a command that carries an id. `already`: why nothing follows.
    CommandGiven {
        id: String,
        asked: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        already: Option<String>,
    },
    /// The run may execute until its end, which gives the permit back.
    PermitTaken {
        group: String,
    },
    /// The condition of a step holds (steps without one become ready without an event).
    StepReady {
        step: String,
    },
    /// The condition of a step does not hold.
    StepSkipped {
        step: String,
        condition: String,
    },
    /// A `for-each` step knows its items.
    ItemsExpanded {
        step: String,
        items: Vec<Value>,
    },
    /// A unit failed without an attempt.
    UnitFailed {
        unit: String,
        error: String,
    },
    AttemptClaimed {
        unit: String,
        attempt: u32,
        claim: ClaimId,
        session: SessionId,
        /// The boot of the machine, in which alone the journal is trusted.
        boot: String,
        /// In a cluster: the state folder that holds its journal, and the name of its machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        home: Option<HomeId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    AttemptAdopted {
        unit: String,
        claim: ClaimId,
        session: SessionId,
    },
    AttemptSettled {
        unit: String,
        claim: ClaimId,
        outcome: Outcome,
        then: Then,
        #[serde(default, skip_serializing_if = "Outputs::is_empty")]
        outputs: Outputs,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        log: LogDigest,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        started_at: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended_at: Option<i64>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        orphans: Vec<String>,
    },
    /// Proven never started: back to ready, not counted.
    AttemptVoided {
        unit: String,
        claim: ClaimId,
    },
    AttemptLost {
        unit: String,
        claim: ClaimId,
        evidence: String,
        then: Then,
    },
    /// A result that came after its attempt was given up. For the record only.
    LateResult {
        unit: String,
        claim: ClaimId,
        outcome: Outcome,
    },
    /// Its wait is over, or somebody ended it.
    RetryDue {
        unit: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A unit waits until this time (epoch milliseconds), in this generation.
    WaitStarted {
        unit: String,
        until: i64,
        generation: u32,
    },
    /// Its time has come. One of another generation means nothing.
    WaitEnded {
        unit: String,
        generation: u32,
    },
    /// People are asked to agree to a plan, until `deadline` (epoch milliseconds): `count` of those in `by`.
    ApprovalRequested {
        unit: String,
        generation: u32,
        plan: String,
        deadline: i64,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        by: Vec<String>,
        count: u32,
    },
    /// What one person said.
    ApprovalDecided {
        unit: String,
        generation: u32,
        plan: String,
        decision: Decision,
        person: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
    },
    /// People are told this, by that channel: the notice is on its way from here on, and the step has done what it can.
    Notified {
        unit: String,
        generation: u32,
        channel: String,
        text: String,
    },
    /// Nobody settled it in time.
    ApprovalExpired {
        unit: String,
        generation: u32,
    },
    /// Something was to start, and the windows of the runbook are closed until `until` (epoch milliseconds).
    WindowClosed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<i64>,
        because: String,
    },
    WindowOpened,
    /// Somebody lets the run go on outside of its windows, in this generation.
    WindowOverridden {
        reason: String,
    },
    /// Somebody wants to go on without it: it is left out when its turn comes.
    SkipRequested {
        unit: String,
        reason: String,
    },
    /// Its turn has come, and it is left out.
    SkipDue {
        unit: String,
    },
    /// A `runbook` step waits for this run, in that generation of it, to come to an end. It may not exist yet: its id
    /// says what has to be started.
    ChildStarted {
        unit: String,
        child: RunId,
        /// The how many-th child of this unit.
        number: u32,
        /// Of the child.
        generation: u32,
        /// SHA-256 of the child's definition.
        definition: String,
    },
    /// The `timeout` of the step is over: its child is stopped.
    ChildTimedOut {
        unit: String,
        child: RunId,
    },
    /// The child is at its end, and this is what its step came to.
    ChildSettled {
        unit: String,
        child: RunId,
        /// Of the child; 0 if it never came to be.
        generation: u32,
        status: StepStatus,
        then: Then,
        #[serde(default, skip_serializing_if = "Outputs::is_empty")]
        outputs: Outputs,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// It failed because people did not agree to it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        rejected: bool,
    },
    /// Nothing new starts. `with_parent`: because the run it is a step of is paused, and until that goes on.
    RunPaused {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        with_parent: bool,
    },
    RunUnpaused,
    CancelRequested {
        force: bool,
        /// What was done is to be taken back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        rollback: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    RunStopping {
        because: StopCause,
    },
    /// Whether what was done is taken back is for a person to say.
    RollbackAsked,
    /// Somebody wants it taken back: in this generation, or, of a run that was at its end, in the next. `only`: of one unit.
    RollbackRequested {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// These units are taken back, in this order.
    RollbackStarted {
        order: Vec<String>,
    },
    /// `left`: what should have been taken back and was not.
    RollbackFinished {
        rollback: RolledBack,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<String>,
    },
    FinallyStarted,
    /// Its time is over while the run goes on, or it is seen at the end that more was lost than may be. Once a run.
    ObjectiveMissed {
        objective: Objective,
        limit_ms: i64,
        measured_ms: i64,
    },
    /// How the run stands against each objective of its runbook, at the end of a generation.
    ObjectivesMeasured {
        measured: Vec<Measured>,
    },
    /// `outputs`: what a run that succeeded hands back; `error`: why it could not.
    RunFinished {
        status: RunStatus,
        #[serde(default, skip_serializing_if = "Outputs::is_empty")]
        outputs: Outputs,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// The steps in `reset` start again. `from`: that one and all after it even if they succeeded. `only`: that one once.
    RunResumed {
        generation: u32,
        reset: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        only: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    UnitResolved {
        unit: String,
        resolution: Resolution,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// Who saved the plan a run was started from, and when, in epoch milliseconds. As the file says, which anybody could have
/// written: what is proven is the hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub at: i64,
    pub by: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Outcome {
    Succeeded,
    /// It ran and failed: an exit code, a signal, or an output that was promised and is missing.
    Failed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
    },
    /// A probe says that the effect of its step is not in place (exit code 1). That is an answer, not a failure.
    NotInPlace,
    /// The program could not be started at all (missing shell, vanished folder). Its effect is known to be none.
    NotStarted,
    TimedOut,
    /// Killed because the run was cancelled or timed out.
    Killed,
    /// Killed because its supervisor died.
    Interrupted,
}

impl Outcome {
    /// Nothing went wrong.
    pub fn is_fine(&self) -> bool {
        matches!(self, Outcome::Succeeded | Outcome::NotInPlace)
    }
}

/// What becomes of a unit whose attempt ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Then {
    /// Nothing more: the outcome is final.
    Stand,
    /// Again, not before `at` (epoch milliseconds).
    Retry { at: i64 },
    /// Wait for an operator.
    Hold,
    /// Ask the probe whether it is in place.
    Check,
}

/// What was printed: bytes in all, bytes not kept, and the SHA-256 over all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogDigest {
    pub bytes: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropped: u64,
    pub sha256: String,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Why nothing new starts in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum StopCause {
    Failed {
        step: String,
    },
    Cancelled,
    TimedOut,
    /// Its group had no room, and it does not wait: nothing of it executes, `finally` included.
    Busy {
        group: String,
        holders: Vec<RunId>,
    },
}

impl Event {
    /// The step or unit that it is about, where it is about one.
    pub fn unit(&self) -> Option<&str> {
        match self {
            Event::StepReady { step } | Event::StepSkipped { step, .. } | Event::ItemsExpanded { step, .. } => {
                Some(step)
            }
            Event::UnitFailed { unit, .. }
            | Event::WaitStarted { unit, .. }
            | Event::WaitEnded { unit, .. }
            | Event::ApprovalRequested { unit, .. }
            | Event::ApprovalDecided { unit, .. }
            | Event::ApprovalExpired { unit, .. }
            | Event::Notified { unit, .. }
            | Event::AttemptClaimed { unit, .. }
            | Event::AttemptAdopted { unit, .. }
            | Event::AttemptSettled { unit, .. }
            | Event::AttemptVoided { unit, .. }
            | Event::AttemptLost { unit, .. }
            | Event::LateResult { unit, .. }
            | Event::RetryDue { unit, .. }
            | Event::SkipRequested { unit, .. }
            | Event::SkipDue { unit }
            | Event::ChildStarted { unit, .. }
            | Event::ChildTimedOut { unit, .. }
            | Event::ChildSettled { unit, .. }
            | Event::UnitResolved { unit, .. } => Some(unit),
            _ => None,
        }
    }

    /// The stored name of the kind, as in its JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::RunCreated { .. } => "run_created",
            Event::CommandGiven { .. } => "command_given",
            Event::PermitTaken { .. } => "permit_taken",
            Event::StepReady { .. } => "step_ready",
            Event::StepSkipped { .. } => "step_skipped",
            Event::ItemsExpanded { .. } => "items_expanded",
            Event::UnitFailed { .. } => "unit_failed",
            Event::AttemptClaimed { .. } => "attempt_claimed",
            Event::AttemptAdopted { .. } => "attempt_adopted",
            Event::AttemptSettled { .. } => "attempt_settled",
            Event::AttemptVoided { .. } => "attempt_voided",
            Event::AttemptLost { .. } => "attempt_lost",
            Event::LateResult { .. } => "late_result",
            Event::RetryDue { .. } => "retry_due",
            Event::WaitStarted { .. } => "wait_started",
            Event::WaitEnded { .. } => "wait_ended",
            Event::ApprovalRequested { .. } => "approval_requested",
            Event::ApprovalDecided { .. } => "approval_decided",
            Event::ApprovalExpired { .. } => "approval_expired",
            Event::Notified { .. } => "notified",
            Event::WindowClosed { .. } => "window_closed",
            Event::WindowOpened => "window_opened",
            Event::WindowOverridden { .. } => "window_overridden",
            Event::SkipRequested { .. } => "skip_requested",
            Event::SkipDue { .. } => "skip_due",
            Event::ChildStarted { .. } => "child_started",
            Event::ChildTimedOut { .. } => "child_timed_out",
            Event::ChildSettled { .. } => "child_settled",
            Event::RunPaused { .. } => "run_paused",
            Event::RunUnpaused => "run_unpaused",
            Event::CancelRequested { .. } => "cancel_requested",
            Event::RunStopping { .. } => "run_stopping",
            Event::RollbackAsked => "rollback_asked",
            Event::RollbackRequested { .. } => "rollback_requested",
            Event::RollbackStarted { .. } => "rollback_started",
            Event::RollbackFinished { .. } => "rollback_finished",
            Event::FinallyStarted => "finally_started",
            Event::ObjectiveMissed { .. } => "objective_missed",
            Event::ObjectivesMeasured { .. } => "objectives_measured",
            Event::RunFinished { .. } => "run_finished",
            Event::RunResumed { .. } => "run_resumed",
            Event::UnitResolved { .. } => "unit_resolved",
        }
    }
}
