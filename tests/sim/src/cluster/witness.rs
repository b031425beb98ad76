//! What really happened on all machines together, against what was promised. Naive on purpose.

use std::collections::BTreeMap;

use runward_engine::run::ids::Part;
use runward_engine::run::{ClaimId, Event, Recorded, RunState, Unit};
use runward_store::RunView;

use super::steps::Process;
use crate::dice::mix;
use crate::outcome::{Counters, Violation};

#[derive(Debug, Default)]
pub(super) struct Witness {
    /// Attempts that run, wherever.
    running: Vec<(usize, Unit, ClaimId, bool)>,
    counts: BTreeMap<(usize, Unit), u32>,
    pub(super) starts: u64,
    pub(super) events: u64,
    pub(super) digest: u64,
    pub(super) found: Option<Violation>,
}

impl Witness {
    pub(super) fn broken(&mut self, now: u64, invariant: &'static str, what: String) {
        self.found.get_or_insert(Violation { invariant, what, at_ms: now });
    }

    pub(super) fn started(&mut self, now: u64, process: &Process, state: Option<&RunState>) {
        let Process { run, unit, claim, excused, home, .. } = process;
        self.starts += 1;
        self.digest = mix(self.digest, mix(now, *home as u64));
        let name = format!("{} of run {run}", crate::world::unit_text(*unit));
        let beside = self.running.iter().find(|it| (it.0, it.1) == (*run, *unit) && !it.3 && !excused).cloned();
        if let Some((_, _, other, _)) = beside {
            self.broken(now, "I2", format!("{name} starts as {claim} on machine {home} while {other} still runs"));
        }
        let live = state.is_some_and(|state| state.live().contains_key(claim));
        if !live && !excused {
            self.broken(now, "I2", format!("{name} starts as {claim} on machine {home}, which is not a live claim"));
        }
        let count = self.counts.entry((*run, *unit)).or_default();
        *count += 1;
        let (count, allowed) = (*count, state.map_or(1, |state| state.starts_max(*unit)));
        if count > allowed && unit.part != Part::Check {
            self.broken(now, "I3", format!("{name} started {count} times, {allowed} are allowed"));
        }
        self.running.push((*run, *unit, claim.clone(), *excused));
    }

    pub(super) fn ended(&mut self, process: &Process) {
        self.running.retain(|(.., claim, _)| *claim != process.claim);
    }

    /// Its machine sleeps, and cannot know that it was given up.
    pub(super) fn excused(&mut self, claim: &ClaimId) {
        self.running.iter_mut().filter(|it| it.2 == *claim).for_each(|it| it.3 = true);
    }

    /// An attempt was given up for silence. `with_reason`: something was wrong with its machine, and not long ago.
    pub(super) fn given_up(&mut self, now: u64, claim: &ClaimId, with_reason: bool) {
        if !with_reason {
            self.broken(now, "I12", format!("{claim} was given up without need"));
        }
    }

    pub(super) fn hear(&mut self, run: usize, state: &RunState, news: &[Recorded], counters: &mut Counters) {
        for recorded in news {
            self.events += 1;
            self.digest = mix(self.digest, mix(recorded.seq, run as u64));
            counters.add(match &recorded.event {
                Event::AttemptLost { then: runward_engine::run::Then::Retry { .. }, .. } => {
                    "a lost step was to start again"
                }
                Event::AttemptLost { then: runward_engine::run::Then::Hold, .. } => "a lost step was held",
                Event::AttemptLost { .. } => "a step was lost",
                Event::AttemptAdopted { .. } => "an attempt was adopted",
                Event::AttemptVoided { .. } => "an attempt was proven never started",
                Event::LateResult { .. } => "a result came too late",
                Event::RunFinished { .. } if state.status == runward_engine::run::RunStatus::Succeeded => {
                    "a run succeeded"
                }
                Event::RunFinished { .. } => "a run did not succeed",
                _ => continue,
            });
        }
    }

    pub(super) fn last_look(&mut self, now: u64, runs: &[Option<RunView>]) {
        for (run, view) in runs.iter().enumerate() {
            let Some(view) = view.as_ref().filter(|view| !view.state.status.is_terminal()) else { continue };
            let live: Vec<_> = view.state.live().keys().map(|claim| claim.0.clone()).collect();
            let what = format!("run {run} is {} and does not end: {live:?} run", view.state.status);
            self.broken(now, "I4", what);
        }
    }
}
