//! Whether a rollback takes back what was done, nothing else, and in which order.

use std::collections::BTreeSet;

use runward_engine::run::{ClaimId, RunState, Unit};

use super::Oracle;
use crate::world::unit_text;

impl Oracle {
    /// It takes back what succeeded, nothing else, and nothing before those that were built on it.
    pub(super) fn rollback(&mut self, job: usize, state: &RunState, order: &[Unit]) {
        let told = &mut self.told[job];
        told.rolling = true;
        let mut both = told.live.values().chain(told.family.open.values());
        let beside = both.any(|unit| !state.runbook.is_finally(unit.step as usize));
        let listed: BTreeSet<Unit> = order.iter().copied().collect();
        let foreign = listed.iter().find(|unit| !told.armed.contains(unit)).copied().filter(|_| !told.resolved);
        let forgotten = told.armed.iter().find(|unit| !listed.contains(unit)).copied();
        let whole = order.len() > 1 || told.armed.len() <= 1; // of one step: a person asked for that one
        let twice = listed.len() != order.len();
        let wrong = order.iter().enumerate().find_map(|(n, later)| {
            order[n + 1..]
                .iter()
                .find(|earlier| needs(state, earlier.step, later.step))
                .map(|earlier| (*later, *earlier))
        });
        self.demand(!beside, "I5", || format!("job {job}: a rollback begins beside a step of the main part"));
        self.demand(!twice, "I5", || format!("job {job}: a step is to be taken back twice"));
        self.demand(foreign.is_none(), "I5", || format!("job {job}: {foreign:?} is to be taken back and was not done"));
        self.demand(forgotten.is_none() || !whole, "I5", || {
            format!("job {job}: {forgotten:?} is not to be taken back")
        });
        self.demand(wrong.is_none(), "I5", || {
            format!("job {job}: of {wrong:?} the first is taken back before the second")
        });
    }

    pub(super) fn undo_claimed(&mut self, job: usize, unit: Unit, claim: &ClaimId, finished: bool) {
        self.may_execute(job, unit);
        let told = &self.told[job];
        let alone = told.live.is_empty() && told.family.open.is_empty();
        let (rolling, paused) = (told.rolling, told.paused);
        let name = unit_text(unit);
        self.demand(rolling && !finished, "I5", || format!("job {job}: {name} was claimed outside of a rollback"));
        self.demand(alone, "I5", || format!("job {job}: {name} was claimed beside another step"));
        self.demand(!paused, "I15", || format!("job {job}: {name} was claimed in a pause"));
        self.begun(job, unit, claim);
    }
}

/// Whether `step` comes after `before`, directly or through others.
pub(super) fn needs(state: &RunState, step: u32, before: u32) -> bool {
    let mut ahead = vec![step];
    while let Some(step) = ahead.pop() {
        for need in &state.spec(step).needs {
            if *need as u32 == before {
                return true;
            }
            ahead.push(*need as u32);
        }
    }
    false
}
