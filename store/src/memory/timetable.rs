//! Schedules and ticks in memory.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use runward_engine::run::{HomeId, RunId};
use runward_engine::schedule::entry::{Schedule, Tick};

use super::{Inner, MemoryLedger};
use crate::administration::AdminEvent;
use crate::error::LedgerError;
use crate::timetable::ruling::{Facts, Ruling, Sheet, abandon, rule};
use crate::timetable::{
    Decided, Decision, Disabled, Entry, Order, Outcome, Post, ScheduleRow, Standing, TickRow, Timetable, Waiting,
};

#[derive(Debug, Default)]
pub(super) struct Table {
    schedules: BTreeMap<String, Option<Disabled>>,
    /// A schedule as it is written, and up to when its ticks are decided, by its name and its spec.
    specs: BTreeMap<(String, String), (Schedule, i64)>,
    /// By home and name, with the spec.
    posted: BTreeMap<(HomeId, String), (String, Post)>,
    /// By schedule and key, with the spec.
    ticks: BTreeMap<(String, String), (TickRow, String)>,
}

impl Table {
    /// Says of a schedule that it is disabled, or not any more; false if that is so already.
    pub(super) fn switch(&mut self, event: &AdminEvent, at: i64, by: &str) -> Result<bool, LedgerError> {
        let (schedule, disabled) = match event {
            AdminEvent::ScheduleDisabled { schedule, reason } => {
                (schedule, Some(Disabled { at, by: by.to_owned(), reason: reason.clone() }))
            }
            AdminEvent::ScheduleEnabled { schedule, .. } => (schedule, None),
            _ => return Ok(true),
        };
        let known = self.schedules.get_mut(schedule);
        let known = known.ok_or_else(|| LedgerError::NoSuchSchedule(schedule.clone()))?;
        let news = known.is_some() != disabled.is_some();
        if news {
            *known = disabled;
        }
        Ok(news)
    }

    fn standing(&self, home: &HomeId) -> Vec<Standing> {
        let posted = self.posted.iter().filter(|((whose, _), _)| whose == home);
        posted.filter_map(|((_, name), (spec, post))| self.standing_of(name, spec, post.broken.clone())).collect()
    }

    fn standing_of(&self, name: &str, spec: &str, broken: Option<String>) -> Option<Standing> {
        let (schedule, cursor) = self.specs.get(&(name.to_owned(), spec.to_owned()))?;
        let entry = Entry { name: name.to_owned(), schedule: schedule.clone(), broken };
        Some(Standing { entry, cursor: *cursor, disabled: self.schedules.get(name).cloned().flatten() })
    }

    /// The ticks of a schedule that wait, the oldest first, each with the run that it waits for and its spec.
    fn waits(&self, name: &str) -> Vec<(Tick, RunId, String)> {
        let mut waits: Vec<_> = self
            .ticks
            .values()
            .filter(|(row, _)| row.schedule == name)
            .filter_map(|(row, spec)| match &row.outcome {
                Outcome::Waits { run } => Some((row.tick.clone(), run.clone(), spec.clone())),
                _ => None,
            })
            .collect();
        waits.sort();
        waits
    }

    fn newest(&self, schedule: Option<&str>) -> Vec<TickRow> {
        let rows = self.ticks.values().map(|(row, _)| row.clone());
        let mut rows: Vec<TickRow> = rows.filter(|row| schedule.is_none_or(|name| row.schedule == name)).collect();
        let decided = |row: &TickRow| if schedule.is_some() { 0 } else { row.decided_at };
        rows.sort_by(|a, b| (decided(b), &b.tick, &a.schedule).cmp(&(decided(a), &a.tick, &b.schedule)));
        rows
    }

    fn write(&mut self, ruling: &Ruling) {
        for (row, spec) in &ruling.rows {
            let place = (row.schedule.clone(), row.tick.key());
            self.ticks.insert(place, (row.clone(), spec.clone()));
        }
        for (name, spec, to) in &ruling.passed {
            self.pass(name, spec, *to);
        }
    }

    fn pass(&mut self, name: &str, spec: &str, to: i64) {
        if let Some((_, cursor)) = self.specs.get_mut(&(name.to_owned(), spec.to_owned())) {
            *cursor = to.max(*cursor);
        }
    }

    /// What waits of what nobody fires any more.
    fn post(&mut self, home: &HomeId, host: &str, entries: &[Entry], now: i64) -> Ruling {
        let mut before: BTreeMap<String, (String, Post)> = BTreeMap::new();
        self.posted.retain(|(whose, name), posted| {
            if whose == home {
                before.insert(name.clone(), posted.clone());
            }
            whose != home
        });
        for entry in entries {
            let (name, spec) = (entry.name.clone(), entry.schedule.spec());
            let mut post = Post { home: home.clone(), host: host.to_owned(), at: now, broken: entry.broken.clone() };
            if let Some((was, earlier)) = before.get(&name)
                && *was == spec
                && (&earlier.host, &earlier.broken) == (&post.host, &post.broken)
            {
                post.at = earlier.at;
            }
            self.schedules.entry(name.clone()).or_default();
            self.specs.entry((name.clone(), spec.clone())).or_insert_with(|| (entry.schedule.clone(), now));
            self.posted.insert((home.clone(), name), (spec, post));
        }
        let fired: BTreeSet<(String, String)> =
            self.posted.iter().map(|((_, name), (spec, _))| (name.clone(), spec.clone())).collect();
        self.specs.retain(|place, _| fired.contains(place));
        let names: Vec<String> = self.schedules.keys().cloned().collect();
        let waits = names.iter().flat_map(|name| {
            let waits = self.waits(name).into_iter().map(|(tick, _, spec)| (name.clone(), tick, spec));
            waits.filter(|(name, _, spec)| !fired.contains(&(name.clone(), spec.clone())))
        });
        let ruling = abandon(now, waits.collect());
        self.write(&ruling);
        ruling
    }
}

impl Inner {
    fn unfinished(&self, schedule: Option<&str>) -> Vec<RunId> {
        let ours = self.runs.values().filter(|run| run.row.finished_at.is_none() && run.row.schedule.is_some());
        let ours = ours.filter(|run| schedule.is_none() || run.row.schedule.as_deref() == schedule);
        ours.map(|run| run.row.id.clone()).collect()
    }

    fn facts(&self, home: &HomeId, orders: &[Order], now: i64) -> Facts {
        let mut facts = Facts { now, ..Facts::default() };
        for Order { entry, decision } in orders {
            let name = &entry.name;
            if let Decision::Fire { new, .. } = decision
                && let Some(group) = &new.group
            {
                facts.queue(&group.name, &self.members(&group.name));
            }
            let Some(disabled) = self.timetable.schedules.get(name) else { continue };
            let sheet = facts.sheets.entry(name.clone()).or_insert_with(|| Sheet {
                posted: self.timetable.posted.get(&(home.clone(), name.clone())).and_then(|(spec, _)| {
                    let (_, cursor) = self.timetable.specs.get(&(name.clone(), spec.clone()))?;
                    Some((spec.clone(), *cursor))
                }),
                disabled: disabled.clone(),
                ticks: BTreeMap::new(),
                taken: Vec::new(),
                waiting: self.timetable.waits(name),
                unfinished: self.unfinished(Some(name)).pop(),
            });
            if let Decision::SkipMany { first, last, .. } = decision {
                let rows = self.timetable.ticks.values().filter(|(row, _)| row.schedule == *name);
                sheet.taken.extend(rows.map(|(row, _)| row.tick.at).find(|at| (first.at..=last.at).contains(at)));
            }
            let key = decision.tick().key();
            if let Some((row, _)) = self.timetable.ticks.get(&(name.clone(), key.clone())) {
                sheet.ticks.insert(key, row.outcome.clone());
            }
        }
        facts
    }

    /// Removes ticks that were decided before this moment, have no run, and cannot be asked for any more.
    pub(super) fn prune_ticks(&mut self, before: i64) -> AdminEvent {
        let runs = &self.runs;
        let specs = &self.timetable.specs;
        let had = self.timetable.ticks.len();
        self.timetable.ticks.retain(|_, (row, _)| {
            let lives = match &row.outcome {
                Outcome::Run { run } => runs.contains_key(run),
                Outcome::Waits { .. } => true,
                Outcome::Skipped { .. } => false,
            };
            let ahead = specs.iter().any(|((name, _), (schedule, cursor))| {
                *name == row.schedule && *cursor < row.tick.at + schedule.offset(name)
            });
            row.decided_at >= before || lives || ahead
        });
        AdminEvent::TicksPruned { before, ticks: (had - self.timetable.ticks.len()) as u64 }
    }
}

#[async_trait]
impl Timetable for MemoryLedger {
    async fn now(&self) -> Result<i64, LedgerError> {
        Ok(self.surroundings.now_ms())
    }

    async fn post(
        &self,
        home: &HomeId,
        host: &str,
        entries: &[Entry],
        actor: &str,
    ) -> Result<Vec<Standing>, LedgerError> {
        let fate = self.surroundings.fate();
        fate.before()?;
        let now = self.surroundings.now_ms();
        let mut inner = self.inner();
        fate.around(|| {
            let ruling = inner.timetable.post(home, host, entries, now);
            if !ruling.skipped.is_empty() {
                inner.note(AdminEvent::TicksSkipped { ticks: ruling.skipped }, now, actor);
            }
        })?;
        Ok(inner.timetable.standing(home))
    }

    async fn posted(&self, home: &HomeId) -> Result<Vec<Standing>, LedgerError> {
        self.with(|inner| Ok(inner.timetable.standing(home)))
    }

    async fn undecided(&self, ticks: &[(Entry, Tick)]) -> Result<Vec<bool>, LedgerError> {
        self.with(|inner| {
            let known = &inner.timetable.ticks;
            Ok(ticks.iter().map(|(entry, tick)| !known.contains_key(&(entry.name.clone(), tick.key()))).collect())
        })
    }

    async fn decide(&self, home: &HomeId, orders: Vec<Order>, actor: &str) -> Result<Vec<Decided>, LedgerError> {
        let fate = self.surroundings.fate();
        fate.before()?;
        let mut inner = self.inner();
        let facts = inner.facts(home, &orders, self.surroundings.now_ms());
        let now = facts.now;
        let mut ruling = rule(facts, orders);
        if ruling.rows.is_empty() {
            return Ok(ruling.answers);
        }
        fate.around(|| {
            inner.timetable.write(&ruling);
            inner.letters.write(std::mem::take(&mut ruling.notices));
            if !ruling.skipped.is_empty() {
                inner.note(AdminEvent::TicksSkipped { ticks: std::mem::take(&mut ruling.skipped) }, now, actor);
            }
            ruling.runs.drain(..).for_each(|(new, mut view)| inner.record(new, &mut view, now));
        })?;
        Ok(ruling.answers)
    }

    async fn passed(&self, entries: &[(Entry, i64)]) -> Result<(), LedgerError> {
        let fate = self.surroundings.fate();
        fate.before()?;
        let mut inner = self.inner();
        fate.around(|| {
            for (entry, to) in entries {
                inner.timetable.pass(&entry.name, &entry.schedule.spec(), *to);
            }
        })
    }

    async fn waiting(&self, home: &HomeId) -> Result<Vec<Waiting>, LedgerError> {
        self.with(|inner| {
            let mut waiting = Vec::new();
            for standing in inner.timetable.standing(home) {
                let (name, spec) = (&standing.entry.name, standing.entry.schedule.spec());
                let behind = inner.unfinished(Some(name)).pop();
                let ours = inner.timetable.waits(name).into_iter().filter(|(.., of)| *of == spec);
                waiting.extend(ours.map(|(tick, run, _)| Waiting {
                    standing: standing.clone(),
                    tick,
                    over: behind.is_none(),
                    run: behind.clone().unwrap_or(run),
                }));
            }
            Ok(waiting)
        })
    }

    async fn unfinished(&self) -> Result<Vec<RunId>, LedgerError> {
        self.with(|inner| Ok(inner.unfinished(None)))
    }

    async fn schedules(&self) -> Result<Vec<ScheduleRow>, LedgerError> {
        self.with(|inner| {
            let table = &inner.timetable;
            let row = |(name, spec): &(String, String)| {
                let posts = table.posted.iter().filter(|((_, posted), (of, _))| posted == name && of == spec);
                let mut posts: Vec<Post> = posts.map(|(_, (_, post))| post.clone()).collect();
                posts.sort_by(|a, b| (&a.host, &a.home.0).cmp(&(&b.host, &b.home.0)));
                let broken = posts.iter().find_map(|post| post.broken.clone());
                let standing = table.standing_of(name, spec, broken)?;
                Some(ScheduleRow { standing, posts, last: table.newest(Some(name)).into_iter().next() })
            };
            Ok(table.specs.keys().filter_map(row).collect())
        })
    }

    async fn ticks(&self, schedule: Option<&str>, limit: u32) -> Result<Vec<TickRow>, LedgerError> {
        self.with(|inner| Ok(inner.timetable.newest(schedule).into_iter().take(limit as usize).collect()))
    }
}
