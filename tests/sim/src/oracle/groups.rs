//! I14: of a group no more runs execute at once than each of them allows, and who executes has a permit.

use runward_engine::run::{RunState, Unit};

use super::Oracle;
use crate::world::unit_text;

impl Oracle {
    pub(super) fn permit_taken(&mut self, job: usize, state: &RunState, group: &str) {
        let others = self.told.iter().filter(|told| told.holds && told.group.as_deref() == Some(group)).count();
        let limit = state.group.as_ref().map_or(0, |group| group.limit.get()) as usize;
        let told = &mut self.told[job];
        let twice = std::mem::replace(&mut told.holds, true);
        let own = told.group.as_deref() == Some(group);
        self.counters.add("a permit was taken");
        if others > 0 {
            self.counters.add("a permit was taken beside another");
        }
        self.demand(own && !twice, "I14", || format!("job {job} takes a permit of {group} out of turn"));
        self.demand(others < limit, "I14", || {
            format!("job {job} takes a permit of {group} beside {others} others, and {limit} are allowed")
        });
    }

    /// Something of this run is about to execute: it holds a permit, where it needs one.
    pub(super) fn may_execute(&mut self, job: usize, unit: Unit) {
        let told = &self.told[job];
        let may = told.group.is_none() || told.holds;
        self.demand(may, "I14", || format!("job {job}: {} was claimed without a permit", unit_text(unit)));
    }

    /// A step starts: what the steps of other runs of the group say themselves, those of their children included.
    pub(super) fn group_at_work(&mut self, job: usize, unit: Unit) {
        let top = self.top(job);
        let Some(group) = self.told[top].group.clone() else { return };
        let at_work = self.effects.iter().rev().take(400).filter(|effect| effect.runs && !effect.excused);
        let mut tops: Vec<usize> = at_work.map(|effect| self.top(effect.job)).collect();
        tops.push(top);
        tops.retain(|other| self.told[*other].group.as_ref() == Some(&group));
        tops.sort_unstable();
        tops.dedup();
        // Each keeps to its own limit, when it takes its permit: whoever took the last one saw all the others.
        let limit = tops.iter().map(|top| self.told[*top].limit).max().unwrap_or(0);
        let count = tops.len() as u32;
        self.demand(count <= limit, "I14", || {
            format!("{} of job {job} starts, and {count} runs of {group} are at work", unit_text(unit))
        });
    }

    /// The run that a child belongs to in the end.
    fn top(&self, job: usize) -> usize {
        std::iter::successors(Some(job), |job| self.told[*job].family.above).last().unwrap_or(job)
    }
}
