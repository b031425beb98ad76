//! The ledger in memory: for tests of everything above it. It forgets with its process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use runward_engine::plan::history::PastRun;
use runward_engine::plan::{Definition, Seal};
use runward_engine::run::rows::{self, AttemptRow, RunRow, StepRow};
use runward_engine::run::{Recorded, RunId};

use crate::administration::{self, AdminEntry, AdminEvent, PrunedRun};
use crate::chain;
use crate::error::LedgerError;
use crate::ledger::{Committed, Ledger, Linked, NewRun, Next, RunQuery, RunView, StoredEvent, Triggered, now_ms};

#[derive(Debug, Default)]
pub struct MemoryLedger {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    runs: BTreeMap<RunId, MemoryRun>,
    keys: BTreeMap<String, RunId>,
    definitions: BTreeMap<String, Definition>,
    blobs: BTreeMap<String, Vec<u8>>,
    administration: Vec<AdminEntry>,
}

#[derive(Debug)]
struct MemoryRun {
    /// Always at the last event.
    view: RunView,
    events: Vec<Linked>,
}

/// What is in memory is in nobody else's hands.
fn seal() -> Seal {
    Seal::new([0; Seal::BYTES])
}

impl MemoryLedger {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read<T>(&self, run: &RunId, f: impl FnOnce(&MemoryRun) -> T) -> Result<T, LedgerError> {
        self.with(|inner| inner.runs.get(run).map(f).ok_or_else(|| LedgerError::NoSuchRun(run.clone())))
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn trigger(&self, new: NewRun) -> Result<Triggered, LedgerError> {
        self.with(|inner| {
            if let Some(key) = &new.key
                && let Some(run) = inner.keys.get(key)
            {
                let existing = inner.runs.get(run);
                let pruned = || LedgerError::KeyOfPruned { key: key.clone(), run: run.clone() };
                return Ok(Triggered { view: existing.ok_or_else(pruned)?.view.clone(), created: false });
            }
            if let Some(run) = inner.runs.get(&new.id).filter(|_| new.parent.is_some()) {
                return Ok(Triggered { view: run.view.clone(), created: false });
            }
            if let Some(last) = &new.only_after {
                let newest = inner.runs.values().rev().find(|run| run.view.state.name == new.definition.name);
                last.moved_on(newest.map(|run| rows::run_row(&run.view.state)).as_ref())?;
            }
            let mut view = RunView::empty(&new.id, &new.definition)?;
            let events = view.begin(&new, &seal(), now_ms());
            view.state.take_touched();
            if let Some(key) = &new.key {
                inner.keys.insert(key.clone(), new.id.clone());
            }
            inner.blobs.extend(new.blobs);
            for definition in new.called.into_iter().chain([new.definition]) {
                inner.definitions.insert(definition.hash(), definition);
            }
            inner.runs.insert(new.id, MemoryRun { view: view.clone(), events });
            Ok(Triggered { view, created: true })
        })
    }

    async fn load(&self, run: &RunId) -> Result<RunView, LedgerError> {
        let (definition, events) = self.read(run, |run| (run.view.state.definition.clone(), run.events.clone()))?;
        let mut view = RunView::empty(run, &self.definition(&definition).await?)?;
        let (events, bodies): (Vec<_>, Vec<_>) = events.into_iter().unzip();
        view.fold(events, &bodies)?;
        Ok(view)
    }

    async fn refresh(&self, view: &mut RunView) -> Result<Vec<Recorded>, LedgerError> {
        let (newer, news) = self.read(&view.state.id, |run| {
            let news = run.events.iter().skip(view.state.seq as usize).map(|(event, _)| event.recorded.clone());
            (run.view.clone(), news.collect::<Vec<_>>())
        })?;
        if view.stale || !news.is_empty() {
            *view = newer;
        }
        Ok(news)
    }

    async fn commit(&self, view: &mut RunView, next: &mut Next<'_>, actor: &str) -> Result<Committed, LedgerError> {
        self.with(|inner| {
            let run =
                inner.runs.get_mut(&view.state.id).ok_or_else(|| LedgerError::NoSuchRun(view.state.id.clone()))?;
            let (replies, events) = run.view.advance(next, now_ms(), actor);
            run.view.state.take_touched();
            run.events.extend(events);
            let news = run.events.iter().skip(view.state.seq as usize).map(|(event, _)| event.recorded.clone());
            let news = news.collect();
            *view = run.view.clone();
            Ok(Committed { replies, news })
        })
    }

    async fn past(&self, name: &str, runs: u32) -> Result<Vec<PastRun>, LedgerError> {
        let all = |run: &MemoryRun| rows::all(&run.view.state);
        self.with(|inner| {
            let newest = inner.runs.values().rev().map(all);
            let wanted = newest.filter(|(run, ..)| run.name == name && run.status == "succeeded").take(runs as usize);
            Ok(wanted.map(|(run, _, attempts)| past_run(&run, &attempts)).collect())
        })
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRow>, LedgerError> {
        self.with(|inner| {
            let rows = inner.runs.values().rev().map(|run| rows::run_row(&run.view.state));
            let wanted = rows.filter(|row| {
                query.name.as_ref().is_none_or(|name| *name == row.name)
                    && (!query.unfinished || row.finished_at.is_none())
                    && !(query.without_children && row.parent.is_some())
            });
            Ok(wanted.take(query.limit.unwrap_or(u32::MAX) as usize).collect())
        })
    }

    async fn rows(&self, run: &RunId) -> Result<(RunRow, Vec<StepRow>, Vec<AttemptRow>), LedgerError> {
        self.read(run, |run| rows::all(&run.view.state))
    }

    async fn events(&self, run: &RunId, after: u64) -> Result<Vec<StoredEvent>, LedgerError> {
        self.read(run, |run| run.events.iter().skip(after as usize).map(|(event, _)| event.clone()).collect())
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
        self.with(|inner| {
            let event = match event {
                AdminEvent::RunsPruned { rule, mut runs } => {
                    runs.retain(|wanted| inner.remove(wanted));
                    inner.forget_unused();
                    AdminEvent::RunsPruned { rule, runs }
                }
                other => other,
            };
            if matches!(&event, AdminEvent::RunsPruned { runs, .. } if runs.is_empty()) {
                return Ok(event);
            }
            let previous = inner.administration.last().map_or(chain::GENESIS, |entry| entry.hash.as_str());
            let (seq, at) = (inner.administration.len() as u64 + 1, now_ms());
            let hash = administration::link(previous, seq, at, actor, &event.body());
            inner.administration.push(AdminEntry { seq, at, actor: actor.to_owned(), event: event.clone(), hash });
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
        let goes = found.is_some_and(|run| run.view.state.status.is_terminal() && run.view.head == wanted.head);
        if goes {
            self.runs.remove(&wanted.id);
        }
        goes
    }

    /// Definitions that no run has and none of them calls, and files that no definition names.
    fn forget_unused(&mut self) {
        let mut ahead: Vec<String> = self.runs.values().map(|run| run.view.state.definition.clone()).collect();
        let mut used = BTreeSet::new();
        while let Some(hash) = ahead.pop() {
            let called = self.definitions.get(&hash).map(|one| &one.runbooks[..]).unwrap_or_default();
            let called = called.iter().map(|called| called.definition.clone()).collect::<Vec<_>>();
            if used.insert(hash) {
                ahead.extend(called);
            }
        }
        self.definitions.retain(|hash, _| used.contains(hash));
        let named: BTreeSet<String> =
            self.definitions.values().flat_map(|one| one.files.iter().map(|file| file.sha256.clone())).collect();
        self.blobs.retain(|sha256, _| named.contains(sha256));
    }
}
