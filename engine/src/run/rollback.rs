//! Taking back what a run did: which steps can be, in what order, and what each undo sees.
//!
//! A step that has an undo is *armed* by its success, and stays so until it is taken back or has run again, whatever
//! generation that is. A rollback goes through the armed ones, last first, one at a time; an undo is a part of its step and
//! moves through the same claims and retries. One that fails leaves its step `held`, and the others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::event::StopCause;
use super::ids::{Part, Unit};
use super::progress::{make_ready, touch, unit_mut};
use super::state::{AttemptStatus, Phase, RunState, StepStatus, UnitState};
use super::{rows, values};
use crate::bind::Reference;
use crate::mutated;
use crate::runbook::model::RollbackPolicy;

/// What was taken back, of all that could be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolledBack {
    /// There was no rollback, or it is not over.
    #[default]
    None,
    Done,
    /// An undo failed, or somebody stopped the rollback.
    Partial,
}

impl RolledBack {
    pub fn as_str(self) -> &'static str {
        match self {
            RolledBack::None => "none",
            RolledBack::Done => "done",
            RolledBack::Partial => "partial",
        }
    }
}

/// The rollback of one generation.
#[derive(Debug, Clone, Default)]
pub struct Rollback {
    /// A person asked for it: of everything, or of one step.
    pub(super) wanted: Option<Wanted>,
    /// It waits for a person to ask for it.
    pub(super) asked: bool,
    /// What is still to be taken back, the next one last.
    queue: Vec<Unit>,
    /// The undo that is ready, running or in backoff.
    current: Option<Unit>,
    /// Steps and items that were to be taken back and are not.
    left: BTreeSet<Unit>,
    stopped: bool,
    over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    Only(Unit),
}

/// A success that can be taken back.
#[derive(Debug, Clone)]
pub(super) struct Armed {
    /// When it succeeded, as the event that says so.
    seq: u64,
    /// `run.generation` and `run.started_at` as they were then.
    pub(super) generation: u32,
    pub(super) started_at: i64,
    /// What the undo reads of what a later generation was about to change.
    pub(super) kept: BTreeMap<String, Arc<Value>>,
    pub(super) item: Option<Value>,
}

/// What comes after the main part.
pub(super) enum Due {
    Start(Vec<Unit>),
    /// A person has to say whether.
    Ask,
    Wait,
    Nothing,
}

impl RunState {
    /// What this generation has taken back.
    pub fn rolled_back(&self) -> RolledBack {
        match (self.rollback.over, self.rollback.left.is_empty()) {
            (false, _) => RolledBack::None,
            (true, true) => RolledBack::Done,
            (true, false) => RolledBack::Partial,
        }
    }

    /// Whether the run waits for a person to say whether it is taken back.
    pub fn asks_for_rollback(&self) -> bool {
        self.rollback.asked
    }

    /// Steps and items that were to be taken back and are not, in the order of the file.
    pub fn not_taken_back(&self) -> &BTreeSet<Unit> {
        &self.rollback.left
    }

    /// Steps that are done and say that nothing can take them back, in the order of the file.
    pub fn irreversible_done(&self) -> Vec<u32> {
        let done = |step: &u32| {
            let found = self.step(*step);
            let any =
                found.items.iter().flat_map(|items| &items.units).any(|unit| unit.status == StepStatus::Succeeded);
            any || found.whole.status == StepStatus::Succeeded
        };
        (0..self.runbook.main_len as u32).filter(|step| self.spec(*step).irreversible).filter(done).collect()
    }

    /// What a rollback would take back now, in its order.
    pub fn to_be_undone(&self) -> Vec<Unit> {
        order(self)
    }

    /// The first step or item whose undo failed, and about which nobody has said anything yet.
    pub fn undo_failed(&self) -> Option<Unit> {
        let failed = |unit: &&Unit| self.unit(**unit).is_some_and(UnitState::is_held_by_undo);
        self.rollback.left.iter().find(failed).copied()
    }

    /// Whether an undo may start.
    pub(super) fn may_undo(&self) -> bool {
        self.phase == Phase::RollingBack && !self.rollback.stopped
    }

    pub(super) fn rollback_is_stopped(&self) -> bool {
        self.rollback.stopped
    }
}

impl UnitState {
    /// Its undo failed.
    pub fn is_held_by_undo(&self) -> bool {
        self.status == StepStatus::Held && self.armed.is_some()
    }
}

/// A step or item has succeeded. What was in place without it is not taken back. Of a for-each each item can be taken back, not the step as a whole.
pub(super) fn arm(state: &mut RunState, unit: Unit) {
    let spec = state.spec(unit.step);
    if spec.undo.is_none() || unit.part != Part::Step || (unit.item.is_none() && spec.for_each.is_some()) {
        return;
    }
    let started = |unit: &UnitState| unit.attempts.iter().any(|one| one.status != AttemptStatus::NeverStarted);
    if state.found_in_place(unit) && !state.unit(unit).is_some_and(started) && !mutated!(ArmedByProbe) {
        return;
    }
    let armed = Armed {
        seq: state.seq,
        generation: state.generation,
        started_at: state.started_at.unwrap_or(state.created_at),
        kept: BTreeMap::new(),
        item: None,
    };
    unit_mut(state, unit).armed = Some(Box::new(armed));
}

/// It ran again and did not succeed: what it did before is no longer what is there.
pub(super) fn disarm(state: &mut RunState, unit: Unit) {
    if mutated!(UndoOfFailure) {
        return arm(state, unit);
    }
    unit_mut(state, unit).armed = None;
}

/// Before the steps in `reset` forget what they did: whatever an armed undo reads of them stays as it is. Once a generation.
pub(super) fn keep_what_undos_read(state: &mut RunState, reset: &BTreeSet<u32>) {
    let mut cache: BTreeMap<String, Arc<Value>> = BTreeMap::new();
    for unit in armed(state) {
        let mut kept = Vec::new();
        let mut item = None;
        for reference in undo_references(state, unit) {
            match reference {
                Reference::Output { step, .. } | Reference::Status { step } => {
                    let Some(other) = state.step_named(step).filter(|other| reset.contains(other)) else { continue };
                    // What it wrote itself is its own; what others wrote is the same for all who read it.
                    let value = || values::step_value(state, unit.part(Part::Undo), step).map(Arc::new);
                    let value = match cache.get(step) {
                        Some(known) if other != unit.step => Some(Arc::clone(known)),
                        _ => value(),
                    };
                    let Some(value) = value else { continue };
                    if other != unit.step {
                        cache.insert(step.clone(), Arc::clone(&value));
                    }
                    kept.push((step.clone(), value));
                }
                Reference::Item if reset.contains(&unit.step) => {
                    item = values::item_value(state, unit.part(Part::Undo))
                }
                _ => {}
            }
        }
        if let Some(armed) = &mut unit_mut(state, unit).armed {
            for (step, value) in kept {
                armed.kept.entry(step).or_insert(value);
            }
            armed.item = armed.item.take().or(item);
        }
    }
}

fn undo_references(state: &RunState, unit: Unit) -> impl Iterator<Item = &Reference> {
    super::prepare::step_references(state.spec(unit.step), Part::Undo, None).into_iter()
}

fn armed(state: &RunState) -> Vec<Unit> {
    rows::owners(state).filter(|unit| state.unit(*unit).is_some_and(|unit| unit.armed.is_some())).collect()
}

/// The armed steps and items, the one that succeeded last first. That is a reverse topological order as long as steps
/// succeed after those they need; where a later generation did one of these again, it still comes after its dependents.
fn order(state: &RunState) -> Vec<Unit> {
    let mut found: BTreeMap<u32, Vec<(u64, Unit)>> = BTreeMap::new();
    for unit in armed(state) {
        let seq = state.unit(unit).and_then(|unit| unit.armed.as_ref()).map_or(0, |armed| armed.seq);
        found.entry(unit.step).or_default().push((seq, unit));
    }
    let mut latest = vec![0; state.steps().len()];
    let mut keyed: Vec<(u64, usize, u64, Unit)> = Vec::new();
    for (rank, step) in state.graph.order.iter().enumerate() {
        let needs = state.spec(*step).needs.iter().map(|need| latest[*need]).max().unwrap_or(0);
        let units = found.remove(step).unwrap_or_default();
        keyed.extend(units.iter().map(|(seq, unit)| (needs.max(*seq), rank, *seq, *unit)));
        latest[*step as usize] = units.iter().map(|(seq, _)| *seq).max().unwrap_or(0).max(needs);
    }
    keyed.sort_unstable();
    if mutated!(UndoForward) {
        return keyed.into_iter().map(|(.., unit)| unit).collect();
    }
    keyed.into_iter().rev().map(|(.., unit)| unit).collect()
}

/// What follows the main part of a run: asked when none of its steps is open.
pub(super) fn due(state: &RunState) -> Due {
    if state.rollback.over {
        return Due::Nothing;
    }
    let cancelled = state.cancel.as_ref().map(|cancel| cancel.rollback);
    // A run that was told to leave steps out fails without a failure: nothing went wrong.
    let failed = match &state.stop {
        Some(StopCause::Failed { .. }) => state.failure.is_some(),
        Some(StopCause::TimedOut) => true,
        Some(StopCause::Cancelled | StopCause::Busy { .. }) | None => false,
    };
    let policy = state.runbook.on_failure.rollback;
    let wanted = state.rollback.wanted.is_some() || cancelled == Some(true);
    let ask = !wanted && policy == RollbackPolicy::Ask;
    if !wanted && (cancelled.is_some() || !failed || policy == RollbackPolicy::Never) {
        return Due::Nothing;
    }
    match (order(state), state.rollback.wanted) {
        (all, _) if all.is_empty() => Due::Nothing,
        (_, _) if ask && state.rollback.asked => Due::Wait,
        (_, _) if ask => Due::Ask,
        (_, Some(Wanted::Only(unit))) => Due::Start(vec![unit]),
        (all, _) => Due::Start(all),
    }
}

/// Whether a rollback that has begun has nothing more to do.
pub(super) fn is_through(state: &RunState) -> bool {
    state.rollback.current.is_none() && state.rollback.queue.is_empty()
}

pub(super) fn is_over(state: &RunState) -> bool {
    state.rollback.over
}

/// The rollback begins. `order` is what it takes back, the first one first.
pub(super) fn begin(state: &mut RunState, order: &[Unit], at: i64) {
    state.phase = Phase::RollingBack;
    state.rollback.left = armed(state).into_iter().collect();
    state.rollback.asked = false;
    state.rollback.queue = order.iter().rev().copied().collect();
    // What was cancelled was the main part; a cancel from here on means the rollback.
    if let Some(cancel) = &mut state.cancel {
        cancel.force = false;
    }
    for unit in order {
        let undo = unit.part(Part::Undo);
        if state.unit(undo).is_some() {
            let again = touch(state, undo);
            *again = UnitState { attempts: std::mem::take(&mut again.attempts), ..UnitState::default() };
        }
    }
    advance(state, at);
}

fn advance(state: &mut RunState, at: i64) {
    if state.rollback.current.is_none()
        && let Some(next) = state.rollback.queue.pop()
    {
        let undo = next.part(Part::Undo);
        state.rollback.current = Some(undo);
        make_ready(state, undo, at);
    }
}

/// Somebody does not want any more of it taken back. What runs is ended by whoever drives.
pub(super) fn stop(state: &mut RunState, at: i64) {
    state.rollback.stopped = true;
    state.rollback.queue.clear();
    let Some(undo) = state.rollback.current else { return };
    match state.unit(undo).map(|undo| undo.status) {
        Some(StepStatus::Ready) => super::progress::end_unit(state, undo, StepStatus::Cancelled, at),
        Some(StepStatus::Backoff) => {
            super::progress::drop_timer(state, undo);
            super::progress::end_unit(state, undo, StepStatus::Failed, at);
        }
        _ => {}
    }
}

/// An undo has its outcome.
pub(super) fn undo_ended(state: &mut RunState, undo: Unit, at: i64) {
    state.rollback.current = None;
    let owner = undo.owner();
    let status = state.unit(undo).map_or(StepStatus::Pending, |undo| undo.status);
    let started = state.unit(undo).is_some_and(|undo| undo.tries > 0);
    match status {
        StepStatus::Succeeded => taken_back(state, owner),
        // Stopped before it started: the step stands as it did.
        StepStatus::Cancelled if !started => {}
        _ => hold(state, owner),
    }
    advance(state, at);
}

/// A step or item is taken back: it runs again in the next generation.
pub(super) fn taken_back(state: &mut RunState, owner: Unit) {
    let unit = touch(state, owner);
    unit.status = StepStatus::Undone;
    if !mutated!(UndoSurvives) {
        unit.armed = None;
    }
    state.rollback.left.remove(&owner);
    sum_up(state, owner, StepStatus::Undone);
}

/// Its undo failed: a person has to say what became of it.
fn hold(state: &mut RunState, owner: Unit) {
    touch(state, owner).status = StepStatus::Held;
    sum_up(state, owner, StepStatus::Held);
}

/// A person says that what a step did is still there.
pub(super) fn stands(state: &mut RunState, owner: Unit) {
    touch(state, owner).status = StepStatus::Succeeded;
    let Some(items) = owner.item.and(state.step(owner.step).items.as_ref()) else { return };
    let any = |status: StepStatus| items.units.iter().any(|unit| unit.status == status);
    let whole = [StepStatus::Held, StepStatus::Undone].into_iter().find(|status| any(*status));
    show(state, owner.step, whole.unwrap_or(StepStatus::Succeeded));
}

/// A for-each step whose items succeeded is what became of them: the worst. One that failed stays failed.
fn sum_up(state: &mut RunState, owner: Unit, status: StepStatus) {
    let worse = match state.step(owner.step).whole.status {
        StepStatus::Succeeded => true,
        StepStatus::Undone => status == StepStatus::Held,
        _ => false,
    };
    if owner.item.is_some() && worse {
        show(state, owner.step, status);
    }
}

/// The row of a whole step is written only where it changes: it holds the outputs of all items.
fn show(state: &mut RunState, step: u32, status: StepStatus) {
    if state.step(step).whole.status != status {
        touch(state, Unit::step(step)).status = status;
    }
}

/// The rollback is over.
pub(super) fn end(state: &mut RunState) {
    state.rollback.over = true;
    state.rollback.stopped = false;
}
