//! A refused command in words: who was faster and when, or what has to be done first.

use runward_engine::run::acts::{Act, Resolved};
use runward_engine::run::approval::Ended;
use runward_engine::run::{Reject, RunId, RunStatus};
use runward_workers::home::Holder;

use crate::failure::Failure;
use crate::text;
use crate::view::words;

pub fn refused(reject: Reject, run: &RunId) -> Failure {
    let short = words::short(&run.0);
    let show = format!("`runward show {short}` says where the run stands");
    let message = match &reject {
        Reject::Decided { unit, ended: Ended::Approved(was) } => format!("{unit} was already approved by {}", act(was)),
        Reject::Decided { unit, ended: Ended::Rejected(was) } => format!("{unit} was already rejected by {}", act(was)),
        Reject::Decided { unit, ended: Ended::Expired { at } } => {
            format!("{unit} was not approved in time: that ended at {}", text::time(*at))
        }
        Reject::AlreadyApproved { unit, was } => format!("you have already approved {unit}: {}", act(was)),
        Reject::Terminal { status, at, by } => over(*status, *at, by.as_ref()),
        Reject::AlreadyCancelled { was } => format!("the run is already cancelled, by {}", act(was)),
        Reject::BeingCancelled { was } => format!("the run is being cancelled, by {}", act(was)),
        Reject::NotAsked { cancelled: Some(was), .. } => format!("{reject}: the run was cancelled by {}", act(was)),
        Reject::OtherPlan { last: Some(last), .. } => format!("{reject}; that was begun by {}", act(last)),
        Reject::PausedWithParent { parent, was } => {
            format!("the run is paused with run {}, of which it is a step, by {}", words::short(&parent.0), act(was))
        }
        Reject::NotHeld { last: Some(was), .. } => format!("{reject}: {}", resolved(was)),
        Reject::AlreadyResolved { unit, was } => format!("{unit}: {}", resolved(was)),
        Reject::Running { unit, since: Some(since) } => format!("{unit} is running since {}", text::time(*since)),
        Reject::Settled { unit, status, at: Some(at) } => format!("{unit} already {status} at {}", text::time(*at)),
        Reject::InFinally { since: Some(since) } => format!("{reject}, since {}", text::time(*since)),
        Reject::NotFailed { last: Some(last), .. }
        | Reject::NotAtEnd { last: Some(last), .. }
        | Reject::NotResumable { last: Some(last), .. }
        | Reject::NotToBeUndone { last: Some(last), .. } => {
            format!("{reject}; the run was last continued by {}", act(last))
        }
        Reject::NothingToUndo { last: Some(last) } => {
            format!("{reject}; the run was last continued, or taken back, by {}", act(last))
        }
        _ => reject.to_string(),
    };
    let help = match &reject {
        Reject::Terminal { status: RunStatus::Succeeded, .. }
        | Reject::NotResumable { status: RunStatus::Succeeded, .. } => {
            "nothing was changed, and there is nothing left to do in it; `runward run` starts a new one".to_owned()
        }
        Reject::Terminal { .. } => format!("nothing was changed; `runward resume {short}` continues it"),
        Reject::PausedWithParent { parent, .. } => {
            format!("`runward unpause {}` lets both go on", words::short(&parent.0))
        }
        Reject::InFinally { .. } => format!("`runward cancel {short} --force` ends those, too"),
        Reject::BeingCancelled { .. } => {
            format!("what it does is ended, so nothing is left to hold up; `runward resume {short}` continues it later")
        }
        Reject::NotHeld { last: Some(_), .. } => format!("the first word counts; {show}"),
        Reject::NotResumable { .. } => {
            format!("let it end, or stop it first: `runward cancel {short}`; then repeat this")
        }
        Reject::NotAllowed { by, .. } | Reject::IsRequester { by, .. } => who_may(by),
        Reject::AlreadyApproved { .. } => format!("one person has one voice: somebody else has to agree; {show}"),
        Reject::NotSkipped { .. } => format!(
            "`runward reject {short}` or `runward cancel {short}` end it; whoever may, approves it: `runward approve {short}`"
        ),
        Reject::NoWindows => "it starts its steps whenever their turn comes".to_owned(),
        Reject::Running { .. } => format!(
            "wait until it has ended, or stop the run: `runward cancel {short}`; `runward pause {short}` keeps what \
             follows from starting meanwhile"
        ),
        Reject::Settled { .. } => {
            format!("what is done stays done; `runward resume {short} --from STEP` does it again, in a run that failed")
        }
        Reject::NotFailed { .. } => {
            format!("a step that failed, is held or waits for its retry can be tried again; {show}")
        }
        Reject::NotAtEnd { .. } => format!("{show}; repeat this when it is at its end"),
        Reject::FailureAllowed { unit } => {
            format!("`runward resume {short} --from {unit}` does it again with all after it, in a run that failed")
        }
        Reject::NeedsFirst { need, .. } => format!("`runward retry {short} {need}` comes first"),
        Reject::WholeStep { step, .. } => {
            format!("`runward retry {short} {step}` starts each item that did not succeed once more")
        }
        Reject::UndoFailed { unit } => format!(
            "look what is there, then: `runward resolve {short} {unit}.undo --as succeeded` (it is taken back), `failed` (it \
             stands) or `retry` (its undo starts once more)"
        ),
        Reject::NotToBeUndone { status: RunStatus::Succeeded, .. } => {
            "what succeeded stands: to take it back needs a runbook of its own".to_owned()
        }
        Reject::NotToBeUndone { status, .. } if status.is_terminal() => {
            "each of its main steps is done: to take that back needs a runbook of its own".to_owned()
        }
        Reject::NotToBeUndone { .. } => {
            format!("to stop it and take back what it did: `runward cancel {short} --rollback`")
        }
        _ => show,
    };
    Failure::usage(message).help(help)
}

/// Somebody drives a run that somebody else wants to drive.
pub fn driven(run: &RunId, who: &Holder) -> Failure {
    let short = words::short(&run.0);
    Failure::usage(format!("the run is already being driven, by {}", holder(who)))
        .help(format!("`runward logs -f {short}` follows it, `runward cancel {short}` stops it"))
}

/// `process 4711 of alice@db1 (terminal), since 2026-11-22 03:10:00`.
pub fn holder(who: &Holder) -> String {
    let by = who.by.as_ref().map(|by| format!(" of {}", text::safe(by))).unwrap_or_default();
    let since = who.since.map(|at| format!(", since {}", text::time(at))).unwrap_or_default();
    format!("process {}{by}{since}", text::safe(&who.pid))
}

/// How and when a run ended, and who ended it.
fn over(status: RunStatus, at: i64, by: Option<&Act>) -> String {
    let at = text::time(at);
    match (status, by) {
        (RunStatus::Cancelled, Some(by)) => format!("the run was already cancelled, by {}: it ended at {at}", act(by)),
        (RunStatus::Cancelled, None) => format!("the run was already cancelled at {at}"),
        (RunStatus::TimedOut, _) => format!("the run already timed out at {at}"),
        (status, _) => format!("the run already {status} at {at}"),
    }
}

/// `resolved as failed by alice@db1 (terminal) at 2026-11-22 03:10:00: half of it`.
pub fn resolved(was: &Resolved) -> String {
    let word = serde_json::to_value(was.resolution).unwrap_or_default();
    format!("already resolved as {} by {}", word.as_str().unwrap_or_default(), act(&was.act))
}

/// `alice@db1 (terminal) at 2026-11-22 03:10:00: failover`.
pub fn act(act: &Act) -> String {
    let why = act.reason.as_ref().map(|reason| format!(": {}", text::safe(reason))).unwrap_or_default();
    format!("{} at {}{why}", act.by, text::time(act.at))
}

/// Groups with those whom the machine lists in them.
fn who_may(by: &[String]) -> String {
    let one = |name: &String| match crate::person::members(name) {
        Some(members) if !members.is_empty() => format!("{name} ({})", members.join(", ")),
        _ => name.clone(),
    };
    let names: Vec<String> = by.iter().map(one).collect();
    match names.is_empty() {
        true => "anybody else may: `approve` names nobody".to_owned(),
        false => format!("ask {}", text::safe(&names.join(" or "))),
    }
}
