//! One round: what time it is, what the files say, what is due, what waits; and each of it decided.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::pin::Pin;
use std::time::{Duration, Instant};

use runward_engine::mutated;
use runward_engine::run::{Command, HomeId, RunId};
use runward_engine::schedule::entry::{Overlap, Tick};
use runward_store::failpoint::{self, Point};
use runward_store::timetable::{DECIDED_AT_ONCE, Decided, Decision, Entry, Order, Outcome, Waiting};
use runward_store::{Ledger, LedgerError, NewRun, command};
use tracing::{debug, info, warn};

use super::clock::{LedgerClock, Looked};
use super::table::{Duty, Table, Task, in_the_way};
use super::{AGAIN, Audience, NoRun, Scheduling, lanes};
use crate::worker::Pace;

/// Transactions under way at once.
const LANES: usize = 3;
/// How often is looked whether what a tick waits for is over, where nobody says so.
const WAITING_EVERY: Duration = Duration::from_secs(1);
/// After something that a look has found otherwise than it was.
const SOON: Duration = Duration::from_millis(200);
/// What the ledger has told of the schedules is believed for so long.
const FRESH: Duration = Duration::from_secs(1);

pub struct Scheduler {
    with: Scheduling,
    home: HomeId,
    host: String,
    clock: LedgerClock,
    table: Table,
    /// When the ledger has told how they stand.
    told: Option<Instant>,
    /// The files have to be read again.
    stale: bool,
    /// Runs that were told to make room.
    cancelled: BTreeSet<RunId>,
}

/// When the next round is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    pub pause: Duration,
    /// A tick waits for the end of a run.
    pub wakes: bool,
}

/// What a round of decisions shares.
struct Work<'a> {
    queue: RefCell<VecDeque<Duty>>,
    done: RefCell<Vec<Duty>>,
    failed: RefCell<Option<LedgerError>>,
    /// What was to be decided was not what it is.
    changed: Cell<bool>,
    /// Schedules of which others have decided a part of what was to be skipped at once.
    partly: RefCell<BTreeSet<String>>,
    /// The ledger's clock says it is so much earlier.
    early: Cell<Option<Duration>>,
    clock: &'a LedgerClock,
    audience: &'a dyn Audience,
}

impl Scheduler {
    pub fn new(with: Scheduling, home: HomeId, host: String) -> Scheduler {
        Scheduler {
            with,
            home,
            host,
            clock: LedgerClock::default(),
            table: Table::default(),
            told: None,
            stale: true,
            cancelled: BTreeSet::new(),
        }
    }

    /// Whoever fires schedules, for the record.
    fn actor(&self) -> String {
        format!("server on {}", self.host)
    }

    pub(super) fn pace(&self) -> &Pace {
        &self.with.pace
    }

    pub(super) fn have_files_changed(&mut self) -> bool {
        self.stale |= self.with.runbooks.have_changed();
        self.stale
    }

    /// After an error everything that was not decided is found again by the next round.
    pub async fn round(&mut self, audience: &dyn Audience) -> Result<Rest, LedgerError> {
        let now = self.look_at_the_clock().await?;
        self.see_how_they_stand().await?;
        let left = self.decide_what_is_due(now, audience).await?;
        let waiting = self.see_to_the_waiting(audience).await?;
        audience.came_round(&self.table.summary());
        let look = self.pace().timetable;
        let next = self.table.next_due().map_or(look, |next| self.clock.left(next, Instant::now()));
        let pause = if waiting { next.min(WAITING_EVERY) } else { next };
        let pause = if self.stale { pause.min(SOON) } else { pause };
        Ok(Rest { pause: pause.max(left).min(look), wakes: waiting })
    }

    async fn look_at_the_clock(&mut self) -> Result<i64, LedgerError> {
        let now = self.with.timetable.now().await?;
        let words = |by: Duration| runward_engine::units::format_duration(by);
        match self.clock.note(now, Instant::now()) {
            Looked::AsExpected => {}
            Looked::Forward(by) => {
                warn!(
                    by = words(by),
                    "the clock was set forward, or this machine slept: what came due meanwhile was missed"
                );
            }
            Looked::Back(by) => {
                warn!(
                    by = words(by),
                    "the clock was set back: nothing fires a second time, and nothing until it is as late again"
                );
            }
        }
        Ok(now)
    }

    /// What the files say goes to the ledger; it says what became of it so far.
    async fn see_how_they_stand(&mut self) -> Result<(), LedgerError> {
        let timetable = &self.with.timetable;
        let standings = if self.have_files_changed_now() {
            let posted: Vec<Entry> = match self.told {
                Some(_) => self.table.entries().cloned().collect(),
                None => timetable.posted(&self.home).await?.into_iter().map(|standing| standing.entry).collect(),
            };
            let entries = self.with.runbooks.read(&posted);
            let standings = timetable.post(&self.home, &self.host, &entries, &self.actor()).await?;
            self.stale = false;
            let broken = entries.iter().filter(|entry| entry.broken.is_some()).count();
            info!(schedules = entries.len(), broken, "took up what the files say");
            standings
        } else if self.told.is_some_and(|told| told.elapsed() < FRESH) {
            return Ok(());
        } else {
            timetable.posted(&self.home).await?
        };
        self.table = Table::new(standings, &self.home, self.with.zone, &self.table);
        self.told = Some(Instant::now());
        Ok(())
    }

    /// Each tick once, a few transactions at a time. What could not be decided stays due; how long that is left alone.
    async fn decide_what_is_due(&mut self, now: i64, audience: &dyn Audience) -> Result<Duration, LedgerError> {
        let duties = self.table.due(now);
        if duties.is_empty() {
            return Ok(Duration::ZERO);
        }
        let asked = duties.len();
        if mutated!(PassedBeforeDecided) {
            let all: Vec<(Entry, i64)> = duties.iter().map(|duty| (duty.entry.clone(), duty.cursor)).collect();
            self.with.timetable.passed(&all).await?;
        }
        let work = Work {
            queue: RefCell::new(duties.into()),
            done: RefCell::default(),
            failed: RefCell::default(),
            changed: Cell::new(false),
            partly: RefCell::default(),
            early: Cell::new(None),
            clock: &self.clock,
            audience,
        };
        let lane = |_| Box::pin(self.lane(&work)) as Pin<Box<dyn Future<Output = ()> + '_>>;
        lanes::all((0..LANES).map(lane).collect()).await;
        let Work { done, failed, changed, partly, early, .. } = work;
        let done = done.into_inner();
        let passed: Vec<(Entry, i64)> = done.iter().map(|duty| (duty.entry.clone(), duty.cursor)).collect();
        done.iter().for_each(|duty| self.table.passed(duty));
        partly.into_inner().iter().for_each(|schedule| self.table.go_one_by_one(schedule));
        self.told = self.told.filter(|_| !changed.get());
        self.stale |= changed.get();
        if let Some(error) = failed.into_inner() {
            return Err(error);
        }
        self.with.timetable.passed(&passed).await?;
        Ok(match early.get() {
            Some(early) => early,
            None if changed.get() => SOON,
            None if passed.len() < asked => AGAIN,
            None => Duration::ZERO,
        })
    }
}

impl Scheduler {
    fn have_files_changed_now(&self) -> bool {
        self.stale || self.told.is_none()
    }

    /// Takes what is due, a few schedules at a time, until nothing is left or the ledger fails.
    async fn lane(&self, work: &Work<'_>) {
        loop {
            let duties = work.some();
            if duties.is_empty() {
                return;
            }
            if let Err(error) = self.carry_out(work, duties).await {
                work.failed.borrow_mut().get_or_insert(error);
                work.queue.borrow_mut().clear();
                return;
            }
        }
    }

    async fn carry_out(&self, work: &Work<'_>, duties: Vec<Duty>) -> Result<(), LedgerError> {
        let (mut orders, mut settled) = (Vec::new(), vec![true; duties.len()]);
        let known = self.decided_elsewhere(&duties).await?;
        for (at, duty) in duties.iter().enumerate() {
            // Nothing of the rest before that: what is skipped at once is skipped as a whole.
            settled[at] = self.skip_many(work, duty).await?;
            if !settled[at] {
                continue;
            }
            for task in duty.tasks.iter().filter(|task| !matches!(task, Task::SkipMany { .. })) {
                if let Task::Fire { tick, .. } = task
                    && known.contains(&(at, tick.key()))
                {
                    debug!(schedule = duty.entry.name, tick = tick.key(), "another server was faster");
                    continue;
                }
                match self.decision(&duty.entry, task) {
                    Some(decision) => orders.push((at, task, Order { entry: duty.entry.clone(), decision })),
                    None => {
                        work.changed.set(true);
                        settled[at] = false;
                    }
                }
            }
        }
        for batch in batches(orders) {
            let (asked, orders): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|(at, task, order)| ((at, task), order)).unzip();
            let answers = self.decide(orders).await?;
            failpoint::reach(Point::TickDecided);
            for ((at, task), decided) in asked.into_iter().zip(answers) {
                settled[at] &= match decided {
                    Some(decided) => self.hear(work, &duties[at].entry, task, decided).await?,
                    None => false,
                };
            }
        }
        let done = duties.into_iter().zip(settled).filter(|(_, settled)| *settled).map(|(duty, _)| duty);
        work.done.borrow_mut().extend(done);
        Ok(())
    }

    /// What is skipped at once, if something is. False: others have decided a part of it.
    async fn skip_many(&self, work: &Work<'_>, duty: &Duty) -> Result<bool, LedgerError> {
        let Some(task @ Task::SkipMany { count: ours, .. }) = duty.tasks.first() else { return Ok(true) };
        let Some(decision) = self.decision(&duty.entry, task) else { return Ok(false) };
        let order = Order { entry: duty.entry.clone(), decision };
        let Some(decided) = self.decide(vec![order]).await?.pop().flatten() else { return Ok(false) };
        let whole = match &decided {
            Decided::Before(Outcome::Skipped { count, .. }) => count == ours,
            Decided::Before(_) | Decided::Changed => false,
            Decided::Now(_) | Decided::Passed | Decided::Early(_) => true,
        };
        if whole {
            return self.hear(work, &duty.entry, task, decided).await;
        }
        work.partly.borrow_mut().insert(duty.entry.name.clone());
        work.changed.set(true);
        Ok(false)
    }

    /// What other servers have decided since: nobody has to read files for that.
    async fn decided_elsewhere(&self, duties: &[Duty]) -> Result<BTreeSet<(usize, String)>, LedgerError> {
        let mut asked = Vec::new();
        for (at, duty) in duties.iter().enumerate() {
            let fires = duty.tasks.iter().filter_map(|task| match task {
                Task::Fire { tick, .. } => Some(tick),
                Task::Skip { .. } | Task::SkipMany { .. } => None,
            });
            asked.extend(fires.map(|tick| (at, tick.clone())));
        }
        if asked.is_empty() {
            return Ok(BTreeSet::new());
        }
        let ticks: Vec<(Entry, Tick)> =
            asked.iter().map(|(at, tick)| (duties[*at].entry.clone(), tick.clone())).collect();
        let undecided = self.with.timetable.undecided(&ticks).await?;
        let decided = asked.into_iter().zip(undecided).filter(|(_, undecided)| !undecided);
        Ok(decided.map(|((at, tick), _)| (at, tick.key())).collect())
    }

    /// `None`: the file says something else by now.
    fn decision(&self, entry: &Entry, task: &Task) -> Option<Decision> {
        Some(match task.clone() {
            Task::Fire { tick, .. } => return self.fire(entry, tick),
            Task::Skip { tick, reason } => Decision::Skip { tick, reason },
            Task::SkipMany { first, last, count, reason } => Decision::SkipMany { first, last, count, reason },
        })
    }

    fn fire(&self, entry: &Entry, tick: Tick) -> Option<Decision> {
        match self.with.runbooks.new_run(entry, &tick) {
            Ok(new) => Some(Decision::Fire { tick, new: self.named(new, entry) }),
            Err(NoRun::Changed) => None,
            Err(NoRun::Broken(why)) => Some(Decision::Skip { tick, reason: format!("the runbook cannot run: {why}") }),
        }
    }

    fn named(&self, new: Box<NewRun>, entry: &Entry) -> Box<NewRun> {
        Box::new(NewRun { actor: format!("schedule {}", entry.name), trigger: "schedule".to_owned(), ..*new })
    }

    /// `None`: what is asked of this one cannot be done, and it takes no other with it.
    async fn decide(&self, orders: Vec<Order>) -> Result<Vec<Option<Decided>>, LedgerError> {
        let (timetable, actor, alone) = (&self.with.timetable, self.actor(), orders.len() == 1);
        let again = orders.clone();
        match timetable.decide(&self.home, orders, &actor).await {
            Err(error) if !error.is_about_one_run() => return Err(error),
            Err(error) if alone => {
                warn!(schedule = again[0].entry.name, "it cannot be decided: {error}; it is tried again")
            }
            Err(_) => {}
            Ok(answers) => return Ok(answers.into_iter().map(Some).collect()),
        }
        if alone {
            return Ok(vec![None]);
        }
        let mut answers = Vec::new();
        for order in again {
            answers.extend(Box::pin(self.decide(vec![order])).await?);
        }
        Ok(answers)
    }

    /// Whether that is the end of it.
    async fn hear(&self, work: &Work<'_>, entry: &Entry, task: &Task, decided: Decided) -> Result<bool, LedgerError> {
        let (schedule, tick) = (&entry.name, task.tick().key());
        match decided {
            Decided::Now(outcome) => {
                let late_ms = task.due().zip(work.clock.now(Instant::now())).map(|(due, now)| now - due);
                tell(schedule, &tick, &outcome, late_ms);
                match outcome {
                    Outcome::Run { run } => work.audience.fired(&run),
                    Outcome::Waits { run } if entry.schedule.overlap == Overlap::CancelRunning => {
                        self.make_room(&run, schedule, &tick, work.audience).await?;
                    }
                    Outcome::Waits { .. } | Outcome::Skipped { .. } => {}
                }
                Ok(true)
            }
            Decided::Before(_) | Decided::Passed => {
                debug!(schedule, tick, "it was decided before");
                Ok(true)
            }
            Decided::Early(ms) => {
                let by = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
                work.early.set(Some(work.early.get().map_or(by, |other| other.min(by))));
                Ok(false)
            }
            Decided::Changed => {
                work.changed.set(true);
                Ok(false)
            }
        }
    }

    /// Asks the run in the way to end. Refused where it is ending, or over: both make room.
    async fn make_room(
        &self,
        run: &RunId,
        schedule: &str,
        tick: &str,
        audience: &dyn Audience,
    ) -> Result<(), LedgerError> {
        let ledger: &dyn Ledger = &*self.with.timetable;
        let mut view = match ledger.load(run).await {
            Err(LedgerError::NoSuchRun(_)) => return Ok(()), // pruned
            loaded => loaded?,
        };
        let reason = format!("the tick {tick} of {schedule} takes its place");
        let cancel = Command::Cancel { force: false, rollback: false, reason: Some(reason) };
        if command(ledger, &mut view, cancel, &format!("schedule {schedule}")).await?.is_ok() {
            info!(schedule, tick, %run, "cancelled, to make room for the next one");
            audience.changed(run);
        }
        Ok(())
    }

    /// Ticks that wait for the end of a run: whoever is next is decided again. Whether some wait.
    async fn see_to_the_waiting(&mut self, audience: &dyn Audience) -> Result<bool, LedgerError> {
        let waiting = self.with.timetable.waiting(&self.home).await?;
        self.cancelled.retain(|run| waiting.iter().any(|it| it.run == *run));
        let mut seen = BTreeSet::new();
        for it in &waiting {
            if it.over && seen.insert(&it.standing.entry.name) {
                self.decide_again(it, audience).await?;
            } else if it.standing.entry.schedule.overlap == Overlap::CancelRunning
                && self.cancelled.insert(it.run.clone())
            {
                // Whoever decided that it waits may have died before it said so.
                self.make_room(&it.run, &it.standing.entry.name, &it.tick.key(), audience).await?;
            }
        }
        Ok(!waiting.is_empty())
    }

    async fn decide_again(&mut self, it: &Waiting, audience: &dyn Audience) -> Result<(), LedgerError> {
        let (entry, tick) = (&it.standing.entry, it.tick.clone());
        let decision = match in_the_way(&it.standing) {
            Some(reason) => Some(Decision::Skip { tick, reason }),
            None => self.fire(entry, tick),
        };
        let Some(decision) = decision else {
            self.stale = true;
            return Ok(());
        };
        let order = Order { entry: entry.clone(), decision };
        for decided in self.decide(vec![order]).await?.into_iter().flatten() {
            match decided {
                Decided::Now(outcome) => {
                    tell(&entry.name, &it.tick.key(), &outcome, None);
                    if let Outcome::Run { run } = outcome {
                        audience.fired(&run);
                    }
                }
                Decided::Changed => self.stale = true,
                Decided::Before(_) | Decided::Passed | Decided::Early(_) => {}
            }
        }
        Ok(())
    }
}

impl Work<'_> {
    /// A few schedules, with about as many ticks as one transaction decides.
    fn some(&self) -> Vec<Duty> {
        let (mut taken, mut tasks, mut queue) = (Vec::new(), 0, self.queue.borrow_mut());
        while tasks < DECIDED_AT_ONCE / 2
            && let Some(duty) = queue.pop_front()
        {
            tasks += duty.tasks.len();
            taken.push(duty);
        }
        taken
    }
}

fn batches<T>(all: Vec<T>) -> Vec<Vec<T>> {
    let (mut all, mut batches) = (all.into_iter().peekable(), Vec::new());
    while all.peek().is_some() {
        batches.push(all.by_ref().take(DECIDED_AT_ONCE).collect());
    }
    batches
}

fn tell(schedule: &str, tick: &str, outcome: &Outcome, late_ms: Option<i64>) {
    match outcome {
        Outcome::Run { run } => info!(schedule, tick, %run, late_ms, "fired"),
        Outcome::Skipped { reason, count: 1 } => info!(schedule, tick, reason, "skipped"),
        Outcome::Skipped { reason, count } => info!(schedule, tick, count, reason, "skipped, with all before it"),
        Outcome::Waits { run } => info!(schedule, tick, %run, "waits for the end of a run"),
    }
}
