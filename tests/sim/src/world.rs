//! The world: its clock, its events in order of time, and everything that lives in it.
//!
//! One thread, one seed, no clock and no I/O of its own: the same seed gives the same history. First things go wrong
//! (safety), then nothing does any more and every run has to come to its end (liveness).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::path::PathBuf;

use runward_engine::run::{ClaimId, Command, RunId, SessionId, Unit};
use runward_store::{Ledger, MemoryLedger, RunQuery};
use runward_workers::driver::Callees;
use runward_workers::driver::course::News;

use crate::definitions::{self, Library};
use crate::dice::{Dice, mix};
use crate::disk::{Disk, Pid};
use crate::drivers::DriverProcess;
use crate::keepers::{Keeper, Request, Subreaper};
use crate::ledger::{Dials, at_once};
use crate::oracle::Oracle;
use crate::outcome::{Counters, Outcome};
use crate::people::Job;
use crate::weather::{Fault, Weather};

/// Things go wrong for so long, in simulated milliseconds.
const STORMY_MS: u64 = 60_000;
/// Afterwards every run is over within so long: the widest jump of the clock, and all timeouts and retries of a runbook.
const CALM_MS: u64 = 6 * 3_600_000;
/// What happens in one seed, and not more.
const EVENTS_MAX: u64 = 400_000;
const EPOCH_MS: i64 = 1_900_000_000_000;

/// What is simulated.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    pub seed: u64,
    /// No other faults than at these sites (for the shrinker).
    pub only: Option<BTreeSet<u64>>,
    /// No more jobs than this.
    pub jobs_max: Option<usize>,
}

#[derive(Debug)]
pub enum Event {
    /// Somebody wants a job done.
    Trigger(usize),
    /// The driver does its next thing.
    Drive(usize),
    /// Its commit is acknowledged.
    Acknowledged(usize),
    News(usize, News),
    /// The moment of its timer; a driver that has gone on since does not care.
    Timer(usize, u64),
    /// It looks whether somebody has changed its run.
    Look(usize),
    Asked {
        keeper: usize,
        by: usize,
        request: Request,
    },
    /// A subreaper does its next thing.
    Carry(usize),
    /// The step of a subreaper ends by itself, or its time is over; one that is at its end does not care.
    StepEnds(usize),
    StepTimesOut(usize),
    StepIsTold {
        subreaper: usize,
        grace_ms: u64,
    },
    StepIsKilled(usize),
    /// Its supervisor is dead.
    Deserted(usize),
    /// A supervisor has killed what a dead subreaper left.
    Swept {
        keeper: usize,
        subreaper: usize,
    },
    KeeperIdle(usize),
    /// A person, or nobody, does something about a job.
    Person(usize),
    /// Somebody says what they think of what they saw.
    Decides {
        job: usize,
        word: Box<Command>,
    },
    /// A driver looks after a child of its run.
    Mind {
        driver: usize,
        child: RunId,
    },
    /// Whoever wants this job done looks whether it is being done.
    Owner(usize),
    Weather,
    Calm,
}

pub struct World {
    pub(crate) seed: u64,
    /// Simulated milliseconds since the beginning.
    pub(crate) now: u64,
    /// What the machine's clock is wrong by.
    pub(crate) skew_ms: i64,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    arena: Vec<Option<Event>>,
    free: Vec<usize>,
    order: u64,
    pub(crate) dice: Dice,
    pub(crate) weather: Weather,
    pub(crate) library: Library,
    pub(crate) callees: BTreeMap<String, Callees>,
    /// Of a hundred steps so many fail.
    pub(crate) bad_luck: u64,
    pub(crate) dials: Dials,
    pub(crate) ledger: MemoryLedger,
    pub(crate) disk: Disk,
    pub(crate) boot: u64,
    pub(crate) pids: Pid,
    pub(crate) claims: u64,
    pub(crate) jobs: Vec<Job>,
    pub(crate) by_run: BTreeMap<RunId, usize>,
    pub(crate) drivers: Vec<DriverProcess>,
    pub(crate) keepers: Vec<Keeper>,
    /// The last supervisor of each session.
    pub(crate) sessions: BTreeMap<SessionId, usize>,
    pub(crate) subreapers: Vec<Subreaper>,
    pub(crate) oracle: Oracle,
    pub(crate) counters: Counters,
}

impl World {
    /// Lives through one seed.
    pub fn live(setting: &Setting) -> Outcome {
        let mut world = World::new(setting);
        world.run();
        world.outcome()
    }

    fn new(setting: &Setting) -> World {
        let mut dice = Dice::new(setting.seed);
        let library = definitions::library(&mut dice);
        let dials = Dials::default();
        let jobs = setting.jobs_max.unwrap_or(usize::MAX).min(24);
        World {
            seed: setting.seed,
            now: 0,
            skew_ms: 0,
            events: BinaryHeap::new(),
            arena: Vec::new(),
            free: Vec::new(),
            order: 0,
            weather: Weather::new(setting.seed, setting.only.clone()),
            library,
            callees: BTreeMap::new(),
            bad_luck: *dice.pick(&[3, 12, 12, 30]),
            ledger: dials.ledger(),
            dials,
            disk: Disk::default(),
            boot: 1,
            pids: 0,
            claims: 0,
            jobs: (0..jobs).map(|n| Job::new(n, &mut dice)).collect(),
            by_run: BTreeMap::new(),
            drivers: Vec::new(),
            keepers: Vec::new(),
            sessions: BTreeMap::new(),
            subreapers: Vec::new(),
            oracle: Oracle::new(jobs),
            counters: Counters::default(),
            dice,
        }
    }

    fn run(&mut self) {
        for job in 0..self.jobs.len() {
            let at = self.dice.below(STORMY_MS * 2 / 3);
            self.after(at, Event::Trigger(job));
            if self.dice.percent(15) {
                // Somebody else wants the same job done, with the same key.
                let again = at + self.dice.below(3_000);
                self.after(again, Event::Trigger(job));
            }
        }
        self.after(500, Event::Weather);
        self.after(STORMY_MS, Event::Calm);
        while let Some(Reverse((at, _, slot))) = self.events.pop() {
            self.now = at;
            if self.now > STORMY_MS + CALM_MS || self.oracle.has_found() {
                break;
            }
            if self.order > EVENTS_MAX {
                self.oracle.broken("I4", || "the world goes round in circles".to_owned());
            }
            let Some(event) = self.arena[slot].take() else { continue };
            self.free.push(slot);
            self.set_clock();
            self.happen(event);
        }
        self.finish();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Trigger(job) => self.trigger(job),
            Event::Drive(driver) => self.drive(driver),
            Event::Acknowledged(driver) => self.acknowledged(driver),
            Event::News(driver, news) => self.hear(driver, news),
            Event::Timer(driver, wait) => self.wake(driver, wait),
            Event::Look(driver) => self.look(driver),
            Event::Asked { keeper, by, request } => self.asked(keeper, by, request),
            Event::Carry(subreaper) => self.carry(subreaper),
            Event::StepEnds(subreaper) => self.step_ends(subreaper),
            Event::StepTimesOut(subreaper) => self.step_times_out(subreaper),
            Event::StepIsTold { subreaper, grace_ms } => self.step_is_told(subreaper, grace_ms),
            Event::StepIsKilled(subreaper) => self.step_is_killed(subreaper),
            Event::Deserted(subreaper) => self.deserted(subreaper),
            Event::Swept { keeper, subreaper } => self.swept(keeper, subreaper),
            Event::KeeperIdle(keeper) => self.keeper_idle(keeper),
            Event::Person(job) => self.person(job),
            Event::Decides { job, word } => self.decides(job, *word),
            Event::Mind { driver, child } => self.mind(driver, &child),
            Event::Owner(job) => self.owner(job),
            Event::Weather => self.storm(),
            Event::Calm => self.weather.calm = true,
        }
    }

    /// After `ms` simulated milliseconds.
    pub(crate) fn after(&mut self, ms: u64, event: Event) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.arena.push(None);
            self.arena.len() - 1
        });
        self.arena[slot] = Some(event);
        self.order += 1;
        self.events.push(Reverse((self.now + ms, self.order, slot)));
    }

    /// How long something takes that takes a moment, or seconds if the machine is slow.
    pub(crate) fn moment(&mut self, place: &'static str) -> u64 {
        if self.strikes(Fault::Slow, place) {
            return self.weather.how(8_000);
        }
        self.dice.below(4)
    }

    pub(crate) fn strikes(&mut self, fault: Fault, place: &'static str) -> bool {
        let struck = self.weather.strikes(fault, self.now, place);
        if struck {
            self.counters.add(place);
        }
        struck
    }

    pub(crate) fn set_clock(&mut self) {
        self.dials.set_now_ms(self.clock_ms());
    }

    /// What the machine's clock says, in epoch milliseconds.
    pub(crate) fn clock_ms(&self) -> i64 {
        EPOCH_MS + self.now as i64 + self.skew_ms
    }

    pub(crate) fn boot_id(&self) -> String {
        format!("boot-{}", self.boot)
    }

    pub(crate) fn new_pid(&mut self) -> Pid {
        self.pids += 1;
        self.pids
    }

    /// The journal of an attempt.
    pub(crate) fn journal(run: &RunId, claim: &ClaimId) -> PathBuf {
        PathBuf::from(format!("{run}/{claim}"))
    }

    /// The last look: is every run at its end, and is everything recorded as it was?
    fn finish(&mut self) {
        if !self.oracle.has_found() {
            let all = at_once(self.ledger.runs(&RunQuery::default())).unwrap_or_default();
            for job in 0..self.jobs.len() {
                self.judge_at_the_end(job, &all);
            }
        }
    }

    fn outcome(self) -> Outcome {
        let mut digest = self.oracle.digest;
        let mut counters = self.counters;
        counters.merge(&self.oracle.counters);
        for job in &self.jobs {
            digest = mix(digest, job.heads);
        }
        Outcome {
            seed: self.seed,
            attempts: self.oracle.starts,
            events: self.oracle.events,
            runs: self.jobs.iter().filter(|job| job.run.is_some()).count() as u64,
            digest: mix(digest, self.now),
            counters,
            struck: self.weather.struck,
            violation: self.oracle.found,
        }
    }
}

/// `s3` or `s3[2]`, for what is told about a violation.
pub(crate) fn unit_text(unit: Unit) -> String {
    unit.name(&format!("s{}", unit.step))
}
