//! What is due, and when the next is, of the schedules as the ledger has told that they stand. Decides, and does nothing.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono_tz::Tz;
use runward_engine::run::HomeId;
use runward_engine::schedule::due::{Course, Verdict};
use runward_engine::schedule::entry::Tick;
use runward_store::timetable::{Entry, Standing};

use super::Standing as Summary;

/// The schedules of this server, each with its ticks.
#[derive(Default)]
pub(super) struct Table {
    lines: Vec<Line>,
}

struct Line {
    standing: Standing,
    course: Course,
    /// In which order this server decides: another one begins elsewhere.
    place: u64,
    /// Other servers have decided some of what is due: it is gone through tick by tick.
    one_by_one: bool,
}

/// Ticks at once where a long time is gone through tick by tick.
const ONE_BY_ONE_MAX: usize = 50;

/// What one schedule has due.
#[derive(Debug, Clone)]
pub(super) struct Duty {
    pub(super) entry: Entry,
    pub(super) tasks: Vec<Task>,
    /// Once all of them are decided, everything up to here is.
    pub(super) cursor: i64,
    line: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Task {
    /// `due`: when it came, jitter included.
    Fire {
        tick: Tick,
        due: i64,
    },
    Skip {
        tick: Tick,
        reason: String,
    },
    SkipMany {
        first: Tick,
        last: Tick,
        count: u64,
        reason: String,
    },
}

impl Task {
    /// The one that is asked for; of many the last.
    pub(super) fn tick(&self) -> &Tick {
        match self {
            Task::Fire { tick, .. } | Task::Skip { tick, .. } | Task::SkipMany { last: tick, .. } => tick,
        }
    }

    /// When it came, of what is fired.
    pub(super) fn due(&self) -> Option<i64> {
        match self {
            Task::Fire { due, .. } => Some(*due),
            Task::Skip { .. } | Task::SkipMany { .. } => None,
        }
    }
}

impl Table {
    /// As they stand now. A schedule whose expression this program does not read is left out; whoever read the file has said so.
    pub(super) fn new(standings: Vec<Standing>, home: &HomeId, zone: Tz, before: &Table) -> Table {
        // What was decided here since is not forgotten, although it is not in the ledger yet.
        let known = before.lines.iter().map(|line| (&line.standing.entry.name, line));
        let known: BTreeMap<&String, &Line> = known.collect();
        let line = |mut standing: Standing| {
            let Entry { name, schedule, .. } = &standing.entry;
            let (course, one_by_one) = match known.get(name).filter(|line| line.standing.entry.schedule == *schedule) {
                Some(line) => {
                    standing.cursor = standing.cursor.max(line.standing.cursor);
                    (line.course.clone(), line.one_by_one)
                }
                None => (Course::new(name, schedule, zone).ok()?, false),
            };
            let place = place(home, name);
            Some(Line { standing, course, place, one_by_one })
        };
        let mut lines: Vec<Line> = standings.into_iter().filter_map(line).collect();
        lines.sort_by_key(|line| line.place);
        Table { lines }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.lines.iter().map(|line| &line.standing.entry)
    }

    /// What is to be decided now, in the order of this server.
    pub(super) fn due(&self, now: i64) -> Vec<Duty> {
        let duty = |(line, it): (usize, &Line)| {
            let due = it.course.due(it.standing.cursor, now);
            let (tasks, cursor) = match &due.verdicts[..] {
                [Verdict::SkipMany { first, last, reason, .. }, ..] if it.one_by_one => it.some(first, last, reason),
                _ => (due.verdicts.into_iter().map(|verdict| it.task(verdict)).collect(), due.cursor),
            };
            let entry = it.standing.entry.clone();
            (!tasks.is_empty()).then_some(Duty { entry, tasks, cursor, line })
        };
        self.lines.iter().enumerate().filter_map(duty).collect()
    }

    /// All of it is decided.
    pub(super) fn passed(&mut self, duty: &Duty) {
        if let Some(line) = self.lines.get_mut(duty.line) {
            line.standing.cursor = line.standing.cursor.max(duty.cursor);
            // What is left is told one by one in any case.
            line.one_by_one &= duty.tasks.len() >= ONE_BY_ONE_MAX;
        }
    }

    /// Another server has decided a part of what was to be skipped at once.
    pub(super) fn go_one_by_one(&mut self, schedule: &str) {
        self.lines
            .iter_mut()
            .filter(|line| line.standing.entry.name == schedule)
            .for_each(|line| line.one_by_one = true);
    }

    /// When the next tick comes.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.lines.iter().filter_map(|line| line.course.next_due(line.standing.cursor)).min()
    }

    pub(super) fn summary(&self) -> Summary {
        let standings = || self.lines.iter().map(|line| &line.standing);
        let broken = standings().filter_map(|it| Some((it.entry.name.clone(), it.entry.broken.clone()?)));
        Summary {
            schedules: self.lines.len(),
            disabled: standings().filter(|it| it.disabled.is_some()).count(),
            broken: broken.collect(),
            next: self.next_due(),
        }
    }
}

impl Line {
    /// The first of many ticks that are skipped, and up to when that is.
    fn some(&self, first: &Tick, last: &Tick, reason: &str) -> (Vec<Task>, i64) {
        let next = |tick: &Tick| self.course.times().next_until(tick.at, last.at);
        let ticks = std::iter::successors(Some(first.clone()), next).take(ONE_BY_ONE_MAX);
        let tasks: Vec<Task> = ticks.map(|tick| Task::Skip { tick, reason: reason.to_owned() }).collect();
        let end = tasks.last().map_or(first, Task::tick);
        let cursor = self.course.due_at(end);
        (tasks, cursor)
    }

    /// What somebody has disabled, and what cannot run, is skipped, tick by tick.
    fn task(&self, verdict: Verdict) -> Task {
        match verdict {
            Verdict::Fire(tick) => match in_the_way(&self.standing) {
                Some(reason) => Task::Skip { tick, reason },
                None => Task::Fire { due: self.course.due_at(&tick), tick },
            },
            Verdict::Skip { tick, reason } => Task::Skip { tick, reason },
            Verdict::SkipMany { first, last, count, reason } => Task::SkipMany { first, last, count, reason },
        }
    }
}

/// Why no tick of this schedule becomes a run now.
pub(super) fn in_the_way(standing: &Standing) -> Option<String> {
    let disabled = standing.disabled.as_ref().map(|it| format!("disabled by {}: {}", it.by, it.reason));
    disabled.or_else(|| standing.entry.broken.as_ref().map(|why| format!("the runbook cannot run: {why}")))
}

/// So that servers that begin at the same moment do not all begin with the same schedule.
fn place(home: &HomeId, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&home.0, name).hash(&mut hasher);
    hasher.finish()
}
