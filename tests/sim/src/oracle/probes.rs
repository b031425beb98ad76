//! I3, the part of the probes: what is in place is not started, and a start that was lost is looked at before the next.

use runward_engine::run::ids::Part;
use runward_engine::run::{ClaimId, Outcome, RunState, Unit};

use super::Oracle;
use crate::world::unit_text;

impl Oracle {
    /// A step has done something to the world, or perhaps.
    pub fn brought_about(&mut self, job: usize, unit: Unit, there: bool) {
        let place = (job, unit.owner());
        match (unit.part, there) {
            (Part::Step, true) => _ = self.in_place.insert(place),
            (Part::Undo, true) => _ = self.in_place.remove(&place),
            _ => {}
        }
    }

    /// What a probe sees.
    pub fn is_in_place(&self, job: usize, unit: Unit) -> bool {
        self.in_place.contains(&(job, unit.owner()))
    }

    pub(super) fn probe_before(&mut self, job: usize, state: &RunState, unit: Unit) {
        if unit.part != Part::Step || state.spec(unit.step).check.is_none() {
            return;
        }
        let said = self.told[job].probed.get(&unit).copied();
        let name = unit_text(unit);
        self.demand(said != Some(true), "I3", || format!("job {job}: {name} was claimed, and is in place"));
        self.demand(said.is_some(), "I3", || format!("job {job}: {name} was claimed before its probe was asked"));
    }

    pub(super) fn probe_said(&mut self, job: usize, state: &RunState, owner: Unit, claim: &ClaimId, outcome: &Outcome) {
        let told = &mut self.told[job];
        let started = told.attempted.get(&owner).copied().unwrap_or_default() > 0;
        let again = told.claims.get(&owner).is_some_and(|claims| *claims > 0);
        match outcome {
            Outcome::Succeeded => {
                told.probed.insert(owner, true);
                told.outputs.insert(owner, claim.clone());
                if state.spec(owner.step).undo.is_some() && started {
                    told.armed.insert(owner);
                }
                self.counters.add(if again { "a lost step was found in place" } else { "a step was found in place" });
            }
            Outcome::NotInPlace => {
                told.probed.insert(owner, false);
                self.counters.add(if again { "a lost step was not in place" } else { "a step was not in place" });
            }
            _ => self.counters.add("a probe could not say it"),
        }
    }
}
