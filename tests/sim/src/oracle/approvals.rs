//! I16: an approval is decided once, for the plan and the generation that are asked about, by people who may.

use std::collections::BTreeSet;

use runward_engine::run::approval::Decision;
use runward_engine::run::{RunState, Unit};
use runward_engine::runbook::model::Action;

use super::Oracle;
use crate::people::may;
use crate::world::unit_text;

/// What is asked of people.
#[derive(Debug)]
pub(super) struct Asked {
    generation: u32,
    plan: String,
    deadline: i64,
    by: Vec<String>,
    count: u32,
    voices: BTreeSet<String>,
    over: bool,
}

impl Asked {
    pub(super) fn new(generation: u32, plan: &str, deadline: i64, by: &[String], count: u32) -> Asked {
        let (plan, by) = (plan.to_owned(), by.to_vec());
        Asked { generation, plan, deadline, by, count, voices: BTreeSet::new(), over: false }
    }
}

impl Oracle {
    pub(super) fn asked(&mut self, job: usize, state: &RunState, unit: Unit, asked: Asked) {
        self.needs_met(job, state, unit);
        let told = &mut self.told[job];
        let current = asked.generation == told.generation && asked.plan == state.plan && !told.stopping;
        let again = told.approvals.insert(unit, asked).is_some();
        let name = unit_text(unit);
        self.counters.add("an approval was asked for");
        self.demand(current && !again, "I16", || format!("job {job}: {name} asks out of turn"));
    }

    pub(super) fn decided(
        &mut self,
        job: usize,
        state: &RunState,
        unit: Unit,
        (generation, plan): (u32, &str),
        decision: Decision,
        person: &str,
    ) {
        let name = unit_text(unit);
        let not_requester = match &state.spec(unit.step).action {
            Action::Approve(approve) => approve.not_requester,
            _ => false,
        };
        let told = &mut self.told[job];
        let stopping = told.stopping;
        let Some(asked) = told.approvals.get_mut(&unit) else {
            return self.broken("I16", || format!("job {job}: {name} was decided about, and nobody was asked"));
        };
        let right = !asked.over && generation == asked.generation && plan == asked.plan && !stopping;
        let allowed = may(person, &asked.by, not_requester);
        let mut twice = false;
        match decision {
            Decision::Rejected => asked.over = true,
            Decision::Approved => {
                twice = !asked.voices.insert(person.to_owned());
                asked.over = asked.voices.len() as u32 >= asked.count;
                if asked.over {
                    told.agreed.insert(unit.step);
                }
            }
        }
        self.counters.add(match decision {
            Decision::Approved => "somebody approved",
            Decision::Rejected => "somebody rejected",
        });
        self.demand(right, "I16", || format!("job {job}: {name} was decided about out of turn, by {person}"));
        self.demand(allowed, "I16", || format!("job {job}: {person} decided about {name} and may not"));
        self.demand(!twice, "I16", || format!("job {job}: {person} counts twice for {name}"));
    }

    pub(super) fn expired(&mut self, job: usize, unit: Unit, at: i64) {
        let told = &mut self.told[job];
        let generation = told.generation;
        let asked = told.approvals.get_mut(&unit);
        let right = asked.is_some_and(|asked| {
            let right = !asked.over && asked.deadline <= at && asked.generation == generation;
            asked.over = true;
            right
        });
        self.counters.add("an approval expired");
        self.demand(right, "I16", || format!("job {job}: {} expired out of turn", unit_text(unit)));
    }
}
