//! A report laid out for people, before anybody knows in which format.
//!
//! What is ours (words, numbers, times) and what came from outside (names, values, reasons, errors) are told apart here, once:
//! whoever writes a format shows the second as it is, and never as part of the format.

use runward_engine::run::objectives::{Measured, Objective};
use runward_engine::schedule::moment;
use runward_engine::units::format_size;

use super::{PlannedStep, Report};
use crate::text;
use crate::view::{objectives, words};

/// Of one value from outside, in characters. The JSON has all of it.
const VALUE_CHARS_MAX: usize = 1_000;

pub struct Page {
    /// Ours, and one value.
    pub title: (&'static str, String),
    pub blocks: Vec<Block>,
}

pub enum Block {
    Section(&'static str),
    /// A heading below a section.
    Step(Cell),
    Facts(Vec<(&'static str, Cell)>),
    Table(&'static [&'static str], Vec<Vec<Cell>>),
    Note(Cell),
    /// Lines from outside.
    Code(Vec<String>),
}

/// What stands in one place, one after the other.
pub type Cell = Vec<Piece>;

#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Ours.
    Word(String),
    /// From outside.
    Value(String),
}

fn word(text: impl Into<String>) -> Cell {
    vec![Piece::Word(text.into())]
}

fn value(text: &str) -> Cell {
    vec![Piece::Value(cut(text))]
}

fn maybe(text: Option<&String>) -> Cell {
    text.map(|text| value(text)).unwrap_or_default()
}

fn joined(cells: impl IntoIterator<Item = Cell>) -> Cell {
    cells.into_iter().flatten().collect()
}

/// A status, in words.
fn status(status: &str) -> Cell {
    word(status.replace('_', " "))
}

fn time(at: i64) -> Cell {
    word(moment::shown(at))
}

fn maybe_time(at: Option<i64>) -> Cell {
    at.map(time).unwrap_or_default()
}

/// The beginning of what is too long, and how much there is.
fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => {
            let more = text[end..].chars().count();
            format!("{}… ({})", &text[..end], text::count(more as u64, "more character"))
        }
        None => text.to_owned(),
    }
}

pub fn of(report: &Report) -> Page {
    let mut blocks = vec![Block::Facts(head(report)), Block::Section("What was asked for")];
    blocks.push(Block::Facts(wanted(report)));
    blocks.extend(approvals(report));
    blocks.extend(people(report));
    blocks.extend(came_to(report));
    blocks.extend(attempts(report));
    blocks.extend(children(report));
    blocks.extend(plan(report));
    blocks.extend(record(report));
    Page { title: ("Run of", report.run.name.clone()), blocks }
}

fn head(report: &Report) -> Vec<(&'static str, Cell)> {
    let run = &report.run;
    let unfinished = run.finished_at.is_none();
    let mut facts = vec![
        ("run", value(&run.id.0)),
        ("result", joined([word(words::verdict(report.verdict)), word(format!("(exit code {})", report.exit_code))])),
        ("status", status(&run.status)),
        ("triggered", time(run.created_at)),
        ("first step of the last generation", maybe_time(run.started_at)),
        (
            "ended",
            if unfinished { word("not yet: what follows is how far it has come") } else { maybe_time(run.finished_at) },
        ),
        ("from the trigger to the end", word(text::took(Some(run.created_at), run.finished_at))),
        ("generations", word(run.generation.to_string())),
    ];
    if report.drill {
        facts.push(("drill", word("with scratch values, secrets and connections in place of the real ones")));
    }
    if run.rollback != runward_engine::run::RolledBack::None {
        facts.push(("rolled back", word(run.rollback.as_str())));
    }
    if !report.left.is_empty() {
        facts.push(("not taken back", joined(report.left.iter().map(|unit| value(unit)))));
    }
    if let Some(why) = run.waits.as_ref().filter(|_| unfinished) {
        facts.push(("waits for", value(why)));
    }
    facts.extend(report.objectives.iter().map(objective));
    facts.extend(report.error.as_ref().map(|why| ("why", value(why))));
    facts.extend(report.outputs.iter().map(|(name, output)| ("hands back", named(name, output))));
    facts
}

/// What was wanted, and what was measured.
fn objective(one: &Measured) -> (&'static str, Cell) {
    let name = match one.objective {
        Objective::Rto => "recovery time objective (rto)",
        Objective::Rpo => "recovery point objective (rpo)",
    };
    let wanted = word(format!("at most {},", objectives::duration(one.limit_ms)));
    (name, joined([wanted, word(objectives::cell(one)), maybe(one.why.as_ref())]))
}

fn named(name: &str, value_of: &serde_json::Value) -> Cell {
    joined([value(name), word("="), value(&value_of.to_string())])
}

fn wanted(report: &Report) -> Vec<(&'static str, Cell)> {
    let (run, definition) = (&report.run, &report.definition);
    let mut facts = vec![("asked by", value(&run.actor)), ("through", value(&run.trigger))];
    if !report.requester.is_empty() {
        facts.push(("known as", joined(report.requester.iter().map(|name| value(name)))));
    }
    if let Some(schedule) = &run.schedule {
        let tick = report.tick.iter().map(|tick| joined([word("tick"), value(tick)]));
        facts.push(("schedule", joined(std::iter::once(value(schedule)).chain(tick))));
    }
    facts.extend(run.key.as_ref().map(|key| ("key", value(key))));
    if let (Some(parent), Some(step)) = (&run.parent, &run.parent_step) {
        facts.push(("as the step", joined([value(step), word("of run"), value(&parent.0)])));
    }
    facts.extend(definition.description.as_ref().map(|text| ("described as", value(text))));
    facts.push(("severity", word(definition.severity)));
    facts.extend(run.params.iter().map(|(name, given)| ("parameter", named(name, given))));
    facts.extend(run.group.as_ref().map(|group| ("not beside others of", value(group))));
    facts.push(("definition, SHA-256", value(&definition.sha256)));
    facts.push(("plan, SHA-256", value(&report.plan.hash)));
    if let Some(saved) = &report.plan.saved {
        facts.push(("plan saved", joined([word("by"), value(&saved.by), word("at"), time(saved.at)])));
    }
    facts
}

fn approvals(report: &Report) -> Vec<Block> {
    if report.approvals.is_empty() {
        return Vec::new();
    }
    let mut rows = Vec::new();
    for asked in &report.approvals {
        let who = match asked.by.is_empty() {
            true => word("anybody"),
            false => joined(asked.by.iter().map(|name| value(name))),
        };
        let of = joined([word(asked.count.to_string()), word("of"), who]);
        let row = |event: u64, at: i64, what: Cell, by: Cell, comment: Cell| {
            vec![value(&asked.step), word(event.to_string()), time(at), what, by, comment]
        };
        let until = joined([word("asked until"), time(asked.deadline)]);
        rows.push(row(asked.event, asked.at, until, of, joined([word("plan"), value(&asked.plan)])));
        rows.extend(asked.answers.iter().map(|answer| {
            let what = if answer.decision == runward_engine::run::approval::Decision::Approved {
                "approved"
            } else {
                "rejected"
            };
            let by = joined([value(&answer.person), word("as"), value(&answer.by)]);
            row(answer.event, answer.at, word(what), by, maybe(answer.comment.as_ref()))
        }));
        if asked.expired {
            rows.push(row(asked.event, asked.deadline, word("not answered in time"), Cell::new(), Cell::new()));
        }
    }
    vec![Block::Section("Who agreed"), Block::Table(&["step", "event", "when", "what", "who", "comment"], rows)]
}

fn people(report: &Report) -> Vec<Block> {
    let row = |said: &super::Said| {
        let what = joined([word(said.what), maybe(said.about.as_ref())]);
        vec![word(said.event.to_string()), time(said.at), value(&said.by), what, maybe(said.reason.as_ref())]
    };
    let rows = report.people.iter().map(row).collect();
    vec![Block::Section("What people did"), Block::Table(&["event", "when", "who", "what", "why"], rows)]
}

fn came_to(report: &Report) -> Vec<Block> {
    let rows = report.steps.iter().map(|step| {
        let why = match report.passed_over.get(&step.unit).filter(|_| step.status == "skipped") {
            Some(condition) => joined([word("its condition does not hold:"), value(condition)]),
            None if report.in_place.contains(&step.unit) => word("was in place already"),
            None => maybe(step.error.as_ref()),
        };
        let outputs = joined(step.outputs.iter().map(|(name, output)| named(name, output)));
        vec![
            value(&step.unit),
            status(&step.status),
            maybe_time(step.started_at),
            word(text::took(step.started_at, step.ended_at)),
            why,
            outputs,
        ]
    });
    let touched: Vec<&str> = report.steps.iter().map(|step| step.unit.as_str()).collect();
    let never = report.plan.steps.iter().filter(|step| !touched.contains(&step.id.as_str()));
    let never = never.map(|step| vec![value(&step.id), word("never came up"), vec![], vec![], vec![], vec![]]);
    let rows = rows.chain(never).collect();
    let head = &["step", "came to", "from", "took", "why", "outputs"];
    vec![Block::Section("What each step came to"), Block::Table(head, rows)]
}

fn attempts(report: &Report) -> Vec<Block> {
    if report.attempts.is_empty() {
        return vec![Block::Section("What was started"), Block::Note(word("Nothing."))];
    }
    let row = |attempt: &runward_engine::run::rows::AttemptRow| {
        let end = match (attempt.code, attempt.signal) {
            (Some(code), _) => word(format!("exit code {code}")),
            (None, Some(signal)) => word(format!("signal {signal}")),
            (None, None) => Cell::new(),
        };
        let generation =
            if attempt.generation > 1 { word(format!("(generation {})", attempt.generation)) } else { vec![] };
        let kept = if attempt.log_dropped > 0 {
            format!(", {} not kept", format_size(attempt.log_dropped))
        } else {
            String::new()
        };
        let log = match attempt.log_sha256.is_empty() {
            true => Cell::new(),
            false => joined([value(&attempt.log_sha256), word(format!("{}{kept}", format_size(attempt.log_bytes)))]),
        };
        let started = attempt.started_at.unwrap_or(attempt.claimed_at);
        vec![
            joined([value(&attempt.unit), word(attempt.attempt.to_string()), generation]),
            joined([status(&attempt.status), end]),
            time(started),
            word(text::took(Some(started), attempt.ended_at)),
            maybe(attempt.host.as_ref()),
            log,
        ]
    };
    let rows = report.attempts.iter().map(row).collect();
    let head = &["step and attempt", "result", "started", "took", "machine", "SHA-256 of its output"];
    vec![Block::Section("What was started"), Block::Table(head, rows)]
}

fn children(report: &Report) -> Vec<Block> {
    if report.children.is_empty() {
        return Vec::new();
    }
    let row = |child: &super::ChildRun| {
        let events = child.events.map(|events| word(events.to_string())).unwrap_or_default();
        let came_to = child.came_to.map_or_else(|| word("not at its end"), status);
        vec![value(&child.step), value(&child.run), came_to, events, maybe(child.head.as_ref())]
    };
    let rows = report.children.iter().map(row).collect();
    let note = Block::Note(word("Each of them has a report of its own."));
    let head = &["step", "run", "came to", "events", "hash of its last event"];
    vec![Block::Section("Runs that were steps of it"), Block::Table(head, rows), note]
}

fn plan(report: &Report) -> Vec<Block> {
    let mut blocks = vec![Block::Section("What was planned")];
    let said = "With the parameters of this run. What stands as an expression is known only when the step starts.";
    blocks.push(Block::Note(word(said)));
    for (n, step) in report.plan.steps.iter().enumerate() {
        blocks.push(Block::Step(step_heading(n, step)));
        blocks.extend((!step.notes.is_empty()).then(|| Block::Code(step.notes.clone())));
        blocks.extend((!step.command.is_empty()).then(|| Block::Code(step.command.clone())));
    }
    let definition = &report.definition;
    if !definition.files.is_empty() {
        let rows = definition.files.iter().map(|file| vec![value(&file.path), value(&file.sha256)]).collect();
        blocks.extend([Block::Section("Files it was pinned to"), Block::Table(&["file", "SHA-256"], rows)]);
    }
    if !definition.runbooks.is_empty() {
        let rows = definition.runbooks.iter().map(|it| vec![value(&it.runbook), value(&it.definition)]).collect();
        blocks.extend([Block::Section("Runbooks it calls"), Block::Table(&["runbook", "definition, SHA-256"], rows)]);
    }
    blocks
}

fn step_heading(n: usize, step: &PlannedStep) -> Cell {
    let needs = match step.needs.is_empty() {
        true => Cell::new(),
        false => joined([word("after"), joined(step.needs.iter().map(|need| value(need)))]),
    };
    let last = if step.finally { word("finally, whatever happened") } else { Cell::new() };
    joined([word(format!("{}.", n + 1)), value(&step.id), needs, last])
}

fn record(report: &Report) -> Vec<Block> {
    let (run, record) = (&report.run, &report.record);
    let verify = format!("runward audit verify {}", run.id);
    vec![
        Block::Section("The record"),
        Block::Facts(vec![
            ("events", word(record.events.to_string())),
            ("first", time(record.first_at)),
            ("last", time(record.last_at)),
            ("hash of the last", value(&record.head)),
            ("to compare", joined([value(&verify), word("names the same hash, and holds it against the anchors")])),
        ]),
        Block::Note(word(
            "Each event has the hash of the one before it, so this hash covers every event of the run. It was computed anew \
             from the record when this report was made. Times are in UTC.",
        )),
    ]
}
