//! Five-field cron with the meaning of Vixie cron.
//!
//! The `cron` crate does the calendar arithmetic; its own reading of fields differs from Vixie's (seconds first, Sunday is
//! 1, day-of-month AND day-of-week), so fields are read here and handed over as lists of numbers.
//!
//! Day-of-month and day-of-week are joined by OR, unless one of them begins with `*`: then by AND, as in Vixie cron.

use std::ops::Range;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike};

/// A cron expression that can come due.
#[derive(Debug, Clone)]
pub struct Cron {
    /// Due where any of them is.
    parts: Vec<cron::Schedule>,
    pub minutes: Set,
    pub hours: Set,
    pub days: Set,
    pub months: Set,
    /// Sunday is 0.
    pub weekdays: Set,
    pub join: Join,
    times_of_day: bool,
}

/// Numbers from 0 to 63.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Set(u64);

/// How day of month and day of week are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// One of them begins with `*`.
    And,
    Or,
}

/// What is wrong with a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("`{text}` has {found} fields; cron has five: minute, hour, day of month, month, day of week")]
    Fields { text: String, found: usize },
    #[error("`{text}` is not a nickname of cron")]
    Nickname { text: String },
    #[error("{field} `{item}`: {reason}")]
    Item { field: &'static str, item: String, reason: String },
    #[error("`{text}` never comes")]
    Never { text: String },
}

impl CronError {
    /// What to write instead.
    pub fn help(&self) -> Option<String> {
        match self {
            CronError::Fields { found: 6, .. } => Some("without seconds: `30 2 * * SAT` is Saturday, 02:30".into()),
            CronError::Fields { .. } => Some("`30 2 * * SAT` is Saturday, 02:30".into()),
            CronError::Nickname { .. } => Some("`@hourly`, `@daily`, `@weekly`, `@monthly` or `@yearly`".into()),
            CronError::Item { .. } | CronError::Never { .. } => None,
        }
    }
}

struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// Names of the values from `min` on.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, names: &[] },
    Field { name: "hour", min: 0, max: 23, names: &[] },
    Field { name: "day of month", min: 1, max: 31, names: &[] },
    Field {
        name: "month",
        min: 1,
        max: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { name: "day of week", min: 0, max: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

impl Cron {
    pub fn parse(text: &str) -> Result<Cron, CronError> {
        let expanded = nickname(text.trim())?;
        let fields: Vec<&str> = expanded.split_whitespace().collect();
        let [minute, hour, dom, month, dow] = fields[..] else {
            return Err(CronError::Fields { text: text.into(), found: fields.len() });
        };
        let minutes = values(&FIELDS[0], minute)?;
        let hours = values(&FIELDS[1], hour)?;
        let months = values(&FIELDS[3], month)?;
        let days = values(&FIELDS[2], dom)?;
        let weekdays: Set = values(&FIELDS[4], dow)?.iter().map(|day| day % 7).collect();
        // The crate's week begins with Sunday = 1.
        let crate_weekdays = weekdays.iter().map(|day| day + 1).collect();
        let schedule = |days: Option<Set>, weekdays: Option<Set>| {
            let list = |n: usize, set: Option<Set>| list(&FIELDS[n], set);
            let (days, weekdays) = (list(2, days), list(4, weekdays));
            let (minutes, hours, months) = (list(0, Some(minutes)), list(1, Some(hours)), list(3, Some(months)));
            cron::Schedule::from_str(&format!("0 {minutes} {hours} {days} {months} {weekdays}"))
                .map_err(|error| CronError::Item { field: "cron", item: text.into(), reason: error.to_string() })
        };
        let (parts, join) = if dom.starts_with('*') || dow.starts_with('*') {
            (vec![schedule(Some(days), Some(crate_weekdays))?], Join::And)
        } else {
            (vec![schedule(Some(days), None)?, schedule(None, Some(crate_weekdays))?], Join::Or)
        };
        let times_of_day = !minute.starts_with('*') && !hour.starts_with('*');
        let cron = Cron { parts, minutes, hours, days, months, weekdays, join, times_of_day };
        match cron.first_from(NaiveDateTime::default()) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never { text: text.into() }),
        }
    }

    /// Whether it names times of day, by Vixie cron's rule: neither minute nor hour begins with `*`. What does not follows the
    /// clock.
    pub fn names_times_of_day(&self) -> bool {
        self.times_of_day
    }

    /// The first due time from `wall` on, as clocks show it: without zone and summer time.
    pub fn first_from(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        let before = wall.checked_sub_signed(TimeDelta::seconds(1))?.and_utc();
        self.parts.iter().filter_map(|part| part.after(&before).next()).min().map(|due| due.naive_utc())
    }

    /// How many due times there are from one wall-clock time to before another.
    pub fn count(&self, from: NaiveDateTime, to: NaiveDateTime) -> u64 {
        let days = from.date().iter_days().take_while(|day| *day <= to.date());
        let minutes = |day: NaiveDate| {
            let first = if day == from.date() { minute_of_day(from) } else { 0 };
            let end = if day == to.date() { minute_of_day(to) } else { MINUTES_A_DAY };
            self.minutes_within(first..end)
        };
        days.filter(|day| self.has_day(*day)).map(minutes).sum()
    }

    fn has_day(&self, day: NaiveDate) -> bool {
        let (of_month, of_week) = (self.days.has(day.day()), self.weekdays.has(day.weekday().num_days_from_sunday()));
        self.months.has(day.month())
            && match self.join {
                Join::And => of_month && of_week,
                Join::Or => of_month || of_week,
            }
    }

    /// How many minutes of a day are due, of those in the range.
    fn minutes_within(&self, range: Range<u32>) -> u64 {
        let in_hour = |hour: u32| {
            let (first, end) = (hour * 60, hour * 60 + 60);
            match range.start <= first && end <= range.end {
                true => self.minutes.len(),
                false => self.minutes.iter().filter(|minute| range.contains(&(first + minute))).count() as u64,
            }
        };
        self.hours.iter().map(in_hour).sum()
    }
}

fn nickname(text: &str) -> Result<&str, CronError> {
    match text {
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        "@monthly" => Ok("0 0 1 * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@hourly" => Ok("0 * * * *"),
        _ if text.starts_with('@') => Err(CronError::Nickname { text: text.into() }),
        _ => Ok(text),
    }
}

const MINUTES_A_DAY: u32 = 1440;

/// The first minute of the day that is not before this time.
fn minute_of_day(wall: NaiveDateTime) -> u32 {
    wall.num_seconds_from_midnight().div_ceil(60)
}

impl Set {
    pub fn has(self, number: u32) -> bool {
        self.0 & (1 << number) != 0
    }

    pub fn len(self) -> u64 {
        self.0.count_ones().into()
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = u32> {
        (0..64).filter(move |number| self.has(*number))
    }
}

impl FromIterator<u32> for Set {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Set {
        Set(numbers.into_iter().fold(0, |set, number| set | 1 << number))
    }
}

/// The values of a field as the `cron` crate reads them: a list of numbers, or `*` for no set.
fn list(field: &Field, set: Option<Set>) -> String {
    let all = u64::from(field.max - field.min + 1).min(if field.names.len() == 7 { 7 } else { u64::MAX });
    match set {
        Some(set) if set.len() < all => set.iter().map(|n| n.to_string()).collect::<Vec<_>>().join(","),
        _ => "*".into(),
    }
}

fn values(field: &Field, text: &str) -> Result<Set, CronError> {
    let mut on = Vec::new();
    for item in text.split(',') {
        let fail = |reason: String| CronError::Item { field: field.name, item: item.into(), reason };
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let (first, last) = match range.split_once('-') {
            // Sunday is both 0 and 7: a star means each day once.
            _ if range == "*" => (field.min, field.max.min(if field.names.len() == 7 { 6 } else { field.max })),
            Some((first, last)) => (value(field, first).map_err(fail)?, value(field, last).map_err(fail)?),
            None if step.is_some() => {
                return Err(fail(format!("a step follows a range or `*`: `{range}-{}/..`", field.max)));
            }
            None => (value(field, range).map_err(fail)?, value(field, range).map_err(fail)?),
        };
        if first > last {
            return Err(fail("the range ends before it begins".into()));
        }
        let step: usize = match step {
            None => 1,
            Some(step) => {
                step.parse().ok().filter(|n| *n > 0).ok_or_else(|| fail("a step is a number from 1".into()))?
            }
        };
        on.extend((first..=last).step_by(step));
    }
    Ok(on.into_iter().collect())
}

fn value(field: &Field, text: &str) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(at) = field.names.iter().position(|name| *name == lower) {
        return Ok(field.min + at as u32);
    }
    let number: Option<u32> = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    number.filter(|n| (field.min..=field.max).contains(n)).ok_or_else(|| {
        let names = match field.names {
            [first, .., last] => format!(", or {first} to {last}"),
            _ => String::new(),
        };
        format!("must be {} to {}{names}", field.min, field.max)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, after: &str) -> String {
        let after: NaiveDateTime = format!("{after}:00").parse().unwrap();
        let next = Cron::parse(expression).unwrap().first_from(after + TimeDelta::seconds(1));
        next.unwrap().format("%Y-%m-%dT%H:%M").to_string()
    }

    #[test]
    fn fields_mean_what_vixie_cron_means() {
        assert_eq!(next("30 2 * * SAT", "2026-11-22T00:00"), "2026-11-28T02:30");
        assert_eq!(next("0 0 * * 0", "2026-11-23T00:00"), "2026-11-29T00:00", "0 is Sunday");
        assert_eq!(next("0 0 * * 7", "2026-11-23T00:00"), "2026-11-29T00:00", "7 is Sunday");
        assert_eq!(next("0 0 * * 1-5", "2026-11-21T00:00"), "2026-11-23T00:00", "1-5 is Monday to Friday");
        assert_eq!(next("0 0 13 * FRI", "2026-11-22T00:00"), "2026-11-27T00:00", "day of month OR day of week");
        assert_eq!(next("*/20 * * * *", "2026-11-22T00:01"), "2026-11-22T00:20");
        assert_eq!(next("@daily", "2026-11-22T00:00"), "2026-11-23T00:00");
    }

    #[test]
    fn messages_name_the_field() {
        let message = |text| Cron::parse(text).unwrap_err().to_string();
        assert_eq!(message("61 * * * *"), "minute `61`: must be 0 to 59");
        assert_eq!(message("0 0 * * FRY"), "day of week `FRY`: must be 0 to 7, or sun to sat");
        assert_eq!(message("0 5/10 * * *"), "hour `5/10`: a step follows a range or `*`: `5-23/..`");
        assert_eq!(message("0 0 31 2 *"), "`0 0 31 2 *` never comes");
        assert_eq!(message("@reboot"), "`@reboot` is not a nickname of cron");
        assert!(message("0 0 0 1 1 *").starts_with("`0 0 0 1 1 *` has 6 fields"));
        assert!(Cron::parse("0 0 * * *").is_ok() && Cron::parse("").is_err() && Cron::parse(",").is_err());
    }
}
