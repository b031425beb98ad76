//! What really happened, and whether it is what was promised.
//!
//! Two witnesses are compared: the steps, each of which notes here when it starts and how it ends (nothing of runward is
//! asked), and the record, event by event as it becomes durable. The checks are naive on purpose: they count and look
//! everywhere, and share no code with what they check. Their names are those of docs/decisions/0009.

use std::collections::{BTreeMap, BTreeSet};

use runward_engine::run::command::Resolution;
use runward_engine::run::event::StopCause;
use runward_engine::run::ids::Part;
use runward_engine::run::outputs::Outputs;
use runward_engine::run::prepare::Prepared;
use runward_engine::run::{ClaimId, Event, Outcome, Recorded, RunState, RunStatus, StepStatus, Unit};

use crate::dice::mix;
use crate::keepers::Order;
use crate::outcome::Violation;
use crate::people::Job;
use crate::world::unit_text;

/// One start of one step, as the step itself saw it.
#[derive(Debug)]
struct Effect {
    job: usize,
    unit: Unit,
    runs: bool,
    /// Nobody is left who could end it, by an accident that is documented: it counts, but it may run beside another.
    excused: bool,
    code: Option<i32>,
}

#[derive(Debug, Default)]
struct Attempt {
    job: usize,
    boot: u64,
    effect: Option<usize>,
    live: bool,
    voided: bool,
    /// A process that kept it was killed.
    keeper_died: bool,
    journal_gone: bool,
}

/// What the events of a run have come to.
#[derive(Debug, Default)]
struct Told {
    seq: u64,
    generation: u32,
    live: BTreeMap<ClaimId, Unit>,
    /// Starts in this generation that a person allowed beyond those of `retry`.
    granted: BTreeMap<Unit, u32>,
    starts: BTreeMap<(Unit, u32), u32>,
    /// When a unit may start again.
    retry_at: BTreeMap<Unit, i64>,
    /// Steps that were left out, so that those who need them go on.
    passed: BTreeSet<u32>,
    skips: BTreeSet<Unit>,
    /// The attempt whose outputs a unit has now.
    outputs: BTreeMap<Unit, ClaimId>,
    /// Steps and items that succeeded, have an undo, and were not taken back.
    armed: BTreeSet<Unit>,
    /// Somebody said of a step that it succeeded: whether that can be taken back is not known here.
    resolved: bool,
    took_back: bool,
    rolling: bool,
    stopping: bool,
    forced: bool,
    paused: bool,
    finally: bool,
    finished: bool,
}

#[derive(Debug)]
pub struct Oracle {
    now: u64,
    boot: u64,
    effects: Vec<Effect>,
    attempts: BTreeMap<ClaimId, Attempt>,
    open: BTreeMap<(usize, Unit), Vec<usize>>,
    told: Vec<Told>,
    pub starts: u64,
    pub events: u64,
    pub digest: u64,
    pub found: Option<Violation>,
}

impl Oracle {
    pub fn new(jobs: usize) -> Oracle {
        Oracle {
            now: 0,
            boot: 1,
            effects: Vec::new(),
            attempts: BTreeMap::new(),
            open: BTreeMap::new(),
            told: (0..jobs).map(|_| Told { generation: 1, ..Told::default() }).collect(),
            starts: 0,
            events: 0,
            digest: 0,
            found: None,
        }
    }

    pub fn has_found(&self) -> bool {
        self.found.is_some()
    }

    /// The first broken promise counts; what follows from it does not.
    pub fn broken(&mut self, invariant: &'static str, what: impl FnOnce() -> String) {
        if self.found.is_none() {
            self.found = Some(Violation { invariant, what: what(), at_ms: self.now });
        }
    }

    fn demand(&mut self, holds: bool, invariant: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.broken(invariant, what);
        }
    }

    /// A step starts.
    pub fn started(&mut self, now: u64, jobs: &[Job], order: &Order) -> usize {
        self.now = now;
        self.starts += 1;
        self.digest = mix(self.digest, mix(now, self.starts));
        let (job, unit, claim) = (order.job, order.unit, order.claim.clone());
        let name = unit_text(unit);
        let attempt = self.attempts.entry(claim.clone()).or_default();
        let (live, voided, twice) = (attempt.live, attempt.voided, attempt.effect.is_some());
        attempt.effect = Some(self.effects.len());
        self.demand(!twice, "I3", || format!("{name} of job {job} started twice under the claim {claim}"));
        self.demand(!voided, "I3", || format!("{name} of job {job} started after {claim} was proven never started"));
        self.demand(live, "I2", || format!("{name} of job {job} started under {claim}, which is not a live claim"));
        let beside = self.open.entry((job, unit)).or_default().clone();
        let beside = beside.into_iter().find(|effect| self.effects[*effect].runs && !self.effects[*effect].excused);
        self.demand(beside.is_none(), "I2", || format!("{name} of job {job} runs twice at the same time"));
        let told = &mut self.told[job];
        let starts = told.starts.entry((unit, order.generation)).or_default();
        *starts += 1;
        let (starts, granted) = (*starts, told.granted.get(&unit).copied().unwrap_or_default());
        if let Some(watcher) = &jobs[job].watcher {
            let retry = watcher.state.retry_of(unit);
            let allowed = retry.map_or(1, |retry| retry.attempts.get()) + granted;
            let generation = order.generation;
            self.demand(starts <= allowed, "I3", || {
                format!("{name} of job {job} started {starts} times in generation {generation}, {allowed} are allowed")
            });
        }
        self.effects.push(Effect { job, unit, runs: true, excused: false, code: None });
        self.open.entry((job, unit)).or_default().push(self.effects.len() - 1);
        self.effects.len() - 1
    }

    /// Its last process is gone; `code` if it ended by itself.
    pub fn ended(&mut self, now: u64, effect: usize, code: Option<i32>) {
        self.digest = mix(self.digest, mix(now, 3));
        let it = &mut self.effects[effect];
        if std::mem::take(&mut it.runs) {
            it.code = code;
            let key = (it.job, it.unit);
            if let Some(open) = self.open.get_mut(&key) {
                open.retain(|other| *other != effect);
            }
        }
    }

    pub fn runs(&self, effect: usize) -> bool {
        self.effects[effect].runs
    }

    pub fn orphaned(&mut self, effect: usize) {
        self.effects[effect].excused = true;
    }

    pub fn is_orphan(&self, effect: usize) -> bool {
        self.effects[effect].excused && self.effects[effect].runs
    }

    pub fn keeper_died(&mut self, claim: &ClaimId) {
        self.attempts.entry(claim.clone()).or_default().keeper_died = true;
    }

    pub fn journal_removed(&mut self, claim: &ClaimId) {
        let attempt = self.attempts.entry(claim.clone()).or_default();
        attempt.journal_gone = true;
        if let Some(effect) = attempt.effect {
            self.effects[effect].excused = true;
        }
    }

    pub fn rebooted(&mut self, boot: u64) {
        self.boot = boot;
    }

    /// What a step of this claim writes as its outputs.
    pub fn outputs_of(&self, claim: &ClaimId) -> Outputs {
        Outputs::from([("k".to_owned(), claim.0.clone().into())])
    }

    /// The values a step is given are the outputs of the last attempts of what it needs.
    pub fn inputs(&mut self, now: u64, state: &RunState, unit: Unit, prepared: &Prepared) {
        self.now = now;
        if unit.part != Part::Step {
            return; // an undo is given what its step was given, perhaps generations ago
        }
        for (name, value) in &prepared.env {
            let Some(need) = name.strip_prefix("IN_").and_then(|need| need.parse::<u32>().ok()) else { continue };
            let found: serde_json::Value = serde_json::from_str(value).unwrap_or_default();
            let whole = Unit::step(need);
            let job = self.job_of(state);
            let Some(told) = job.map(|job| &self.told[job]) else { continue };
            let right = match (&found, state.step(need).whole.status) {
                (serde_json::Value::String(text), _) if text == "-" => !told.outputs.contains_key(&whole),
                (serde_json::Value::String(text), StepStatus::Succeeded) => {
                    told.outputs.get(&whole).is_some_and(|claim| claim.0 == *text)
                }
                (serde_json::Value::Array(list), StepStatus::Succeeded) => {
                    list.iter().enumerate().all(|(n, value)| match value {
                        serde_json::Value::String(text) => {
                            told.outputs.get(&Unit::item(need, n as u32)).is_some_and(|claim| claim.0 == *text)
                        }
                        _ => true,
                    })
                }
                _ => false,
            };
            let name = unit_text(unit);
            self.demand(right, "I17", || format!("{name} was given {value} as output of s{need}"));
        }
    }

    fn job_of(&self, state: &RunState) -> Option<usize> {
        state.id.0.strip_prefix("run-")?.split('-').next()?.parse().ok()
    }
}

/// The record, event by event.
impl Oracle {
    /// `state`: the durable state after these events.
    pub fn record(&mut self, now: u64, job: usize, state: &RunState, news: &[Recorded]) {
        self.now = now;
        for recorded in news {
            self.events += 1;
            let seq = self.told[job].seq + 1;
            self.demand(recorded.seq == seq, "I10", || format!("job {job}: event {} after {}", recorded.seq, seq - 1));
            self.told[job].seq = recorded.seq;
            self.event(job, state, recorded);
        }
        let live = self.told[job].live.len() as u32;
        let most = state.runbook.max_parallel.map_or(16, |most| most.get());
        self.demand(live <= most, "I14", || format!("job {job}: {live} steps at once, {most} are allowed"));
        self.windows(job, state);
    }

    fn windows(&mut self, job: usize, state: &RunState) {
        let mut items: BTreeMap<u32, u32> = BTreeMap::new();
        for unit in self.told[job].live.values().filter(|unit| unit.item.is_some()) {
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
            Event::AttemptClaimed { unit, claim, .. } => self.claimed(job, state, unit_of(unit), claim, finished),
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
            }
            Event::AttemptVoided { unit, claim } => {
                let unit = unit_of(unit);
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
                told.granted.clear();
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
                let live = told.live.values().filter(|unit| !state.runbook.is_finally(unit.step as usize)).count();
                self.demand(!again, "I1", || format!("job {job}: `finally` twice in one generation"));
                self.demand(live == 0, "I1", || format!("job {job}: `finally` beside a step of the main part"));
            }
            Event::RunFinished { status, .. } => self.finished(job, state, *status, recorded.seq == state.seq),
            Event::RunResumed { generation, reset, from, only, .. } => {
                let right = finished && *generation == told.generation + 1 && recorded.actor != "driver";
                (told.generation, told.finished, told.stopping) = (*generation, false, false);
                (told.finally, told.forced, told.paused) = (false, false, false);
                told.granted.clear();
                let steps: BTreeSet<u32> = reset.iter().map(|id| unit_of(id).step).collect();
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

    /// It takes back what succeeded, nothing else, and nothing before those that were built on it.
    fn rollback(&mut self, job: usize, state: &RunState, order: &[Unit]) {
        let told = &mut self.told[job];
        told.rolling = true;
        let beside = told.live.values().any(|unit| !state.runbook.is_finally(unit.step as usize));
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

    fn undo_claimed(&mut self, job: usize, unit: Unit, claim: &ClaimId, finished: bool) {
        let told = &self.told[job];
        let (rolling, alone, paused) = (told.rolling, told.live.is_empty(), told.paused);
        let name = unit_text(unit);
        self.demand(rolling && !finished, "I5", || format!("job {job}: {name} was claimed outside of a rollback"));
        self.demand(alone, "I5", || format!("job {job}: {name} was claimed beside another step"));
        self.demand(!paused, "I15", || format!("job {job}: {name} was claimed in a pause"));
        self.begun(job, unit, claim);
    }

    fn begun(&mut self, job: usize, unit: Unit, claim: &ClaimId) {
        self.told[job].live.insert(claim.clone(), unit);
        let boot = self.boot;
        let attempt = self.attempts.entry(claim.clone()).or_default();
        let (started, known) = (attempt.effect.is_some(), attempt.live);
        (attempt.job, attempt.live, attempt.boot) = (job, true, boot);
        self.demand(!started && !known, "I2", || format!("job {job}: the claim {claim} is older than its record"));
    }

    fn claimed(&mut self, job: usize, state: &RunState, unit: Unit, claim: &ClaimId, finished: bool) {
        if unit.part == Part::Undo {
            return self.undo_claimed(job, unit, claim, finished);
        }
        let name = unit_text(unit);
        let last = state.runbook.is_finally(unit.step as usize);
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
        for need in &state.spec(unit.step).needs {
            let status = state.step(*need as u32).whole.status;
            let met = if last { status.is_terminal() } else { self.satisfied(job, state, *need as u32) };
            self.demand(met, "I1", || format!("job {job}: {name} was claimed while s{need} is {}", status.as_str()));
        }
        self.begun(job, unit, claim);
    }

    fn satisfied(&self, job: usize, state: &RunState, step: u32) -> bool {
        match state.step(step).whole.status {
            StepStatus::Succeeded => true,
            StepStatus::Skipped => self.told[job].passed.contains(&step),
            status if status.is_failure() => state.spec(step).allow_failure,
            _ => false,
        }
    }

    /// The attempt is over, for the record. It must have been under way.
    fn over(&mut self, job: usize, claim: &ClaimId, how: &str) -> &mut Attempt {
        let known = self.told[job].live.remove(claim).is_some();
        self.demand(known, "I9", || format!("job {job}: {claim} was {how}, but it was not under way"));
        let attempt = self.attempts.entry(claim.clone()).or_default();
        attempt.live = false;
        attempt
    }

    fn settled(&mut self, job: usize, unit: Unit, claim: &ClaimId, outcome: &Outcome, outputs: &Outputs) {
        let attempt = self.over(job, claim, "settled");
        let (effect, keeper_died) = (attempt.effect, attempt.keeper_died);
        let seen = effect.map(|effect| (self.effects[effect].runs, self.effects[effect].code));
        let right = match (outcome, seen) {
            (Outcome::Succeeded, Some((false, code))) => code == Some(0),
            (Outcome::Failed { code, .. }, Some((false, seen))) => *code == seen,
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

    fn lost(&mut self, job: usize, unit: Unit, claim: &ClaimId, evidence: &str) {
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

    fn finished(&mut self, job: usize, state: &RunState, status: RunStatus, last: bool) {
        let told = &mut self.told[job];
        let (again, live) = (std::mem::replace(&mut told.finished, true), told.live.len());
        self.demand(!again, "I10", || format!("job {job}: it ended twice"));
        self.demand(live == 0, "I18", || format!("job {job}: it ended while {live} steps are under way"));
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

/// Whether `step` comes after `before`, directly or through others.
fn needs(state: &RunState, step: u32, before: u32) -> bool {
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
