//! At the door of a run's group: the real decision, carried out in the simulated world.

use runward_engine::run::RunId;
use runward_engine::run::group::Permit;
use runward_engine::run::todo::todo;
use runward_store::{Ledger, command};
use runward_workers::driver::permit::{at_the_door, takes_its_place};

use crate::ledger::at_once;
use crate::world::{Event, World};

impl World {
    /// Before a commit; `false`: something could not be done.
    pub(super) fn knock(&mut self, driver: usize) -> bool {
        let state = &self.drivers[driver].view.state;
        let Some(group) = state.group.clone().filter(|_| todo(state).enter) else {
            self.drivers[driver].course.knock(None);
            return true;
        };
        let Ok(members) = at_once(self.ledger.group(&group.name)) else { return false };
        let driven = |run: &RunId| self.by_run.get(run).is_some_and(|job| self.jobs[*job].driver.is_some());
        let door = at_the_door(state, &group, &members, driven);
        let (own, seq) = (state.id.clone(), state.seq);
        self.drivers[driver].knocked = Some(seq);
        for run in door.in_the_way {
            if !self.drivers[driver].cancelled.insert(run.clone()) {
                continue;
            }
            let Ok(mut view) = at_once(self.ledger.load(&run)) else { return false };
            self.draw_fate();
            let done = at_once(command(&self.ledger, &mut view, takes_its_place(&own, &group), "driver"));
            if let Some(job) = self.by_run.get(&run).copied() {
                self.audit(job);
                self.tell_driver(job);
            }
            if done.is_err() {
                return false;
            }
            self.counters.add("a run took the place of another");
        }
        match &door.passing {
            None => self.counters.add("a run waited for its group"),
            Some(passing) if !passing.is_empty() => self.counters.add("a run went past one that nobody drives"),
            Some(_) => {}
        }
        self.drivers[driver].course.knock(door.passing);
        true
    }

    /// Whoever waits for the group of this run looks again: it does so every 200 ms.
    pub(crate) fn stir_group(&mut self, job: usize) {
        let Some(group) = self.group_of(job) else { return };
        for other in 0..self.jobs.len() {
            let waits = self.jobs[other].permit == Some(Permit::Waits) && other != job;
            if waits && self.group_of(other).is_some_and(|name| name == group) {
                self.tell_driver(other);
            }
        }
    }

    fn group_of(&self, job: usize) -> Option<String> {
        let state = &self.jobs[job].watcher.as_ref()?.state;
        state.group.as_ref().map(|group| group.name.clone())
    }

    /// The driver of a run looks for what others have recorded.
    pub(crate) fn tell_driver(&mut self, job: usize) {
        if let Some(driver) = self.jobs[job].driver {
            let soon = self.dice.below(200);
            self.after(soon, Event::Look(driver));
        }
    }
}
