//! One run as rows: layer by layer as `runward graph` draws it, with the items of a for-each that went wrong.

use runward_engine::plan::forecast::Forecast;
use runward_engine::run::group::Permit;
use runward_engine::run::state::UnitState;
use runward_engine::run::{Part, RunId, RunState, RunStatus, StepStatus, Unit, Verdict};

use super::model::{Driving, most_interesting};
use crate::graph::Tally;
use crate::graph::layers::layers;
use crate::view::{eta, plain, words};

/// Failed items named below their step.
const ITEMS_NAMED_MAX: usize = 10;

#[derive(Debug, Clone)]
pub struct RunPage {
    pub id: RunId,
    pub name: String,
    pub status: RunStatus,
    pub verdict: Verdict,
    pub generation: u32,
    pub progress: Progress,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    pub cancel: Option<(String, bool)>,
    /// By whom, and why.
    pub paused: Option<String>,
    /// The group it waits for.
    pub waits_for: Option<String>,
    /// The first unit that waits for a person.
    pub held: Option<String>,
    /// Whether a person has to say if it is taken back.
    pub asks: bool,
    /// The undo that failed and about which nobody has said anything.
    pub undo_failed: Option<String>,
    pub driving: Driving,
    /// Without a driver: whether a step of it is alive all the same.
    pub lives_on: bool,
    pub rows: Vec<Row>,
    /// How long it is likely to go on.
    pub left: Option<String>,
    /// What somebody chose; without it, what deserves a look.
    pub chosen: Option<Unit>,
}

/// Steps at their end, and all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub done: usize,
    pub all: usize,
}

#[derive(Debug, Clone)]
pub enum Row {
    Finally,
    Step(StepRow),
    /// Failed items that are not named.
    More(usize),
}

#[derive(Debug, Clone)]
pub struct StepRow {
    pub unit: Unit,
    pub name: String,
    pub status: StepStatus,
    /// Its place in its layer, and how many stand there; `None` for an item.
    pub layer: Option<(usize, usize)>,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub attempts: usize,
    pub attempts_max: u32,
    pub retry_at: Option<i64>,
    pub error: Option<String>,
    pub tally: Option<Tally>,
    /// It takes longer than usual.
    pub late: Option<String>,
}

impl Progress {
    pub fn of(state: &RunState) -> Progress {
        let done = state.steps().iter().filter(|step| step.whole.status.is_terminal()).count();
        Progress { done, all: state.steps().len() }
    }
}

impl RunPage {
    pub fn of(state: &RunState) -> RunPage {
        RunPage {
            id: state.id.clone(),
            name: state.name.clone(),
            status: state.status,
            verdict: Verdict::of(state),
            generation: state.generation,
            progress: Progress::of(state),
            started_at: state.started_at,
            finished_at: state.finished_at,
            cancel: state.cancel.as_ref().map(|cancel| (cancel.act.by.clone(), cancel.force)),
            paused: state.paused.as_ref().map(|paused| {
                paused.reason.as_ref().map_or_else(|| paused.by.clone(), |reason| format!("{}: {reason}", paused.by))
            }),
            waits_for: state.group.as_ref().filter(|_| state.permit() == Some(Permit::Waits)).map(|it| it.name.clone()),
            held: state.held().first().map(|unit| state.unit_name(*unit)),
            asks: state.asks_for_rollback(),
            undo_failed: state.undo_failed().map(|unit| state.unit_name(unit.part(Part::Undo))),
            driving: Driving::Unknown,
            lives_on: false,
            rows: rows(state),
            left: None,
            chosen: None,
        }
    }

    /// What has changed, without what somebody chose.
    pub fn update(&mut self, state: &RunState) {
        let (chosen, driving, lives_on) = (self.chosen, self.driving.clone(), self.lives_on);
        *self = RunPage { chosen, driving, lives_on, ..RunPage::of(state) };
    }

    /// What history says to the clock; true if that is something new.
    pub fn expect(&mut self, forecast: &Forecast, state: &RunState, now: i64) -> bool {
        let left = eta::left(forecast, state, now);
        let mut changed = left != self.left;
        self.left = left;
        for row in &mut self.rows {
            let Row::Step(row) = row else { continue };
            let late = eta::late(forecast, state, row.unit, now);
            changed |= late != row.late;
            row.late = late;
        }
        changed
    }

    pub fn steps(&self) -> impl DoubleEndedIterator<Item = (usize, &StepRow)> {
        self.rows.iter().enumerate().filter_map(|(n, row)| match row {
            Row::Step(step) => Some((n, step)),
            Row::Finally | Row::More(_) => None,
        })
    }

    /// The row somebody looks at.
    pub fn chosen_row(&self) -> Option<(usize, &StepRow)> {
        let unit = self.chosen.filter(|unit| self.steps().any(|(_, row)| row.unit == *unit));
        let unit = unit.or_else(|| most_interesting(self.steps().map(|(_, row)| (row.unit, row.status))))?;
        self.steps().find(|(_, row)| row.unit == unit)
    }

    /// Where the run stands, who carries it on, and what to do if nobody does.
    pub fn standing(&self) -> (&'static str, String) {
        let short = words::short(&self.id.0);
        let exit = self.verdict.exit_code();
        match (self.verdict, &self.held, &self.driving) {
            (Verdict::Succeeded, ..) => ("succeeded", format!("succeeded, exit code {exit}")),
            (Verdict::Unknown, Some(unit), _) => {
                ("held", format!("waits for you: runward resolve {short} {unit} --as succeeded|failed|retry"))
            }
            (Verdict::Unknown, None, _) if self.asks => (
                "held",
                format!(
                    "waits for you: runward rollback {short}, or runward resume {short}, or runward cancel {short}"
                ),
            ),
            (Verdict::Unfinished, ..) if let Some(paused) = &self.paused => {
                let and = if self.driving == Driving::Nobody { ", and nobody drives it" } else { "" };
                ("paused", format!("runward unpause {short}; paused by {paused}{and}"))
            }
            (Verdict::Unfinished, _, Driving::Nobody) if self.lives_on => {
                ("lost", format!("nobody drives this run, its step goes on: runward resume {short}"))
            }
            (Verdict::Unfinished, _, Driving::Nobody) => {
                ("lost", format!("nobody drives this run: runward resume {short}"))
            }
            (Verdict::Unfinished, _, Driving::Process(pid)) if let Some(group) = &self.waits_for => {
                ("paused", format!("waits for the group {group}, in process {pid}: runward show {short} says for whom"))
            }
            (Verdict::Unfinished, _, Driving::Process(pid)) => {
                ("running", format!("{}driven by process {pid}", self.cancelling()))
            }
            (Verdict::Unfinished, _, Driving::Workers) if let Some(group) = &self.waits_for => {
                ("paused", format!("waits for the group {group}: runward show {short} says for whom"))
            }
            (Verdict::Unfinished, _, Driving::Workers | Driving::Unknown) => ("running", self.cancelling()),
            (verdict, ..) if let Some(undo) = &self.undo_failed => {
                let word = words::verdict(verdict);
                let how = format!("runward resolve {short} {undo} --as succeeded|failed|retry");
                (self.status.as_str(), format!("{word}, exit code {exit}; {how}"))
            }
            (verdict, ..) => {
                let word = words::verdict(verdict);
                (self.status.as_str(), format!("{word}, exit code {exit}; try again: runward resume {short}"))
            }
        }
    }

    fn cancelling(&self) -> String {
        match &self.cancel {
            Some((by, true)) => format!("ended at once by {by}; "),
            Some((by, false)) => format!("cancelled by {by}; "),
            None => String::new(),
        }
    }
}

fn rows(state: &RunState) -> Vec<Row> {
    let needs: Vec<Vec<usize>> = state.runbook.steps.iter().map(|step| step.needs.clone()).collect();
    let (main, all) = (state.runbook.main_len, needs.len());
    let mut rows = Vec::with_capacity(all + 1);
    for section in [0..main, main..all] {
        if section.start == main && !section.is_empty() {
            rows.push(Row::Finally);
        }
        for layer in layers(&needs, &section) {
            for (at, step) in layer.iter().enumerate() {
                push_step(state, *step as u32, (at, layer.len()), &mut rows);
            }
        }
    }
    rows
}

fn push_step(state: &RunState, step: u32, layer: (usize, usize), rows: &mut Vec<Row>) {
    let whole = Unit::step(step);
    rows.extend(state.unit(whole).map(|unit| Row::Step(row(state, whole, unit, Some(layer)))));
    let parts = |unit: Unit| {
        let row = |unit: Unit| Some((unit, state.unit(unit).filter(|found| found.status != StepStatus::Pending)?));
        let found = [Part::Check, Part::Undo].into_iter().filter_map(move |part| row(unit.part(part)));
        found.map(|(unit, found)| Row::Step(self::row(state, unit, found, None)))
    };
    rows.extend(parts(whole));
    let Some(items) = &state.step(step).items else { return };
    let bad = |status: StepStatus| status.is_failure() || status == StepStatus::Held;
    let mut named = 0;
    for (item, unit) in items.units.iter().enumerate().filter(|(_, unit)| bad(unit.status)) {
        named += 1;
        if named <= ITEMS_NAMED_MAX {
            rows.push(Row::Step(row(state, Unit::item(step, item as u32), unit, None)));
            rows.extend(parts(Unit::item(step, item as u32)));
        }
    }
    if named > ITEMS_NAMED_MAX {
        rows.push(Row::More(named - ITEMS_NAMED_MAX));
    }
}

fn row(state: &RunState, unit: Unit, found: &UnitState, layer: Option<(usize, usize)>) -> StepRow {
    StepRow {
        unit,
        name: state.unit_name(unit),
        status: found.status,
        layer,
        started_at: found.started_at,
        ended_at: found.ended_at,
        attempts: found.attempts.len(),
        attempts_max: state.starts_max(unit),
        retry_at: found.retry_at(),
        error: found.error.clone().or_else(|| plain::probed(state, unit).map(str::to_owned)),
        tally: if unit.is_whole() { Tally::of(state, unit.step) } else { None },
        late: None,
    }
}

/// The unit whose output belongs to a row: its own, or that of an item: one that runs, else one that went wrong, else the last.
pub fn output_of(state: &RunState, unit: Unit) -> Option<Unit> {
    if !unit.is_whole() || state.step(unit.step).items.is_none() {
        return Some(unit);
    }
    let live = state.live().values().filter(|live| live.step == unit.step).max();
    let items = || units_of(state, unit.step);
    let bad = || items().find(|item| state.unit(*item).is_some_and(|found| found.status.is_failure()));
    let last = || items().filter(|item| state.unit(*item).is_some_and(|found| !found.attempts.is_empty())).last();
    live.copied().or_else(bad).or_else(last)
}

fn units_of(state: &RunState, step: u32) -> impl Iterator<Item = Unit> {
    let items = state.step(step).items.as_ref().map_or(0, |items| items.units.len() as u32);
    (0..items).map(move |item| Unit::item(step, item))
}
