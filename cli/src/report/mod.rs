//! One run as its record has it, for somebody who was not there: what was planned, who wanted it, what became of it.
//!
//! Made of the record alone (the events, verified against their hashes, and the definition that they are pinned to): no
//! clock, no configuration, no file of this machine. So the same run gives the same bytes, wherever and whenever somebody
//! asks. What may not be seen is left out before anything gets here. [`page`] lays it out for people, [`markdown`] and
//! [`html`] write that down.

mod html;
mod markdown;
mod page;
mod people;

use std::collections::BTreeMap;

use runward_engine::plan::Definition;
use runward_engine::plan::definition::{PinnedFile, PinnedRunbook};
use runward_engine::run::event::Planned;
use runward_engine::run::objectives::Measured;
use runward_engine::run::rows::{self, AttemptRow, RunRow, StepRow};
use runward_engine::run::{Event, Recorded, RunState, Verdict};
use runward_store::StoredEvent;
use serde::Serialize;

use crate::commands::planned;
pub use people::{Asked, Said};

/// Of the JSON: it may gain fields, but none changes its meaning.
const VERSION: u32 = 1;

#[derive(Debug, Serialize)]
pub struct Report {
    version: u32,
    run: RunRow,
    verdict: Verdict,
    exit_code: i32,
    /// With scratch values, secrets and connections in place of the real ones.
    drill: bool,
    /// Whoever asked for it, by every name they are known by.
    requester: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tick: Option<String>,
    outputs: serde_json::Map<String, serde_json::Value>,
    objectives: Vec<Measured>,
    error: Option<String>,
    definition: Pinned,
    plan: Plan,
    approvals: Vec<Asked>,
    people: Vec<Said>,
    steps: Vec<StepRow>,
    /// Why a step was passed over: its condition, by its name.
    passed_over: BTreeMap<String, String>,
    /// Found in place by their probe, so that they were not started.
    in_place: Vec<String>,
    /// Every start of anything, in order, with the digest of what it printed.
    attempts: Vec<AttemptRow>,
    children: Vec<ChildRun>,
    /// What should have been taken back and was not.
    left: Vec<String>,
    record: Chain,
}

/// What it was pinned to.
#[derive(Debug, Serialize)]
struct Pinned {
    sha256: String,
    description: Option<String>,
    severity: &'static str,
    files: Vec<PinnedFile>,
    runbooks: Vec<PinnedRunbook>,
}

/// What was to be done, with the values that were known before.
#[derive(Debug, Serialize)]
struct Plan {
    hash: String,
    /// As the file of the plan says.
    saved: Option<Planned>,
    steps: Vec<PlannedStep>,
}

#[derive(Debug, Serialize)]
struct PlannedStep {
    id: String,
    finally: bool,
    needs: Vec<String>,
    notes: Vec<String>,
    command: Vec<String>,
}

/// A run that was a step of this one, and the end of its own record.
#[derive(Debug, Serialize)]
pub struct ChildRun {
    pub step: String,
    pub run: String,
    pub came_to: Option<&'static str>,
    pub events: Option<u64>,
    pub head: Option<String>,
}

/// How far the record of the run has come. `head`: the hash of its last event, which covers all of them.
#[derive(Debug, Serialize)]
struct Chain {
    events: u64,
    head: String,
    first_at: i64,
    last_at: i64,
}

impl Report {
    /// `events`: all of them, up to those that made `state`. `children`: see [`children_of`].
    pub fn of(state: &RunState, definition: &Definition, events: &[StoredEvent], children: Vec<ChildRun>) -> Report {
        let (run, steps, attempts) = rows::all(state);
        let recorded: Vec<&Recorded> = events.iter().map(|event| &event.recorded).collect();
        let (first, last) = (events.first(), events.last());
        let verdict = Verdict::of(state);
        Report {
            version: VERSION,
            verdict,
            exit_code: verdict.exit_code(),
            drill: state.runbook.is_drill,
            requester: state.requester.clone(),
            tick: state.tick.as_ref().map(|tick| tick.key.clone()),
            outputs: state.outputs.clone().into_iter().collect(),
            objectives: state.standings(),
            error: state.error.clone(),
            definition: Pinned {
                sha256: run.definition.clone(),
                description: state.runbook.description.as_ref().map(|text| text.trim().to_owned()),
                severity: state.runbook.severity.unwrap_or_default().as_str(),
                files: definition.files.clone(),
                runbooks: definition.runbooks.clone(),
            },
            plan: Plan { hash: state.plan.clone(), saved: state.planned.clone(), steps: planned_steps(state) },
            approvals: people::asked(&recorded),
            people: people::said(state, &recorded),
            passed_over: passed_over(&recorded),
            in_place: rows::owners(state)
                .filter(|unit| state.found_in_place(*unit))
                .map(|unit| state.unit_name(unit))
                .collect(),
            left: state.not_taken_back().iter().map(|unit| state.unit_name(*unit)).collect(),
            record: Chain {
                events: events.len() as u64,
                head: last.map(|event| event.hash.clone()).unwrap_or_default(),
                first_at: first.map_or(0, |event| event.recorded.at),
                last_at: last.map_or(0, |event| event.recorded.at),
            },
            run,
            steps,
            attempts,
            children,
        }
    }

    /// For a ticket, a mail, a wiki.
    pub fn markdown(&self) -> String {
        markdown::write(&page::of(self))
    }

    /// One file that needs no other, and runs nothing.
    pub fn html(&self) -> String {
        html::write(&page::of(self))
    }
}

/// The runs that its `runbook` steps were, each with the step it was.
pub fn children_of(state: &RunState) -> Vec<ChildRun> {
    let of = |unit| {
        let children = state.unit(unit).map(|found| &found.children[..]).unwrap_or_default();
        children.iter().map(move |child| ChildRun {
            step: state.unit_name(unit),
            run: child.run.0.clone(),
            came_to: child.status.map(|status| status.as_str()),
            events: None,
            head: None,
        })
    };
    rows::units(state).flat_map(of).collect()
}

fn planned_steps(state: &RunState) -> Vec<PlannedStep> {
    let runbook = &state.runbook;
    let known = planned::known_values(&state.shown_params());
    let step = |(n, step)| {
        let step: &runward_engine::runbook::model::Step = step;
        PlannedStep {
            id: step.id.clone(),
            finally: runbook.is_finally(n),
            needs: step.needs.iter().map(|need| runbook.steps[*need].id.clone()).collect(),
            notes: planned::notes(step),
            command: planned::command_lines(runbook, step, &known),
        }
    };
    runbook.steps.iter().enumerate().map(step).collect()
}

/// The last word counts: a step may be passed over in one generation and run in the next.
fn passed_over(events: &[&Recorded]) -> BTreeMap<String, String> {
    let mut conditions = BTreeMap::new();
    for recorded in events {
        match &recorded.event {
            Event::StepSkipped { step, condition } => {
                conditions.insert(step.clone(), condition.clone());
            }
            Event::StepReady { step } | Event::ItemsExpanded { step, .. } => {
                conditions.remove(step);
            }
            _ => {}
        }
    }
    conditions
}
