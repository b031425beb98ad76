//! The record, event by event.

use std::collections::{BTreeMap, BTreeSet};

use runward_engine::run::command::Resolution;
use runward_engine::run::ids::Part;
use runward_engine::run::{Event, Outcome, Recorded, RunState, Unit};
use runward_engine::runbook::model::OnLost;

use super::approvals::Asked;
use super::{Oracle, Told};
use crate::world::unit_text;

impl Told {
    /// What counts for one generation only.
    fn begin_generation(&mut self) {
        self.granted.clear();
        self.limited.clear();
        self.claims.clear();
        self.probed.clear();
        self.approvals.clear();
        self.overridden = false;
        self.status = None;
    }
}

impl Oracle {
    /// `state`: the durable state after these events.
    pub fn record(&mut self, now: u64, job: usize, state: &RunState, news: &[Recorded]) {
        self.now = now;
        self.jobs.entry(state.id.clone()).or_insert(job);
        for recorded in news {
            self.events += 1;
            let seq = self.told[job].seq + 1;
            self.demand(recorded.seq == seq, "I10", || format!("job {job}: event {} after {}", recorded.seq, seq - 1));
            self.told[job].seq = recorded.seq;
            self.event(job, state, recorded);
        }
        let live = (self.told[job].live.len() + self.told[job].family.open.len()) as u32;
        let most = state.runbook.max_parallel.map_or(16, |most| most.get());
        self.demand(live <= most, "I14", || format!("job {job}: {live} steps at once, {most} are allowed"));
        self.windows(job, state);
    }

    fn windows(&mut self, job: usize, state: &RunState) {
        let mut items: BTreeMap<u32, u32> = BTreeMap::new();
        let told = &self.told[job];
        for unit in told.live.values().chain(told.family.open.values()).filter(|unit| unit.item.is_some()) {
            *items.entry(unit.step).or_default() += 1;
        }
        for (step, count) in items {
            let width = state.spec(step).for_each.as_ref().and_then(|each| each.max_parallel).map(|width| width.get());
            let fits = width.is_none_or(|width| count <= width);
            self.demand(fits, "I14", || format!("job {job}: {count} items of s{step} at once"));
        }
    }

    fn event(&mut self, job: usize, state: &RunState, recorded: &Recorded) {
        let unit_of = |name: &String| state.unit_named(name).unwrap_or(Unit::step(u32::MAX));
        let finished = self.told[job].finished;
        let told = &mut self.told[job];
        match &recorded.event {
            Event::RunCreated { group: Some(group), .. } => {
                told.group = Some(group.name.clone());
                told.limit = group.limit.get();
            }
            Event::PermitTaken { group } => self.permit_taken(job, state, group),
            Event::AttemptClaimed { unit, claim, .. } => {
                self.within_hours(job, state, unit_of(unit), recorded.at);
                self.claimed(job, state, unit_of(unit), claim, finished);
            }
            Event::ApprovalRequested { unit, generation, plan, deadline, by, count } => {
                let asked = Asked::new(*generation, plan, *deadline, by, *count);
                self.asked(job, state, unit_of(unit), asked);
            }
            Event::ApprovalDecided { unit, generation, plan, decision, person, .. } => {
                let about = (*generation, plan.as_str());
                self.decided(job, state, unit_of(unit), about, *decision, person);
            }
            Event::ApprovalExpired { unit, .. } => self.expired(job, unit_of(unit), recorded.at),
            Event::WindowClosed { .. } => self.counters.add("a window held a run back"),
            Event::WindowOverridden { .. } => told.overridden = true,
            Event::ChildStarted { unit, child, number, generation, definition } => {
                let unit = unit_of(unit);
                self.within_hours(job, state, unit, recorded.at);
                self.child_started(job, state, unit, (child, *number, *generation), definition);
            }
            Event::ChildSettled { unit, child, generation, status, then, outputs, .. } => {
                if let runward_engine::run::Then::Retry { at } = then {
                    told.retry_at.insert(unit_of(unit), *at);
                }
                self.child_settled(job, state, unit_of(unit), (child, *generation), *status, outputs);
            }
            Event::AttemptSettled { unit, claim, outcome, then, outputs, .. } => {
                let unit = unit_of(unit);
                let takes_back = unit.part == Part::Step && state.spec(unit.step).undo.is_some();
                match (unit.part, outcome) {
                    (Part::Undo, Outcome::Succeeded) => {
                        let owner = unit.owner();
                        let was = told.armed.remove(&owner) || told.resolved;
                        told.took_back = true;
                        told.outputs.remove(&owner);
                        told.outputs.remove(&Unit::step(owner.step));
                        self.demand(was, "I5", || format!("job {job}: {} was taken back twice", unit_text(owner)));
                    }
                    (Part::Step, Outcome::Succeeded) if takes_back => _ = told.armed.insert(unit),
                    (Part::Step, Outcome::NotStarted) => {}
                    (Part::Step, _) => _ = told.armed.remove(&unit),
                    _ => {}
                }
                let told = &mut self.told[job];
                if let runward_engine::run::Then::Retry { at } = then {
                    told.retry_at.insert(unit, *at);
                }
                self.settled(job, unit, claim, outcome, outputs);
                if unit.part == Part::Check {
                    self.probe_said(job, state, unit.owner(), claim, outcome);
                }
            }
            Event::AttemptVoided { unit, claim } => {
                let unit = unit_of(unit);
                if let Some(count) = told.attempted.get_mut(&unit) {
                    *count -= 1;
                }
                if let Some(count) = told.claims.get_mut(&unit) {
                    *count -= 1;
                }
                let attempt = self.over(job, claim, "voided");
                attempt.voided = true;
                let started = attempt.effect.is_some();
                self.demand(!started, "I9", || {
                    format!("{} has run, but is recorded as never started", unit_text(unit))
                });
            }
            Event::AttemptLost { unit, claim, evidence, then } => {
                let unit = unit_of(unit);
                if unit.part == Part::Step {
                    told.armed.remove(&unit);
                    if state.on_lost_of(unit) == OnLost::Check {
                        told.probed.remove(&unit);
                    }
                }
                if let runward_engine::run::Then::Retry { at } = then {
                    told.retry_at.insert(unit, *at);
                }
                self.lost(job, unit, claim, evidence);
            }
            Event::RetryDue { unit, reason: _ } => {
                let due = told.retry_at.remove(&unit_of(unit)).unwrap_or_default();
                let early = recorded.at < due && recorded.actor == "driver";
                self.demand(!early, "I3", || format!("job {job}: {unit} is tried again before its delay is over"));
            }
            Event::SkipRequested { unit, .. } => _ = told.skips.insert(unit_of(unit)),
            Event::SkipDue { unit } => {
                let unit = unit_of(unit);
                if unit.item.is_none() {
                    told.passed.insert(unit.step);
                }
                told.outputs.remove(&unit);
            }
            Event::StepSkipped { step, .. } => {
                let unit = unit_of(step);
                told.outputs.remove(&unit);
                told.passed.insert(unit.step);
            }
            Event::RunPaused { .. } => told.paused = true,
            Event::RunUnpaused => told.paused = false,
            Event::CancelRequested { force, .. } => {
                (told.paused, told.forced) = (false, *force);
            }
            Event::RunStopping { .. } => told.stopping = true,
            Event::RollbackRequested { generation: Some(generation), .. } => {
                let right = finished && *generation == told.generation + 1;
                (told.generation, told.finished, told.stopping) = (*generation, false, true);
                (told.finally, told.forced, told.paused) = (false, false, false);
                told.begin_generation();
                told.outputs.retain(|unit, _| !state.runbook.is_finally(unit.step as usize));
                self.demand(right, "I10", || format!("job {job}: generation {generation} begins out of turn"));
            }
            Event::RollbackStarted { order } => {
                let units: Vec<Unit> = order.iter().map(unit_of).collect();
                self.rollback(job, state, &units);
            }
            Event::RollbackFinished { .. } => {
                told.rolling = false;
                let live = told.live.values().any(|unit| unit.part == Part::Undo);
                self.demand(!live, "I5", || format!("job {job}: the rollback is over while an undo runs"));
            }
            Event::FinallyStarted => {
                let again = std::mem::replace(&mut told.finally, true);
                told.forced = false;
                let both = told.live.values().chain(told.family.open.values());
                let live = both.filter(|unit| !state.runbook.is_finally(unit.step as usize)).count();
                self.demand(!again, "I1", || format!("job {job}: `finally` twice in one generation"));
                self.demand(live == 0, "I1", || format!("job {job}: `finally` beside a step of the main part"));
            }
            Event::RunFinished { status, outputs, .. } => {
                told.status = Some(*status);
                told.handed_back.clone_from(outputs);
                told.holds = false;
                self.finished(job, state, *status, recorded.seq == state.seq);
            }
            Event::RunResumed { generation, reset, from, only, .. } => {
                let right = finished && *generation == told.generation + 1 && recorded.actor != "driver";
                (told.generation, told.finished, told.stopping) = (*generation, false, false);
                (told.finally, told.forced, told.paused) = (false, false, false);
                told.begin_generation();
                let steps: BTreeSet<u32> = reset.iter().map(|id| unit_of(id).step).collect();
                told.agreed.retain(|step| !steps.contains(step));
                let afresh = from.as_ref().map(|id| unit_of(id).step);
                self.continued(job, state, &steps, afresh);
                self.started_alone(job, only.as_ref().map(unit_of));
                let told = &mut self.told[job];
                let kept = |step: &&u32| !state.runbook.is_finally(**step as usize);
                let again = steps.iter().filter(kept).find(|step| told.outputs.contains_key(&Unit::step(**step)));
                // What was built on a step that was taken back is done again with it.
                let again = again.copied().filter(|_| from.is_none() && !told.took_back);
                told.passed.retain(|step| !steps.contains(step));
                if from.is_some() || only.is_some() {
                    told.skips.retain(|unit| !steps.contains(&unit.step));
                }
                told.outputs.retain(|unit, _| !steps.contains(&unit.step) || unit.item.is_some());
                self.demand(right, "I10", || format!("job {job}: generation {generation} begins out of turn"));
                self.demand(again.is_none(), "I3", || format!("job {job}: s{again:?} succeeded and is done again"));
            }
            Event::UnitResolved { unit, resolution, .. } => {
                let unit = unit_of(unit);
                if *resolution == Resolution::Retry {
                    let starts = told.starts.get(&(unit, told.generation)).copied().unwrap_or_default();
                    told.limited.insert(unit, starts + 1);
                    *told.granted.entry(unit).or_default() += 1;
                    *told.granted.entry(unit.part(Part::Undo)).or_default() += 1;
                }
                told.resolved = true;
                told.armed.remove(&unit);
                told.outputs.remove(&unit);
            }
            _ => {}
        }
    }

    /// A person starts one step again: exactly once, if it started before.
    fn started_alone(&mut self, job: usize, only: Option<Unit>) {
        let told = &mut self.told[job];
        let Some(only) = only else { return };
        let before: BTreeSet<Unit> = told.starts.keys().map(|(unit, _)| *unit).collect();
        let same = before.into_iter().filter(|unit| unit.step == only.step && unit.part == Part::Step);
        told.limited.extend(same.map(|unit| (unit, 1)));
    }
}
