//! When a schedule is due, for ever: the times its expression names, on the clocks of its zone.
//!
//! Time is cut into stretches in which the clocks run on without being changed. Within a stretch a tick is a matter of the
//! calendar alone ([`Cron`]); what becomes of an hour that does not exist, or exists twice, is decided where two stretches
//! meet. So ticks always come one after the other in real time.
//!
//! Without a `dst:` of the author the rule is Vixie cron's (fault F29): an expression whose minute and hour both begin with
//! something else than `*` names times of day, which come once a day; any other follows the clock.

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::cron::{Cron, CronError};
use super::entry::{Gap, Repeat, Schedule, Tick};

/// The due times of a schedule.
#[derive(Debug, Clone)]
pub struct Times {
    cron: Cron,
    zone: Tz,
    gap: Gap,
    repeat: Repeat,
}

/// Why a schedule has no due times: it comes from a ledger, not from a file that was checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimesError {
    #[error(transparent)]
    Cron(#[from] CronError),
    #[error("`{0}` is not a time zone that this version of runward knows")]
    Zone(String),
}

/// No two clocks are further apart than this: what a change can repeat or leave out.
const CHANGE_SECONDS_MAX: i64 = 27 * 3600;
/// Nobody changed their clocks and changed them back within this time (tested).
const STEP_SECONDS: i64 = 6 * 3600;
/// The calendar is known from 1970 to 2099.
const LAST_SECOND: i64 = 4_102_444_799;

impl Times {
    /// `system`: the zone of a schedule that names none.
    pub fn new(schedule: &Schedule, system: Tz) -> Result<Times, TimesError> {
        let cron = Cron::parse(&schedule.cron)?;
        let zone = match &schedule.timezone {
            Some(name) => name.parse().map_err(|_| TimesError::Zone(name.clone()))?,
            None => system,
        };
        let (gap, repeat) =
            if cron.names_times_of_day() { (Gap::Shift, Repeat::First) } else { (Gap::Skip, Repeat::Both) };
        let dst = schedule.dst;
        Ok(Times { cron, zone, gap: dst.gap.unwrap_or(gap), repeat: dst.repeat.unwrap_or(repeat) })
    }

    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first tick after this moment (epoch milliseconds).
    pub fn next(&self, after: i64) -> Option<Tick> {
        self.next_until(after, LAST_SECOND * 1000)
    }

    /// The first tick after one moment and not after another. Costs little where they are near each other.
    pub fn next_until(&self, after: i64, until: i64) -> Option<Tick> {
        let (after, until) = (seconds(after), seconds(until));
        let mut stretch = Stretch::around(self.zone, after);
        loop {
            let wall = self.cron.first_from(stretch.wall(self.first_second(&stretch).max(after + 1)))?;
            let at = wall.and_utc().timestamp() - stretch.offset;
            let change = stretch.change(after.max(stretch.from), at.min(until).saturating_add(CHANGE_SECONDS_MAX));
            match change {
                Some(next) if at >= self.end_second(&stretch, &next) => {
                    if next.from > until {
                        return None;
                    }
                    stretch = next;
                    if let Some(tick) = self.shifted(&stretch).filter(|_| stretch.from > after) {
                        return Some(tick);
                    }
                }
                _ => return (at <= until).then(|| self.tick(&stretch, wall, at)),
            }
        }
    }

    /// The ticks after this moment, one after the other.
    pub fn after(&self, moment: i64) -> impl Iterator<Item = Tick> + '_ {
        std::iter::successors(self.next(moment), |tick| self.next(tick.at))
    }

    /// How many ticks come after one moment and not after another. Costs a little for each day between them.
    pub fn count(&self, after: i64, until: i64) -> u64 {
        let (after, until) = (seconds(after), seconds(until));
        let mut stretch = Stretch::around(self.zone, after);
        let mut count = 0;
        while stretch.from <= until {
            let change = stretch.change(after.max(stretch.from), until.saturating_add(CHANGE_SECONDS_MAX));
            let first = self.first_second(&stretch).max(after + 1);
            let end = change.as_ref().map_or(i64::MAX, |next| self.end_second(&stretch, next)).min(until + 1);
            if first < end {
                count += self.cron.count(stretch.wall(first), stretch.wall(end));
            }
            let Some(next) = change else { break };
            stretch = next;
            if stretch.from <= until && stretch.from > after && self.shifted(&stretch).is_some() {
                count += 1;
            }
        }
        count
    }

    /// The first moment of a stretch at which something can be due: its beginning, or the end of the hour that is repeated.
    fn first_second(&self, stretch: &Stretch) -> i64 {
        match self.repeat {
            Repeat::First => stretch.from + (stretch.before - stretch.offset).max(0),
            Repeat::Last | Repeat::Both => stretch.from,
        }
    }

    /// From when on nothing is due in this stretch any more: its end, or the beginning of the hour that will be repeated.
    fn end_second(&self, stretch: &Stretch, next: &Stretch) -> i64 {
        match self.repeat {
            Repeat::Last => next.from - (stretch.offset - next.offset).max(0),
            Repeat::First | Repeat::Both => next.from,
        }
    }

    /// What the gap before this stretch left out, due at its beginning; once, and not where something is due then anyway.
    fn shifted(&self, stretch: &Stretch) -> Option<Tick> {
        if self.gap == Gap::Skip || stretch.before >= stretch.offset {
            return None;
        }
        let begins = stretch.wall(stretch.from);
        let left_out = self.cron.first_from(begins - TimeDelta::seconds(stretch.offset - stretch.before))?;
        let its_own = self.cron.first_from(begins) == Some(begins);
        (left_out < begins && !its_own).then(|| self.tick(stretch, left_out, stretch.from))
    }

    fn tick(&self, stretch: &Stretch, wall: NaiveDateTime, at: i64) -> Tick {
        Tick {
            at: at * 1000,
            nominal: wall.format("%Y-%m-%dT%H:%M").to_string(),
            zone: self.zone.name().to_owned(),
            fold: u8::from(at < stretch.from + stretch.before - stretch.offset),
        }
    }
}

/// A time in which the clocks of a zone are not changed. Moments in epoch seconds; offsets from UTC in seconds.
struct Stretch {
    zone: Tz,
    /// When it began; a moment without meaning where that was more than [`CHANGE_SECONDS_MAX`] ago.
    from: i64,
    offset: i64,
    /// The offset before it.
    before: i64,
}

impl Stretch {
    fn around(zone: Tz, moment: i64) -> Stretch {
        let from = moment - CHANGE_SECONDS_MAX;
        let offset = offset(zone, from);
        let mut stretch = Stretch { zone, from, offset, before: offset };
        while let Some(next) = stretch.change(stretch.from, moment) {
            stretch = next;
        }
        stretch
    }

    /// The stretch that follows this one, if it begins after `from` (a moment of this one) and not after `until`.
    fn change(&self, from: i64, until: i64) -> Option<Stretch> {
        let mut steady = from;
        while steady < until {
            let mut changed = (steady + STEP_SECONDS).min(until);
            if offset(self.zone, changed) == self.offset {
                steady = changed;
                continue;
            }
            while changed - steady > 1 {
                let middle = steady + (changed - steady) / 2;
                match offset(self.zone, middle) == self.offset {
                    true => steady = middle,
                    false => changed = middle,
                }
            }
            let offset = offset(self.zone, changed);
            return Some(Stretch { zone: self.zone, from: changed, offset, before: self.offset });
        }
        None
    }

    /// What the clocks show, or would show if nobody changed them.
    fn wall(&self, moment: i64) -> NaiveDateTime {
        naive(moment + self.offset)
    }
}

fn offset(zone: Tz, moment: i64) -> i64 {
    i64::from(zone.offset_from_utc_datetime(&naive(moment)).fix().local_minus_utc())
}

fn naive(seconds: i64) -> NaiveDateTime {
    DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default().naive_utc()
}

/// Whole seconds, within what the calendar knows.
fn seconds(millis: i64) -> i64 {
    millis.div_euclid(1000).clamp(0, LAST_SECOND)
}

#[cfg(test)]
pub mod tests;
