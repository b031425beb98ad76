//! The end of a run, and what has to be so by then.

use runward_engine::run::event::StopCause;
use runward_engine::run::{RunState, RunStatus, StepStatus};

use super::Oracle;

impl Oracle {
    pub(super) fn finished(&mut self, job: usize, state: &RunState, status: RunStatus, last: bool) {
        let told = &mut self.told[job];
        let (again, live) = (std::mem::replace(&mut told.finished, true), told.live.len() + told.family.open.len());
        self.demand(!again, "I10", || format!("job {job}: it ended twice"));
        self.demand(live == 0, "I18", || format!("job {job}: it ended while {live} steps are under way"));
        self.children_over(job);
        if last {
            let settled = |step: &usize| {
                let whole = &state.steps()[*step].whole;
                whole.status.is_terminal() || whole.status == StepStatus::Held
            };
            let open = (0..state.steps().len()).find(|step| !settled(step));
            self.demand(open.is_none(), "I10", || format!("job {job}: it ended with an open step {open:?}"));
            let main = 0..state.runbook.main_len as u32;
            let all = main.clone().all(|step| self.satisfied(job, state, step));
            let fine = status != RunStatus::Succeeded || all;
            self.demand(fine, "I10", || format!("job {job}: it succeeded without all of its steps"));
            let stopped = matches!(state.stop, Some(StopCause::Cancelled | StopCause::TimedOut));
            let lost = status == RunStatus::Failed && all && !stopped;
            let cleanup = (state.runbook.main_len..state.steps().len()).any(|step| {
                let status = state.steps()[step].whole.status;
                status != StepStatus::Succeeded && !self.satisfied(job, state, step as u32)
            });
            self.demand(!lost || cleanup, "I10", || format!("job {job}: it failed although every step succeeded"));
        }
    }
}
