//! Machines, their workers, and what happens to them.

use std::collections::BTreeMap;

use runward_engine::run::calls::calls;
use runward_engine::run::place::{ANY, ENGINE};
use runward_engine::run::{Offer, Place, SessionId};

use super::reaper::{Observed, Sign};
use super::{Cluster, Event, run_id};

const BEAT_MS: u64 = 5_000;
const SWEEP_MS: u64 = 2_000;
/// Longer than anybody waits for a strict step.
const MUTE_MS: u64 = 40_000;
/// About as long as what may live without its worker is waited for.
const VERY_LONG_MS: u64 = 660_000;
/// How long the word of a worker counts after a sign of life was sent.
pub(super) const LEASE_MS: u64 = 20_000;

#[derive(Debug)]
pub(super) struct Home {
    pub(super) place: Place,
    pub(super) offer: Offer,
    pub(super) boot: u32,
    /// Nothing happens on this machine until then.
    pub(super) frozen_until: u64,
    /// Its worker alone is stopped until then.
    pub(super) stopped_until: u64,
    pub(super) cut_off_until: u64,
    /// It is heard of, and nothing that it writes arrives.
    pub(super) mute_until: u64,
    /// When something was last wrong with it.
    pub(super) trouble_until: u64,
    pub(super) worker: Option<Worker>,
    /// Counts its workers: what was meant for an earlier one means nothing.
    pub(super) life: u64,
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) session: SessionId,
    pub(super) lease_until: u64,
    /// The visit to each run.
    pub(super) visits: BTreeMap<usize, usize>,
    pub(super) observed: Observed,
}

pub(super) fn all() -> Vec<Home> {
    let offers = ["db", "linux", "db linux", "gone"];
    let labels = |text: &str| Offer::Labels(text.split(' ').map(str::to_owned).collect());
    let home = |(n, text): (usize, &&str)| Home {
        place: Place { home: format!("home-{n}").as_str().into(), host: format!("host-{n}") },
        // The last one is a server: it takes no steps.
        offer: if *text == "gone" { Offer::Nothing } else { labels(text) },
        boot: 1,
        frozen_until: 0,
        stopped_until: 0,
        cut_off_until: 0,
        mute_until: 0,
        trouble_until: 0,
        worker: None,
        life: 0,
    };
    offers.iter().enumerate().map(home).collect()
}

impl Cluster {
    pub(super) fn worker(&mut self, home: usize, life: u64) -> Option<&mut Worker> {
        let it = &mut self.homes[home];
        if it.life == life { it.worker.as_mut() } else { None }
    }

    /// Puts off what happens on a machine, or in a worker, that is frozen.
    pub(super) fn unless_frozen(&mut self, event: Event) -> Option<Event> {
        let (home, in_worker) = match &event {
            Event::Beat(home, _) | Event::Beaten { home, .. } | Event::Sweep(home, _) | Event::Reap(home, _) => {
                (*home, true)
            }
            Event::Lose { home, .. } => (*home, true),
            Event::Drive(visit) | Event::Acknowledged(visit) | Event::Answer(visit, _) => {
                (self.visits[*visit].home, true)
            }
            Event::News(visit, _) | Event::Look(visit, _) => (self.visits[*visit].home, true),
            Event::Start(process) | Event::Ends(process) | Event::LeaseOver(process) => {
                (self.processes[*process].home, false)
            }
            Event::Killed(process, _) => (self.processes[*process].home, false),
            Event::Begin(home) => (*home, false),
            _ => return Some(event),
        };
        let it = &self.homes[home];
        let until = if in_worker { it.frozen_until.max(it.stopped_until) } else { it.frozen_until };
        if until <= self.now {
            return Some(event);
        }
        // They go on in any order.
        let later = until - self.now + self.dice.below(1_000);
        self.after(later, event);
        None
    }

    pub(super) fn begin(&mut self, home: usize) {
        if self.homes[home].worker.is_some() {
            return;
        }
        if !self.reaches_ledger(home) {
            return self.after(1_000, Event::Begin(home));
        }
        self.homes[home].life += 1;
        self.join(home);
        let life = self.homes[home].life;
        for event in [Event::Beat(home, life), Event::Sweep(home, life), Event::Reap(home, life)] {
            let delay = self.dice.below(1_000);
            self.after(delay, event);
        }
    }

    /// A new session: of a worker that begins, or of one that was taken for dead.
    fn join(&mut self, home: usize) {
        self.sessions += 1;
        let session = SessionId(format!("session-{}", self.sessions));
        self.signs.insert(session.clone(), Sign { beat: 0, ended: false });
        let lease_until = self.now + LEASE_MS;
        let worker = Worker { session, lease_until, visits: BTreeMap::new(), observed: Observed::default() };
        self.homes[home].worker = Some(worker);
    }

    pub(super) fn beat(&mut self, home: usize, life: u64) {
        let reached = self.reaches_ledger(home);
        let Some(worker) = self.worker(home, life) else { return };
        let session = worker.session.clone();
        self.after(BEAT_MS, Event::Beat(home, life));
        if !reached {
            return;
        }
        let sent = self.now;
        let known = self.signs.get_mut(&session).is_some_and(|sign| sign.is_heard());
        let delay = self.moment();
        self.after(delay, Event::Beaten { home, life, known, sent });
    }

    /// The ledger has answered.
    pub(super) fn beaten(&mut self, home: usize, life: u64, known: bool, sent: u64) {
        let Some(worker) = self.worker(home, life) else { return };
        if known {
            worker.lease_until = worker.lease_until.max(sent + LEASE_MS);
            return self.extend(home);
        }
        self.counters.add("a worker learned that it was taken for dead");
        self.leave_all(home);
        self.join(home);
        self.end_strays(home);
    }

    /// Whatever it watches may live on.
    fn extend(&mut self, home: usize) {
        let Some(worker) = &self.homes[home].worker else { return };
        let until = worker.lease_until;
        let visits: Vec<usize> = worker.visits.values().copied().collect();
        for visit in visits {
            let it = &self.visits[visit];
            let watched: Vec<_> = it.course.watched(&it.view.state).map(|attempt| attempt.claim.clone()).collect();
            for claim in watched {
                if let Some(process) = self.by_claim.get(&claim) {
                    let process = &mut self.processes[*process];
                    process.lease_until = process.lease_until.max(until);
                }
            }
        }
    }

    /// Looks what there is for it.
    pub(super) fn sweep(&mut self, home: usize, life: u64) {
        let reached = self.reaches_ledger(home);
        if self.worker(home, life).is_none() {
            return;
        }
        let delay = SWEEP_MS + self.dice.below(1_000);
        self.after(delay, Event::Sweep(home, life));
        if !reached {
            return;
        }
        for run in 0..self.runs.len() {
            if self.is_called(home, run) {
                self.visit(home, run);
            }
        }
    }

    fn is_called(&self, home: usize, run: usize) -> bool {
        let (it, Some(view)) = (&self.homes[home], &self.runs[run]) else { return false };
        let listens = |call: &str| match &it.offer {
            _ if call == ENGINE => true,
            Offer::Labels(labels) => call == ANY || labels.contains(call),
            Offer::All | Offer::Nothing => false,
        };
        let own = || {
            let attempts = view.state.live().keys().filter_map(|claim| view.state.live_attempt(claim));
            attempts.into_iter().any(|(_, attempt)| attempt.place.as_ref() == Some(&it.place))
        };
        calls(&view.state).iter().any(|(call, since)| listens(call) && *since <= self.clock_ms()) || own()
    }

    /// The worker is killed; its steps go on. It is started again after so long, if it ever is in this weather.
    fn kill_worker(&mut self, home: usize, back_after: u64) {
        self.leave_all(home);
        self.homes[home].worker = None;
        self.homes[home].life += 1;
        self.after(back_after, Event::Begin(home));
    }

    pub(super) fn storm(&mut self) {
        if self.calm {
            return;
        }
        self.after(500, Event::Weather);
        if self.faults.outages && self.now >= self.away_until && self.dice.below(1_000) < 4 {
            self.counters.add("the ledger was away");
            self.away_until = self.now + self.dice.between(1_000, 70_000);
        }
        if self.dice.below(100) >= self.faults.machines {
            return;
        }
        let home = self.dice.below(self.homes.len() as u64) as usize;
        let long = self.dice.between(100, *self.dice.clone().pick(&[2_000, 25_000, 60_000, 100_000]));
        let until = self.now + long;
        let (what, trouble) = match self.dice.below(10) {
            _ if self.faults.long => ("a worker was away for very long", self.now + VERY_LONG_MS),
            0 => ("a worker was killed and started again", self.now + 5_000),
            1 => ("a worker was killed for a while", until),
            2 => ("a worker was stopped", until),
            3 => ("a machine was frozen", until),
            4 => ("a machine was cut off", until),
            5 => ("a worker was away for very long", self.now + VERY_LONG_MS),
            6..9 => ("a worker was started again and could write nothing", until + MUTE_MS),
            _ => ("a machine restarted", until),
        };
        self.counters.add(what);
        let it = &mut self.homes[home];
        it.trouble_until = it.trouble_until.max(trouble);
        match what {
            "a worker was killed and started again" => {
                let back = self.dice.between(50, 4_000);
                self.kill_worker(home, back);
            }
            "a worker was killed for a while" => self.kill_worker(home, long),
            "a worker was stopped" => it.stopped_until = it.stopped_until.max(until),
            "a machine was frozen" => {
                it.frozen_until = it.frozen_until.max(until);
                self.excuse(home, until);
            }
            "a worker was away for very long" => {
                let back = VERY_LONG_MS - self.dice.below(50_000);
                self.kill_worker(home, back);
            }
            "a worker was started again and could write nothing" => {
                it.mute_until = it.mute_until.max(until + MUTE_MS);
                let back = self.dice.between(50, 4_000);
                self.kill_worker(home, back);
            }
            "a machine was cut off" => it.cut_off_until = it.cut_off_until.max(until),
            _ => {
                it.boot += 1;
                self.all_end(home);
                self.kill_worker(home, long);
            }
        }
    }

    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        self.away_until = self.now;
        for home in 0..self.homes.len() {
            let it = &mut self.homes[home];
            (it.cut_off_until, it.mute_until) = (self.now, self.now);
        }
    }

    pub(super) fn leave_all(&mut self, home: usize) {
        let Some(worker) = &mut self.homes[home].worker else { return };
        for visit in std::mem::take(&mut worker.visits).into_values() {
            self.visits[visit].alive = false;
        }
    }

    /// What a worker finds running that is not its own any more.
    fn end_strays(&mut self, home: usize) {
        for process in 0..self.processes.len() {
            let it = &self.processes[process];
            let state = self.runs[it.run].as_ref().map(|view| &view.state);
            if it.home == home && it.is_there() && !state.is_some_and(|state| state.live().contains_key(&it.claim)) {
                self.counters.add("a worker ended what was given up meanwhile");
                self.after(1, Event::Killed(process, super::steps::Why::Killed));
            }
        }
    }

    pub(super) fn visit(&mut self, home: usize, run: usize) {
        let busy = self.homes[home].worker.as_ref().is_none_or(|worker| worker.visits.contains_key(&run));
        if !busy && self.reaches_ledger(home) {
            let view = super::at_once(super::Ledger::load(&self.ledger, &run_id(run)));
            self.open_visit(home, run, view.expect("a run that was triggered is there"));
        }
    }
}
