//! Supervisors and their subreapers. These processes are modelled, not the real ones: what they do in which order is that
//! of `workers::supervisor::{server, attempt, watch}`; the journal they write is the real one.

use std::collections::{BTreeMap, BTreeSet};

use runward_engine::run::{ClaimId, RunId, SessionId, Unit};
use runward_workers::driver::course::News;
use runward_workers::supervisor::journal::AttemptResult;
use runward_workers::supervisor::protocol::Refusal;

use crate::disk::{Calls, Pid};
use crate::weather::Fault;
use crate::world::{Event, World};

mod deaths;
mod subreaper;

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
    /// Those of them that have asked about attempts of others, and are told of every end.
    pub listeners: BTreeSet<usize>,
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

impl Keeper {
    /// What it answers when it is asked for a list.
    pub fn keeps(&self, claim: &ClaimId) -> bool {
        self.live.contains_key(claim) || self.fallen.contains_key(claim)
    }
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
                listeners: BTreeSet::new(),
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
        self.keepers[keeper].listeners.remove(&driver);
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
        let it = &mut self.keepers[keeper];
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
                    Some(reason) => {
                        self.keepers[keeper].listeners.insert(by);
                        self.tell(by, News::Refused(order.claim, reason));
                    }
                    None => self.fork(keeper, by, *order),
                }
            }
            Request::Kill { claim, grace_ms } => {
                it.listeners.insert(by);
                match it.live.get(&claim).copied() {
                    Some(subreaper) => self.after(1, Event::StepIsTold { subreaper, grace_ms }),
                    None if it.fallen.contains_key(&claim) => {}
                    None => self.tell(by, News::Ended(claim)),
                }
            }
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

    fn tell_ended(&mut self, keeper: usize, subreaper: usize) {
        let (claim, by) = (self.subreapers[subreaper].order.claim.clone(), self.subreapers[subreaper].asked_by);
        for driver in self.told(keeper, by) {
            self.tell(driver, News::Ended(claim.clone()));
        }
    }

    /// Who hears of the end of an attempt that this driver started.
    fn told(&self, keeper: usize, asked_by: usize) -> Vec<usize> {
        let it = &self.keepers[keeper];
        it.clients.iter().filter(|driver| **driver == asked_by || it.listeners.contains(driver)).copied().collect()
    }
}
