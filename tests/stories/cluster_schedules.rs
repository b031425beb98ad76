//! Three servers, five hundred schedules at the same minute, and a database whose clock runs twenty times as fast, while servers are
//! killed at random: each due tick is one run, or one skip with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Child;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use runward_services::{Postgres, clock};
use runward_store::timetable::{Outcome, ScheduleRow, TickRow, Timetable};
use runward_store::{Ledger, PostgresLedger, RunQuery};

use crate::harness::{PATIENCE, Scene, finish, kill_9, wait};

const SERVERS: usize = 3;
const RUNBOOKS: usize = 100;
/// How long servers are killed.
const KILLING: Duration = Duration::from_secs(25);
const MINUTE: i64 = 60_000;

/// The schedules of each runbook: how often, as the test counts it, and as the file says it.
const SCHEDULES: [(&str, i64, &str); 5] = [
    ("latest", 1, "{id: latest, cron: '* * * * *', overlap: allow}"),
    ("all", 1, "{id: all, cron: '* * * * *', missed: all}"),
    ("none", 1, "{id: none, cron: '* * * * *', missed: none}"),
    ("queue", 2, "{id: queue, cron: '*/2 * * * *', overlap: queue}"),
    ("instead", 3, "{id: instead, cron: '*/3 * * * *', overlap: cancel-running}"),
];

struct World {
    scene: Scene,
    url: String,
    _postgres: Postgres,
}

impl World {
    fn new() -> World {
        let (scene, postgres) = (Scene::new(), Postgres::start_by(clock("+0 x20"), &["max_connections=100"]));
        let url = postgres.database("runward");
        let world = World { scene, url, _postgres: postgres };
        let done = finish(world.runward("person").args(["db", "migrate"]));
        assert_eq!(done.code, 0, "{}", done.stderr);
        for n in 0..RUNBOOKS {
            let list = SCHEDULES.map(|(_, _, text)| format!("    - {text}\n")).concat();
            let text = format!("on:\n  schedule:\n{list}steps:\n  - {{id: a, cmd: ['true']}}\n");
            world.scene.file(&format!("runbooks/r{n}.yaml"), text);
        }
        world
    }

    fn runward(&self, host: &str) -> std::process::Command {
        let mut command = self.scene.runward();
        command.env("RUNWARD_DATABASE_URL", &self.url).env("RUNWARD_STATE", self.scene.path(host)).env("TZ", "UTC");
        command
    }

    fn start(&self, kind: &str, host: &str) -> Child {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.scene.path(&format!("{host}.log")));
        let log = log.expect("a log");
        // What a member does every ten seconds of its own it does every half a second: its clock is not the fast one.
        let mut command = self.runward(host);
        command.args([kind, "--name", host]).env("RUNWARD_TEST_PACE", "20");
        command.stdout(log.try_clone().expect("the same file")).stderr(log).spawn().expect("the binary starts")
    }
}

/// A different story each time; the seed tells which.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

#[test]
fn every_due_tick_is_decided_once_while_servers_are_killed() {
    let world = World::new();
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64 | 1;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let worker = world.start("worker", "worker");
    let mut servers: Vec<Child> = (0..SERVERS).map(|n| world.start("server", &format!("server{n}"))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let ledger = runtime.block_on(PostgresLedger::open(&world.url)).expect("its ledger");
    let schedules = || runtime.block_on(ledger.schedules()).expect("its schedules");
    wait("the schedules to be known", || schedules().len() == RUNBOOKS * SCHEDULES.len());
    let (began, mut kills) = (Instant::now(), 0);
    while began.elapsed() < KILLING {
        std::thread::sleep(Duration::from_millis(100 + dice.below(900)));
        let victim = dice.below(SERVERS as u64) as usize;
        kill_9(&mut servers[victim]);
        std::thread::sleep(Duration::from_millis(dice.below(300)));
        servers[victim] = world.start("server", &format!("server{victim}"));
        kills += 1;
    }
    // From here on nothing happens to them: up to this moment every tick is decided soon.
    let moment = runtime.block_on(ledger.now()).expect("its clock");
    let deadline = Instant::now() + PATIENCE;
    while !schedules().iter().all(|row| is_decided(row, moment)) {
        assert!(Instant::now() < deadline, "a tick is never decided: {}", world.scene.read("server0.log"));
        std::thread::sleep(Duration::from_millis(200));
    }
    servers.iter_mut().for_each(kill_9);
    let mut worker = worker;
    kill_9(&mut worker);
    let (rows, all) = (schedules(), runtime.block_on(ledger.ticks(None, u32::MAX)).expect("its ticks"));
    let mut by_schedule: BTreeMap<&str, Vec<&TickRow>> = BTreeMap::new();
    all.iter().for_each(|row| by_schedule.entry(&row.schedule).or_default().push(row));
    let runs = runtime.block_on(ledger.runs(&RunQuery::default())).expect("its runs");
    for row in &rows {
        let name = &row.standing.entry.name;
        check(row, by_schedule.get(name.as_str()).map_or(&[], Vec::as_slice), moment);
        let begun = runs.iter().filter(|run| run.schedule.as_ref() == Some(name)).count();
        let fired = by_schedule.get(name.as_str()).into_iter().flatten().filter(|row| is_run(row)).count();
        assert_eq!(begun, fired, "{name}: runs, and ticks that became one");
    }
    println!("{kills} kills, {} ticks, {} runs", all.len(), runs.len());
    assert!(kills >= 3 && !runs.is_empty());
    let verified = finish(world.runward("person").args(["audit", "verify"]));
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
}

fn is_run(row: &TickRow) -> bool {
    matches!(row.outcome, Outcome::Run { .. })
}

/// How often a schedule is due, as the test knows it.
fn every(name: &str) -> i64 {
    let id = name.rsplit('/').next().unwrap_or_default();
    SCHEDULES.iter().find(|(known, ..)| *known == id).map_or(1, |(_, every, _)| *every) * MINUTE
}

/// Whether everything that was due by then is decided.
fn is_decided(row: &ScheduleRow, moment: i64) -> bool {
    let every = every(&row.standing.entry.name);
    row.standing.cursor >= moment / every * every
}

/// Against whole minutes, counted here.
fn check(row: &ScheduleRow, ticks: &[&TickRow], moment: i64) {
    let (name, every) = (&row.standing.entry.name, every(&row.standing.entry.name));
    let known = row.posts.iter().map(|post| post.at).min().unwrap_or(0);
    let due: BTreeSet<i64> = (known / every + 1..=moment / every).map(|n| n * every).collect();
    let decided: Vec<i64> = ticks.iter().map(|row| row.tick.at).filter(|at| *at <= moment).collect();
    let once: BTreeSet<i64> = decided.iter().copied().collect();
    assert_eq!(once.len(), decided.len(), "{name}: a tick has two rows");
    assert_eq!(once, due, "{name}: known since {known}, looked at until {moment}");
    for row in ticks {
        if let Outcome::Skipped { reason, count } = &row.outcome {
            assert!(!reason.is_empty() && *count == 1, "{row:?}");
        }
    }
}
