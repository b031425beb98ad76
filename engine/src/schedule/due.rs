//! What becomes of the ticks of a schedule that have come due since somebody last looked. Decides, and does nothing.
//!
//! A look covers the time from the cursor, up to which everything is decided, to now; each tick due in it is in exactly one
//! verdict. The cursor never goes back, so a clock that did can repeat nothing (fault F28).

use std::time::Duration;

use chrono_tz::Tz;

use super::entry::{Missed, Schedule, Tick};
use super::moment::shown;
use super::ticks::{Times, TimesError};
use crate::units::format_duration;

/// A tick that comes at most so late is on time.
pub const ON_TIME_MS: i64 = 60_000;
/// So many skipped ticks are told one by one, the newest; those before them as one.
pub const TOLD_MAX: usize = 100;
/// `missed: all` makes up for at most so many.
pub const ALL_MAX: usize = 10;

/// How the reason begins of a tick that came while nobody looked, and that nobody makes up for.
const MISSED: &str = "missed: ";

/// Whether a tick was skipped because it was missed, and not because somebody wanted it so.
pub fn is_missed(reason: &str) -> bool {
    reason.starts_with(MISSED)
}

/// A schedule, ready to be looked at over and over.
#[derive(Debug, Clone)]
pub struct Course {
    times: Times,
    missed: Missed,
    within_ms: i64,
    offset_ms: i64,
}

/// What has to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Oldest first.
    pub verdicts: Vec<Verdict>,
    /// Once they are carried out, every tick due up to here is decided.
    pub cursor: i64,
    /// So many milliseconds the clock is behind what it showed at an earlier look.
    pub behind_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Fire(Tick),
    Skip {
        tick: Tick,
        reason: String,
    },
    /// All from the first to the last, both included.
    SkipMany {
        first: Tick,
        last: Tick,
        count: u64,
        reason: String,
    },
}

impl Course {
    /// `name`: `RUNBOOK/ID`. `system`: the zone of a schedule that names none.
    pub fn new(name: &str, schedule: &Schedule, system: Tz) -> Result<Course, TimesError> {
        Ok(Course {
            times: Times::new(schedule, system)?,
            missed: schedule.missed,
            within_ms: schedule.within_ms,
            offset_ms: schedule.offset(name),
        })
    }

    pub fn times(&self) -> &Times {
        &self.times
    }

    /// When a tick comes due, its jitter included.
    pub fn due_at(&self, tick: &Tick) -> i64 {
        tick.at.saturating_add(self.offset_ms)
    }

    /// The first moment after this one at which a tick comes due.
    pub fn next_due(&self, after: i64) -> Option<i64> {
        self.times.next(after.saturating_sub(self.offset_ms)).map(|tick| self.due_at(&tick))
    }

    /// `cursor`: every tick that was due up to here is decided. Both times are of one clock, in epoch milliseconds.
    pub fn due(&self, cursor: i64, now: i64) -> Due {
        if now <= cursor {
            return Due { verdicts: Vec::new(), cursor, behind_ms: cursor.saturating_sub(now) };
        }
        let (from, until) = (cursor.saturating_sub(self.offset_ms), now.saturating_sub(self.offset_ms));
        let begin = self.newest_from(from, until);
        let newest = self.ticks(begin, until);
        let fires = self.fires(&newest, now);
        let untold = if begin > from { self.untold(from, begin, cursor, now) } else { None };
        let verdict = |(tick, fires): (Tick, bool)| match fires {
            true => Verdict::Fire(tick),
            false => Verdict::Skip { reason: self.reason(&tick, cursor, now), tick },
        };
        let verdicts = untold.into_iter().chain(newest.into_iter().zip(fires).map(verdict)).collect();
        Due { verdicts, cursor: now, behind_ms: 0 }
    }

    fn ticks(&self, after: i64, until: i64) -> Vec<Tick> {
        let next = |after: i64| self.times.next_until(after, until);
        std::iter::successors(next(after), |tick| next(tick.at)).collect()
    }

    /// The moment after which at most [`TOLD_MAX`] ticks come.
    fn newest_from(&self, from: i64, until: i64) -> i64 {
        let few = |after: i64| self.times.count(after, until) <= TOLD_MAX as u64;
        if few(from) {
            return from;
        }
        let (mut many, mut begin) = (from, until);
        while begin - many > 1000 {
            let middle = many + (begin - many) / 2;
            match few(middle) {
                true => begin = middle,
                false => many = middle,
            }
        }
        begin
    }

    /// The ticks that nobody will read one by one.
    fn untold(&self, after: i64, until: i64, cursor: i64, now: i64) -> Option<Verdict> {
        let first = self.times.next_until(after, until)?;
        let last = self.last(after, until)?;
        let count = self.times.count(after, until);
        let reason = self.reason(&last, cursor, now);
        Some(match count {
            1 => Verdict::Skip { tick: last, reason },
            _ => Verdict::SkipMany { first, last, count, reason },
        })
    }

    /// The last tick after one moment and not after another.
    fn last(&self, after: i64, until: i64) -> Option<Tick> {
        let (mut some, mut none) = (after, until);
        while none - some > 1000 {
            let middle = some + (none - some) / 2;
            match self.times.count(middle, until) {
                0 => none = middle,
                _ => some = middle,
            }
        }
        self.ticks(some, until).pop()
    }

    /// Which of the newest ticks begin a run.
    fn fires(&self, newest: &[Tick], now: i64) -> Vec<bool> {
        let on_time = |tick: &Tick| self.late(tick, now) <= ON_TIME_MS;
        let candidate = |tick: &Tick| on_time(tick) || self.late(tick, now) <= self.within_ms;
        // What came due while nobody looked for a moment is not missed.
        let made_up = match self.missed {
            _ if newest.iter().all(on_time) => newest.len(),
            Missed::None => return newest.iter().map(on_time).collect(),
            Missed::Latest => 1,
            Missed::All => ALL_MAX,
        };
        let newer = (0..newest.len()).rev();
        newest.iter().zip(newer).map(|(tick, newer)| newer < made_up && candidate(tick)).collect()
    }

    fn late(&self, tick: &Tick, now: i64) -> i64 {
        now.saturating_sub(self.due_at(tick))
    }

    fn reason(&self, tick: &Tick, cursor: i64, now: i64) -> String {
        let missed = format!("{MISSED}no server ran between {} and {}", shown(cursor), shown(now));
        if self.missed == Missed::None {
            return format!("{missed}, and nothing is made up for (`missed: none`)");
        }
        if self.late(tick, now) > self.within_ms {
            let within = Duration::from_millis(self.within_ms.unsigned_abs());
            return format!("{missed}, and it is older than {} (`within`)", format_duration(within));
        }
        match self.missed {
            Missed::All => format!("{missed}, and only the newest {ALL_MAX} are made up for (`missed: all`)"),
            _ => format!("{missed}, and only the newest is made up for (`missed: latest`)"),
        }
    }
}

#[cfg(test)]
mod tests;
