//! Maintenance windows as they are written: `SAT 01:00-05:00 Europe/Berlin`, `MON-FRI 22:00-04:00`.

use chrono::{DateTime, Datelike, NaiveTime, Timelike, Utc, Weekday};
use chrono_tz::Tz;

use crate::runbook::report::did_you_mean;
use crate::runbook::syntax::{Complaint, zone};

/// A time of day on some days of the week; `to` before or at `from` means the next day.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// As it was written.
    pub text: String,
    /// Sunday first.
    pub days: [bool; 7],
    pub from: NaiveTime,
    pub to: NaiveTime,
    /// `None`: the system's zone, where the run was started.
    pub zone: Option<Tz>,
}

const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const FORM: &str = "write for example `SAT 01:00-05:00 Europe/Berlin`, `MON-FRI 22:00-04:00 UTC` or `* 01:00-05:00`";

impl Window {
    pub fn parse(text: &str) -> Result<Window, Complaint> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (days, times, zone_name) = match fields[..] {
            [days, times] => (days, times, None),
            [days, times, zone] => (days, times, Some(zone)),
            _ => return Err((format!("`{text}` is not a window"), Some(FORM.into()))),
        };
        let days = parse_days(days)?;
        let (from, to) = times
            .split_once('-')
            .and_then(|(from, to)| Some((parse_time(from)?, parse_time(to)?)))
            .ok_or_else(|| (format!("`{times}` is not a span of time"), Some(FORM.into())))?;
        if from == to && times != "00:00-24:00" {
            return Err((format!("`{times}` begins where it ends"), Some("a whole day is `00:00-24:00`".into())));
        }
        let zone = zone_name.map(|name| zone(name).map(|()| name.parse::<Tz>().ok())).transpose()?.flatten();
        Ok(Window { text: text.to_owned(), days, from, to, zone })
    }

    pub fn has(&self, day: Weekday) -> bool {
        self.days[day.num_days_from_sunday() as usize]
    }

    /// Whether it is open at this moment, as the clocks of its zone show it. `system`: the zone of one that names none.
    pub fn is_open(&self, at: DateTime<Utc>, system: Tz) -> bool {
        let wall = at.with_timezone(&self.zone.unwrap_or(system)).naive_local();
        let (time, today) = (wall.time(), wall.weekday());
        match self.from < self.to {
            true => self.has(today) && self.from <= time && time < self.to,
            // Over midnight: the evening of a day it has, and the morning after.
            false => self.has(today) && self.from <= time || self.has(today.pred()) && time < self.to,
        }
    }

    /// When it is open next, `now` included, in epoch milliseconds.
    pub fn opens(&self, now: i64, system: Tz) -> Option<i64> {
        let now = DateTime::from_timestamp_millis(now)?;
        minutes_from(now).take(MINUTES_MAX).find(|at| self.is_open(*at, system)).map(|at| at.timestamp_millis())
    }
}

/// Three weeks and a day: the night in which clocks are changed may leave a window out, here in one week and, where another zone
/// denies it, in the next one, too.
pub(super) const MINUTES_MAX: usize = 22 * 24 * 60;

/// This moment, and the beginning of each minute after it: windows open and close with a minute.
pub(super) fn minutes_from(now: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    let full = now.with_second(0).and_then(|at| at.with_nanosecond(0)).unwrap_or(now);
    let minutes = (1..).map_while(move |n| full.checked_add_signed(chrono::Duration::minutes(n)));
    std::iter::once(now).chain(minutes)
}

fn parse_days(text: &str) -> Result<[bool; 7], Complaint> {
    let mut days = [false; 7];
    for item in text.split(',') {
        let (first, last) = match item.split_once('-') {
            _ if item == "*" => (0, 6),
            Some((first, last)) => (parse_day(first)?, parse_day(last)?),
            None => (parse_day(item)?, parse_day(item)?),
        };
        let mut day = first;
        days[day] = true;
        while day != last {
            day = (day + 1) % 7;
            days[day] = true;
        }
    }
    Ok(days)
}

fn parse_day(text: &str) -> Result<usize, Complaint> {
    let upper = text.to_uppercase();
    DAYS.iter().position(|day| *day == upper).ok_or_else(|| {
        let help = did_you_mean(&upper, DAYS).unwrap_or_else(|| format!("the days are {}", DAYS.join(" ")));
        (format!("`{text}` is not a day of the week"), Some(help))
    })
}

/// `24:00` is midnight at the end of the day.
fn parse_time(text: &str) -> Option<NaiveTime> {
    let (hour, minute) = text.split_once(':')?;
    if hour.len() != 2 || minute.len() != 2 {
        return None;
    }
    let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
    NaiveTime::from_hms_opt(if (hour, minute) == (24, 0) { 0 } else { hour }, minute, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_name_days_times_and_a_zone() {
        let window = Window::parse("FRI-MON,WED 22:00-04:00 Europe/Berlin").unwrap();
        assert_eq!(window.days, [true, true, false, true, false, true, true]);
        assert!(window.has(Weekday::Wed) && !window.has(Weekday::Tue));
        assert_eq!(window.zone, Some(chrono_tz::Europe::Berlin));
        assert!(Window::parse("* 00:00-24:00").is_ok());
        for bad in ["", "SAT", "SAT 1-5", "SAT 25:00-26:00", "SAT 01:00-05:00 Europe/Berlni", "SAT 01:00 05:00 UTC x"] {
            assert!(Window::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Window::parse("SAR 01:00-05:00").unwrap_err().1.as_deref(), Some("did you mean `SAT`?"));
    }
}
