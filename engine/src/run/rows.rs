//! The read model: rows as a function of the state. The ledger writes the rows of the units an event touched;
//! `replay(events) == rows` is checked against [`all`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::group::{Permit, Priority};
use super::ids::{Part, RunId, Unit};
use super::rollback::RolledBack;
use super::state::{Attempt, RunState, StepStatus, UnitState};
use crate::mutated;

/// One run. Times are epoch milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    pub id: RunId,
    pub name: String,
    pub status: String,
    pub generation: u32,
    pub held: bool,
    /// What it waits for: `agree: approval by dba, 1 of 2`.
    pub waits: Option<String>,
    pub rollback: RolledBack,
    pub trigger: String,
    /// The schedule that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    pub actor: String,
    pub key: Option<String>,
    /// The run whose step this one is, and the name of the step.
    pub parent: Option<RunId>,
    pub parent_step: Option<String>,
    /// Sensitive ones are only named.
    pub params: Map<String, Value>,
    pub definition: String,
    /// The group whose runs it must not overlap with, and what it has of it.
    pub group: Option<String>,
    pub permit: Option<Permit>,
    /// When it took the permit that it holds.
    pub permit_at: Option<i64>,
    pub priority: Priority,
    pub created_at: i64,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    /// The last event.
    pub seq: u64,
}

/// One unit that was ever touched; a step nothing has happened to has no row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// `step` or `step[item]`, or a part of it: `step.undo`.
    pub unit: String,
    /// Position in the file.
    pub position: u32,
    pub status: String,
    pub attempts: u32,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub error: Option<String>,
    pub outputs: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRow {
    pub claim: String,
    pub unit: String,
    pub attempt: u32,
    pub generation: u32,
    /// Whose supervisor owned its processes, and who waited for it last.
    pub session: String,
    pub watched_by: String,
    /// In a cluster: the state folder that holds its journal, and the name of its machine.
    pub home: Option<String>,
    pub host: Option<String>,
    pub status: String,
    pub claimed_at: i64,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub error: Option<String>,
    pub log_bytes: u64,
    pub log_dropped: u64,
    pub log_sha256: String,
}

pub fn run_row(state: &RunState) -> RunRow {
    RunRow {
        id: state.id.clone(),
        name: state.name.clone(),
        status: state.status.as_str().to_owned(),
        generation: state.generation,
        held: !state.held().is_empty() || state.asks_for_rollback(),
        waits: super::gates::waits(state),
        rollback: state.rolled_back(),
        trigger: state.trigger.clone(),
        schedule: state.tick.as_ref().map(|tick| tick.schedule.clone()),
        actor: state.actor.clone(),
        key: state.key.clone(),
        parent: state.parent.as_ref().map(|parent| parent.run.clone()),
        parent_step: state.parent.as_ref().map(|parent| parent.step.clone()),
        params: state.shown_params(),
        definition: state.definition.clone(),
        group: state.group.as_ref().map(|group| group.name.clone()),
        permit: state.permit(),
        permit_at: state.permit_at,
        priority: state.priority,
        created_at: state.created_at,
        started_at: state.started_at,
        finished_at: state.finished_at,
        seq: state.seq,
    }
}

pub fn step_row(state: &RunState, unit: Unit) -> Option<StepRow> {
    let unit_state = state.unit(unit)?;
    Some(StepRow {
        unit: state.unit_name(unit),
        position: unit.step,
        status: unit_state.status.as_str().to_owned(),
        attempts: unit_state.attempts.len() as u32,
        started_at: unit_state.started_at,
        ended_at: unit_state.ended_at,
        error: unit_state.error.clone(),
        outputs: unit_state.outputs.clone().into_iter().collect(),
    })
}

/// The attempts of a unit that one commit can have changed: it ends at most one and claims at most one.
pub fn recent_attempt_rows(state: &RunState, unit: Unit) -> impl Iterator<Item = AttemptRow> {
    let attempts = state.unit(unit).map_or(&[][..], |unit| unit.attempts.as_slice());
    attempts[attempts.len().saturating_sub(if mutated!(OneAttemptRow) { 1 } else { 2 })..]
        .iter()
        .map(move |attempt| row_of(state, unit, attempt))
}

fn row_of(state: &RunState, unit: Unit, attempt: &Attempt) -> AttemptRow {
    AttemptRow {
        claim: attempt.claim.0.clone(),
        unit: state.unit_name(unit),
        attempt: attempt.no,
        generation: attempt.generation,
        session: attempt.session.0.clone(),
        watched_by: attempt.watched_by.0.clone(),
        home: attempt.place.as_ref().map(|place| place.home.0.clone()),
        host: attempt.place.as_ref().map(|place| place.host.clone()),
        status: attempt.status.as_str().to_owned(),
        claimed_at: attempt.claimed_at,
        started_at: attempt.started_at,
        ended_at: attempt.ended_at,
        code: attempt.code,
        signal: attempt.signal,
        error: attempt.error.clone(),
        log_bytes: attempt.log.bytes,
        log_dropped: attempt.log.dropped,
        log_sha256: attempt.log.sha256.clone(),
    }
}

/// Every row of a run, in the order of the ledger's listings.
pub fn all(state: &RunState) -> (RunRow, Vec<StepRow>, Vec<AttemptRow>) {
    let mut steps = Vec::new();
    let mut attempts = Vec::new();
    for unit in units(state) {
        let Some(unit_state) = state.unit(unit) else { continue };
        if !is_untouched(unit_state) {
            steps.extend(step_row(state, unit));
        }
        attempts.extend(unit_state.attempts.iter().map(|attempt| row_of(state, unit, attempt)));
    }
    attempts.sort_by(|a, b| (a.claimed_at, &a.claim).cmp(&(b.claimed_at, &b.claim)));
    (run_row(state), steps, attempts)
}

/// Steps in file order, each followed by its items, and each of these by the parts that have come up.
pub fn units(state: &RunState) -> impl Iterator<Item = Unit> {
    owners(state).flat_map(move |owner| {
        let there = move |part: &Part| state.unit(owner.part(*part)).is_some();
        [Part::Step, Part::Check, Part::Undo].into_iter().filter(there).map(move |part| owner.part(part))
    })
}

/// Steps in file order, each followed by its items.
pub fn owners(state: &RunState) -> impl Iterator<Item = Unit> {
    state.steps().iter().enumerate().flat_map(|(step, step_state)| {
        let items = step_state.items.as_ref().map_or(0, |items| items.units.len() as u32);
        std::iter::once(Unit::step(step as u32)).chain((0..items).map(move |item| Unit::item(step as u32, item)))
    })
}

fn is_untouched(unit: &UnitState) -> bool {
    unit.status == StepStatus::Pending && unit.attempts.is_empty()
}
