//! What can be asked of a run, and how it is refused.

use std::collections::BTreeSet;

use super::acts::{Act, Resolved};
use super::approval::{Decision, Ended};
use super::child::ChildEnd;
use super::event::Outcome;
use super::given::Given;
use super::ids::{ClaimId, RunId, SessionId, Unit};
use super::outputs::Outputs;
use super::place::Place;
use super::state::RunStatus;

/// Every command is safe to repeat: the second time it changes nothing, or is refused with what happened meanwhile.
#[derive(Debug, Clone)]
pub enum Command {
    /// A command of a person that may come again: the same id is the same command, and nothing is done twice.
    Given { id: String, command: Box<Command> },
    /// A driver asks for a permit of the run's group, before anything executes. `passing`: runs that are not waited for,
    /// although it would be their turn: nobody drives them.
    Enter { passing: BTreeSet<RunId> },
    /// A driver takes a ready unit. Must be committed, and the commit acknowledged, before anything starts. `place`: on
    /// whose machine, where there are several.
    Claim { unit: Unit, claim: ClaimId, session: SessionId, boot: String, place: Option<Place> },
    /// A ready unit cannot start: a value it needs is missing or refused. It fails without an attempt.
    Refuse { unit: Unit, error: String },
    /// The attempt ended and this is what it did. Accepted only from the claim that owns the unit.
    Settle { claim: ClaimId, report: Box<Report> },
    /// Another driver watches the running attempt from now on.
    Adopt { claim: ClaimId, session: SessionId },
    /// The journal proves that the attempt never started; it is not counted.
    Void { claim: ClaimId },
    /// Whether the attempt ran to an end cannot be known. `with`: because the session that watches it has fallen silent, so
    /// that it may still run; refused if another one watches it by now.
    Lose { claim: ClaimId, evidence: String, with: Option<SessionId> },
    /// A ready `runbook` step waits from now on for a child of this definition, or for the one it had, if that is to go
    /// on. The child is started after the commit is acknowledged.
    StartChild { unit: Unit, definition: String },
    /// A child is at its end.
    SettleChild { child: RunId, end: Box<ChildEnd> },
    /// A timer may be due: a retry, or the timeout of the run.
    Wake,
    /// Stop the run: running steps are killed, `finally` still runs. `force`: at once, without grace. `rollback`: what was
    /// done is taken back. During a rollback the first cancel is noted, and the second stops it.
    Cancel { force: bool, rollback: bool, reason: Option<String> },
    /// Take back what a failed, cancelled or timed-out run has done: one that waits for this, or one that is at its end.
    Rollback { reason: Option<String> },
    /// Nothing new starts until somebody unpauses the run; what runs goes on to its end.
    Pause { reason: Option<String> },
    /// The run it is a step of is paused, or no longer: its driver sees to it that it is on the record of both.
    PauseWithParent { pause: bool, reason: Option<String> },
    /// A person approves or rejects a step that asks for it: the plan, in the generation, that they saw.
    Decide { unit: Unit, decision: Decision, person: Person, plan: String, generation: u32, comment: Option<String> },
    /// Lets a run go on outside of its windows.
    OverrideWindow { reason: String },
    /// Lets a paused run go on.
    Unpause,
    /// A step that did not succeed is left out when its turn comes, and those who need it go on. At its end a run stays
    /// as it is; its next generation goes on without the step.
    Skip { unit: Unit, reason: String },
    /// Exactly one more start of a unit: one that is held or waits for its retry starts now, one that failed in a run
    /// that is at its end starts in the next generation, with what follows it and nothing else.
    Retry { unit: Unit, reason: Option<String> },
    /// Continue a failed, cancelled or timed-out run in its next generation: all that did not succeed, and with `from`
    /// that step and all after it as well.
    Resume { from: Option<u32>, reason: Option<String> },
    /// An operator says what a held step came to.
    Resolve { unit: Unit, resolution: Resolution, reason: Option<String> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    Succeeded,
    Failed,
    Retry,
}

/// Who decides: the login name, and the groups the machine says they are in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub name: String,
    pub groups: Vec<String>,
}

/// What a driver knows about an attempt that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub outcome: Outcome,
    /// Values written to `$RUNWARD_OUTPUT`, typed as declared.
    pub outputs: Outputs,
    /// Why it failed, for people; `None` where the outcome says it all.
    pub error: Option<String>,
    pub log: super::event::LogDigest,
    /// Epoch milliseconds on the machine that ran it.
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    /// Processes that outlived the step, as `pid command`.
    pub orphans: Vec<String>,
}

/// Why a command was not carried out. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// The command was given before, with this id: nothing is done again.
    #[error("`{}` was given before with this command id, by {}", .was.asked, .was.by)]
    Repeated { was: Box<Given> },
    #[error("the command id belongs to `{}` of {}, and this is `{asked}`", .was.asked, .was.by)]
    OtherCommand { was: Box<Given>, asked: String },
    #[error("{unit} is not ready to start (it is {status})")]
    NotReady { unit: String, status: &'static str },
    #[error("the run holds no permit of the group `{group}`")]
    NoPermit { group: String },
    #[error("the group `{group}` is busy: no more than {limit} of its runs execute at once")]
    GroupBusy { group: String, limit: u32 },
    #[error("the run has nothing to start now")]
    NothingToStart,
    #[error("no more than {limit} steps of this run execute at once")]
    Busy { limit: u32 },
    #[error("no attempt of this run has the claim {claim}")]
    UnknownClaim { claim: ClaimId },
    #[error("{unit} is watched by another worker by now")]
    Watched { unit: String },
    #[error("{unit} already has the outcome `{status}`")]
    Settled { unit: String, status: &'static str, at: Option<i64> },
    /// `by`: who cancelled it, if that was its end.
    #[error("the run is already {status}")]
    Terminal { status: RunStatus, at: i64, by: Option<Act> },
    /// `last`: who began the generation that it is in.
    #[error("the run is {status}: only a failed, cancelled or timed-out run can be resumed")]
    NotResumable { status: RunStatus, last: Option<Act> },
    /// Nothing has to be begun for it to go on.
    #[error("the run is {status}, and goes on as soon as somebody drives it")]
    GoesOn { status: RunStatus },
    #[error("the main part of the run is over, and its `finally` steps are running")]
    InFinally { since: Option<i64> },
    #[error("the run is already cancelled, by {}", .was.by)]
    AlreadyCancelled { was: Act },
    /// A cancel is the stronger word.
    #[error("the run is being cancelled, by {}", .was.by)]
    BeingCancelled { was: Act },
    #[error("the run is {status}: what a failed, cancelled or timed-out run did can be taken back")]
    NotToBeUndone { status: RunStatus, last: Option<Act> },
    /// `last`: who continued it or took it back.
    #[error("nothing is left to take back: no step that is done has an `undo` that did not run")]
    NothingToUndo { last: Option<Act> },
    #[error("the undo of {unit} failed, and nobody has said what became of it")]
    UndoFailed { unit: String },
    #[error("{unit} is no step: it belongs to one")]
    NoStep { unit: String },
    /// `last`: what somebody said of it in this generation.
    #[error("{unit} is not held (it is {status})")]
    NotHeld { unit: String, status: &'static str, last: Option<Resolved> },
    #[error("{unit} was already resolved like this, by {}", .was.act.by)]
    AlreadyResolved { unit: String, was: Resolved },
    #[error("the run is paused by {by}: nothing new starts")]
    Paused { by: String },
    #[error("the run is already paused, by {}", .was.by)]
    AlreadyPaused { was: Act },
    /// `last`: who let it go on, if it was paused in this generation.
    #[error("the run is not paused{}", .last.as_ref().map(|last| format!(", {} let it go on", last.by)).unwrap_or_default())]
    NotPaused { last: Option<Act> },
    #[error("the run is paused with the run it is a step of, by {}", .was.by)]
    PausedWithParent { parent: RunId, was: Act },
    #[error("{unit} asks for no approval now (it is {status})")]
    NotAsked { unit: String, status: &'static str, cancelled: Option<Act> },
    #[error("{unit} was already {}", ending(.ended))]
    Decided { unit: String, ended: Ended },
    #[error("{unit} was already approved by you, {}", .was.by)]
    AlreadyApproved { unit: String, was: Act },
    #[error("what {unit} asks for is the plan {asked} in generation {generation}: not what you have seen")]
    OtherPlan { unit: String, asked: String, generation: u32, last: Option<Act> },
    #[error("{person} may not decide about {unit}: only {} may", .by.join(", "))]
    NotAllowed { unit: String, person: String, by: Vec<String> },
    #[error("{person} asked for this run and may not decide about {unit}")]
    IsRequester { unit: String, person: String, by: Vec<String> },
    #[error("{unit} is an approval, which nobody skips")]
    NotSkipped { unit: String },
    #[error("nothing new starts: {because}")]
    Closed { because: String },
    #[error("this runbook has no windows")]
    NoWindows,
    #[error("the windows of this run are already overridden, by {}", .was.by)]
    AlreadyOverridden { was: Act },
    #[error("{unit} is running")]
    Running { unit: String, since: Option<i64> },
    #[error("{unit} is already to be skipped, by {}", .was.by)]
    AlreadySkipped { unit: String, was: Act },
    /// `last`: who began this generation.
    #[error("{unit} did not fail (it is {status})")]
    NotFailed { unit: String, status: &'static str, last: Option<Act> },
    #[error("{unit} may fail: those after it went on without it")]
    FailureAllowed { unit: String },
    #[error("{unit} has its outcome, and starts again only when the run is at its end")]
    NotAtEnd { unit: String, last: Option<Act> },
    #[error("{unit} needs `{need}`, which is {status}")]
    NeedsFirst { unit: String, need: String, status: &'static str },
    #[error("{unit} is an item of a step that is at its end")]
    WholeStep { unit: String, step: String },
}

impl Command {
    /// Whether whoever makes it binds values of the state as it was then, or says why that cannot be done: said of another
    /// state it would be about values that are no more.
    pub fn is_made_of_the_state(&self) -> bool {
        matches!(self, Command::Claim { .. } | Command::Refuse { .. } | Command::StartChild { .. })
    }
}

impl Reject {
    /// Whether what was asked for is so already.
    pub fn is_already(&self) -> bool {
        use Reject::*;
        matches!(
            self,
            AlreadyPaused { .. }
                | NotPaused { .. }
                | AlreadySkipped { .. }
                | AlreadyCancelled { .. }
                | AlreadyResolved { .. }
                | AlreadyOverridden { .. }
                | GoesOn { .. }
        )
    }
}

fn ending(ended: &Ended) -> String {
    match ended {
        Ended::Approved(act) => format!("approved by {}", act.by),
        Ended::Rejected(act) => format!("rejected by {}", act.by),
        Ended::Expired { .. } => "too late: nobody approved it in time".to_owned(),
    }
}
