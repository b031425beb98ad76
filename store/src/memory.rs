//! The ledger in memory: for tests of everything above it. It forgets with its process.
//!
//! It keeps what the one on disk keeps, in the same way: events with their bodies and hashes, and rows that change with
//! the units a commit touched. What time it is, and what becomes of a write, its [`Surroundings`] say.

mod outbox;
mod timetable;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use runward_engine::plan::history::PastRun;
use runward_engine::plan::{Definition, Seal};
use runward_engine::run::group::Member;
use runward_engine::run::rows::{self, AttemptRow, RunRow, StepRow};
use runward_engine::run::{Recorded, RunId, Unit};
use runward_engine::runbook::model::Runbook;

use self::outbox::Letters;
use self::timetable::Table;

use crate::administration::{self, AdminEntry, AdminEvent, PrunedRun};
use crate::anchor::Head;
use crate::chain;
use crate::error::LedgerError;
use crate::ledger::{Committed, Ledger, Linked, NewRun, Next, RunQuery, RunView, StoredEvent, Triggered, now_ms};
use crate::outbox::notices_of;

pub struct MemoryLedger {
    inner: Mutex<Inner>,
    surroundings: Box<dyn Surroundings>,
}

/// What lies outside of a ledger in memory.
pub trait Surroundings: Send + Sync {
    /// Epoch milliseconds.
    fn now_ms(&self) -> i64;

    /// What becomes of the write that is asked for now.
    fn fate(&self) -> Fate;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It takes effect, and whoever asked is told.
    Done,
    /// It is refused at once: nothing has happened.
    Refused,
    /// It takes no effect, and nobody knows.
    Vanished,
    /// It takes effect, and nobody knows.
    Unanswered,
}

/// The clock of this machine, and no accidents.
struct Calm;

impl Surroundings for Calm {
    fn now_ms(&self) -> i64 {
        now_ms()
    }

    fn fate(&self) -> Fate {
        Fate::Done
    }
}

#[derive(Debug, Default)]
struct Inner {
    runs: BTreeMap<RunId, MemoryRun>,
    keys: BTreeMap<String, RunId>,
    definitions: BTreeMap<String, Definition>,
    /// What the definitions say, so that each is read once.
    runbooks: BTreeMap<String, Arc<Runbook>>,
    blobs: BTreeMap<String, Vec<u8>>,
    administration: Vec<AdminEntry>,
    timetable: Table,
    letters: Letters,
}

#[derive(Debug)]
struct MemoryRun {
    events: Vec<Linked>,
    row: RunRow,
    steps: BTreeMap<Unit, StepRow>,
    attempts: BTreeMap<(String, u32), AttemptRow>,
}

/// What is in memory is in nobody else's hands.
fn seal() -> Seal {
    Seal::new([0; Seal::BYTES])
}

impl Default for MemoryLedger {
    fn default() -> MemoryLedger {
        MemoryLedger::amid(Calm)
    }
}

impl MemoryLedger {
    pub fn amid(surroundings: impl Surroundings + 'static) -> MemoryLedger {
        MemoryLedger { inner: Mutex::default(), surroundings: Box::new(surroundings) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner())
    }

    fn read<T>(&self, run: &RunId, f: impl FnOnce(&MemoryRun) -> T) -> Result<T, LedgerError> {
        self.with(|inner| inner.runs.get(run).map(f).ok_or_else(|| LedgerError::NoSuchRun(run.clone())))
    }
}

impl Fate {
    fn before(self) -> Result<(), LedgerError> {
        if self == Fate::Refused { Err(LedgerError::Other("busy".to_owned())) } else { Ok(()) }
    }

    /// Puts the change where it stays, or not, and tells of it, or not.
    fn around(self, change: impl FnOnce()) -> Result<(), LedgerError> {
        if self != Fate::Vanished {
            change();
        }
        if self == Fate::Done { Ok(()) } else { Err(LedgerError::Other("no answer".to_owned())) }
    }
}

impl MemoryRun {
    fn new(view: &mut RunView, events: Vec<Linked>) -> MemoryRun {
        let row = rows::run_row(&view.state);
        let mut run = MemoryRun { events: Vec::new(), row, steps: BTreeMap::new(), attempts: BTreeMap::new() };
        run.append(view, events);
        run
    }

    /// Writes the events and the rows of the units they touched.
    fn append(&mut self, view: &mut RunView, events: Vec<Linked>) {
        self.events.extend(events);
        self.row = rows::run_row(&view.state);
        for unit in view.state.take_touched() {
            if let Some(row) = rows::step_row(&view.state, unit) {
                self.steps.insert(unit, row);
            }
            for row in rows::recent_attempt_rows(&view.state, unit) {
                self.attempts.insert((row.unit.clone(), row.attempt), row);
            }
        }
    }

    /// Brings a view up to date, and says what was new.
    fn catch_up(&self, view: &mut RunView) -> Result<Vec<Recorded>, LedgerError> {
        let newer = self.events.get(view.state.seq as usize..).unwrap_or(&[]);
        if newer.is_empty() {
            return Ok(Vec::new());
        }
        let (events, bodies): (Vec<_>, Vec<_>) = newer.iter().cloned().unzip();
        let news = events.iter().map(|event| event.recorded.clone()).collect();
        view.fold(events, &bodies)?;
        Ok(news)
    }

    /// By time.
    fn attempts(&self) -> Vec<AttemptRow> {
        let mut attempts: Vec<AttemptRow> = self.attempts.values().cloned().collect();
        attempts.sort_by(|a, b| (a.claimed_at, &a.claim).cmp(&(b.claimed_at, &b.claim)));
        attempts
    }

    fn head(&self) -> &str {
        self.events.last().map_or(chain::GENESIS, |(event, _)| event.hash.as_str())
    }
}

impl Inner {
    /// A new run.
    fn record(&mut self, new: NewRun, view: &mut RunView, now: i64) {
        let events = view.begin(&new, &seal(), now);
        self.letters.write(notices_of(&view.state, &events));
        let run = MemoryRun::new(view, events);
        if let Some(key) = new.key {
            self.keys.insert(key, new.id.clone());
        }
        self.blobs.extend(new.blobs);
        for definition in new.called.into_iter().chain([new.definition]) {
            self.definitions.insert(definition.hash(), definition);
        }
        self.runs.insert(new.id, run);
    }

    /// On the ledger's own record.
    fn note(&mut self, event: AdminEvent, at: i64, actor: &str) {
        let previous = self.administration.last().map_or(chain::GENESIS, |entry| entry.hash.as_str());
        let seq = self.administration.len() as u64 + 1;
        let hash = administration::link(previous, seq, at, actor, &event.body());
        self.administration.push(AdminEntry { seq, at, actor: actor.to_owned(), event, hash });
    }

    fn members(&self, group: &str) -> Vec<Member> {
        let of_group = self.runs.values().filter(|run| run.row.group.as_deref() == Some(group));
        let mut members: Vec<Member> = of_group.filter_map(|run| Member::of(&run.row)).collect();
        members.sort_by_key(Member::order);
        members
    }

    fn view(&self, id: &RunId) -> Result<RunView, LedgerError> {
        let run = self.runs.get(id).ok_or_else(|| LedgerError::NoSuchRun(id.clone()))?;
        let hash = &run.row.definition;
        let definition = self.definitions.get(hash).ok_or_else(|| LedgerError::NoSuchDefinition(hash.clone()))?;
        let mut view = match self.runbooks.get(hash) {
            Some(runbook) => RunView::of(id, Arc::clone(runbook)),
            None => RunView::empty(id, definition)?,
        };
        run.catch_up(&mut view)?;
        Ok(view)
    }

    fn refresh(&self, view: &mut RunView) -> Result<Vec<Recorded>, LedgerError> {
        if view.stale {
            *view = self.view(&view.state.id)?;
            return Ok(Vec::new());
        }
        let run = self.runs.get(&view.state.id).ok_or_else(|| LedgerError::NoSuchRun(view.state.id.clone()))?;
        run.catch_up(view)
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn trigger(&self, new: NewRun) -> Result<Triggered, LedgerError> {
        let fate = self.surroundings.fate();
        fate.before()?;
        let mut inner = self.inner();
        if let Some(key) = &new.key
            && let Some(run) = inner.keys.get(key).cloned()
        {
            if !inner.runs.contains_key(&run) {
                return Err(LedgerError::KeyOfPruned { key: key.clone(), run });
            }
            return Ok(Triggered { view: inner.view(&run)?, created: false });
        }
        if inner.runs.contains_key(&new.id) && new.parent.is_some() {
            return Ok(Triggered { view: inner.view(&new.id)?, created: false });
        }
        if let Some(last) = &new.only_after {
            let newest = inner.runs.values().rev().find(|run| run.row.name == new.definition.name);
            last.moved_on(newest.map(|run| &run.row))?;
        }
        if let Some(group) = &new.group {
            new.fits(&inner.members(&group.name))?;
        }
        let hash = new.definition.hash();
        let mut view = match inner.runbooks.get(&hash) {
            Some(runbook) => RunView::of(&new.id, Arc::clone(runbook)),
            None => RunView::empty(&new.id, &new.definition)?,
        };
        inner.runbooks.insert(hash, Arc::clone(&view.state.runbook));
        let now = self.surroundings.now_ms();
        fate.around(|| inner.record(new, &mut view, now))?;
        Ok(Triggered { view, created: true })
    }

    async fn load(&self, run: &RunId) -> Result<RunView, LedgerError> {
        self.with(|inner| inner.view(run))
    }

    async fn refresh(&self, view: &mut RunView) -> Result<Vec<Recorded>, LedgerError> {
        self.with(|inner| inner.refresh(view))
    }

    async fn commit(&self, view: &mut RunView, next: &mut Next<'_>, actor: &str) -> Result<Committed, LedgerError> {
        let fate = self.surroundings.fate();
        fate.before()?;
        let mut guard = self.inner();
        let inner = &mut *guard;
        let mut news = inner.refresh(view)?;
        let id = view.state.id.clone();
        let members = view.asks().map(|group| inner.members(group));
        let run = inner.runs.get_mut(&id).ok_or_else(|| LedgerError::NoSuchRun(id.clone()))?;
        // From here on the view runs ahead of the ledger until the commit is acknowledged.
        view.stale = true;
        let (replies, events) = view.advance(next, &view.env(self.surroundings.now_ms(), members), actor);
        if !events.is_empty() {
            news.extend(events.iter().map(|(event, _)| event.recorded.clone()));
            let notices = notices_of(&view.state, &events);
            fate.around(|| {
                run.append(view, events);
                inner.letters.write(notices);
            })?;
        }
        view.stale = false;
        Ok(Committed { replies, news, again: false })
    }

    async fn past(&self, name: &str, runs: u32) -> Result<Vec<PastRun>, LedgerError> {
        self.with(|inner| {
            let newest = inner.runs.values().rev();
            let wanted = newest.filter(|run| run.row.name == name && run.row.status == "succeeded");
            Ok(wanted.take(runs as usize).map(|run| past_run(&run.row, &run.attempts())).collect())
        })
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRow>, LedgerError> {
        self.with(|inner| {
            let rows = inner.runs.values().rev().map(|run| run.row.clone());
            let wanted = rows.filter(|row| {
                query.name.as_ref().is_none_or(|name| *name == row.name)
                    && (query.key.is_none() || query.key == row.key)
                    && (!query.unfinished || row.finished_at.is_none())
                    && !(query.without_children && row.parent.is_some())
            });
            Ok(wanted.take(query.limit.unwrap_or(u32::MAX) as usize).collect())
        })
    }

    async fn rows(&self, run: &RunId) -> Result<(RunRow, Vec<StepRow>, Vec<AttemptRow>), LedgerError> {
        self.read(run, |run| (run.row.clone(), run.steps.values().cloned().collect(), run.attempts()))
    }

    async fn group(&self, name: &str) -> Result<Vec<Member>, LedgerError> {
        self.with(|inner| Ok(inner.members(name)))
    }

    async fn events(&self, run: &RunId, after: u64) -> Result<Vec<StoredEvent>, LedgerError> {
        self.read(run, |run| run.events.iter().skip(after as usize).map(|(event, _)| event.clone()).collect())
    }

    async fn heads(&self) -> Result<BTreeMap<RunId, Head>, LedgerError> {
        self.with(|inner| {
            let last = |run: &MemoryRun| run.events.last().map(|(event, _)| (event.recorded.seq, event.hash.clone()));
            let heads = inner.runs.iter().filter_map(|(id, run)| Some((id.clone(), last(run)?)));
            Ok(heads.map(|(id, (seq, hash))| (id, Head { seq, hash })).collect())
        })
    }

    async fn find(&self, part: &str) -> Result<Vec<RunId>, LedgerError> {
        let matches = |id: &&RunId| id.0.starts_with(part) || id.0.ends_with(part);
        self.with(|inner| Ok(inner.runs.keys().filter(matches).cloned().collect()))
    }

    async fn definition(&self, hash: &str) -> Result<Definition, LedgerError> {
        self.with(|inner| {
            inner.definitions.get(hash).cloned().ok_or_else(|| LedgerError::NoSuchDefinition(hash.to_owned()))
        })
    }

    async fn blob(&self, sha256: &str) -> Result<Vec<u8>, LedgerError> {
        self.with(|inner| {
            inner.blobs.get(sha256).cloned().ok_or_else(|| LedgerError::NoSuchDefinition(sha256.to_owned()))
        })
    }

    async fn seal(&self) -> Result<Seal, LedgerError> {
        Ok(seal())
    }

    async fn administer(&self, event: AdminEvent, actor: &str) -> Result<AdminEvent, LedgerError> {
        let now = self.surroundings.now_ms();
        self.with(|inner| {
            let event = match event {
                AdminEvent::RunsPruned { rule, mut runs } => {
                    runs.retain(|wanted| inner.remove(wanted));
                    inner.forget_unused();
                    inner.prune_letters(None, now);
                    AdminEvent::RunsPruned { rule, runs }
                }
                AdminEvent::TicksPruned { before, .. } => {
                    inner.prune_letters(Some(before), now);
                    inner.prune_ticks(before)
                }
                other => inner.letters.revive(other, now),
            };
            if event.is_idle() || !inner.timetable.switch(&event, now, actor)? {
                return Ok(event);
            }
            inner.note(event.clone(), now, actor);
            Ok(event)
        })
    }

    async fn administration(&self) -> Result<Vec<AdminEntry>, LedgerError> {
        self.with(|inner| {
            let stored = inner.administration.iter().cloned();
            administration::verified(stored.map(|e| (e.seq, e.at, e.actor, e.event.body(), e.hash)).collect())
        })
    }
}

fn past_run(run: &RunRow, attempts: &[AttemptRow]) -> PastRun {
    let between = |from: i64, to: Option<i64>| u64::try_from(to.unwrap_or(from) - from).unwrap_or(0);
    let succeeded = attempts.iter().filter(|attempt| attempt.status == "succeeded");
    let took = |row: &AttemptRow| between(row.started_at.unwrap_or(row.claimed_at), row.ended_at);
    PastRun {
        took_ms: between(run.started_at.unwrap_or(run.created_at), run.finished_at),
        attempts: succeeded.map(|row| (row.unit.clone(), took(row))).collect(),
    }
}

impl Inner {
    fn remove(&mut self, wanted: &PrunedRun) -> bool {
        let found = self.runs.get(&wanted.id);
        let goes = found.is_some_and(|run| run.row.finished_at.is_some() && run.head() == wanted.head);
        if goes {
            self.runs.remove(&wanted.id);
        }
        goes
    }

    /// Definitions that no run has and none of them calls, and files that no definition names.
    fn forget_unused(&mut self) {
        let mut ahead: Vec<String> = self.runs.values().map(|run| run.row.definition.clone()).collect();
        let mut used = BTreeSet::new();
        while let Some(hash) = ahead.pop() {
            let called = self.definitions.get(&hash).map(|one| &one.runbooks[..]).unwrap_or_default();
            let called = called.iter().map(|called| called.definition.clone()).collect::<Vec<_>>();
            if used.insert(hash) {
                ahead.extend(called);
            }
        }
        self.definitions.retain(|hash, _| used.contains(hash));
        self.runbooks.retain(|hash, _| used.contains(hash));
        let named: BTreeSet<String> =
            self.definitions.values().flat_map(|one| one.files.iter().map(|file| file.sha256.clone())).collect();
        self.blobs.retain(|sha256, _| named.contains(sha256));
    }
}
