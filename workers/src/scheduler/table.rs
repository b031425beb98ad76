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
}

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
    Fire { tick: Tick, due: i64 },
    Skip { tick: Tick, reason: String },
    SkipMany { first: Tick, last: Tick, count: u64, reason: String },
}

impl Table {
    /// As they stand now. A schedule whose expression this program does not read is left out; whoever read the file has said so.
    pub(super) fn new(standings: Vec<Standing>, home: &HomeId, zone: Tz, before: &Table) -> Table {
        // What was decided here since is not forgotten, although it is not in the ledger yet.
        let known = before.lines.iter().map(|line| (&line.standing.entry.name, line));
        let known: BTreeMap<&String, &Line> = known.collect();
        let line = |mut standing: Standing| {
            let Entry { name, schedule, .. } = &standing.entry;
            let course = match known.get(name).filter(|line| line.standing.entry.schedule == *schedule) {
                Some(line) => {
                    standing.cursor = standing.cursor.max(line.standing.cursor);
                    line.course.clone()
                }
                None => Course::new(name, schedule, zone).ok()?,
            };
            let place = place(home, name);
            Some(Line { standing, course, place })
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
            let tasks: Vec<Task> = due.verdicts.into_iter().map(|verdict| it.task(verdict)).collect();
            let entry = it.standing.entry.clone();
            (!tasks.is_empty()).then_some(Duty { entry, tasks, cursor: due.cursor, line })
        };
        self.lines.iter().enumerate().filter_map(duty).collect()
    }

    /// All of it is decided.
    pub(super) fn passed(&mut self, duty: &Duty) {
        if let Some(line) = self.lines.get_mut(duty.line) {
            line.standing.cursor = line.standing.cursor.max(duty.cursor);
        }
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
