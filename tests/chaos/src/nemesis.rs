//! What is done to the cluster: a list of faults drawn from the seed, each at its time, and the end of those that last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use runward_services::{Reaches, Signal as Stop};
use runward_store::failpoint::{Action, Point};

use crate::Plan;
use crate::cluster::{Cluster, Member, locked};
use crate::points::Hit;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    KillWorker,
    /// It does not come back for so long that its host is given up.
    LoseWorker,
    KillSupervisor,
    /// Something that is neither worker nor supervisor: a step, or the process that keeps it.
    KillStep,
    KillHost,
    KillServer,
    FreezeWorker,
    FreezeHost,
    FreezeServer,
    RestartPostgres,
    CutPostgres,
    /// The next commit is done, and nobody hears of it.
    SwallowCommit,
    FreezePostgres,
    SlowPostgres,
    /// Its disk is full, for a while.
    FullPostgres,
    FlushRedis,
    FreezeRedis,
    RestartRedis,
    CutRedis,
    JunkHints,
    /// The disk of a host is full, for a while.
    FullDisk,
    /// Whoever comes to one of the points of the program next has something happen to them.
    Point,
}

/// A share of each in the faults that come.
const SHARES: [(Fault, u32); 22] = [
    (Fault::KillWorker, 30),
    (Fault::LoseWorker, 4),
    (Fault::KillSupervisor, 12),
    (Fault::KillStep, 20),
    (Fault::KillHost, 6),
    (Fault::KillServer, 12),
    (Fault::FreezeWorker, 7),
    (Fault::FreezeHost, 4),
    (Fault::FreezeServer, 4),
    (Fault::RestartPostgres, 3),
    (Fault::CutPostgres, 4),
    (Fault::SwallowCommit, 6),
    (Fault::FreezePostgres, 2),
    (Fault::SlowPostgres, 2),
    (Fault::FullPostgres, 3),
    (Fault::FlushRedis, 4),
    (Fault::FreezeRedis, 2),
    (Fault::RestartRedis, 2),
    (Fault::CutRedis, 3),
    (Fault::JunkHints, 2),
    (Fault::FullDisk, 5),
    (Fault::Point, 25),
];
/// Points that nobody comes to here: there are no schedules, no receivers and no care for the ledger.
const ELSEWHERE: [Point; 7] = [
    Point::TickInserted,
    Point::TickDecided,
    Point::LetterTaken,
    Point::LetterSent,
    Point::AfterPrune,
    Point::BeforeTidy,
    Point::BetweenMigrations,
];
/// Faults in a second, on average.
const PER_SECOND: f64 = 1.25;
const JUNK: usize = 200;

/// What really happened.
#[derive(Debug, Default)]
pub struct Faults {
    pub counts: BTreeMap<Fault, u32>,
    /// Processes that were killed with -9.
    pub kills: u32,
    /// Hosts on which a supervisor or everything was frozen: nobody there could end a step in time.
    pub frozen: BTreeSet<&'static str>,
    /// What happened at points.
    pub points: u32,
}

pub struct Nemesis<'a> {
    cluster: &'a Cluster,
    rng: Rng,
    began: Instant,
    coming: Vec<(Duration, Fault)>,
    /// What ends, and when.
    ending: Vec<(Duration, End<'a>)>,
    faults: Faults,
}

type End<'a> = Box<dyn FnOnce(&'a Cluster) + 'a>;

impl<'a> Nemesis<'a> {
    pub fn new(cluster: &'a Cluster, plan: &Plan) -> Nemesis<'a> {
        let mut rng = Rng::with_seed(plan.seed);
        let lasts = plan.lasts.as_secs_f64();
        let all: Vec<Fault> = SHARES.iter().flat_map(|(fault, share)| vec![*fault; *share as usize]).collect();
        let count = (lasts * PER_SECOND) as usize;
        let mut coming: Vec<(Duration, Fault)> =
            (0..count).map(|_| (Duration::from_secs_f64(rng.f64() * lasts), all[rng.usize(..all.len())])).collect();
        // Of those that the shares may leave out.
        let least = [
            (Fault::RestartPostgres, 6),
            (Fault::FlushRedis, 2),
            (Fault::FreezeWorker, 12),
            (Fault::FullDisk, 3),
            (Fault::FullPostgres, 3),
        ];
        let kinds = least.len() as f64;
        // Not all at the same moment, where one would keep the other from happening.
        for (place, (fault, least)) in least.into_iter().enumerate() {
            let part = (place as f64 + 0.5) / kinds;
            coming
                .extend((0..least).map(|n| (Duration::from_secs_f64(lasts * (n as f64 + part) / least as f64), fault)));
        }
        coming.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Nemesis { cluster, rng, began: Instant::now(), coming, ending: Vec::new(), faults: Faults::default() }
    }

    /// Until everything has come, and everything that lasts is over.
    pub fn rage(mut self) -> Faults {
        self.began = Instant::now();
        loop {
            self.see_to_points();
            let now = self.began.elapsed();
            let (over, lasting) = self.ending.into_iter().partition(|(at, _)| *at <= now);
            self.ending = lasting;
            let over: Vec<(Duration, End<'a>)> = over;
            over.into_iter().for_each(|(_, end)| end(self.cluster));
            match self.coming.last() {
                Some((at, fault)) if *at <= now => {
                    let fault = *fault;
                    self.coming.pop();
                    self.strike(fault);
                }
                None if self.ending.is_empty() => {
                    self.cluster.points.disarm_all();
                    self.see_to_points();
                    if self.ending.is_empty() {
                        return self.faults;
                    }
                }
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn put_off(&mut self, fault: Fault) {
        self.coming.push((self.began.elapsed() + Duration::from_secs(1), fault));
        self.coming.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    }

    fn strike(&mut self, fault: Fault) {
        let cluster = self.cluster;
        let hit = match fault {
            Fault::KillWorker => self.kill(true, 0.0, 1.5),
            Fault::LoseWorker => self.kill(true, 12.0, 18.0),
            Fault::KillServer => self.kill(false, 0.0, 2.0),
            Fault::KillSupervisor => self.kill_supervisor(),
            Fault::KillStep => self.kill_step(),
            Fault::KillHost => self.kill_host(),
            Fault::FreezeWorker => self.freeze(true),
            Fault::FreezeServer => self.freeze(false),
            Fault::FreezeHost => self.freeze_host(),
            // One that has no room may not come up again before it has.
            Fault::RestartPostgres if !cluster.has_room() => return self.put_off(fault),
            Fault::RestartPostgres => {
                let mut postgres = locked(&cluster.postgres);
                postgres.stop(Stop::Quit);
                postgres.start_again();
                true
            }
            Fault::CutPostgres => {
                cluster.to_postgres.cut();
                true
            }
            Fault::SwallowCommit => {
                // The end of a transaction, or a statement that is a commit by itself.
                let words = if self.rng.bool() { "COMMIT" } else { "\"kind\":\"attempt_" };
                cluster.to_postgres.cut_at(words, Reaches::TheServer);
                true
            }
            Fault::FreezePostgres => {
                cluster.to_postgres.freeze();
                self.later(0.5, 6.0, |cluster| cluster.to_postgres.thaw())
            }
            Fault::SlowPostgres => {
                cluster.to_postgres.delay(Duration::from_millis(150));
                self.later(1.0, 5.0, |cluster| cluster.to_postgres.delay(Duration::ZERO))
            }
            Fault::FullPostgres => {
                cluster.has_room() && cluster.take_room() && self.later(1.0, 6.0, |cluster| cluster.make_room())
            }
            Fault::FlushRedis => locked(&cluster.redis).ask(&["flushall"]).is_ok(),
            Fault::FreezeRedis => {
                cluster.to_redis.freeze();
                self.later(0.5, 6.0, |cluster| cluster.to_redis.thaw())
            }
            Fault::RestartRedis => {
                let mut redis = locked(&cluster.redis);
                redis.stop(Stop::Kill);
                redis.start_again();
                true
            }
            Fault::CutRedis => {
                cluster.to_redis.cut();
                true
            }
            Fault::JunkHints => self.junk(),
            Fault::FullDisk => cluster.disk().fill() && self.later(1.0, 8.0, |cluster| cluster.disk().clear()),
            Fault::Point => {
                let reachable: Vec<Point> = Point::ALL.iter().copied().filter(|it| !ELSEWHERE.contains(it)).collect();
                let point = reachable[self.rng.usize(..reachable.len())];
                let actions: Vec<Action> = point.actions().collect();
                cluster.points.arm(point, actions[self.rng.usize(..actions.len())]);
                true
            }
        };
        if hit {
            *self.faults.counts.entry(fault).or_default() += 1;
        }
    }

    /// Whoever was hit at a point comes back after a while.
    fn see_to_points(&mut self) {
        for Hit { action, pid, .. } in self.cluster.points.hits() {
            self.faults.points += 1;
            let members = &self.cluster.members;
            match action {
                Action::Kill => {
                    self.faults.kills += 1;
                    if let Some(member) = members.iter().find(|member| member.process() == Some(pid)) {
                        self.later(0.0, 1.5, |cluster| member.start(cluster));
                    }
                }
                Action::Freeze => {
                    let below = |member: &&Member| member.process() != Some(pid) && member.processes().contains(&pid);
                    self.faults.frozen.extend(members.iter().find(below).map(|host| host.name));
                    self.later(0.2, 12.0, move |_| _ = kill(pid, Signal::SIGCONT));
                }
                Action::Delay | Action::Fail => {}
            }
        }
    }

    /// True, so that it can end a fault.
    fn later(&mut self, least: f64, most: f64, end: impl FnOnce(&'a Cluster) + 'a) -> bool {
        let after = least + self.rng.f64() * (most - least);
        self.ending.push((self.began.elapsed() + Duration::from_secs_f64(after), Box::new(end)));
        true
    }

    fn member(&mut self, is_worker: bool) -> Option<&'a Member> {
        let up: Vec<&Member> =
            self.cluster.members.iter().filter(|member| member.is_worker == is_worker && member.is_up()).collect();
        (!up.is_empty()).then(|| up[self.rng.usize(..up.len())])
    }

    fn kill(&mut self, is_worker: bool, least: f64, most: f64) -> bool {
        let Some(member) = self.member(is_worker) else { return false };
        self.faults.kills += u32::from(member.signal(Signal::SIGKILL));
        self.later(least, most, |cluster| member.start(cluster))
    }

    fn kill_supervisor(&mut self) -> bool {
        let Some(member) = self.member(true) else { return false };
        let killed = member.supervisors().into_iter().filter(|pid| kill(*pid, Signal::SIGKILL).is_ok()).count();
        self.faults.kills += killed as u32;
        killed > 0
    }

    fn kill_step(&mut self) -> bool {
        let Some(member) = self.member(true) else { return false };
        let supervisors = member.supervisors();
        let mut there = member.processes();
        let worker = member.process();
        there.retain(|pid| !supervisors.contains(pid) && Some(*pid) != worker);
        if there.is_empty() {
            return false;
        }
        let killed = kill(there[self.rng.usize(..there.len())], Signal::SIGKILL).is_ok();
        self.faults.kills += u32::from(killed);
        killed
    }

    fn kill_host(&mut self) -> bool {
        let Some(member) = self.member(true) else { return false };
        self.faults.kills += member.signal_all(Signal::SIGKILL) as u32;
        member.signal(Signal::SIGKILL);
        self.later(0.5, 12.0, |cluster| member.start(cluster))
    }

    fn freeze(&mut self, is_worker: bool) -> bool {
        let Some(member) = self.member(is_worker) else { return false };
        member.signal(Signal::SIGSTOP);
        self.later(0.2, 12.0, |_| _ = member.signal(Signal::SIGCONT))
    }

    fn freeze_host(&mut self) -> bool {
        let Some(member) = self.member(true) else { return false };
        self.faults.frozen.insert(member.name);
        member.signal_all(Signal::SIGSTOP);
        self.later(0.5, 12.0, |_| _ = member.signal_all(Signal::SIGCONT))
    }

    fn junk(&mut self) -> bool {
        let redis = locked(&self.cluster.redis);
        let lists = redis.ask(&["--scan", "--pattern", "*active*"]).unwrap_or_default();
        let Some(list) = lists.lines().next() else { return false };
        (0..JUNK).all(|n| redis.ask(&["rpush", list, &format!("junk.{n}.{}", self.rng.u64(..))]).is_ok())
    }
}
