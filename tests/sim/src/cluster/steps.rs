//! The processes of steps, and the subreapers that keep them: one word of a journal each.

use runward_engine::mutated;
use runward_engine::run::ids::Part;
use runward_engine::run::{ClaimId, Unit};
use runward_workers::driver::course::News;
use runward_workers::supervisor::journal::{End, Reported};
use runward_workers::supervisor::protocol::Refusal;

use super::{Cluster, Event};

/// Between TERM and KILL where a lease is over, at most.
const LEASE_GRACE_MS: u64 = 2_000;
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Killed,
    LeaseOver,
}

#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// Claimed; the word to start may be under way.
    Claimed,
    Void,
    Runs,
    Over(End),
    /// Gone with its machine, without a result.
    Dead,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) home: usize,
    pub(super) run: usize,
    pub(super) unit: Unit,
    pub(super) claim: ClaimId,
    pub(super) boot: u32,
    pub(super) strict: bool,
    /// The word of its worker counts until then.
    pub(super) lease_until: u64,
    pub(super) stage: Stage,
    why: Option<Why>,
    /// Its machine slept over the end of its lease.
    pub(super) excused: bool,
}

impl Process {
    pub(super) fn claimed(home: usize, run: usize, unit: Unit, claim: ClaimId, boot: u32, strict: bool) -> Process {
        let (stage, why) = (Stage::Claimed, None);
        Process { home, run, unit, claim, boot, strict, lease_until: 0, stage, why, excused: false }
    }

    pub(super) fn is_there(&self) -> bool {
        matches!(self.stage, Stage::Runs)
    }
}

impl Cluster {
    /// The word to start has arrived.
    pub(super) fn start(&mut self, process: usize) {
        let it = &self.processes[process];
        if !matches!(it.stage, Stage::Claimed) || it.boot != self.homes[it.home].boot {
            return;
        }
        if self.now >= it.lease_until && !mutated!(StartTooLate) {
            self.counters.add("a start came too late");
            return self.tell(process, |claim| News::Refused(claim, Refusal::TooLate));
        }
        self.processes[process].stage = Stage::Runs;
        let it = &self.processes[process];
        let state = self.runs[it.run].as_ref().map(|view| &view.state);
        self.witness.started(self.now, it, state);
        let lasts = match self.dice.below(10) {
            0..6 if !self.faults.long => self.dice.between(1, 500),
            6..9 if !self.faults.long => self.dice.between(500, 20_000),
            _ if self.processes[process].strict => self.dice.between(20_000, 90_000),
            _ => self.dice.between(90_000, 900_000),
        };
        let left = self.processes[process].lease_until - self.now.min(self.processes[process].lease_until);
        self.after(lasts, Event::Ends(process));
        self.after(left, Event::LeaseOver(process));
    }

    pub(super) fn ends(&mut self, process: usize) {
        let failed = self.dice.percent(12);
        let code = if self.processes[process].unit.part == Part::Check {
            self.dice.below(2) as i32
        } else {
            i32::from(failed)
        };
        let end = match self.processes[process].why {
            None => End::Exited { code },
            Some(why) => ended_for(why),
        };
        self.over(process, end);
    }

    /// Its subreaper looks at the time.
    pub(super) fn lease_over(&mut self, process: usize) {
        let it = &self.processes[process];
        if !it.is_there() || !it.strict || mutated!(LeaseIgnored) {
            return;
        }
        if it.lease_until > self.now {
            let left = it.lease_until - self.now;
            return self.after(left, Event::LeaseOver(process));
        }
        self.counters.add("a lease was over");
        self.stop(process, Why::LeaseOver, LEASE_GRACE_MS);
    }

    pub(super) fn stop(&mut self, process: usize, why: Why, grace_ms: u64) {
        self.processes[process].why.get_or_insert(why);
        let obeys = self.dice.percent(80);
        let delay = if obeys { self.dice.below(20).min(grace_ms) } else { grace_ms };
        self.after(delay, Event::Killed(process, why));
    }

    pub(super) fn killed(&mut self, process: usize, why: Why) {
        let why = *self.processes[process].why.get_or_insert(why);
        self.over(process, ended_for(why));
    }

    fn over(&mut self, process: usize, end: End) {
        if !self.processes[process].is_there() {
            return;
        }
        self.processes[process].stage = Stage::Over(end);
        self.witness.ended(&self.processes[process]);
        self.tell(process, News::Ended);
    }

    /// Whoever drives its run on this machine hears it.
    fn tell(&mut self, process: usize, news: impl Fn(ClaimId) -> News) {
        let it = &self.processes[process];
        let news = news(it.claim.clone());
        let visit = self.homes[it.home].worker.as_ref().and_then(|worker| worker.visits.get(&it.run)).copied();
        if let Some(visit) = visit {
            let delay = self.moment();
            self.after(delay, Event::News(visit, news));
        }
    }

    /// The machine is down.
    pub(super) fn all_end(&mut self, home: usize) {
        for process in 0..self.processes.len() {
            if self.processes[process].home == home && self.processes[process].is_there() {
                self.processes[process].stage = Stage::Dead;
                self.witness.ended(&self.processes[process]);
            }
        }
    }

    /// A machine that sleeps over the end of a lease may have been given up when it wakes: for a moment what runs on it runs
    /// beside another, and only the target of the step could know.
    pub(super) fn excuse(&mut self, home: usize, until: u64) {
        for process in self.processes.iter_mut().filter(|it| it.home == home && it.is_there()) {
            if process.strict && process.lease_until < until {
                self.counters.add("a machine slept over the end of a lease");
                process.excused = true;
                self.witness.excused(&process.claim);
            }
        }
    }
}

fn ended_for(why: Why) -> End {
    let reported = Some(Reported::Signaled { signal: 15 });
    match why {
        Why::Killed => End::Killed { reported },
        Why::LeaseOver => End::LeaseOver { reported },
    }
}
