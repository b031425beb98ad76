//! Supervisors and their subreapers. These processes are modelled, not the real ones: what they do in which order is that
//! of `workers::supervisor::{server, attempt, watch}`; the journal they write is the real one.

use std::collections::{BTreeMap, BTreeSet};

use runward_engine::run::{ClaimId, RunId, SessionId, Unit};
use runward_workers::driver::course::News;
use runward_workers::supervisor::journal::{AttemptResult, End, JournalError, Mark, Reported, rules};
use runward_workers::supervisor::protocol::Refusal;
use runward_workers::supervisor::spool::LogSummary;

use crate::disk::{Calls, Pid};
use crate::weather::Fault;
use crate::world::{Event, World};

/// What is started.
#[derive(Debug, Clone)]
pub struct Order {
    pub job: usize,
    pub run: RunId,
    pub unit: Unit,
    pub claim: ClaimId,
    pub generation: u32,
    pub boot: String,
    pub timeout_ms: u64,
    pub grace_ms: u64,
}

#[derive(Debug)]
pub enum Request {
    Start(Box<Order>),
    Kill { claim: ClaimId, grace_ms: u64 },
}

/// A supervisor.
#[derive(Debug)]
pub struct Keeper {
    pub session: SessionId,
    pub alive: bool,
    /// The drivers that are connected.
    pub clients: BTreeSet<usize>,
    live: BTreeMap<ClaimId, usize>,
    /// Subreapers that died by accident, until nothing of them is left.
    fallen: BTreeMap<ClaimId, usize>,
}

#[derive(Debug)]
pub struct Subreaper {
    pub order: Order,
    keeper: usize,
    asked_by: usize,
    pid: Pid,
    pub alive: bool,
    deserted: bool,
    stage: Stage,
    calls: Calls,
    /// What really happened, in the oracle's list.
    effect: Option<usize>,
    why: Option<Why>,
    kill_at: Option<u64>,
    started_at_ms: u64,
}

#[derive(Debug)]
enum Stage {
    /// Lock and name.
    Start,
    Exec,
    Runs,
    Publish(Box<AttemptResult>),
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    TimedOut,
    Killed,
    Interrupted,
}

impl World {
    /// The supervisor of this session, if it lives.
    pub(crate) fn keeper_of(&self, session: &SessionId) -> Option<usize> {
        self.sessions.get(session).copied().filter(|keeper| self.keepers[*keeper].alive)
    }

    /// The driver's own supervisor: the one there is, or a new one. `None`: it is dead, and the driver has not heard of
    /// it yet.
    pub(crate) fn own_keeper(&mut self, driver: usize) -> Option<usize> {
        let session = self.drivers[driver].session.clone();
        let connected =
            self.sessions.get(&session).copied().filter(|keeper| self.drivers[driver].hears.contains(keeper));
        if let Some(keeper) = connected {
            return Some(keeper).filter(|keeper| self.keepers[*keeper].alive);
        }
        let keeper = self.keeper_of(&session).unwrap_or_else(|| {
            self.keepers.push(Keeper {
                session: session.clone(),
                alive: true,
                clients: BTreeSet::new(),
                live: BTreeMap::new(),
                fallen: BTreeMap::new(),
            });
            self.sessions.insert(session, self.keepers.len() - 1);
            self.keepers.len() - 1
        });
        self.connect(driver, keeper);
        Some(keeper)
    }

    pub(crate) fn hang_up(&mut self, keeper: usize, driver: usize) {
        self.keepers[keeper].clients.remove(&driver);
        self.after(20, Event::KeeperIdle(keeper));
    }

    pub(crate) fn keeper_idle(&mut self, keeper: usize) {
        let it = &mut self.keepers[keeper];
        if it.clients.is_empty() && it.live.is_empty() && it.fallen.is_empty() {
            it.alive = false;
        }
    }

    pub(crate) fn asked(&mut self, keeper: usize, by: usize, request: Request) {
        if self.strikes(Fault::SupervisorKilled, "supervisor killed before it read a request") {
            self.kill_keeper(keeper);
        }
        let it = &self.keepers[keeper];
        if !it.alive {
            return; // its clients have been told, and ask the journal
        }
        match request {
            Request::Start(order) => {
                let known = it.live.contains_key(&order.claim) || it.fallen.contains_key(&order.claim);
                let refusal = if known {
                    Some(Refusal::Live)
                } else if order.boot != self.boot_id() {
                    Some(Refusal::OtherBoot)
                } else if self.strikes(Fault::NoFork, "supervisor could not fork") {
                    Some(Refusal::Fork("no memory".to_owned()))
                } else {
                    None
                };
                match refusal {
                    Some(reason) => self.tell(by, News::Refused(order.claim, reason)),
                    None => self.fork(keeper, by, *order),
                }
            }
            Request::Kill { claim, grace_ms } => match it.live.get(&claim) {
                Some(subreaper) => self.after(1, Event::StepIsTold { subreaper: *subreaper, grace_ms }),
                None if it.fallen.contains_key(&claim) => {}
                None => self.tell(by, News::Ended(claim)),
            },
        }
    }

    fn fork(&mut self, keeper: usize, asked_by: usize, order: Order) {
        let pid = self.new_pid();
        self.keepers[keeper].live.insert(order.claim.clone(), self.subreapers.len());
        self.subreapers.push(Subreaper {
            order,
            keeper,
            asked_by,
            pid,
            alive: true,
            deserted: false,
            stage: Stage::Start,
            calls: Calls::default(),
            effect: None,
            why: None,
            kill_at: None,
            started_at_ms: 0,
        });
        let delay = self.moment("slow fork");
        self.after(delay, Event::Carry(self.subreapers.len() - 1));
    }

    fn tell(&mut self, driver: usize, news: News) {
        let delay = self.moment("slow news");
        self.after(delay, Event::News(driver, news));
    }

    fn tell_all(&mut self, keeper: usize, claim: &ClaimId) {
        for driver in self.keepers[keeper].clients.clone() {
            self.tell(driver, News::Ended(claim.clone()));
        }
    }

    /// The subreaper does its next thing: lock and name, exec, or the result.
    pub(crate) fn carry(&mut self, subreaper: usize) {
        if !self.subreapers[subreaper].alive {
            return;
        }
        let (place, both) = match self.subreapers[subreaper].stage {
            Stage::Start => ("subreaper killed before or while it marked the start", "keepers killed at the start"),
            Stage::Exec => ("subreaper killed between mark and exec", "keepers killed between mark and exec"),
            Stage::Runs | Stage::Over => return,
            Stage::Publish(_) => ("subreaper killed while it wrote the result", "keepers killed at the result"),
        };
        if self.strikes(Fault::KeepersKilled, both) {
            let keeper = self.subreapers[subreaper].keeper;
            self.kill_subreaper(subreaper);
            return self.kill_keeper(keeper);
        }
        if self.strikes(Fault::SubreaperKilled, place) {
            return self.kill_subreaper(subreaper);
        }
        match self.subreapers[subreaper].stage {
            Stage::Start => self.mark(subreaper),
            Stage::Exec => self.exec(subreaper),
            Stage::Publish(_) => self.publish(subreaper),
            Stage::Runs | Stage::Over => {}
        }
    }

    fn mark(&mut self, subreaper: usize) {
        let calls = if self.dice.percent(50) { u32::MAX } else { 1 };
        let it = &self.subreapers[subreaper];
        let dir = World::journal(&it.order.run, &it.order.claim);
        let marked = it.calls.run(&mut self.disk, it.pid, calls, |hand| rules::start(hand, &dir, it.pid as u32));
        let refusal = match marked {
            None => return self.after(self.now % 2, Event::Carry(subreaper)),
            Some(Ok(Ok(_))) => {
                self.subreapers[subreaper].stage = Stage::Exec;
                return self.after(1, Event::Carry(subreaper));
            }
            Some(Ok(Err(Mark::Started))) => Refusal::AlreadyStarted,
            Some(Ok(Err(Mark::Void))) => Refusal::Void,
            Some(Err(error)) => Refusal::Directory(error.to_string()),
        };
        self.counters.add("the journal refused a start");
        let keeper = self.end_subreaper(subreaper);
        let (claim, by) = (self.subreapers[subreaper].order.claim.clone(), self.subreapers[subreaper].asked_by);
        if !self.keepers[keeper].alive {
            return;
        }
        for driver in self.keepers[keeper].clients.clone() {
            let news = match driver == by {
                true => News::Refused(claim.clone(), refusal.clone()),
                false => News::Ended(claim.clone()),
            };
            self.tell(driver, news);
        }
    }

    fn exec(&mut self, subreaper: usize) {
        let start = self.clock_ms();
        let it = &mut self.subreapers[subreaper];
        it.stage = Stage::Runs;
        it.started_at_ms = start as u64;
        let (order, deserted) = (it.order.clone(), it.deserted);
        let effect = self.oracle.started(self.now, &self.jobs, &order);
        self.subreapers[subreaper].effect = Some(effect);
        let lasts = match self.dice.below(100) {
            0..75 => self.dice.between(1, 60),
            75..95 => self.dice.between(60, 1_500),
            _ => self.dice.between(1_500, 30_000),
        };
        self.after(lasts, Event::StepEnds(subreaper));
        self.after(order.timeout_ms, Event::StepTimesOut(subreaper));
        if deserted {
            self.deserted(subreaper);
        } else if let Some(kill_at) = self.subreapers[subreaper].kill_at {
            self.step_is_told(subreaper, kill_at);
        }
    }

    pub(crate) fn step_ends(&mut self, subreaper: usize) {
        let it = &self.subreapers[subreaper];
        let orphaned = !it.alive && it.effect.is_some_and(|effect| self.oracle.is_orphan(effect));
        if !orphaned && (!it.alive || !matches!(it.stage, Stage::Runs)) {
            return;
        }
        let code = if self.dice.percent(88) { 0 } else { self.dice.between(1, 3) as i32 };
        if let Some(effect) = it.effect {
            self.oracle.ended(self.now, effect, Some(code));
        }
        if orphaned {
            return;
        }
        let reported = Reported::Exited { code };
        let end = match it.why {
            None => reported.into(),
            Some(Why::TimedOut) => End::TimedOut { reported: Some(reported) },
            Some(Why::Killed) => End::Killed { reported: Some(reported) },
            Some(Why::Interrupted) => End::Interrupted,
        };
        self.conclude(subreaper, end);
    }

    pub(crate) fn step_times_out(&mut self, subreaper: usize) {
        let it = &self.subreapers[subreaper];
        if it.alive && matches!(it.stage, Stage::Runs) && it.why.is_none() {
            self.counters.add("a step timed out");
            let grace_ms = it.order.grace_ms;
            self.stop(subreaper, Why::TimedOut, grace_ms);
        }
    }

    /// TERM now, KILL after the grace.
    pub(crate) fn step_is_told(&mut self, subreaper: usize, grace_ms: u64) {
        let it = &mut self.subreapers[subreaper];
        if !it.alive {
            return;
        }
        match it.stage {
            Stage::Start | Stage::Exec => it.kill_at = Some(grace_ms), // it came together with the order to start
            Stage::Runs => self.stop(subreaper, Why::Killed, grace_ms),
            Stage::Publish(_) | Stage::Over => {}
        }
    }

    fn stop(&mut self, subreaper: usize, why: Why, grace_ms: u64) {
        self.subreapers[subreaper].why.get_or_insert(why);
        let obeys = self.dice.percent(80);
        let delay = if obeys { self.dice.below(20).min(grace_ms) } else { grace_ms };
        self.after(delay, Event::StepIsKilled(subreaper));
    }

    pub(crate) fn step_is_killed(&mut self, subreaper: usize) {
        let it = &self.subreapers[subreaper];
        if !it.alive || !matches!(it.stage, Stage::Runs) {
            return;
        }
        let reported = Some(Reported::Signaled { signal: 15 });
        let end = match it.why {
            Some(Why::TimedOut) => End::TimedOut { reported },
            Some(Why::Killed) => End::Killed { reported },
            Some(Why::Interrupted) | None => End::Interrupted,
        };
        if let Some(effect) = it.effect {
            self.oracle.ended(self.now, effect, None);
        }
        self.conclude(subreaper, end);
    }

    /// The supervisor is dead: the step is killed at once.
    pub(crate) fn deserted(&mut self, subreaper: usize) {
        let it = &mut self.subreapers[subreaper];
        it.deserted = true;
        if it.alive && matches!(it.stage, Stage::Runs) {
            it.why.get_or_insert(Why::Interrupted);
            let delay = self.dice.below(30);
            self.after(delay, Event::StepIsKilled(subreaper));
        }
    }

    /// Nothing of the step is left: the result is written.
    fn conclude(&mut self, subreaper: usize, end: End) {
        let ended_at_ms = self.clock_ms() as u64;
        let it = &mut self.subreapers[subreaper];
        let result = AttemptResult {
            boot: it.order.boot.clone(),
            end,
            started_at_ms: it.started_at_ms,
            ended_at_ms,
            cpu_ms: None,
            max_rss_kib: None,
            log: LogSummary::default(),
            orphans: Vec::new(),
            unkillable: Vec::new(),
        };
        it.stage = Stage::Publish(Box::new(result));
        it.calls = it.calls.next();
        let delay = self.moment("slow result");
        self.after(delay, Event::Carry(subreaper));
    }

    fn publish(&mut self, subreaper: usize) {
        let calls = if self.dice.percent(70) { u32::MAX } else { 1 };
        let it = &self.subreapers[subreaper];
        let Stage::Publish(result) = &it.stage else { return };
        let dir = World::journal(&it.order.run, &it.order.claim);
        let written = it.calls.run(&mut self.disk, it.pid, calls, |hand| rules::write_result(hand, &dir, result));
        match written {
            None => self.after(self.now % 2, Event::Carry(subreaper)),
            Some(_) => {
                let keeper = self.end_subreaper(subreaper);
                let claim = self.subreapers[subreaper].order.claim.clone();
                if self.keepers[keeper].alive {
                    self.tell_all(keeper, &claim);
                }
            }
        }
    }

    /// The subreaper has let go of its attempt.
    fn end_subreaper(&mut self, subreaper: usize) -> usize {
        let it = &mut self.subreapers[subreaper];
        it.alive = false;
        it.stage = Stage::Over;
        let (keeper, pid, holds) = (it.keeper, it.pid, it.calls.holds.get());
        let claim = it.order.claim.clone();
        it.calls = Calls::default();
        self.disk.died(pid, holds);
        self.keepers[keeper].live.remove(&claim);
        self.after(20, Event::KeeperIdle(keeper));
        keeper
    }

    /// `kill -9` of one process. What it kept falls to its supervisor, or to nobody.
    pub(crate) fn kill_subreaper(&mut self, subreaper: usize) {
        if !self.subreapers[subreaper].alive {
            return;
        }
        let claim = self.subreapers[subreaper].order.claim.clone();
        self.oracle.keeper_died(&claim);
        let runs = matches!(self.subreapers[subreaper].stage, Stage::Runs);
        let keeper = self.end_subreaper(subreaper);
        if self.keepers[keeper].alive {
            self.keepers[keeper].fallen.insert(claim, subreaper);
            let delay = self.dice.between(1, 20);
            self.after(delay, Event::Swept { keeper, subreaper });
        } else if let (true, Some(effect)) = (runs, self.subreapers[subreaper].effect) {
            self.counters.add("a step was left without keepers");
            self.oracle.orphaned(effect);
        }
    }

    /// The supervisor has killed what was left, and says so where nobody else can.
    pub(crate) fn swept(&mut self, keeper: usize, subreaper: usize) {
        let it = &self.subreapers[subreaper];
        let (claim, order, effect) = (it.order.claim.clone(), it.order.clone(), it.effect);
        if !self.keepers[keeper].alive {
            return;
        }
        self.keepers[keeper].fallen.remove(&claim);
        if let Some(effect) = effect {
            self.oracle.ended(self.now, effect, None);
        }
        let dir = World::journal(&order.run, &claim);
        let now = self.clock_ms() as u64;
        let result = AttemptResult {
            boot: order.boot.clone(),
            end: End::Interrupted,
            started_at_ms: now,
            ended_at_ms: now,
            cpu_ms: None,
            max_rss_kib: None,
            log: LogSummary::default(),
            orphans: Vec::new(),
            unkillable: Vec::new(),
        };
        let pid = self.new_pid();
        let calls = Calls::default();
        calls.run(&mut self.disk, pid, u32::MAX, |hand| -> Result<(), JournalError> {
            if !matches!(rules::read_result(hand, &dir, &order.boot), Ok(Some(_))) {
                return rules::write_result(hand, &dir, &result);
            }
            Ok(())
        });
        self.tell_all(keeper, &claim);
        self.after(20, Event::KeeperIdle(keeper));
    }

    /// `kill -9` of a supervisor: its clients lose their connection, its subreapers end their steps.
    pub(crate) fn kill_keeper(&mut self, keeper: usize) {
        let it = &mut self.keepers[keeper];
        if !std::mem::take(&mut it.alive) {
            return;
        }
        let session = it.session.clone();
        let (clients, live) = (std::mem::take(&mut it.clients), std::mem::take(&mut it.live));
        for subreaper in std::mem::take(&mut it.fallen).into_values() {
            if let Some(effect) = self.subreapers[subreaper].effect.filter(|effect| self.oracle.runs(*effect)) {
                self.counters.add("a step was left without keepers");
                self.oracle.orphaned(effect);
            }
        }
        for (claim, subreaper) in live {
            self.oracle.keeper_died(&claim);
            self.after(1, Event::Deserted(subreaper));
        }
        for driver in clients {
            self.tell(driver, News::Gone(session.clone()));
        }
    }

    /// The machine is down: every process is dead, every lock gone.
    pub(crate) fn all_processes_die(&mut self) {
        for subreaper in 0..self.subreapers.len() {
            let it = &self.subreapers[subreaper];
            let effect = it.effect.filter(|effect| self.oracle.runs(*effect));
            if let Some(effect) = effect {
                self.oracle.ended(self.now, effect, None);
            }
            if self.subreapers[subreaper].alive {
                self.end_subreaper(subreaper);
            }
        }
        for keeper in &mut self.keepers {
            keeper.alive = false;
            keeper.clients.clear();
            keeper.live.clear();
            keeper.fallen.clear();
        }
    }
}
