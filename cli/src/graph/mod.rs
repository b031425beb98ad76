//! The graph of a runbook, or of a run of it, as a picture: what is to be drawn, and one writer for each format.
//!
//! [`Picture`] holds text as the author wrote it; making it safe for its format is the business of each writer. [`layers`]
//! says what can run at the same time, [`place`] where boxes stand. Nothing here reads or prints.

mod dot;
pub mod layers;
mod mermaid;
mod place;
mod svg;
mod text;

use std::collections::BTreeMap;

use runward_engine::run::state::UnitState;
use runward_engine::run::{Part, RunState, StepStatus, Unit};
use runward_engine::runbook::model::{Action, Items, Runbook, Script, Step};

pub use dot::dot;
pub use mermaid::mermaid;
pub use svg::{STEPS_MAX as SVG_STEPS_MAX, svg};
pub use text::text;

/// Steps and what follows what. Main steps stand first, in file order, then those of `finally`.
#[derive(Debug)]
pub struct Picture {
    pub title: String,
    pub nodes: Vec<Node>,
    /// For each node those it needs, by position; always of its own section.
    pub needs: Vec<Vec<usize>>,
    pub main_len: usize,
}

#[derive(Debug)]
pub struct Node {
    pub id: String,
    /// The author's words for it, if any.
    pub name: Option<String>,
    /// What is not the rule: `if ...`, `for each of ...`, `up to 3 starts`.
    pub notes: Vec<String>,
    /// How it stands, in the graph of a run.
    pub state: Option<NodeState>,
}

#[derive(Debug, Clone)]
pub struct NodeState {
    pub status: StepStatus,
    /// Epoch milliseconds.
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub attempts: usize,
    /// What its undo came to, where it has come up.
    pub undo: Option<StepStatus>,
    pub items: Option<Tally>,
}

/// The items of a `for-each` by how they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    pub all: usize,
    pub done: usize,
    pub failed: usize,
}

impl Picture {
    pub fn of_runbook(title: &str, runbook: &Runbook) -> Picture {
        let nodes = runbook.steps.iter().map(node).collect();
        let needs = runbook.steps.iter().map(|step| step.needs.clone()).collect();
        Picture { title: title.to_owned(), nodes, needs, main_len: runbook.main_len }
    }

    pub fn of_run(state: &RunState) -> Picture {
        let status = state.status.as_str().replace('_', " ");
        let mut picture = Picture::of_runbook(&format!("{} {} ({status})", state.name, state.id), &state.runbook);
        for (step, node) in picture.nodes.iter_mut().enumerate() {
            node.state = Some(node_state(state, step as u32));
        }
        picture
    }

    /// The main steps, then those of `finally`, each with its name.
    fn sections(&self) -> Vec<(Option<&'static str>, std::ops::Range<usize>)> {
        let mut sections = vec![(None, 0..self.main_len)];
        if self.main_len < self.nodes.len() {
            sections.push((Some("finally, whatever happened"), self.main_len..self.nodes.len()));
        }
        sections
    }

    /// A step of the last layer: one arrow from it says for all that `finally` follows.
    fn last_main(&self) -> usize {
        layers::layers(&self.needs, &(0..self.main_len)).last().and_then(|layer| layer.last().copied()).unwrap_or(0)
    }

    /// Positions by the status of their steps; empty for a runbook.
    fn by_status(&self) -> BTreeMap<&'static str, Vec<usize>> {
        let mut found: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (n, node) in self.nodes.iter().enumerate() {
            if let Some(state) = &node.state {
                found.entry(state.status.as_str()).or_default().push(n);
            }
        }
        found
    }
}

impl Tally {
    pub fn of(state: &RunState, step: u32) -> Option<Tally> {
        let items = state.step(step).items.as_ref()?;
        let count = |wanted: fn(&UnitState) -> bool| items.units.iter().filter(|unit| wanted(unit)).count();
        let (done, failed) = (count(was_done), count(|unit| unit.status.is_failure()));
        Some(Tally { all: items.units.len(), done, failed })
    }

    /// `7/10 items, 1 failed`
    pub fn sentence(self) -> String {
        let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
        format!("{}/{} items{failed}", self.done, self.all)
    }
}

/// An item that had its turn: not one that was passed over because the step was stopped.
fn was_done(unit: &UnitState) -> bool {
    match unit.status {
        StepStatus::Skipped | StepStatus::Cancelled => !unit.attempts.is_empty(),
        status => status.is_terminal(),
    }
}

impl NodeState {
    /// `succeeded 1.2 s, 2 attempts, 3/3 items`
    fn sentence(&self, now: i64) -> String {
        let mut parts = vec![self.status.as_str().replace('_', " ")];
        let took = self.took(now);
        if !took.is_empty() {
            parts[0] += &format!(" {took}");
        }
        if self.attempts > 1 {
            parts.push(format!("{} attempts", self.attempts));
        }
        parts.extend(self.items.map(Tally::sentence));
        parts.extend(self.undo.map(|undo| format!("undo {}", undo.as_str().replace('_', " "))));
        parts.join(", ")
    }

    /// How long it took, or how long it has been running.
    fn took(&self, now: i64) -> String {
        let end = if self.status == StepStatus::Running { Some(now) } else { self.ended_at };
        crate::text::took(self.started_at, end)
    }
}

fn node(step: &Step) -> Node {
    Node { id: step.id.clone(), name: step.name.clone(), notes: notes(step), state: None }
}

fn notes(step: &Step) -> Vec<String> {
    let mut notes = Vec::new();
    match &step.action {
        Action::Shell { script: Script::File(path), .. } => notes.push(format!("script {}", path.value)),
        Action::Unbuilt(kind) => notes.push((*kind).to_owned()),
        Action::Http(http) => notes.push(format!("http {}", http.method)),
        Action::Sql(sql) => notes.push(format!("sql {}", sql.connection)),
        Action::Render(render) => notes.push(format!("render {}", render.template.value)),
        Action::Runbook(call) => notes.push(format!("runbook {}", call.runbook.value)),
        Action::Approve(approve) => notes.push(format!("approve: {}", approve.needs())),
        Action::Notify(notify) => notes.push(format!("notify {}", notify.channel)),
        Action::Wait(wait) => notes.push(format!("wait {}", wait.shown())),
        Action::Shell { .. } | Action::Cmd(_) => {}
    }
    if let Some(condition) = &step.condition {
        notes.push(format!("if {}", condition.expression.source));
    }
    if let Some(each) = &step.for_each {
        notes.push(match &each.items {
            Items::Expression(expression) => format!("for each of {}", expression.source),
            Items::List(list) => format!("for each of {} items", list.len()),
        });
    }
    if let Some(retry) = &step.retry {
        notes.push(format!("up to {} starts", retry.attempts));
    }
    if step.allow_failure {
        notes.push("may fail".to_owned());
    }
    if step.undo.is_some() {
        notes.push("has an undo".to_owned());
    }
    if step.irreversible {
        notes.push("irreversible".to_owned());
    }
    notes
}

fn node_state(state: &RunState, step: u32) -> NodeState {
    let whole = &state.step(step).whole;
    NodeState {
        status: whole.status,
        started_at: whole.started_at,
        ended_at: whole.ended_at,
        attempts: state.unit(Unit::step(step)).map_or(0, |unit| unit.attempts.len()),
        undo: state.unit(Unit::step(step).part(Part::Undo)).map(|undo| undo.status),
        items: Tally::of(state, step),
    }
}

/// Longer texts are cut in pictures, in characters.
const LABEL_CHARS_MAX: usize = 120;

/// A label: bounded, and without characters that would drive a terminal or turn the text around.
fn shortened(text: &str) -> String {
    let text = crate::text::safe(text.trim()).replace('\t', " ");
    match text.char_indices().nth(LABEL_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
