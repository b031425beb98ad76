//! Children: each is one run (I8), of the pinned definition (I22), waited for to its end (I18), and told as it was (I9).

use std::collections::{BTreeMap, BTreeSet};

use runward_engine::run::outputs::Outputs;
use runward_engine::run::{ClaimId, RunId, RunState, RunStatus, StepStatus, Unit};

use super::{Oracle, Told};
use crate::world::unit_text;

/// What the record of a run says of its children.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) above: Option<usize>,
    /// Those that are waited for.
    pub(super) open: BTreeMap<RunId, Unit>,
    /// Every one there was: its unit, and the definition it has to have.
    known: BTreeMap<RunId, (Unit, String)>,
    /// Those that never came to be.
    never: BTreeSet<RunId>,
    /// The last of a unit, and whether it succeeded.
    last: BTreeMap<Unit, (RunId, Option<bool>)>,
    /// Units whose last child has to be continued if they start again.
    continues: BTreeSet<Unit>,
    /// Children of a unit in one generation.
    count: BTreeMap<(Unit, u32), u32>,
}

impl Oracle {
    /// One more run: a child of this one.
    pub fn child(&mut self, above: usize) {
        let mut told = Told::begin();
        told.family.above = Some(above);
        self.told.push(told);
    }

    pub(super) fn child_started(
        &mut self,
        job: usize,
        state: &RunState,
        unit: Unit,
        (child, number, generation): (&RunId, u32, u32),
        definition: &str,
    ) {
        let name = unit_text(unit);
        self.may_execute(job, unit);
        self.needs_met(job, state, unit);
        let allowed = state.starts_max(unit) + self.told[job].granted.get(&unit).copied().unwrap_or_default();
        let last = state.runbook.is_finally(unit.step as usize);
        let told = &mut self.told[job];
        let stopped = told.finished || told.paused || if last { told.forced } else { told.stopping };
        let free = told.family.open.insert(child.clone(), unit).is_none();
        let old = told.family.known.insert(child.clone(), (unit, definition.to_owned()));
        let same = old.as_ref().is_none_or(|old| *old == (unit, definition.to_owned()));
        let known = old.is_some() && !told.family.never.remove(child);
        let was = told.family.last.insert(unit, (child.clone(), None));
        let continues = told.family.continues.remove(&unit);
        let count = told.family.count.entry((unit, told.generation)).or_default();
        *count += 1;
        let count = *count;
        *told.claims.entry(unit).or_default() += 1;
        let right = if continues {
            self.counters.add("a child was to be continued");
            was.is_some_and(|(was, _)| was == *child)
        } else {
            !known && generation == 1
        };
        self.demand(right && free && same, "I8", || {
            format!("job {job}: {name} starts {child}, number {number} in generation {generation}, out of turn")
        });
        self.demand(!stopped, "I15", || format!("job {job}: {name} starts {child} although nothing may start"));
        self.demand(count <= allowed, "I3", || format!("job {job}: {name} starts {count} children, not {allowed}"));
    }

    pub(super) fn child_settled(
        &mut self,
        job: usize,
        state: &RunState,
        unit: Unit,
        (child, generation): (&RunId, u32),
        status: StepStatus,
        outputs: &Outputs,
    ) {
        let name = unit_text(unit);
        let succeeded = status == StepStatus::Succeeded;
        let found = self.jobs.get(child).map(|child| &self.told[*child]);
        // What never came to be has no record; of every other one the record says the same.
        let over = found.map_or(generation == 0, |child| child.finished && child.generation == generation);
        let fits = found.is_none_or(|child| !succeeded || child.status == Some(RunStatus::Succeeded));
        let same = found.is_none_or(|child| !succeeded || child.handed_back == *outputs);
        let told = &mut self.told[job];
        let open = told.family.open.remove(child) == Some(unit);
        told.family.last.insert(unit, (child.clone(), Some(succeeded)));
        if generation == 0 {
            told.family.never.insert(child.clone());
        }
        let undo = state.spec(unit.step).undo.is_some();
        match succeeded {
            true if undo => _ = told.armed.insert(unit),
            false if generation > 0 => _ = told.armed.remove(&unit),
            _ => {}
        }
        if let Some(text) = outputs.get("k").and_then(|value| value.as_str()).filter(|text| succeeded && *text != "-") {
            told.outputs.insert(unit, ClaimId(text.to_owned()));
        } else if succeeded {
            told.outputs.remove(&unit);
        }
        self.demand(open, "I9", || format!("job {job}: {name} does not wait for {child}, which is settled"));
        self.demand(over, "I18", || format!("job {job}: {name} is settled before {child} is over"));
        self.demand(fits && same, "I9", || format!("job {job}: {name} is {}, {child} was not", status.as_str()));
    }

    /// The next generation: a child that failed goes on, unless its step is to be done afresh.
    pub(super) fn continued(&mut self, job: usize, state: &RunState, steps: &BTreeSet<u32>, afresh: Option<u32>) {
        let family = &mut self.told[job].family;
        family.continues.clear();
        for (unit, (_, succeeded)) in &family.last {
            let anew =
                afresh.is_some_and(|first| unit.step == first || super::rollback::needs(state, unit.step, first));
            let last = state.runbook.is_finally(unit.step as usize);
            if steps.contains(&unit.step) && *succeeded == Some(false) && !anew && !last {
                family.continues.insert(*unit);
            }
        }
    }

    /// The end of a run: its children are at theirs.
    pub(super) fn children_over(&mut self, job: usize) {
        let known = self.told[job].family.known.keys();
        let open = known.filter_map(|child| self.jobs.get(child)).find(|child| !self.told[**child].finished).copied();
        self.demand(open.is_none(), "I18", || format!("job {job} ended, and its child, job {open:?}, did not"));
    }

    /// At the very end: every child there is was asked for, and is of the definition that was.
    pub fn children_at_the_end<'a>(&mut self, job: usize, state: &RunState, there: impl Iterator<Item = &'a RunId>) {
        let there: BTreeSet<&RunId> = there.collect();
        let family = &self.told[job].family;
        let foreign = there.iter().find(|child| !family.known.contains_key(**child)).map(|child| (*child).clone());
        let missing =
            family.known.keys().find(|child| !there.contains(child) && !family.never.contains(*child)).cloned();
        let above = family.above.and_then(|above| self.told[above].family.known.get(&state.id));
        let pinned = above.is_none_or(|(_, definition)| *definition == state.definition);
        self.demand(foreign.is_none(), "I8", || format!("job {job} has a child that nobody asked for: {foreign:?}"));
        self.demand(missing.is_none(), "I8", || format!("job {job} has no child {missing:?}"));
        self.demand(pinned, "I22", || format!("job {job} is not of the definition that its parent is pinned to"));
    }
}
