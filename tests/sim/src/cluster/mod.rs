//! A cluster: several machines with one ledger, who hear of each other only through it.
//!
//! What is real: the state machine, the ledger in memory, and what a driver of a member decides (`Course::for_member`). What
//! is modelled: sessions and their signs of life, leases, reapers, sweeps, machines and the processes on them. Journals are
//! one word here: the other world proves them. The questions are those of many machines: is a step ever in two places, is one
//! lost that nobody had to give up, does every run come to its end when things have calmed down.
//!
//! - here: the clock, and what happens; `homes`: machines and their workers; `visits`: drivers; `steps`: processes of steps;
//!   `reaper`: who is taken for dead; `runbooks`: what is run; `witness`: what was promised

mod homes;
mod reaper;
mod runbooks;
mod steps;
mod visits;
mod witness;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use runward_engine::run::{ClaimId, RunId, SessionId};
use runward_store::{Fate, Ledger, MemoryLedger, RunView};
use runward_workers::driver::course::News;

use crate::dice::Dice;
use crate::ledger::{Dials, at_once};
use crate::outcome::{Counters, Outcome};
use homes::Home;
use reaper::Sign;
use steps::{Process, Why};
use visits::{Question, Visit};
use witness::Witness;

/// Things go wrong for so long, in simulated milliseconds, and afterwards everything comes to its end within so long.
const STORMY_MS: u64 = 240_000;
const CALM_MS: u64 = 6 * 3_600_000;
const EVENTS_MAX: u64 = 2_000_000;
const EPOCH_MS: i64 = 1_900_000_000_000;
const RUNS: usize = 6;

#[derive(Debug)]
enum Event {
    Trigger(usize),
    /// A worker begins on this machine.
    Begin(usize),
    Beat(usize, u64),
    /// The answer to a sign of life: whether the session is still there, and when it was sent.
    Beaten {
        home: usize,
        life: u64,
        known: bool,
        sent: u64,
    },
    Sweep(usize, u64),
    Reap(usize, u64),
    /// A reaper is about to record a loss.
    Lose {
        home: usize,
        life: u64,
        run: usize,
        claim: ClaimId,
        session: SessionId,
    },
    Drive(usize),
    Acknowledged(usize),
    Answer(usize, Question),
    News(usize, News),
    Look(usize, u64),
    /// What a worker has told its supervisor to start.
    Start(usize),
    Ends(usize),
    LeaseOver(usize),
    Killed(usize, Why),
    Person(usize),
    Weather,
    Calm,
}

/// What goes wrong in a seed.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    /// Of a hundred ticks of the weather.
    machines: u64,
    /// Of a thousand writes.
    writes: u64,
    /// The ledger is away for everybody now and then.
    outages: bool,
    slow: u64,
    /// Workers are away for very long, and steps that may go on without them do.
    long: bool,
}

pub struct Cluster {
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    arena: Vec<Option<Event>>,
    free: Vec<usize>,
    order: u64,
    dice: Dice,
    faults: Faults,
    calm: bool,
    dials: Dials,
    ledger: MemoryLedger,
    /// Nobody reaches the ledger until then.
    away_until: u64,
    homes: Vec<Home>,
    signs: BTreeMap<SessionId, Sign>,
    sessions: u64,
    claims: u64,
    visits: Vec<Visit>,
    processes: Vec<Process>,
    by_claim: BTreeMap<ClaimId, usize>,
    /// The runs as they are on the record.
    runs: Vec<Option<RunView>>,
    witness: Witness,
    counters: Counters,
    seed: u64,
}

impl Cluster {
    /// Lives through one seed.
    pub fn live(seed: u64) -> Outcome {
        let mut cluster = Cluster::new(seed);
        cluster.run();
        cluster.outcome()
    }

    fn new(seed: u64) -> Cluster {
        let mut dice = Dice::new(seed ^ 0xC1);
        let dials = Dials::default();
        let faults = match dice.below(5) {
            // Nobody has to be given up: whoever is has been lost by mistake.
            0 => Faults { machines: 0, writes: 10, outages: true, slow: 10, long: false },
            1 => Faults { machines: 2, writes: 0, outages: false, slow: 5, long: true },
            _ => Faults {
                machines: 4,
                writes: 10,
                outages: dice.percent(50),
                slow: *dice.pick(&[0, 10, 30]),
                long: false,
            },
        };
        Cluster {
            now: 0,
            events: BinaryHeap::new(),
            arena: Vec::new(),
            free: Vec::new(),
            order: 0,
            faults,
            calm: false,
            ledger: dials.ledger(),
            dials,
            away_until: 0,
            homes: homes::all(),
            signs: BTreeMap::new(),
            sessions: 0,
            claims: 0,
            visits: Vec::new(),
            processes: Vec::new(),
            by_claim: BTreeMap::new(),
            runs: (0..RUNS).map(|_| None).collect(),
            witness: Witness::default(),
            counters: Counters::default(),
            seed,
            dice,
        }
    }

    fn run(&mut self) {
        for home in 0..self.homes.len() {
            let at = self.dice.below(2_000);
            self.after(at, Event::Begin(home));
        }
        for run in 0..RUNS {
            let at = self.dice.below(STORMY_MS / 2);
            self.after(at, Event::Trigger(run));
        }
        self.after(500, Event::Weather);
        self.after(STORMY_MS, Event::Calm);
        while let Some(Reverse((at, _, slot))) = self.events.pop() {
            self.now = at;
            if self.now > STORMY_MS + CALM_MS || self.witness.found.is_some() || self.is_over() {
                break;
            }
            if self.order > EVENTS_MAX {
                self.witness.broken(self.now, "I4", "the world goes round in circles".to_owned());
            }
            let Some(event) = self.arena[slot].take() else { continue };
            self.free.push(slot);
            self.dials.set_now_ms(self.clock_ms());
            self.happen(event);
        }
        self.witness.last_look(self.now, &self.runs);
    }

    fn is_over(&self) -> bool {
        self.calm && self.runs.iter().flatten().all(|view| view.state.status.is_terminal())
    }

    fn happen(&mut self, event: Event) {
        let Some(event) = self.unless_frozen(event) else { return };
        match event {
            Event::Trigger(run) => self.trigger(run),
            Event::Begin(home) => self.begin(home),
            Event::Beat(home, life) => self.beat(home, life),
            Event::Beaten { home, life, known, sent } => self.beaten(home, life, known, sent),
            Event::Sweep(home, life) => self.sweep(home, life),
            Event::Reap(home, life) => self.reap(home, life),
            Event::Lose { home, life, run, claim, session } => self.lose(home, life, run, &claim, session),
            Event::Drive(visit) => self.drive(visit),
            Event::Acknowledged(visit) => self.acknowledged(visit),
            Event::Answer(visit, question) => self.answer(visit, question),
            Event::News(visit, news) => self.hear(visit, news),
            Event::Look(visit, wait) => self.look(visit, wait),
            Event::Start(process) => self.start(process),
            Event::Ends(process) => self.ends(process),
            Event::LeaseOver(process) => self.lease_over(process),
            Event::Killed(process, why) => self.killed(process, why),
            Event::Person(run) => self.person(run),
            Event::Weather => self.storm(),
            Event::Calm => self.calm_down(),
        }
    }

    fn after(&mut self, ms: u64, event: Event) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.arena.push(None);
            self.arena.len() - 1
        });
        self.arena[slot] = Some(event);
        self.order += 1;
        self.events.push(Reverse((self.now + ms, self.order, slot)));
    }

    /// How long a message or a write takes.
    fn moment(&mut self) -> u64 {
        if !self.calm && self.dice.below(1_000) < self.faults.slow {
            self.dice.below(8_000)
        } else {
            self.dice.below(4)
        }
    }

    fn clock_ms(&self) -> i64 {
        EPOCH_MS + self.now as i64
    }

    /// Whether this machine reaches the ledger now.
    fn reaches_ledger(&self, home: usize) -> bool {
        self.now >= self.away_until && self.now >= self.homes[home].cut_off_until
    }

    /// What becomes of the next write from this machine.
    fn draw_fate(&mut self, home: usize) {
        let struck = !self.calm && self.dice.below(1_000) < self.faults.writes;
        let fate = match struck {
            _ if !self.reaches_ledger(home) || self.now < self.homes[home].mute_until => Fate::Refused,
            true => *self.dice.pick(&[Fate::Refused, Fate::Vanished, Fate::Unanswered]),
            false => Fate::Done,
        };
        self.dials.set_fate(fate);
    }

    fn trigger(&mut self, run: usize) {
        let mut new = runbooks::new_run(run, self.faults.long, &mut self.dice);
        new.seed = self.seed;
        self.dials.set_fate(Fate::Done);
        let view = at_once(self.ledger.trigger(new)).expect("the runbooks of the simulator are good").view;
        self.runs[run] = Some(view);
        self.after(30_000, Event::Person(run));
    }

    /// Reads what was recorded of a run, as the witness does after every write.
    fn audit(&mut self, run: usize) {
        let Some(view) = &mut self.runs[run] else { return };
        let news = at_once(self.ledger.refresh(view)).expect("a ledger in memory is read without accidents");
        self.witness.hear(run, &view.state, &news, &mut self.counters);
    }

    /// Somebody looks after what waits for a person.
    fn person(&mut self, run: usize) {
        let Some(view) = &self.runs[run] else { return };
        if view.state.status.is_terminal() {
            return;
        }
        if let Some(command) = runbooks::word(&view.state) {
            self.counters.add("a person resolved a held step");
            let mut view = at_once(self.ledger.load(&run_id(run))).expect("it is there");
            self.dials.set_fate(Fate::Done);
            let _ = at_once(runward_store::command(&self.ledger, &mut view, command, "alice"));
            self.audit(run);
        }
        self.after(30_000, Event::Person(run));
    }

    fn outcome(self) -> Outcome {
        Outcome {
            seed: self.seed,
            attempts: self.witness.starts,
            events: self.witness.events,
            runs: self.runs.iter().flatten().count() as u64,
            digest: self.witness.digest,
            counters: self.counters,
            struck: Vec::new(),
            violation: self.witness.found,
        }
    }
}

fn run_id(run: usize) -> RunId {
    RunId(format!("run-{run}"))
}
