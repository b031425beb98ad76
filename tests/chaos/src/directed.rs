//! Each point of the program at which a death hurts most is hit by everything that can happen there, a few at a time, while
//! people start runs and the notifications of these go to a receiver. Nothing else is done to the cluster.
//!
//! First the points of members and people: that one of those dies costs no run anything. Then those of supervisors
//! and of the processes below them: a step may be lost with its keeper, and that is all. Last, what cares for the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runward_store::failpoint::{Action, Point};

use crate::Plan;
use crate::care;
use crate::check;
use crate::cluster::{Cluster, Member, locked};
use crate::effects::Effects;
use crate::nemesis::Faults;
use crate::people::People;
use crate::receiver::Receiver;
use crate::record::Record;

/// What is to be tried.
#[derive(Debug, Clone)]
pub struct Cases {
    pub runward: PathBuf,
    pub seed: u64,
    /// Everything at every point so many times; 0: a death at each, one other action that the seed draws, and a lost
    /// answer where every commit can have one.
    pub times: u32,
    /// As in [`Plan`].
    pub pace: u32,
}

/// What came of it.
#[derive(Debug)]
pub struct Directed {
    pub cases: BTreeMap<(Point, Action), u32>,
    pub violations: Vec<String>,
    lines: Vec<(&'static str, String)>,
}

/// Points of supervisors, and of the processes below them.
const OF_KEEPERS: [Point; 7] = [
    Point::BeforeFork,
    Point::BeforeMark,
    Point::AfterMark,
    Point::AfterSpawn,
    Point::BeforeResult,
    Point::AfterResult,
    Point::BeforeTold,
];
/// Reached when everything else is over.
const OF_CARE: [Point; 3] = [Point::AfterPrune, Point::BeforeTidy, Point::BetweenMigrations];
/// A commit is done and its answer is lost: what every one of them may come to, so it is tried each time.
const UNANSWERED: [Point; 4] = [Point::AfterTrigger, Point::AfterClaim, Point::AfterSettle, Point::AfterFinish];
/// Points that are armed at once.
const AT_ONCE: usize = 4;
/// Of the times that a pace divides: longer than a member may be silent.
const FROZEN: Duration = Duration::from_secs(40);
const SILENT: Duration = Duration::from_secs(30);
/// A point that is not reached by then never is, however slow the machine.
const REACHED_IN: Duration = Duration::from_secs(600);
const FOUND_OUT_IN: Duration = Duration::from_secs(5);
const ENDS_IN: Duration = Duration::from_secs(120);
/// What a minute brings, spread over it.
const SCHEDULES: usize = 20;
const TICK: Duration = Duration::from_millis(20);
/// What is started, one after the other. All of it succeeds by itself, but `undo`.
const RUNBOOKS: [&str; 8] = ["chain", "waits", "undo", "again", "labels", "chain", "fan", "alone"];

impl Cases {
    fn all(&self, rng: &mut Rng) -> Vec<(Point, Action)> {
        let mut all = Vec::new();
        for point in Point::ALL {
            let actions: Vec<Action> = point.actions().collect();
            match self.times {
                0 => {
                    let other = actions[rng.usize(1..actions.len())];
                    let unanswered = (UNANSWERED.contains(point) && other != Action::Fail).then_some(Action::Fail);
                    all.extend([Action::Kill, other].into_iter().chain(unanswered).map(|action| (*point, action)));
                }
                times => all.extend((0..times).flat_map(|_| actions.iter().map(|action| (*point, *action)))),
            }
        }
        rng.shuffle(&mut all);
        // What only a new minute brings comes first.
        all.sort_by_key(|(point, _)| !matches!(point, Point::TickInserted | Point::TickDecided));
        all
    }
}

/// Tries every case.
pub fn run(cases: &Cases) -> Directed {
    let mut rng = Rng::with_seed(cases.seed);
    let receiver = Receiver::start();
    let plan = Plan { runward: cases.runward.clone(), seed: cases.seed, lasts: Duration::ZERO, pace: cases.pace };
    let cluster = Cluster::start_with(&plan, &receiver.configuration());
    let began = Instant::now();
    let all = cases.all(&mut rng);
    let of = |these: &[Point]| all.iter().filter(|(point, _)| these.contains(point)).copied().collect::<Vec<_>>();
    let (keepers, care) = (of(&OF_KEEPERS), of(&OF_CARE));
    let members = all.iter().filter(|case| !keepers.contains(case) && !care.contains(case)).copied().collect();
    let mut striker = Striker::new(&cluster, cases.pace, rng);
    cluster.write("runbooks/tick.yaml", &tick(&cluster));
    let mut people = striker.among_people("calm", members);
    let calm_took = began.elapsed();
    std::fs::remove_file(cluster.path("runbooks/tick.yaml")).expect("it was written");
    let calm = Record::read(&cluster);
    people.merge(striker.among_people("hard", keepers));
    let hard_took = began.elapsed() - calm_took;
    let (record, effects) = (Record::read(&cluster), Effects::read(&cluster.effects()));
    let open = People::new(&cluster, cases.seed).still_open();
    let mut violations = check::check(&record, &effects, &people, &striker.faults, &open);
    violations.extend(cost(&calm));
    violations.extend(lost_while_well(&calm, &striker.unheard));
    violations.extend(untold(&cluster, &receiver));
    striker.care(care);
    violations.extend(std::mem::take(&mut striker.found));
    let count = |action| striker.hit.iter().filter(|((_, it), _)| *it == action).map(|(_, times)| times).sum::<u32>();
    let counts = Action::ALL.map(|action| format!("{} {}", action.name(), count(action)));
    let heard = receiver.heard();
    let lines = vec![
        ("seed", format!("{}, pace 1/{}", cases.seed, cases.pace)),
        ("took", format!("{:.0?}, of members {calm_took:.0?}, of keepers {hard_took:.0?}", began.elapsed())),
        ("slowest", format!("{} after {:.0?}", striker.slowest.1, striker.slowest.0)),
        ("points", format!("{} of {}", striker.points().len(), Point::ALL.len())),
        ("actions", counts.join(", ")),
        ("runs", format!("{}: {:?}", record.runs.len(), record.by_status())),
        ("attempts", format!("{}: {:?}", record.attempts.len(), record.attempts_by_status())),
        ("told", format!("{} notifications, {} times", heard.len(), heard.values().sum::<u32>())),
        ("violations", violations.len().to_string()),
    ];
    let cases = std::mem::take(&mut striker.hit);
    if !violations.is_empty() {
        cluster.keep();
    }
    cluster.end();
    Directed { cases, violations, lines }
}

/// A runbook that many schedules start, spread over every minute.
fn tick(cluster: &Cluster) -> String {
    let effects = cluster.effects().display().to_string();
    let schedule = |n| format!("    - {{id: s{n}, cron: '* * * * *', jitter: 59s, overlap: allow}}\n");
    let schedules: String = (0..SCHEDULES).map(schedule).collect();
    format!(
        "name: tick\nfiles: [effect.sh]\non:\n  schedule:\n{schedules}params:\n  effects: {{type: string, default: {effects}}}\n\
         defaults:\n  env: {{EFFECTS: '${{{{ params.effects }}}}'}}\nsteps:\n  - {{id: a, run: '. ./effect.sh; work 0'}}\n"
    )
}

/// Runs that did not end as they do when nothing happens.
fn cost(record: &Record) -> Vec<String> {
    let mut found = Vec::new();
    for (id, row) in &record.runs {
        let (status, rollback) = (row["status"].as_str().unwrap_or_default(), &row["rollback"]);
        let fits = match record.runbook(id) {
            "undo" if breaks(row) => status == "failed" && rollback == "done",
            // What was lost with its worker twice in a row starts once more when a person says so, and no more than that.
            _ => status == "succeeded" || record.resolved.contains(id),
        };
        if !fits {
            found.push(format!("a member was hit, and run {id} ({}) is {status}", record.runbook(id)));
        }
    }
    found
}

/// Attempts that were lost although somebody heard of their host: neither it nor its worker was down or stood still.
fn lost_while_well(record: &Record, unheard: &[(&'static str, RangeInclusive<i64>)]) -> Vec<String> {
    let lost = record.attempts.iter().filter(|(_, row)| row["status"] == "lost");
    let strange = lost.filter(|(_, row)| {
        let (host, at) = (row["host"].as_str().unwrap_or_default(), row["ended_at"].as_i64().unwrap_or_default());
        !unheard.iter().any(|(name, when)| *name == host && when.contains(&at))
    });
    strange.map(|(start, row)| format!("{start:?} was lost, and nothing was wrong with its host: {row}")).collect()
}

/// And a little longer: who was not heard has to be found out.
fn from_now(lasts: Duration) -> RangeInclusive<i64> {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock that is not before 1970");
    now.as_millis() as i64..=(now + lasts + FOUND_OUT_IN).as_millis() as i64
}

/// Whether the `undo` of this run is to fail.
fn breaks(row: &serde_json::Value) -> bool {
    !row["params"].as_str().unwrap_or_default().contains("\"breaks\":false")
}

/// Runs of which nobody is told that they failed. Of a child its parent tells.
const UNSAID: &str = "SELECT id FROM runs WHERE status IN ('failed', 'timed_out') AND parent IS NULL AND NOT EXISTS \
     (SELECT FROM notices WHERE run_id = runs.id AND kind IN ('failed', 'timed_out', 'lost'))";
/// Notifications that are not where they are to go, as far as the ledger knows.
const UNDELIVERED: &str = "SELECT id || coalesce(' ' || state, '') FROM notices LEFT JOIN deliveries ON notice = id \
     WHERE routing IS DISTINCT FROM 'routed' OR state IS DISTINCT FROM 'delivered'";

/// Notifications that nobody wrote, sent or received, and some that were received and never written.
fn untold(cluster: &Cluster, receiver: &Receiver) -> Vec<String> {
    let until = Instant::now() + ENDS_IN;
    loop {
        let there = cluster.ask("SELECT id FROM notices").unwrap_or_default();
        let written: BTreeSet<&str> = there.lines().collect();
        let heard = receiver.heard();
        let missing = written.iter().filter(|id| !heard.contains_key(**id));
        let strange = heard.keys().filter(|id| !written.contains(id.as_str()));
        let mut found: Vec<String> = missing.map(|id| format!("nobody was told {id}")).collect();
        found.extend(strange.map(|id| format!("the receiver was told {id}, which nobody wrote")));
        let unsaid = cluster.ask(UNSAID).unwrap_or_else(|error| error);
        found.extend(unsaid.lines().map(|id| format!("nobody wrote that run {id} failed")));
        let undelivered = cluster.ask(UNDELIVERED).unwrap_or_else(|error| error);
        found.extend(undelivered.lines().map(|id| format!("the ledger does not know that {id} was delivered")));
        let none = written.is_empty().then(|| "there was nothing to tell".to_owned());
        if found.is_empty() || Instant::now() > until {
            found.extend(none);
            return found;
        }
        std::thread::sleep(TICK * 5);
    }
}

/// Arms points, and sees to those who were hit.
struct Striker<'a> {
    cluster: &'a Cluster,
    pace: u32,
    rng: Rng,
    hit: BTreeMap<(Point, Action), u32>,
    /// Armed, since when, and when the last thing was done that leads there.
    armed: BTreeMap<Point, (Action, Instant, Option<Instant>)>,
    /// Who is to be woken.
    frozen: Vec<(Instant, Pid)>,
    /// A member that is not started again before that.
    down: Option<(&'static str, Instant)>,
    /// Hosts that nobody heard, by the clock of the machine.
    unheard: Vec<(&'static str, RangeInclusive<i64>)>,
    faults: Faults,
    /// What took longest to be reached.
    slowest: (Duration, &'static str),
    found: Vec<String>,
}

impl<'a> Striker<'a> {
    fn new(cluster: &'a Cluster, pace: u32, rng: Rng) -> Striker<'a> {
        Striker {
            cluster,
            pace,
            rng,
            hit: BTreeMap::new(),
            armed: BTreeMap::new(),
            frozen: Vec::new(),
            down: None,
            unheard: Vec::new(),
            faults: Faults::default(),
            slowest: (Duration::ZERO, "none"),
            found: Vec::new(),
        }
    }

    fn points(&self) -> BTreeSet<Point> {
        self.hit.keys().map(|(point, _)| *point).collect()
    }

    /// Every case, while people start runs, and until all of these are over.
    fn among_people(&mut self, name: &'static str, cases: Vec<(Point, Action)>) -> People {
        let (over, done) = (AtomicBool::new(false), AtomicBool::new(false));
        let patience = Mutex::new(None);
        std::thread::scope(|scope| {
            let people = People::new(self.cluster, self.rng.u64(..));
            let starts = scope.spawn(|| people.start_each(name, &RUNBOOKS, &over));
            let agrees = People::new(self.cluster, self.rng.u64(..));
            let agrees = scope.spawn(|| agrees.agree(&done));
            self.strike(cases, |striker| {
                over.store(true, Ordering::Relaxed);
                let until = *locked(&patience).get_or_insert_with(|| Instant::now() + ENDS_IN);
                let open = People::new(striker.cluster, 0).still_open();
                starts.is_finished() && (open.is_empty() || Instant::now() > until)
            });
            done.store(true, Ordering::Relaxed);
            let mut people = starts.join().expect("who starts runs");
            people.merge(agrees.join().expect("who agrees"));
            people
        })
    }

    /// Until each case has happened, everybody is well again, and `is_over`.
    fn strike(&mut self, mut cases: Vec<(Point, Action)>, is_over: impl Fn(&mut Self) -> bool) {
        cases.reverse();
        loop {
            self.see_to_the_hit();
            self.give_up();
            while self.armed.len() < AT_ONCE {
                let Some(at) = cases.iter().rposition(|(point, _)| !self.cluster.points.is_armed(*point)) else {
                    break;
                };
                let (point, action) = cases.remove(at);
                self.cluster.points.arm(point, action);
                self.armed.insert(point, (action, Instant::now(), None));
            }
            self.provoke();
            if cases.is_empty() && self.armed.is_empty() && self.frozen.is_empty() && is_over(self) {
                return;
            }
            std::thread::sleep(TICK);
        }
    }

    fn see_to_the_hit(&mut self) {
        let now = Instant::now();
        for hit in self.cluster.points.hits() {
            *self.hit.entry((hit.point, hit.action)).or_default() += 1;
            if let Some((_, since, _)) = self.armed.remove(&hit.point) {
                self.slowest = self.slowest.max((since.elapsed(), hit.point.name()));
            }
            match hit.action {
                Action::Kill => self.faults.kills += 1,
                Action::Freeze => {
                    self.frozen.push((now + FROZEN / self.pace, hit.pid));
                    let host = self.cluster.members.iter().find(|member| member.processes().contains(&hit.pid));
                    // Nobody there can end a step in time.
                    if let Some(host) = host.filter(|_| OF_KEEPERS.contains(&hit.point)) {
                        self.faults.frozen.insert(host.name);
                    }
                    self.unheard.extend(host.map(|host| (host.name, from_now(FROZEN / self.pace))));
                }
                Action::Delay | Action::Fail => {}
            }
        }
        self.frozen.retain(|(at, pid)| {
            let over = *at <= now;
            if over {
                let _ = kill(*pid, Signal::SIGCONT); // somebody else may have ended it
            }
            !over
        });
        self.down = self.down.filter(|(_, until)| *until > now);
        for member in self.cluster.members.iter().filter(|member| self.down.is_none_or(|(name, _)| name != member.name))
        {
            member.start(self.cluster);
        }
    }

    fn give_up(&mut self) {
        let late = |since: &Instant| since.elapsed() > REACHED_IN;
        for (point, (action, since, _)) in &self.armed {
            if late(since) {
                self.cluster.points.disarm(*point);
                self.found.push(format!(
                    "{point} was not reached within {} s ({})",
                    since.elapsed().as_secs(),
                    action.name()
                ));
            }
        }
        self.armed.retain(|_, (_, since, _)| !late(since));
    }

    /// Does what leads to points that no run comes by on its own.
    fn provoke(&mut self) {
        let now = Instant::now();
        for point in self.armed.keys().copied().collect::<Vec<Point>>() {
            let silent = SILENT / self.pace;
            let every = if matches!(point, Point::AfterBury | Point::AfterLose) { silent * 2 } else { silent / 2 };
            if self.armed[&point].2.is_some_and(|last| last + every > now) {
                continue;
            }
            match point {
                Point::AfterAdopt | Point::AfterJoin | Point::BeforeTidy => _ = self.kill_a_worker(),
                Point::AfterVoid | Point::VoidMarked => self.kill_after_a_claim(),
                Point::AfterBury | Point::AfterLose if self.down.is_none() => {
                    self.down = self.kill_a_worker().map(|name| (name, now + silent * 3 / 2));
                    self.unheard.extend(self.down.map(|(name, _)| (name, from_now(silent * 3 / 2))));
                }
                _ => continue,
            }
            self.armed.entry(point).and_modify(|(_, _, last)| *last = Some(now));
        }
    }

    fn kill_after_a_claim(&mut self) {
        if !self.armed.contains_key(&Point::BeforeLaunch) {
            self.cluster.points.arm(Point::BeforeLaunch, Action::Kill);
            self.armed.insert(Point::BeforeLaunch, (Action::Kill, Instant::now(), None));
        }
    }

    fn kill_a_worker(&mut self) -> Option<&'static str> {
        let up: Vec<&Member> =
            self.cluster.members.iter().filter(|member| member.is_worker && member.is_up()).collect();
        let member = self.rng.choice(up)?;
        self.faults.kills += u32::from(member.signal(Signal::SIGKILL));
        Some(member.name)
    }

    /// Migrations, and what removes runs: with nothing else going on, and afterwards nothing is left of the runs.
    fn care(&mut self, cases: Vec<(Point, Action)>) {
        let (cluster, over) = (self.cluster, AtomicBool::new(false));
        let found = std::thread::scope(|scope| {
            let migrates = scope.spawn(|| care::migrate(cluster, &over));
            let prunes = scope.spawn(|| care::prune(cluster, &over));
            self.strike(cases, |_| true);
            over.store(true, Ordering::Relaxed);
            [migrates, prunes].map(|one| one.join().expect("who cares"))
        });
        self.found.extend(found.concat());
    }
}

impl std::fmt::Display for Directed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.lines {
            writeln!(out, "{name:<11}{value}")?;
        }
        self.violations.iter().try_for_each(|violation| writeln!(out, "VIOLATION  {violation}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cost_of(runbook: &str, status: &str, rollback: &str) -> usize {
        let row = json!({"name": runbook, "status": status, "rollback": rollback, "params": "{}"});
        cost(&Record { runs: [("r".to_owned(), row)].into(), ..Record::default() }).len()
    }

    #[test]
    fn a_run_that_ends_otherwise_than_when_nothing_happens_is_seen() {
        assert_eq!(cost_of("chain", "succeeded", "none"), 0);
        assert_eq!(cost_of("chain", "failed", "none"), 1);
        assert_eq!(cost_of("undo", "failed", "done"), 0);
        assert_eq!(cost_of("undo", "failed", "partial"), 1);
        assert_eq!(cost_of("undo", "succeeded", "none"), 1, "it breaks on purpose");
    }

    #[test]
    fn a_step_that_is_lost_on_a_host_that_is_well_is_seen() {
        let start = crate::effects::Start { run: "r".to_owned(), unit: "a".to_owned(), number: 1 };
        let row = json!({"status": "lost", "host": "host1", "ended_at": 50});
        let record = Record { attempts: [(start, row)].into(), ..Record::default() };
        let found = |unheard: &[_]| lost_while_well(&record, unheard).len();
        assert_eq!(found(&[("host1", 40..=60)]), 0);
        assert_eq!(found(&[("host1", 51..=60)]), 1, "before it was down");
        assert_eq!(found(&[("host2", 40..=60)]), 1, "another one was");
    }
}
