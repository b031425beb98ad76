//! Rules that are broken on purpose, one at a time, to see whether the simulator notices.
//!
//! Compiled only with the feature `mutants`, which nothing but the simulator's tests turns on; in every other build
//! [`mutated!`](crate::mutated) is the word `false`. A mutant lives in one thread, so that tests run side by side.

use std::cell::Cell;

/// A rule, and how it is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// What a failed commit has claimed is started all the same.
    StartOnUnknownCommit,
    /// What an earlier driver has claimed is nobody's business.
    ForgetUnknownClaim,
    /// Who takes over watches an attempt without a look at whether its supervisor still keeps it.
    AdoptWithoutSecondLook,
    /// An attempt that is dead without a result counts as never started.
    LostIsVoid,
    /// One that never started counts as lost.
    VoidIsLost,
    /// The journal is believed in another boot.
    TrustJournalAfterReboot,
    /// Whoever wants to declare "never started" does so, although it has started.
    IgnoreStartedName,
    /// A subreaper takes the name without the lock.
    StartWithoutLock,
    /// The result is not read again after it is known that nobody is left to write it.
    LookOnce,
    /// A lost step is tried again, whatever `retry` says.
    RequeueLost,
    /// A step that is to be held is tried again.
    HoldIsRetry,
    /// A failed step is tried once more than `retry` allows.
    RetryOnceMore,
    /// A retry does not wait for its delay.
    RetryAtOnce,
    /// A person who resolves a step as `retry` allows two starts.
    ResolveAllowsTwo,
    /// A step is ready while one of its needs is not met.
    ReadyWithOneUnmet,
    /// `finally` begins while a step of the main part is open.
    FinallyTooEarly,
    /// `finally` begins again when it is through.
    FinallyTwice,
    /// What was ready when a run stopped starts all the same.
    CancelLeavesReady,
    /// What waited for its retry when a run stopped is tried again.
    TimerSurvivesStop,
    /// A paused run claims.
    ClaimInPause,
    /// Those who need a skipped step do not go on.
    SkipSatisfiesNobody,
    /// A step that is to be skipped starts.
    SkippedStepStarts,
    /// A `for-each` has one item more at once than its window.
    WindowTooWide,
    /// A run has one step more at once than `max-parallel`.
    ParallelTooWide,
    /// A resume starts steps again that succeeded.
    ResumeForgets,
    /// Of a unit's attempts only the last is written to the rows.
    OneAttemptRow,
    /// The rows of items are not written.
    RowsNotTouched,
    /// Who reads events does not remember their last hash.
    HeadNotMoved,
    /// A rollback takes back the first step first.
    UndoForward,
    /// A step that failed is taken back as well.
    UndoOfFailure,
    /// What was taken back is taken back again.
    UndoSurvives,
    /// What was in place before the run is taken back.
    ArmedByProbe,
    /// A rollback begins while a later step still runs.
    RollbackTooEarly,
    /// A step starts although its probe says that it is in place.
    ProbeIgnored,
    /// A step starts without asking its probe.
    ProbeNotAsked,
    /// A lost step starts again without asking its probe.
    LostWithoutProbe,
    /// A group has one run more at once than its limit.
    PermitBeyondLimit,
    /// A run that is over keeps its permit.
    PermitKept,
    /// A run of a group starts steps without a permit.
    StartWithoutPermit,
    /// An approval of another generation or another plan counts.
    ApprovalOfAnotherPlan,
    /// Who asked for the run approves it.
    ApprovalByRequester,
    /// Somebody approves who is not among those that may.
    ApprovalByAnybody,
    /// One person counts twice.
    OneVoiceTwice,
    /// One person less is enough.
    OneVoiceTooFew,
    /// A child has another id whenever it is looked for.
    ChildOfAnotherId,
    /// A child that failed is not continued: another one begins in its place.
    ChildStartsAfresh,
    /// A child that rests counts as over.
    ChildSettledEarly,
    /// A child starts steps although its parent is paused.
    HeldChildClaims,
    /// A closed window holds nothing back.
    WindowIgnored,
    /// A window that has closed never opens again.
    WindowNeverOpens,
    /// An attempt is lost for the silence of a session that does not watch it any more.
    LoseUnwatched,
    /// A driver takes the attempts of other machines for its own.
    ForeignAttempts,
    /// A strict attempt outlives its lease.
    LeaseIgnored,
    /// The lease of an attempt is given more time by a session that does not watch it.
    LeaseOfOthers,
    /// What a worker wanted to start before it hung is started.
    StartTooLate,
    /// What may still run on a silent machine is started again elsewhere.
    SilentIsDead,
    /// A tick that was decided is decided again.
    TickWithoutKey,
    /// A run of the schedule that lives is not seen.
    OverlapUnseen,
    /// A disabled schedule fires.
    DisabledFires,
    /// Secrets are printed as they are.
    MaskNothing,
    /// What may be the beginning of a secret is forgotten with the piece of output it came in.
    MaskForgetsTheTail,
    /// A server believes that everything it found due is decided, whatever the ledger has answered.
    PassedBeforeDecided,
    /// A tick is believed to be due by whoever says so.
    TickTooEarly,
}

/// All of them: each is known to be noticed within the seeds of the tests.
pub const MUTANTS: [Mutant; 50] = [
    Mutant::StartOnUnknownCommit,
    Mutant::ForgetUnknownClaim,
    Mutant::AdoptWithoutSecondLook,
    Mutant::LostIsVoid,
    Mutant::VoidIsLost,
    Mutant::TrustJournalAfterReboot,
    Mutant::IgnoreStartedName,
    Mutant::StartWithoutLock,
    Mutant::LookOnce,
    Mutant::RequeueLost,
    Mutant::HoldIsRetry,
    Mutant::RetryOnceMore,
    Mutant::RetryAtOnce,
    Mutant::ResolveAllowsTwo,
    Mutant::ReadyWithOneUnmet,
    Mutant::FinallyTooEarly,
    Mutant::FinallyTwice,
    Mutant::CancelLeavesReady,
    Mutant::TimerSurvivesStop,
    Mutant::ClaimInPause,
    Mutant::SkipSatisfiesNobody,
    Mutant::SkippedStepStarts,
    Mutant::WindowTooWide,
    Mutant::ParallelTooWide,
    Mutant::ResumeForgets,
    Mutant::OneAttemptRow,
    Mutant::RowsNotTouched,
    Mutant::HeadNotMoved,
    Mutant::UndoForward,
    Mutant::UndoOfFailure,
    Mutant::UndoSurvives,
    Mutant::ArmedByProbe,
    Mutant::RollbackTooEarly,
    Mutant::ProbeIgnored,
    Mutant::ProbeNotAsked,
    Mutant::LostWithoutProbe,
    Mutant::PermitBeyondLimit,
    Mutant::PermitKept,
    Mutant::StartWithoutPermit,
    Mutant::ApprovalOfAnotherPlan,
    Mutant::ApprovalByRequester,
    Mutant::ApprovalByAnybody,
    Mutant::OneVoiceTwice,
    Mutant::OneVoiceTooFew,
    Mutant::ChildOfAnotherId,
    Mutant::ChildStartsAfresh,
    Mutant::ChildSettledEarly,
    Mutant::HeldChildClaims,
    Mutant::WindowIgnored,
    Mutant::WindowNeverOpens,
];

thread_local! {
    static ALIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// From now on this rule is broken in this thread, and no other.
pub fn set(mutant: Option<Mutant>) {
    ALIVE.with(|alive| alive.set(mutant));
}

pub fn is(mutant: Mutant) -> bool {
    ALIVE.with(|alive| alive.get() == Some(mutant))
}

/// Whether a rule is broken on purpose.
#[macro_export]
macro_rules! mutated {
    ($mutant:ident) => {
        $crate::mutants::is($crate::mutants::Mutant::$mutant)
    };
}
