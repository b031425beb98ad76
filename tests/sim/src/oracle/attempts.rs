//! Claims and their ends, and whether they are what the step itself saw.

use runward_engine::run::ids::Part;
use runward_engine::run::outputs::Outputs;
use runward_engine::run::{ClaimId, Outcome, RunState, StepStatus, Unit};
use runward_engine::runbook::model::Action;

use super::{Attempt, Oracle};
use crate::world::unit_text;

impl Oracle {
    pub(super) fn begun(&mut self, job: usize, unit: Unit, claim: &ClaimId) {
        self.told[job].live.insert(claim.clone(), unit);
        let boot = self.boot;
        let attempt = self.attempts.entry(claim.clone()).or_default();
        let (started, known) = (attempt.effect.is_some(), attempt.live);
        (attempt.job, attempt.live, attempt.boot) = (job, true, boot);
        self.demand(!started && !known, "I2", || format!("job {job}: the claim {claim} is older than its record"));
    }

    pub(super) fn claimed(&mut self, job: usize, state: &RunState, unit: Unit, claim: &ClaimId, finished: bool) {
        if unit.part == Part::Undo {
            return self.undo_claimed(job, unit, claim, finished);
        }
        let name = unit_text(unit);
        let last = state.runbook.is_finally(unit.step as usize);
        self.may_execute(job, unit);
        self.probe_before(job, state, unit);
        self.count_claim(job, unit);
        let told = &self.told[job];
        let twice = told.live.values().any(|other| *other == unit);
        let stopped = if last { told.forced } else { told.stopping };
        let (paused, finally) = (told.paused, told.finally);
        let skipped = told.skips.contains(&unit);
        self.demand(!finished, "I10", || format!("job {job}: {name} was claimed after the end of the run"));
        self.demand(!twice, "I2", || format!("job {job}: {name} was claimed twice"));
        self.demand(!stopped, "I15", || format!("job {job}: {name} was claimed although the run was stopping"));
        self.demand(!paused, "I15", || format!("job {job}: {name} was claimed in a pause"));
        self.demand(!skipped, "I15", || format!("job {job}: {name} was claimed although it was to be skipped"));
        self.demand(finally == last, "I1", || format!("job {job}: {name} was claimed out of its part of the run"));
        self.needs_met(job, state, unit);
        self.begun(job, unit, claim);
    }

    pub(super) fn needs_met(&mut self, job: usize, state: &RunState, unit: Unit) {
        let last = state.runbook.is_finally(unit.step as usize);
        for need in &state.spec(unit.step).needs {
            let status = state.step(*need as u32).whole.status;
            let met = if last { status.is_terminal() } else { self.satisfied(job, state, *need as u32) };
            let name = unit_text(unit);
            self.demand(met, "I1", || format!("job {job}: {name} was claimed while s{need} is {}", status.as_str()));
        }
    }

    fn count_claim(&mut self, job: usize, unit: Unit) {
        let told = &mut self.told[job];
        *told.claims.entry(unit).or_default() += 1;
        *told.attempted.entry(unit).or_default() += 1;
    }

    pub(super) fn satisfied(&self, job: usize, state: &RunState, step: u32) -> bool {
        match state.step(step).whole.status {
            StepStatus::Succeeded => {
                let asks = matches!(state.spec(step).action, Action::Approve(_));
                !asks || self.told[job].agreed.contains(&step)
            }
            StepStatus::Skipped => self.told[job].passed.contains(&step),
            status if status.is_failure() => state.spec(step).allow_failure,
            _ => false,
        }
    }

    /// The attempt is over, for the record. It must have been under way.
    pub(super) fn over(&mut self, job: usize, claim: &ClaimId, how: &str) -> &mut Attempt {
        let known = self.told[job].live.remove(claim).is_some();
        self.demand(known, "I9", || format!("job {job}: {claim} was {how}, but it was not under way"));
        let attempt = self.attempts.entry(claim.clone()).or_default();
        attempt.live = false;
        attempt
    }

    pub(super) fn settled(&mut self, job: usize, unit: Unit, claim: &ClaimId, outcome: &Outcome, outputs: &Outputs) {
        let attempt = self.over(job, claim, "settled");
        let (effect, keeper_died) = (attempt.effect, attempt.keeper_died);
        let seen = effect.map(|effect| (self.effects[effect].runs, self.effects[effect].code));
        let right = match (outcome, seen) {
            (Outcome::Succeeded, Some((false, code))) => code == Some(0),
            (Outcome::Failed { code, .. }, Some((false, seen))) => *code == seen,
            (Outcome::NotInPlace, Some((false, code))) => unit.part == Part::Check && code == Some(1),
            (Outcome::TimedOut | Outcome::Killed, Some((false, _))) => true,
            (Outcome::Interrupted, None | Some((false, _))) => keeper_died,
            (Outcome::NotStarted, None) => true,
            _ => false,
        };
        let lives = seen.is_some_and(|(runs, _)| runs);
        let excused = effect.is_some_and(|effect| self.effects[effect].excused);
        let name = unit_text(unit);
        self.demand(!lives || excused, "I18", || format!("job {job}: {name} was settled while it runs"));
        self.demand(right || excused, "I9", || {
            format!("job {job}: {name} ({claim}) is recorded as {outcome:?}; it saw {seen:?}")
        });
        if *outcome == Outcome::Succeeded && unit.part == Part::Step {
            let given = unit.part != Part::Step
                || outputs.get("k").is_some_and(|value| value.as_str() == Some(claim.0.as_str()));
            self.demand(given, "I9", || format!("job {job}: {name} has outputs of another attempt"));
            self.told[job].outputs.insert(unit, claim.clone());
        }
    }

    pub(super) fn lost(&mut self, job: usize, unit: Unit, claim: &ClaimId, evidence: &str) {
        let boot = self.boot;
        let attempt = self.over(job, claim, "lost");
        let explained = attempt.keeper_died || attempt.journal_gone || attempt.boot != boot;
        let voids = evidence.starts_with("proven never started");
        let effect = attempt.effect;
        let lives = effect.is_some_and(|effect| self.effects[effect].runs && !self.effects[effect].excused);
        let name = unit_text(unit);
        self.demand(!lives, "I18", || format!("job {job}: {name} ({claim}) is recorded as lost while it runs"));
        self.demand(explained || voids, "I12", || {
            format!("job {job}: {name} ({claim}) is recorded as lost ({evidence}), but nothing had happened to it")
        });
    }
}
