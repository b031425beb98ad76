//! The last look at one job: it is one run, at its end, with everything that was acknowledged, and its rows are right.

use runward_engine::run::RunStatus;
use runward_engine::run::rows::{self, RunRow};
use runward_engine::run::todo::todo;
use runward_store::{Ledger, RunView};

use crate::dice::mix;
use crate::ledger::at_once;
use crate::world::{World, unit_text};

impl World {
    pub(crate) fn judge_at_the_end(&mut self, job: usize, all: &[RunRow]) {
        let Some(id) = self.jobs[job].run.clone() else {
            return self.oracle.broken("I4", || format!("job {job} never became a run"));
        };
        // As somebody has it who has read every event; it is read again from the first one on below.
        self.audit(job);
        let Some(view) = self.jobs[job].watcher.take() else {
            return self.oracle.broken("I8", || format!("nobody has ever seen {id}"));
        };
        if !view.state.status.is_terminal() {
            let what = self.standing(job, &view);
            return self.oracle.broken("I4", || format!("job {job} never comes to its end: {what}"));
        }
        let events = at_once(self.ledger.events(&id, 0)).unwrap_or_default();
        for (seq, actor) in std::mem::take(&mut self.jobs[job].acknowledged) {
            let there = events.get(seq as usize - 1).is_some_and(|event| event.recorded.actor == actor);
            if !there {
                self.oracle
                    .broken("I8", || format!("job {job}: event {seq} of {actor} was acknowledged and is not there"));
            }
        }
        let same = |row: &&RunRow| row.key.as_ref() == Some(&self.jobs[job].key);
        if self.jobs[job].above.is_none() && all.iter().filter(same).count() != 1 {
            self.oracle.broken("I8", || format!("job {job} is not exactly one run"));
        }
        let children = all.iter().filter(|row| row.parent.as_ref() == Some(&id)).map(|row| &row.id);
        self.oracle.children_at_the_end(job, &view.state, children);
        if let Some(group) = &view.state.group {
            let members = at_once(self.ledger.group(&group.name)).unwrap_or_default();
            let still = members.iter().any(|member| member.run == id);
            if still {
                self.oracle.broken("I14", || format!("job {job} is over, and is still in the group {}", group.name));
            }
        }
        self.compare_rows(job);
        let head = view.head.bytes().take(16).fold(0, |sum, byte| mix(sum, u64::from(byte)));
        self.jobs[job].heads = head;
        self.counters.add(match view.state.status {
            RunStatus::Succeeded => "a run succeeded",
            RunStatus::Failed => "a run failed",
            RunStatus::Cancelled => "a run was cancelled",
            RunStatus::TimedOut => "a run timed out",
            _ => "a run is somewhere else",
        });
    }

    /// Where a run stands that ought to be over.
    fn standing(&self, job: usize, view: &RunView) -> String {
        let state = &view.state;
        let open = rows::units(state).filter(|unit| state.unit(*unit).is_some_and(|unit| !unit.status.is_terminal()));
        let open: Vec<String> = open
            .map(|unit| format!("{} {}", unit_text(unit), state.unit(unit).map_or("", |unit| unit.status.as_str())))
            .collect();
        let todo = todo(state);
        let (live, wake) = (state.live().len(), todo.wake_at);
        let driver = self.jobs[job].driver.map(|driver| self.drivers[driver].told());
        format!(
            "it is {}, {live} under way, to claim {:?}, timer {wake:?} at {}; open: {open:?}; driver: {driver:?}",
            state.status,
            todo.claims,
            self.clock_ms()
        )
    }

    /// The rows are what a replay of the events says.
    pub(super) fn compare_rows(&mut self, job: usize) {
        let Some(id) = self.jobs[job].run.clone() else { return };
        match at_once(runward_store::check::run(&self.ledger, &id)) {
            Ok(checked) => {
                if let Some(difference) = checked.differences.into_iter().next() {
                    self.oracle.broken("I11", || format!("job {job}: {difference}"));
                }
            }
            Err(error) => self.oracle.broken("I7", || format!("job {job}: {error}")),
        }
    }
}
