//! Several servers that fire the same schedules, in a world in which they die, their writes get lost and the clock is set: each
//! due tick is one run or one recorded skip.
//!
//! What is real: the scheduler (`workers::scheduler`), the calendar and the ledger in memory. Servers come between each other at the
//! worst moment: after one has looked what is undecided, and before it decides.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use chrono_tz::Tz;
use runward_engine::plan::Definition;
use runward_engine::run::group::Priority;
use runward_engine::run::{Command, HomeId, RunId};
use runward_engine::schedule::due::Course;
use runward_engine::schedule::entry::{Dst, Missed, Overlap, Schedule, Tick};
use runward_store::timetable::{Entry, Outcome as Came, TickRow, Timetable};
use runward_store::{Fate, Ledger, LedgerError, MemoryLedger, NewRun, RunQuery, command};
use runward_workers::scheduler::{Audience, NoRun, Runbooks, Scheduler, Scheduling, Standing};
use runward_workers::worker::Pace;

use crate::dice::Dice;
use crate::ledger::{Dials, at_once};

const SERVERS: u64 = 3;
const CALM_ROUNDS: u32 = 100;
const MINUTE: i64 = 60_000;
/// A Saturday evening before the clocks go back in Berlin.
const BEGIN: i64 = 1_792_872_000_000;
const ZONE: Tz = chrono_tz::Europe::Berlin;
const CRONS: [&str; 6] = ["* * * * *", "*/5 * * * *", "30 2 * * *", "0 * * * *", "15,45 1-3 * * *", "@daily"];

/// What one seed came to.
#[derive(Debug, Default)]
pub struct Told {
    pub runs: usize,
    pub skips: u64,
    pub deaths: u64,
    pub violation: Option<String>,
}

struct World {
    ledger: Arc<MemoryLedger>,
    dials: Dials,
    dice: RefCell<Dice>,
    now: Cell<i64>,
    /// The latest that its clock has ever shown.
    latest: Cell<i64>,
    files: Vec<Entry>,
    servers: RefCell<Vec<Option<Scheduler>>>,
    /// How deep servers are in each other's rounds.
    depth: Cell<u32>,
    deaths: Cell<u64>,
    /// Nothing goes wrong any more.
    calm: Cell<bool>,
}

/// What every server reads: the same files. Another server may come in between.
struct Files(Weak<World>);

struct Deaf;

impl Audience for Deaf {
    fn fired(&self, _: &RunId) {}
    fn changed(&self, _: &RunId) {}
    fn ledger_failed(&self, _: &str, _: &LedgerError) {}
    fn came_round(&self, _: &Standing) {}
}

impl Runbooks for Files {
    fn have_changed(&mut self) -> bool {
        false
    }

    fn read(&mut self, _: &[Entry]) -> Vec<Entry> {
        self.0.upgrade().map(|world| world.files.clone()).unwrap_or_default()
    }

    fn new_run(&self, entry: &Entry, tick: &Tick) -> Result<Box<NewRun>, NoRun> {
        let Some(world) = self.0.upgrade() else { return Err(NoRun::Changed) };
        if !world.calm.get() && world.dice.borrow_mut().percent(30) {
            world.somebody_else();
        }
        let id =
            RunId(format!("{}-{}-{:016x}", entry.name, tick.key(), world.dice.borrow_mut().between(0, u64::MAX - 1)));
        Ok(Box::new(new_run(id, &entry.name)))
    }
}

impl World {
    fn new(seed: u64) -> Rc<World> {
        let (dials, mut dice) = (Dials::default(), Dice::new(seed));
        dials.set_now_ms(BEGIN);
        let count = dice.between(2, 5);
        let files = (0..count).map(|n| entry(n, &mut dice)).collect();
        Rc::new(World {
            ledger: Arc::new(dials.ledger()),
            dials,
            dice: RefCell::new(dice),
            now: Cell::new(BEGIN),
            latest: Cell::new(BEGIN),
            files,
            servers: RefCell::new((0..SERVERS).map(|_| None).collect()),
            depth: Cell::new(0),
            deaths: Cell::new(0),
            calm: Cell::new(false),
        })
    }

    fn below(&self, n: u64) -> u64 {
        self.dice.borrow_mut().below(n)
    }

    fn percent(&self, percent: u64) -> bool {
        self.dice.borrow_mut().percent(percent)
    }

    /// A server that is not in the middle of something, if there is one.
    fn somebody_else(self: &Rc<World>) {
        if self.depth.get() < 2 {
            let server = self.below(SERVERS);
            self.round(server as usize);
        }
    }

    /// One round of a server, which may die of it.
    fn round(self: &Rc<World>, server: usize) {
        let taken = self.servers.borrow_mut()[server].take();
        let Some(mut scheduler) = taken else { return };
        self.depth.set(self.depth.get() + 1);
        self.dials.set_fate(self.fate());
        let done = at_once(scheduler.round(&Deaf));
        self.depth.set(self.depth.get() - 1);
        self.dials.set_fate(self.fate());
        let dies = !self.calm.get() && self.percent(if done.is_err() { 50 } else { 3 });
        if dies {
            self.deaths.set(self.deaths.get() + 1);
        } else {
            self.servers.borrow_mut()[server] = Some(scheduler);
        }
    }

    fn fate(&self) -> Fate {
        match self.below(if self.calm.get() { 1 } else { 20 }) {
            17 => Fate::Refused,
            18 => Fate::Vanished,
            19 => Fate::Unanswered,
            _ => Fate::Done,
        }
    }

    fn start(self: &Rc<World>, server: usize) {
        let with = Scheduling {
            timetable: self.ledger.clone(),
            runbooks: Box::new(Files(Rc::downgrade(self))),
            zone: ZONE,
            pace: Pace::default(),
        };
        let home = HomeId(format!("home-{server}"));
        self.servers.borrow_mut()[server] = Some(Scheduler::new(with, home, format!("host{server}")));
    }

    fn sleep(&self, ms: i64) {
        self.now.set(self.now.get() + ms);
        self.latest.set(self.latest.get().max(self.now.get()));
        self.dials.set_now_ms(self.now.get());
    }

    /// Some runs come to their end.
    fn end_some(&self) {
        let query = RunQuery { unfinished: true, ..RunQuery::default() };
        for row in at_once(self.ledger.runs(&query)).unwrap_or_default() {
            if self.percent(40)
                && let Ok(mut view) = at_once(self.ledger.load(&row.id))
            {
                let cancel = Command::Cancel { force: true, rollback: false, reason: None };
                let _ = at_once(command(&*self.ledger, &mut view, cancel, "somebody"));
            }
        }
    }

    fn step(self: &Rc<World>) {
        match self.below(100) {
            0..55 => self.sleep(1_000 + self.below(70) as i64 * 1_000),
            55..58 => self.sleep(-(self.below(90) as i64) * MINUTE),
            58..60 => self.sleep(self.below(200) as i64 * MINUTE),
            60..70 => self.end_some(),
            _ => {}
        }
        let server = self.below(SERVERS) as usize;
        let there = self.servers.borrow()[server].is_some();
        match there {
            true => self.round(server),
            false if self.percent(40) => self.start(server),
            false => {}
        }
    }
}

/// Lives through one seed: a time in which everything goes wrong, then one in which all is well.
pub fn live(seed: u64, steps: u32) -> Told {
    let world = World::new(seed);
    // From here on every schedule is known.
    world.calm.set(true);
    world.dials.set_fate(Fate::Done);
    (0..SERVERS as usize).for_each(|server| world.start(server));
    world.round(0);
    let begin = at_once(world.ledger.schedules()).unwrap_or_default();
    let cursors: BTreeMap<String, i64> =
        begin.iter().map(|row| (row.standing.entry.name.clone(), row.standing.cursor)).collect();
    world.calm.set(false);
    (0..steps).for_each(|_| world.step());
    world.calm.set(true);
    world.dials.set_fate(Fate::Done);
    // A clock that went back has to be where it was.
    world.sleep(world.latest.get() - world.now.get() + 300 * MINUTE);
    // A long time may have to be gone through tick by tick.
    for _ in 0..CALM_ROUNDS {
        for server in 0..SERVERS as usize {
            if world.servers.borrow()[server].is_none() {
                world.start(server);
            }
            world.round(server);
        }
    }
    let rows = at_once(world.ledger.ticks(None, u32::MAX)).unwrap_or_default();
    let mut told = Told { deaths: world.deaths.get(), ..Told::default() };
    for row in &rows {
        match &row.outcome {
            Came::Run { .. } | Came::Waits { .. } => told.runs += 1,
            Came::Skipped { count, .. } => told.skips += count,
        }
    }
    told.violation = check(&world, &cursors, &rows).err();
    told
}

/// For each due tick one row, for each row that says so one run, and nothing else.
fn check(world: &World, cursors: &BTreeMap<String, i64>, rows: &[TickRow]) -> Result<(), String> {
    let end = world.now.get();
    for entry in &world.files {
        let name = &entry.name;
        let course = Course::new(name, &entry.schedule, ZONE).map_err(|error| error.to_string())?;
        let cursor = cursors.get(name).ok_or_else(|| format!("{name} never became known"))?;
        let mut due = BTreeSet::new();
        let mut at = *cursor;
        while let Some(next) = course.next_due(at).filter(|next| *next <= end) {
            due.insert(next);
            at = next;
        }
        let own: Vec<&TickRow> = rows.iter().filter(|row| row.schedule == *name).collect();
        let mut told = 0;
        for row in &own {
            if !due.contains(&course.due_at(&row.tick)) {
                return Err(format!("{name}: {} was never due", row.tick.key()));
            }
            told += match &row.outcome {
                Came::Skipped { count, .. } => *count,
                Came::Run { .. } | Came::Waits { .. } => 1,
            };
        }
        if told != due.len() as u64 {
            let one_by_one: BTreeSet<i64> = own.iter().map(|row| course.due_at(&row.tick)).collect();
            let missing: Vec<String> = due.difference(&one_by_one).map(|at| at.to_string()).collect();
            let many = own.iter().filter(|row| matches!(row.outcome, Came::Skipped { count: 2.., .. }));
            let many: Vec<_> = many.map(|row| (course.due_at(&row.tick), &row.outcome)).collect();
            return Err(format!(
                "{name}: {} ticks were due, {told} were decided; without a row of their own: {}; many at once: {many:?}",
                due.len(),
                missing.join(" ")
            ));
        }
    }
    let all = at_once(world.ledger.runs(&RunQuery::default())).map_err(|error| error.to_string())?;
    let mut begun: BTreeMap<RunId, u32> = BTreeMap::new();
    for row in rows {
        if let Came::Run { run } = &row.outcome {
            *begun.entry(run.clone()).or_default() += 1;
        }
    }
    match all.iter().find(|run| begun.get(&run.id) != Some(&1)) {
        Some(run) => Err(format!("run {} belongs to {:?} ticks", run.id, begun.get(&run.id))),
        None if all.len() != begun.len() => {
            Err(format!("{} ticks became a run, and there are {}", begun.len(), all.len()))
        }
        None => Ok(()),
    }
}

fn entry(n: u64, dice: &mut Dice) -> Entry {
    let cron = (*dice.pick(&CRONS)).to_owned();
    let missed = *dice.pick(&[Missed::None, Missed::Latest, Missed::All]);
    let overlap = *dice.pick(&[Overlap::Skip, Overlap::Queue, Overlap::CancelRunning, Overlap::Allow]);
    let schedule = Schedule {
        id: "1".to_owned(),
        cron,
        timezone: dice.percent(50).then(|| "Australia/Lord_Howe".to_owned()),
        dst: Dst::default(),
        missed,
        within_ms: 60 * MINUTE * dice.between(1, 24) as i64,
        overlap,
        drill: false,
        severity: None,
        jitter_ms: *dice.pick(&[0, 0, 5 * MINUTE]),
        with: serde_json::Map::new(),
    };
    Entry { name: format!("job{n}/1"), schedule, broken: None }
}

fn new_run(id: RunId, schedule: &str) -> NewRun {
    let name = schedule.trim_end_matches("/1").to_owned();
    let source = "steps:\n  - {id: a, run: 'true'}\n".to_owned();
    let definition =
        Definition { name, path: "/x.yaml".to_owned(), source, files: Vec::new(), runbooks: Vec::new(), drill: false };
    NewRun {
        id,
        definition,
        called: Vec::new(),
        blobs: Vec::new(),
        params: serde_json::Map::new(),
        trigger: "schedule".to_owned(),
        group: None,
        priority: Priority::Normal,
        queued_max: 10,
        key: None,
        parent: None,
        seed: 1,
        actor: format!("schedule {schedule}"),
        planned: None,
        only_after: None,
        zone: None,
        requester: Vec::new(),
        tick: None,
    }
}
