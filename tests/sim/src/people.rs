//! People and programs that want jobs done: they trigger runs with keys, look after them, and act on them at random
//! from other processes, through the same ledger.

use runward_engine::run::command::Resolution;
use runward_engine::run::group::Priority;
use runward_engine::run::rows::{self, RunRow};
use runward_engine::run::todo::todo;
use runward_engine::run::{Command, RunId, RunStatus, Unit};
use runward_store::{Ledger, LedgerError, NewRun, RunQuery, RunView};
use serde_json::Map;

use crate::dice::{Dice, mix};
use crate::ledger::at_once;
use crate::world::{Event, World, unit_text};

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
        }
    }
}

impl World {
    /// `runward run --key`: repeated until somebody says that it is recorded.
    pub(crate) fn trigger(&mut self, job: usize) {
        let it = &mut self.jobs[job];
        it.tries += 1;
        let new = NewRun {
            id: RunId(format!("run-{job}-{}", it.tries)),
            definition: self.definitions[it.definition].clone(),
            called: Vec::new(),
            blobs: Vec::new(),
            params: Map::from_iter([("yes".to_owned(), true.into())]),
            trigger: "cli".to_owned(),
            key: Some(it.key.clone()),
            seed: mix(self.seed, job as u64),
            actor: "owner".to_owned(),
            parent: None,
            group: None,
            priority: Priority::Normal,
            queued_max: 10_000,
            planned: None,
            only_after: None,
            zone: None,
            requester: Vec::new(),
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
                    self.watch(job, &id);
                    let soon = self.dice.between(100, 6_000);
                    self.after(soon, Event::Person(job));
                }
                if self.jobs[job].driver.is_none() && !triggered.view.state.status.is_terminal() {
                    self.start_driver(job, triggered.view);
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
                let over = news.iter().any(|recorded| recorded.event.kind() == "run_finished");
                if over && self.dice.percent(20) {
                    self.compare_rows(job);
                }
            }
            Err(error) => self.oracle.broken("I7", || format!("job {job}: {error}")),
        }
    }

    /// Whoever wants the job done looks whether it is being done: `runward resume` if nobody drives it.
    pub(crate) fn owner(&mut self, job: usize) {
        let over = self.jobs[job].watcher.as_ref().is_none_or(|watcher| watcher.state.status.is_terminal());
        if self.jobs[job].driver.is_some() || over {
            return;
        }
        let Some(mut view) = self.read(job) else { return };
        let helps = self.weather.calm || self.dice.percent(50);
        if helps && view.state.paused.is_some() {
            self.say(job, &mut view, Command::Unpause);
        }
        if helps && let Some(unit) = view.state.held().first().copied() {
            let resolution = *self.dice.pick(&[Resolution::Succeeded, Resolution::Failed, Resolution::Retry]);
            self.say(job, &mut view, Command::Resolve { unit, resolution, reason: None });
        }
        if let Some(view) = self.read(job).filter(|view| !view.state.status.is_terminal()) {
            self.start_driver(job, view);
        }
    }

    /// The run as it is recorded: read from the first event on, or as somebody has it who has read every event.
    fn read(&mut self, job: usize) -> Option<RunView> {
        let it = &self.jobs[job];
        if !self.dice.percent(20) {
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

    /// Somebody does something to the run, now and then.
    pub(crate) fn person(&mut self, job: usize) {
        if !self.weather.calm {
            let later = self.dice.between(300, 12_000);
            self.after(later, Event::Person(job));
        }
        if self.weather.calm {
            return self.help(job);
        }
        let Some(mut view) = self.read(job) else { return };
        let Some(command) = self.wish(&view) else { return };
        // Who begins a generation drives it, so it takes the lock first.
        let begins = view.state.status.is_terminal();
        if begins
            && (self.jobs[job].driver.is_some()
                || !matches!(command, Command::Resume { .. } | Command::Retry { .. } | Command::Rollback { .. }))
        {
            return;
        }
        let done = self.say(job, &mut view, command);
        if begins && done && !view.state.status.is_terminal() && !view.stale {
            self.counters.add("a person began another generation");
            self.start_driver(job, view);
        } else if begins {
            // It may have begun all the same.
            self.after(1_000, Event::Owner(job));
        }
    }

    /// In the calm a pause ends, so that the run can.
    fn help(&mut self, job: usize) {
        if let Some(mut view) = self.read(job)
            && view.state.paused.is_some()
        {
            self.say(job, &mut view, Command::Unpause);
        }
    }

    fn wish(&mut self, view: &RunView) -> Option<Command> {
        let state = &view.state;
        let reason = Some("at random".to_owned());
        let units: Vec<Unit> = rows::units(state).collect();
        let unit = *self.dice.pick(&units);
        Some(match self.dice.below(24) {
            22 | 23 => Command::Rollback { reason },
            0 | 1 => Command::Cancel { force: false, rollback: self.dice.percent(50), reason },
            2 => Command::Cancel { force: true, rollback: self.dice.percent(20), reason },
            3 | 4 => Command::Pause { reason },
            5..=8 => Command::Unpause,
            9 | 10 => Command::Skip { unit, reason: "at random".to_owned() },
            11 | 12 => Command::Retry { unit, reason },
            13 | 14 => {
                let unit = state.held().first().copied()?;
                let resolution = *self.dice.pick(&[Resolution::Succeeded, Resolution::Failed, Resolution::Retry]);
                Command::Resolve { unit, resolution, reason }
            }
            15..=18 => Command::Resume { from: None, reason },
            _ => Command::Resume { from: Some(unit.step), reason },
        })
    }

    /// Carries out one command in a person's own name; `false`: it was refused, or nobody knows.
    fn say(&mut self, job: usize, view: &mut RunView, command: Command) -> bool {
        self.jobs[job].acts += 1;
        let actor = format!("person-{job}-{}", self.jobs[job].acts);
        let word = word(&command);
        self.draw_fate();
        let mut once = Some(command);
        let said = at_once(self.ledger.commit(view, &mut |_| once.take(), &actor));
        self.audit(job);
        let driver = self.jobs[job].driver;
        if let Some(driver) = driver {
            let soon = self.dice.below(200);
            self.after(soon, Event::Look(driver));
        }
        match said {
            Ok(committed) if committed.replies.iter().all(Result::is_ok) => {
                let own = committed.news.iter().filter(|recorded| recorded.actor == actor);
                let own: Vec<(u64, String)> = own.map(|recorded| (recorded.seq, actor.clone())).collect();
                if own.is_empty() {
                    self.oracle.broken("I21", || format!("job {job}: {word} was accepted and is not on the record"));
                }
                self.jobs[job].acknowledged.extend(own);
                self.counters.add(word);
                true
            }
            Ok(_) => {
                self.counters.add("a command was refused");
                false
            }
            Err(_) => {
                self.counters.add("nobody knows whether a command was carried out");
                false
            }
        }
    }
}

/// The last look at one job.
impl World {
    pub(crate) fn judge_at_the_end(&mut self, job: usize) {
        let Some(id) = self.jobs[job].run.clone() else {
            return self.oracle.broken("I4", || format!("job {job} never became a run"));
        };
        let view = match at_once(self.ledger.load(&id)) {
            Ok(view) => view,
            Err(error) => return self.oracle.broken("I7", || format!("{id} cannot be read: {error}")),
        };
        if !view.state.status.is_terminal() {
            let what = self.standing(job, &view);
            return self.oracle.broken("I4", || format!("job {job} never comes to its end: {what}"));
        }
        let events = at_once(self.ledger.events(&id, 0)).unwrap_or_default();
        for (seq, actor) in std::mem::take(&mut self.jobs[job].acknowledged) {
            let there = events.get(seq as usize - 1).is_some_and(|event| event.recorded.actor == actor);
            if !there {
                self.oracle
                    .broken("I8", || format!("job {job}: event {seq} of {actor} was acknowledged and is not there"));
            }
        }
        let all = at_once(self.ledger.runs(&RunQuery::default())).unwrap_or_default();
        let same = |row: &&RunRow| row.key.as_ref() == Some(&self.jobs[job].key);
        if all.iter().filter(same).count() != 1 {
            self.oracle.broken("I8", || format!("job {job} is not exactly one run"));
        }
        self.compare_rows(job);
        let head = view.head.bytes().take(16).fold(0, |sum, byte| mix(sum, u64::from(byte)));
        self.jobs[job].heads = head;
        self.counters.add(match view.state.status {
            RunStatus::Succeeded => "a run succeeded",
            RunStatus::Failed => "a run failed",
            RunStatus::Cancelled => "a run was cancelled",
            RunStatus::TimedOut => "a run timed out",
            _ => "a run is somewhere else",
        });
    }

    /// Where a run stands that ought to be over.
    fn standing(&self, job: usize, view: &RunView) -> String {
        let state = &view.state;
        let open = rows::units(state).filter(|unit| state.unit(*unit).is_some_and(|unit| !unit.status.is_terminal()));
        let open: Vec<String> = open
            .map(|unit| format!("{} {}", unit_text(unit), state.unit(unit).map_or("", |unit| unit.status.as_str())))
            .collect();
        let todo = todo(state);
        let (live, wake) = (state.live().len(), todo.wake_at);
        let driver = self.jobs[job].driver.map(|driver| self.drivers[driver].told());
        format!(
            "it is {}, {live} under way, to claim {:?}, timer {wake:?} at {}; open: {open:?}; driver: {driver:?}",
            state.status,
            todo.claims,
            self.clock_ms()
        )
    }

    /// The rows are what a replay of the events says.
    fn compare_rows(&mut self, job: usize) {
        let Some(id) = self.jobs[job].run.clone() else { return };
        match at_once(runward_store::check::run(&self.ledger, &id)) {
            Ok(checked) => {
                if let Some(difference) = checked.differences.into_iter().next() {
                    self.oracle.broken("I11", || format!("job {job}: {difference}"));
                }
            }
            Err(error) => self.oracle.broken("I7", || format!("job {job}: {error}")),
        }
    }
}

fn word(command: &Command) -> &'static str {
    match command {
        Command::Cancel { force: false, .. } => "person: cancel",
        Command::Cancel { force: true, .. } => "person: cancel --force",
        Command::Pause { .. } => "person: pause",
        Command::Unpause => "person: unpause",
        Command::Skip { .. } => "person: skip",
        Command::Retry { .. } => "person: retry",
        Command::Resume { from: None, .. } => "person: resume",
        Command::Resume { from: Some(_), .. } => "person: resume --from",
        Command::Resolve { .. } => "person: resolve",
        Command::Rollback { .. } => "person: rollback",
        _ => "person: something else",
    }
}
