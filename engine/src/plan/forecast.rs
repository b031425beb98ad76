//! How long a run will take, from its [`History`]: the longest way through the graph, before it starts and while it runs.
//!
//! Steps beside each other are thought to have room (`max-parallel` of the run is left out of account); the items of one
//! `for-each` run as many at a time as their `max-parallel` lets them. Conditions are thought to hold. Steps without
//! history count nothing and are named, so that whoever shows a number can say what it leaves out.

use super::history::{History, Spread};
use crate::limits;
use crate::run::state::{ItemsState, Phase, UnitState};
use crate::run::{RunState, StepStatus, Unit};
use crate::runbook::model::{Action, Runbook, Wait};

/// What history tells of the runs of one runbook.
#[derive(Debug, Clone)]
pub struct Forecast {
    pub history: History,
    /// Steps, each after those it needs; main steps before `finally`.
    order: Vec<usize>,
}

/// The longest way through a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub ms: u64,
    /// From the first step to the last of `finally`.
    pub steps: Vec<usize>,
    /// Steps that were counted as nothing, because nothing is known of them.
    pub unknown: Vec<usize>,
}

/// A unit that runs for longer than nine of ten did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    pub p90_ms: u64,
}

/// A step is not late for what a busy machine makes of it, in milliseconds.
const LATE_MS: u64 = 1_000;

impl Forecast {
    pub fn new(runbook: &Runbook, history: History) -> Forecast {
        Forecast { history, order: order(runbook) }
    }

    /// Of a run that has not begun. `items`: how many a `for-each` has, where that is known.
    pub fn whole(&self, runbook: &Runbook, items: &dyn Fn(usize) -> Option<usize>) -> Path {
        self.path(runbook, &|step| {
            let items = items(step).map(|n| n as u64);
            self.untouched(runbook, step, items)
        })
    }

    /// What is left of a run that goes on by itself; `None` of one that is over, or waits for a person.
    pub fn left(&self, state: &RunState, now: i64) -> Option<Path> {
        if state.phase == Phase::Done || state.paused.is_some() {
            return None;
        }
        Some(self.path(&state.runbook, &|step| self.left_of(state, step, now)))
    }

    /// What this unit usually takes.
    pub fn usual(&self, state: &RunState, unit: Unit) -> Option<Spread> {
        Some(self.history.step(&Unit { item: None, ..unit }.name(&state.spec(unit.step).id))?.spread)
    }

    /// Whether it runs, and already longer than usual.
    pub fn overdue(&self, state: &RunState, unit: Unit, now: i64) -> Option<Overdue> {
        let found = state.unit(unit).filter(|found| found.status == StepStatus::Running)?;
        let p90_ms = self.usual(state, unit)?.p90_ms;
        (since(found, now)? > p90_ms + LATE_MS).then_some(Overdue { p90_ms })
    }

    fn left_of(&self, state: &RunState, step: usize, now: i64) -> Option<u64> {
        let found = state.step(step as u32);
        if found.whole.status.is_terminal() {
            return Some(0);
        }
        let usual_ms = self.usual_ms(&state.runbook, step);
        match (&found.items, found.whole.status) {
            (Some(items), _) => {
                let width = width(&state.runbook, step);
                Some(left_of_items(items, usual_ms?, width, now))
            }
            (None, StepStatus::Waiting) => Some(match &state.spec(step as u32).action {
                Action::Wait(_) => until(found.whole.waits_until()?, now),
                _ => 0, // for a person, and nobody knows how long that takes
            }),
            (None, StepStatus::Running | StepStatus::Backoff) => Some(left_of_unit(&found.whole, usual_ms?, now)),
            (None, _) => self.untouched(&state.runbook, step, None),
        }
    }

    fn untouched(&self, runbook: &Runbook, step: usize, items: Option<u64>) -> Option<u64> {
        let usual_ms = self.usual_ms(runbook, step)?;
        if runbook.steps[step].for_each.is_none() {
            return Some(usual_ms);
        }
        let before = || self.history.step(&runbook.steps[step].id)?.items;
        Some(items.or_else(before)?.div_ceil(width(runbook, step)) * usual_ms)
    }

    /// Of one start, or of one item: what was measured, or what the step itself says.
    fn usual_ms(&self, runbook: &Runbook, step: usize) -> Option<u64> {
        let spec = &runbook.steps[step];
        match &spec.action {
            Action::Approve(_) => Some(0), // how long people take is nobody's forecast
            Action::Wait(Wait::For(duration)) => u64::try_from(duration.as_millis()).ok(),
            _ => Some(self.history.step(&spec.id)?.spread.median_ms),
        }
    }

    /// `cost` in milliseconds; `None` where it is not known.
    fn path(&self, runbook: &Runbook, cost: &dyn Fn(usize) -> Option<u64>) -> Path {
        let mut until = vec![0_u64; runbook.steps.len()];
        let mut before: Vec<Option<usize>> = vec![None; runbook.steps.len()];
        let mut unknown = Vec::new();
        for &step in &self.order {
            let last = runbook.steps[step].needs.iter().copied().max_by_key(|need| until[*need]);
            before[step] = last;
            let own = cost(step).unwrap_or_else(|| {
                unknown.push(step);
                0
            });
            until[step] = last.map_or(0, |need| until[need]).saturating_add(own);
        }
        let (mut ms, mut steps) = (0_u64, Vec::new());
        for section in [0..runbook.main_len, runbook.main_len..runbook.steps.len()] {
            let Some(last) = section.max_by_key(|step| until[*step]) else { continue };
            ms = ms.saturating_add(until[last]);
            let way: Vec<usize> = std::iter::successors(Some(last), |step| before[*step]).collect();
            steps.extend(way.into_iter().rev());
        }
        unknown.sort_unstable();
        Path { ms, steps, unknown }
    }
}

/// How many items of a step run at the same time.
fn width(runbook: &Runbook, step: usize) -> u64 {
    let own = runbook.steps[step].for_each.as_ref().and_then(|each| each.max_parallel).or(runbook.max_parallel);
    u64::from(own.map_or(limits::PARALLEL_DEFAULT, |n| n.get()))
}

fn left_of_unit(unit: &UnitState, median_ms: u64, now: i64) -> u64 {
    match unit.status {
        StepStatus::Running => median_ms.saturating_sub(since(unit, now).unwrap_or(0)),
        StepStatus::Backoff => median_ms.saturating_add(until(unit.retry_at().unwrap_or(now), now)),
        status if status.is_terminal() => 0,
        _ => median_ms,
    }
}

/// Those that run end first, then the others come in waves.
fn left_of_items(items: &ItemsState, median_ms: u64, width: u64, now: i64) -> u64 {
    let going = |unit: &&UnitState| matches!(unit.status, StepStatus::Running | StepStatus::Backoff);
    let running = items.units.iter().filter(going).map(|unit| left_of_unit(unit, median_ms, now)).max().unwrap_or(0);
    let waiting = items.units.iter().filter(|unit| !going(unit) && !unit.status.is_terminal()).count() as u64;
    running + waiting.div_ceil(width) * median_ms
}

fn until(at: i64, now: i64) -> u64 {
    u64::try_from(at.saturating_sub(now)).unwrap_or(0)
}

/// For how long its attempt has been going on.
fn since(unit: &UnitState, now: i64) -> Option<u64> {
    u64::try_from(now.saturating_sub(unit.attempts.last()?.claimed_at)).ok()
}

fn order(runbook: &Runbook) -> Vec<usize> {
    let mut dependents = vec![Vec::new(); runbook.steps.len()];
    let mut unmet: Vec<usize> = runbook.steps.iter().map(|step| step.needs.len()).collect();
    for (step, spec) in runbook.steps.iter().enumerate() {
        spec.needs.iter().for_each(|need| dependents[*need].push(step));
    }
    let mut order: Vec<usize> = (0..runbook.steps.len()).filter(|step| unmet[*step] == 0).collect();
    let mut at = 0;
    while let Some(&step) = order.get(at) {
        at += 1;
        for &dependent in &dependents[step] {
            unmet[dependent] -= 1;
            if unmet[dependent] == 0 {
                order.push(dependent);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests;
