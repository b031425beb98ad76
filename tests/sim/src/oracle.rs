//! What really happened, and whether it is what was promised.
//!
//! Two witnesses are compared: the steps, each of which notes here when it starts and how it ends (nothing of runward is
//! asked), and the record, event by event as it becomes durable. The checks are naive on purpose: they count and look
//! everywhere, and share no code with what they check. Their names are those of docs/decisions/0009.

use std::collections::{BTreeMap, BTreeSet};

use runward_engine::run::ids::Part;
use runward_engine::run::outputs::Outputs;
use runward_engine::run::prepare::Prepared;
use runward_engine::run::{ClaimId, RunId, RunState, RunStatus, StepStatus, Unit};

use crate::dice::mix;
use crate::keepers::Order;
use crate::outcome::{Counters, Violation};
use crate::people::Job;
use crate::world::unit_text;

mod approvals;
mod attempts;
mod ending;
mod family;
mod groups;
mod hours;
mod probes;
mod record;
mod rollback;

use approvals::Asked;
use family::Family;

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
    /// How the last generation ended, and with which outputs.
    status: Option<RunStatus>,
    handed_back: Outputs,
    /// Exactly so many starts of a unit in all, because a person allowed one more.
    limited: BTreeMap<Unit, u32>,
    /// Claims of this generation that may have started something.
    claims: BTreeMap<Unit, u32>,
    overridden: bool,
    approvals: BTreeMap<Unit, Asked>,
    /// Approvals that were given, as long as nobody has to give them again.
    agreed: BTreeSet<u32>,
    /// What the probe of a step or item said last, if that is still to be believed.
    probed: BTreeMap<Unit, bool>,
    /// Claims of a step or item in any generation that were not voided.
    attempted: BTreeMap<Unit, u32>,
    family: Family,
    group: Option<String>,
    /// Of its group, itself included.
    limit: u32,
    holds: bool,
}

#[derive(Debug)]
pub struct Oracle {
    now: u64,
    boot: u64,
    effects: Vec<Effect>,
    attempts: BTreeMap<ClaimId, Attempt>,
    open: BTreeMap<(usize, Unit), Vec<usize>>,
    told: Vec<Told>,
    /// What steps have brought about, as the world is. A probe looks here.
    in_place: BTreeSet<(usize, Unit)>,
    jobs: BTreeMap<RunId, usize>,
    pub counters: Counters,
    pub starts: u64,
    pub events: u64,
    pub digest: u64,
    pub found: Option<Violation>,
}

impl Told {
    fn begin() -> Told {
        Told { generation: 1, ..Told::default() }
    }
}

impl Oracle {
    pub fn new(jobs: usize) -> Oracle {
        Oracle {
            now: 0,
            boot: 1,
            effects: Vec::new(),
            attempts: BTreeMap::new(),
            open: BTreeMap::new(),
            told: (0..jobs).map(|_| Told::begin()).collect(),
            in_place: BTreeSet::new(),
            jobs: BTreeMap::new(),
            counters: Counters::default(),
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
            let allowed = told.limited.get(&unit).map_or(allowed, |limit| allowed.min(*limit));
            // A probe changes nothing: it is asked again when it is lost.
            let allowed = if unit.part == Part::Check { u32::MAX } else { allowed };
            let generation = order.generation;
            self.demand(starts <= allowed, "I3", || {
                format!("{name} of job {job} started {starts} times in generation {generation}, {allowed} are allowed")
            });
        }
        self.group_at_work(job, unit);
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
                        serde_json::Value::String(text) if text == "-" => {
                            !told.outputs.contains_key(&Unit::item(need, n as u32))
                        }
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
        self.jobs.get(&state.id).copied()
    }
}
