//! People and programs that want jobs done: they trigger runs with keys, look after them, and act on them at random
//! from other processes, through the same ledger.

use runward_engine::run::group::{Permit, Priority};
use runward_engine::run::{Command, RunId};
use runward_store::{Ledger, LedgerError, NewRun, RunView};
use serde_json::Map;

use crate::dice::{Dice, mix};
use crate::ledger::at_once;
use crate::world::{Event, World};

mod approvers;
mod judge;
mod wishes;

use approvers::REQUESTER;
pub use approvers::may;

/// Something that is to be done exactly once.
#[derive(Debug)]
pub struct Job {
    key: String,
    definition: usize,
    tries: u64,
    /// The run it is, once somebody was told.
    pub run: Option<RunId>,
    /// Who has the lock of the run.
    pub driver: Option<usize>,
    /// The record as it is, read event by event.
    pub watcher: Option<RunView>,
    /// What people were told is done: the event and who did it.
    acknowledged: Vec<(u64, String)>,
    acts: u64,
    pub heads: u64,
    /// Of a child: its parent.
    pub above: Option<usize>,
    /// What its run has of its group, as far as anybody was told.
    pub permit: Option<Permit>,
    priority: Priority,
}

impl Job {
    pub fn new(n: usize, dice: &mut Dice) -> Job {
        Job {
            key: format!("job-{n}"),
            definition: dice.below(3) as usize,
            tries: 0,
            run: None,
            driver: None,
            watcher: None,
            acknowledged: Vec::new(),
            acts: 0,
            heads: 0,
            above: None,
            permit: None,
            priority: *dice.pick(&[Priority::Normal, Priority::Normal, Priority::High, Priority::Low]),
        }
    }

    /// A run that a step of another one is.
    fn child(run: RunId, above: usize) -> Job {
        Job {
            key: String::new(),
            definition: usize::MAX,
            tries: 0,
            run: Some(run),
            driver: None,
            watcher: None,
            acknowledged: Vec::new(),
            acts: 0,
            heads: 0,
            above: Some(above),
            permit: None,
            priority: Priority::Normal,
        }
    }
}

impl World {
    /// `runward run --key`: repeated until somebody says that it is recorded.
    pub(crate) fn trigger(&mut self, job: usize) {
        let it = &mut self.jobs[job];
        it.tries += 1;
        let kind = &self.library.kinds[it.definition];
        let calls = !kind.definition.runbooks.is_empty();
        let new = NewRun {
            id: RunId(format!("run-{job}-{}", it.tries)),
            definition: kind.definition.clone(),
            called: if calls { self.library.called.clone() } else { Vec::new() },
            blobs: Vec::new(),
            params: Map::from_iter([("yes".to_owned(), true.into())]),
            trigger: "cli".to_owned(),
            key: Some(it.key.clone()),
            seed: mix(self.seed, job as u64),
            actor: "owner".to_owned(),
            parent: None,
            group: kind.group.clone(),
            priority: it.priority,
            queued_max: 10_000,
            planned: None,
            only_after: None,
            zone: None,
            requester: vec![REQUESTER.to_owned()],
            tick: None,
        };
        self.draw_fate();
        match at_once(self.ledger.trigger(new)) {
            Ok(triggered) => {
                let id = triggered.view.state.id.clone();
                let first = self.jobs[job].run.is_none();
                let same = self.jobs[job].run.get_or_insert_with(|| id.clone()) == &id;
                if !same {
                    self.oracle.broken("I8", || format!("job {job} became two runs, {id} is the second"));
                }
                self.counters.add(if triggered.created { "a trigger made a run" } else { "a trigger found its run" });
                if first {
                    self.by_run.insert(id.clone(), job);
                    self.watch(job, &id);
                    let soon = self.dice.between(100, 6_000);
                    self.after(soon, Event::Person(job));
                }
                if self.jobs[job].driver.is_none() && !triggered.view.state.status.is_terminal() {
                    self.start_driver(job, triggered.view, None);
                }
            }
            Err(error @ LedgerError::Definition { .. }) => {
                self.oracle.broken("format", || format!("job {job}: {error}"));
            }
            Err(_) => {
                self.counters.add("a trigger was repeated");
                let later = self.dice.between(100, 2_000);
                self.after(later, Event::Trigger(job));
            }
        }
    }

    /// The job that a child is: a known one, or one more.
    pub(crate) fn child_job(&mut self, above: usize, id: &RunId) -> usize {
        if let Some(job) = self.by_run.get(id) {
            return *job;
        }
        let job = self.jobs.len();
        self.jobs.push(Job::child(id.clone(), above));
        self.by_run.insert(id.clone(), job);
        self.oracle.child(above);
        self.watch(job, id);
        let soon = self.dice.between(100, 6_000);
        self.after(soon, Event::Person(job));
        job
    }

    fn watch(&mut self, job: usize, id: &RunId) {
        match at_once(self.ledger.load(id)) {
            Ok(view) => {
                let stored = at_once(self.ledger.events(id, 0)).unwrap_or_default();
                let news: Vec<_> = stored.into_iter().map(|event| event.recorded).collect();
                self.oracle.record(self.now, job, &view.state, &news);
                self.jobs[job].watcher = Some(view);
            }
            Err(error) => self.oracle.broken("I8", || format!("the acknowledged run {id} cannot be read: {error}")),
        }
    }

    /// Reads what has become durable, each event with its hash.
    pub(crate) fn audit(&mut self, job: usize) {
        let Some(watcher) = &mut self.jobs[job].watcher else { return };
        match at_once(self.ledger.refresh(watcher)) {
            Ok(news) => {
                self.oracle.record(self.now, job, &watcher.state, &news);
                let permit = watcher.state.permit().filter(|_| !watcher.state.status.is_terminal());
                let moved = std::mem::replace(&mut self.jobs[job].permit, permit) != permit;
                if moved {
                    self.stir_group(job);
                }
                self.stir_parent(job);
                let over = news.iter().any(|recorded| recorded.event.kind() == "run_finished");
                if over && self.dice.percent(20) {
                    self.compare_rows(job);
                }
            }
            Err(error) => self.oracle.broken("I7", || format!("job {job}: {error}")),
        }
    }

    /// Whoever looks after a child sees what has happened to it.
    fn stir_parent(&mut self, job: usize) {
        let it = &self.jobs[job];
        if let Some(driver) = it.above.and_then(|above| self.jobs[above].driver)
            && let (Some(child), None) = (it.run.clone(), it.driver)
        {
            let soon = self.dice.below(200);
            self.after(soon, Event::Mind { driver, child });
        }
    }

    /// Whoever wants the job done looks whether it is being done: `runward resume` if nobody drives it.
    pub(crate) fn owner(&mut self, job: usize) {
        let over = self.jobs[job].watcher.as_ref().is_none_or(|watcher| watcher.state.status.is_terminal());
        if self.jobs[job].driver.is_some() || over || self.jobs[job].above.is_some() {
            return;
        }
        let Some(mut view) = self.read(job) else { return };
        let helps = self.weather.calm || self.dice.percent(50);
        if helps && view.state.paused.is_some() {
            self.say(job, &mut view, Command::Unpause);
        }
        if helps && let Some(unit) = view.state.held().first().copied() {
            let resolution = self.resolution();
            self.say(job, &mut view, Command::Resolve { unit, resolution, reason: None });
        }
        if let Some(view) = self.read(job).filter(|view| !view.state.status.is_terminal()) {
            self.start_driver(job, view, None);
        }
    }

    /// The run as it is recorded: read from the first event on, or as somebody has it who has read every event.
    pub(crate) fn read(&mut self, job: usize) -> Option<RunView> {
        let it = &self.jobs[job];
        if !self.dice.percent(10) {
            return it.watcher.clone();
        }
        match at_once(self.ledger.load(it.run.as_ref()?)) {
            Ok(view) => Some(view),
            Err(error) => {
                self.oracle.broken("I7", || format!("job {job} cannot be read: {error}"));
                None
            }
        }
    }
}
