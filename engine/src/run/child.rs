//! Runs inside runs: what ties the run of a `runbook` step to the run it is a step of.
//!
//! A child is a run of its own, with its own record. Its id follows from where it stands, so that to start it a second
//! time is to find it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::event::{Event, StopCause, Then};
use super::ids::{RunId, Unit};
use super::outcome::Verdict;
use super::outputs::Outputs;
use super::progress::{begins, drop_timer, set_timer, touch, unit_mut};
use super::state::{RunState, RunStatus, StepStatus, UnitState};
use super::todo::ends_what_runs;
use super::values;
use crate::limits;
use crate::mutated;
use crate::plan::definition::hex;
use crate::plan::params::{self, Given};
use crate::runbook::calls::references;
use crate::runbook::model::{Action, Argument, Call, Runbook, ValueType};

/// Whose step a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    pub run: RunId,
    /// `step` or `step[item]`.
    pub step: String,
    /// 1 for a child of a run that is nobody's child.
    pub depth: u32,
}

impl Parent {
    /// Of a child of this unit.
    pub fn of(state: &RunState, unit: Unit) -> Parent {
        Parent { run: state.id.clone(), step: state.unit_name(unit), depth: depth(state) + 1 }
    }
}

/// How many runs stand above this one.
pub fn depth(state: &RunState) -> u32 {
    state.parent.as_ref().map_or(0, |parent| parent.depth)
}

/// The id of the `number`-th child of a unit: a UUIDv7 with the time of its parent, so that the two stand together in
/// every listing, and otherwise a hash of where it stands.
pub fn child_id(parent: &RunId, unit: &str, generation: u32, number: u32) -> RunId {
    let mut hash = Sha256::new();
    for field in [parent.0.as_bytes(), unit.as_bytes(), &generation.to_be_bytes(), &number.to_be_bytes()] {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    let digits = hex(&hash.finalize());
    let own_time = || parent.0.get(..13).filter(|head| head.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'));
    let time = own_time().unwrap_or("00000000-0000");
    let variant = ["8", "9", "a", "b"][usize::from(digits.as_bytes()[0] & 3)];
    RunId(format!("{time}-7{}-{variant}{}-{}", &digits[1..4], &digits[4..7], &digits[7..19]))
}

/// Whether a unit may start a child at all.
pub fn may_start(state: &RunState) -> Result<(), String> {
    let (depth, max) = (depth(state) as usize + 1, limits::CHILD_DEPTH_MAX);
    if depth > max {
        Err(format!("runs inside runs go {depth} levels deep; at most {max} are possible"))
    } else {
        Ok(())
    }
}

/// The parameters of a child, typed as the called runbook declares them. Values are data: text takes the declared type as
/// it does with `-p`, everything else has to have it. `absolute`: see [`params::resolve`].
pub fn arguments(
    state: &RunState,
    unit: Unit,
    call: &Call,
    callee: &Runbook,
    absolute: &dyn Fn(&str) -> String,
) -> Result<Map<String, Value>, String> {
    let context = values::context(state, unit, references(call));
    let mut given = BTreeMap::new();
    for argument in &call.with {
        let value = argument.value.bind(&context).map_err(|error| {
            let expressions = argument.value.expressions();
            let secret = expressions.iter().any(|it| state.runbook.reads_secret(state.spec(unit.step), it));
            let error = if secret { error.discreet() } else { error };
            format!("`with.{}`: {error}", argument.name.value)
        })?;
        given.insert(argument.name.value.clone(), as_given(argument, value, callee));
    }
    params::resolve(callee, &given, absolute).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        format!("`with`: {}", errors.join("; "))
    })
}

/// What was written out keeps its type; what was read from somewhere is taken as a person would have given it.
fn as_given(argument: &Argument, value: Value, callee: &Runbook) -> Given {
    let kind = callee.params.iter().find(|param| param.name == argument.name.value).map(|param| param.kind);
    let is_text = matches!(kind, Some(ValueType::String | ValueType::Path));
    match value {
        value if argument.value.expressions().is_empty() => Given::Value(value),
        Value::String(text) => Given::Text(text),
        Value::Number(_) | Value::Bool(_) if is_text => Given::Text(value.to_string()),
        value => Given::Value(value),
    }
}

/// One run that a unit was, or is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    pub run: RunId,
    pub number: u32,
    /// The generation of the child that is waited for, or was; 0 if it never came to be.
    pub generation: u32,
    /// What the unit came to with it; `None` while it is waited for.
    pub status: Option<StepStatus>,
    /// The `timeout` of the step is over.
    pub timed_out: bool,
    /// People did not agree to it.
    pub rejected: bool,
}

/// What a driver knows of a child that is at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildEnd {
    pub outcome: ChildOutcome,
    /// Of the child; 0 if it never came to be.
    pub generation: u32,
    pub outputs: Outputs,
    /// Why it did not succeed, for people.
    pub error: Option<String>,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildOutcome {
    Succeeded,
    Failed,
    /// People did not agree to it, or not in time.
    Rejected,
    TimedOut,
    Cancelled,
    /// A step of it is lost.
    Unknown,
}

/// Why a child has to be stopped, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildStop {
    pub force: bool,
    /// What it has done is taken back.
    pub rollback: bool,
    /// Who asked for it, where a person did.
    pub by: Option<String>,
    pub reason: String,
}

impl UnitState {
    /// The child it waits for.
    pub fn open_child(&self) -> Option<&Child> {
        self.children.last().filter(|child| child.status.is_none())
    }
}

/// The child of a unit whose turn has come: the one it had where that is to go on, else the next one.
pub(super) fn start(state: &RunState, unit: Unit, unit_state: &UnitState, definition: &str) -> Event {
    let name = state.unit_name(unit);
    let carries_on = unit_state.carries_on && !mutated!(ChildStartsAfresh);
    let (child, number, generation) = match unit_state.children.last().filter(|_| carries_on) {
        Some(last) => (last.run.clone(), last.number, last.generation + 1),
        None => {
            let number = unit_state.children.len() as u32 + 1;
            (child_id(&state.id, &name, state.generation, number), number, 1)
        }
    };
    Event::ChildStarted { unit: name, child, number, generation, definition: definition.to_owned() }
}

pub(super) fn started(state: &mut RunState, unit: Unit, child: &RunId, number: u32, generation: u32, at: i64) {
    state.delist(unit);
    state.children.insert(child.clone(), unit);
    state.started_at.get_or_insert(at);
    if state.status == RunStatus::Queued {
        state.status = RunStatus::Running;
    }
    begins(state, unit, at);
    let timeout = match &state.spec(unit.step).action {
        Action::Runbook(call) => call.timeout,
        _ => None,
    };
    let unit_state = touch(state, unit);
    unit_state.status = StepStatus::Waiting;
    unit_state.started_at.get_or_insert(at);
    unit_state.error = None;
    unit_state.carries_on = false;
    unit_state.tries += 1;
    let begun = Child { run: child.clone(), number, generation, status: None, timed_out: false, rejected: false };
    match unit_state.children.last_mut().filter(|last| last.run == *child) {
        Some(last) => *last = begun,
        None => unit_state.children.push(begun),
    }
    drop_timer(state, unit);
    if let Some(timeout) = timeout {
        set_timer(state, unit, at.saturating_add(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX)));
    }
}

/// What the end of its time means for a unit that waits for a child.
pub(super) fn over(state: &RunState, unit: Unit) -> Option<Event> {
    let child = state.unit(unit)?.open_child()?;
    Some(Event::ChildTimedOut { unit: state.unit_name(unit), child: child.run.clone() })
}

pub(super) fn timed_out(state: &mut RunState, unit: Unit, child: &RunId) {
    drop_timer(state, unit);
    if let Some(open) = unit_mut(state, unit).children.last_mut().filter(|last| last.run == *child) {
        open.timed_out = true;
    }
}

/// What a unit comes to when its child has ended like this.
pub(super) fn status(state: &RunState, unit: Unit, outcome: ChildOutcome) -> StepStatus {
    let child = state.unit(unit).and_then(UnitState::open_child);
    match outcome {
        ChildOutcome::Succeeded => StepStatus::Succeeded,
        ChildOutcome::Unknown => StepStatus::Lost,
        _ if child.is_some_and(|child| child.timed_out) => StepStatus::TimedOut,
        ChildOutcome::TimedOut => StepStatus::TimedOut,
        ChildOutcome::Cancelled if stop(state, child).is_some() => StepStatus::Cancelled,
        ChildOutcome::Cancelled | ChildOutcome::Failed | ChildOutcome::Rejected => StepStatus::Failed,
    }
}

pub(super) fn settle(
    state: &RunState,
    unit: Unit,
    child: &RunId,
    end: &ChildEnd,
    status: StepStatus,
    then: Then,
) -> Event {
    let succeeded = status == StepStatus::Succeeded;
    Event::ChildSettled {
        unit: state.unit_name(unit),
        child: child.clone(),
        generation: end.generation,
        status,
        then,
        outputs: if succeeded { end.outputs.clone() } else { Outputs::new() },
        error: end.error.clone().filter(|_| !succeeded),
        rejected: end.outcome == ChildOutcome::Rejected && status == StepStatus::Failed,
    }
}

/// Whether it was waited for.
pub(super) fn settled(
    state: &mut RunState,
    unit: Unit,
    child: &RunId,
    generation: u32,
    status: StepStatus,
    rejected: bool,
) -> bool {
    if state.children.remove(child).is_none() {
        return false;
    }
    drop_timer(state, unit);
    if let Some(last) = unit_mut(state, unit).children.last_mut() {
        (last.generation, last.status, last.rejected) = (generation, Some(status), rejected);
    }
    true
}

/// Why a child that is waited for has to be stopped, if it has to.
pub(super) fn stop(state: &RunState, child: Option<&Child>) -> Option<ChildStop> {
    let cancel = state.cancel.as_ref();
    let force = cancel.is_some_and(|cancel| cancel.force);
    let rollback = cancel.is_some_and(|cancel| cancel.rollback);
    if ends_what_runs(state) {
        let (by, reason) = match (cancel, &state.stop) {
            (Some(cancel), _) => {
                let why = cancel.act.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                (Some(cancel.act.by.clone()), format!("the run it is a step of was cancelled{why}"))
            }
            (None, Some(StopCause::TimedOut)) => (None, "the time of the run it is a step of is over".to_owned()),
            (None, _) => (None, "the run it is a step of stops".to_owned()),
        };
        return Some(ChildStop { force, rollback, by, reason });
    }
    let over = child.is_some_and(|child| child.timed_out);
    over.then(|| ChildStop { force, rollback, by: None, reason: "the `timeout` of the step it is is over".to_owned() })
}

/// Whether people did not agree to what a step of this run is, so that it failed.
pub(super) fn is_rejected(state: &RunState) -> bool {
    let calls = |step: &u32| matches!(state.spec(*step).action, Action::Runbook(_)) && !state.spec(*step).allow_failure;
    let rejected = |unit: &UnitState| {
        unit.status == StepStatus::Failed && unit.children.last().is_some_and(|child| child.rejected)
    };
    (0..state.steps().len() as u32)
        .filter(calls)
        .map(|step| state.step(step))
        .any(|step| rejected(&step.whole) || step.items.iter().flat_map(|items| &items.units).any(rejected))
}

/// How a run that is at its end ended, for the step it is.
pub fn end(state: &RunState) -> ChildEnd {
    let outcome = match Verdict::of(state) {
        Verdict::Succeeded => ChildOutcome::Succeeded,
        Verdict::Cancelled => ChildOutcome::Cancelled,
        Verdict::TimedOut => ChildOutcome::TimedOut,
        Verdict::Unknown => ChildOutcome::Unknown,
        Verdict::Rejected => ChildOutcome::Rejected,
        _ => ChildOutcome::Failed,
    };
    let error = (outcome != ChildOutcome::Succeeded).then(|| format!("run {} {}", state.id, ending(state, outcome)));
    ChildEnd { outcome, generation: state.generation, outputs: state.outputs.clone(), error }
}

fn ending(state: &RunState, outcome: ChildOutcome) -> String {
    let first = |wanted: fn(StepStatus) -> bool| {
        let at = state.steps().iter().position(|step| wanted(step.whole.status))?;
        let why = state.steps()[at].whole.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        Some(format!("at `{}`{why}", state.runbook.steps[at].id))
    };
    match (outcome, &state.cancel, &state.stop) {
        (ChildOutcome::Cancelled, Some(cancel), _) => {
            let why = cancel.act.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("was cancelled by {}{why}", cancel.act.by)
        }
        (ChildOutcome::Unknown, ..) => {
            format!("does not know what became of a step, {}", first(|it| it == StepStatus::Lost).unwrap_or_default())
        }
        (ChildOutcome::TimedOut, ..) => "timed out".to_owned(),
        (_, _, Some(StopCause::Failed { step })) => {
            let found = state.step_named(step).map(|step| &state.step(step).whole);
            let why =
                found.and_then(|whole| whole.error.as_ref()).map(|error| format!(": {error}")).unwrap_or_default();
            format!("failed at `{step}`{why}")
        }
        _ => match &state.error {
            Some(error) => format!("failed: {error}"),
            None => format!("failed {}", first(StepStatus::is_failure).unwrap_or_default()),
        },
    }
}

/// Jitter of a child is drawn from it.
pub fn seed(child: &RunId) -> u64 {
    let digest = Sha256::digest(child.0.as_bytes());
    u64::from_be_bytes(digest[..8].try_into().expect("a SHA-256 has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_child_has_one_id_and_stands_beside_its_parent() {
        let parent = RunId("019aa7c1-5b1e-7d3a-9c11-0a2b3c4d5e6f".into());
        let one = child_id(&parent, "deploy[3]", 1, 2);
        assert_eq!(one, child_id(&parent, "deploy[3]", 1, 2));
        assert_eq!((one.0.len(), one.0.as_bytes()[14]), (36, b'7'), "{one}");
        assert_eq!(one.0[..13], parent.0[..13]);
        let all =
            [("deploy[3]", 1, 2), ("deploy[3]", 1, 3), ("deploy[3]", 2, 2), ("deploy[4]", 1, 2), ("deploy", 1, 2)];
        let ids: BTreeSet<RunId> =
            all.iter().map(|(unit, generation, no)| child_id(&parent, unit, *generation, *no)).collect();
        assert_eq!(ids.len(), all.len());
        let odd = child_id(&RunId("备份".into()), "deploy", 1, 1);
        assert_eq!(odd.0.len(), 36, "{odd}");
    }
}
