//! When the steps of a runbook may start: its `windows`, allowed and denied.
//!
//! A window is open from its first minute until before its last, as the clocks of its zone show it; so in the night when
//! the clocks go back it may be open twice. What is denied is closed, whatever is allowed.

use std::ops::ControlFlow;

use chrono::{DateTime, Duration, NaiveDate, NaiveTime, Utc};
use chrono_tz::Tz;

use super::moment::instant;
use super::window::{MINUTES_MAX, Window, minutes_from};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Windows {
    /// Empty: always.
    pub allow: Vec<Window>,
    pub deny: Vec<Deny>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Deny {
    Window(Window),
    Freeze(Freeze),
}

/// Whole days, the last one included.
#[derive(Debug, Clone, PartialEq)]
pub struct Freeze {
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub reason: Option<String>,
}

/// Nothing may start now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// When it opens, in epoch milliseconds; `None`: never, as far as can be seen.
    pub until: Option<i64>,
    /// In words: `outside of SAT 01:00-05:00 Europe/Berlin`.
    pub because: String,
}

impl Windows {
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Whether some of it means another moment in another zone.
    pub fn reads_system_zone(&self) -> bool {
        let denied = self.deny.iter().any(|deny| match deny {
            Deny::Window(window) => window.zone.is_none(),
            Deny::Freeze(_) => true,
        });
        denied || self.allow.iter().any(|window| window.zone.is_none())
    }

    /// Why nothing may start at `now` (epoch milliseconds), if so. `system`: the zone of whatever names none.
    pub fn closed(&self, now: i64, system: Tz) -> Option<Closed> {
        let now = DateTime::from_timestamp_millis(now)?;
        let because = self.why_closed(now, system)?;
        Some(Closed { until: self.opens(now, system).map(|at| at.timestamp_millis()), because })
    }

    fn why_closed(&self, at: DateTime<Utc>, system: Tz) -> Option<String> {
        if let Some(deny) = self.deny.iter().find(|deny| deny.covers(at, system)) {
            return Some(deny.why());
        }
        let open = self.allow.is_empty() || self.allow.iter().any(|window| window.is_open(at, system));
        (!open).then(|| {
            let all: Vec<&str> = self.allow.iter().map(|window| window.text.as_str()).collect();
            format!("outside of {}", all.join(" and "))
        })
    }

    /// Minute by minute over a week, in which every window has had its turn; days that are frozen are passed over.
    fn opens(&self, now: DateTime<Utc>, system: Tz) -> Option<DateTime<Utc>> {
        let mut from = now;
        // Each freeze can be in the way once.
        for _ in 0..=self.deny.len() {
            let looked = minutes_from(from).take(MINUTES_MAX).try_for_each(|at| {
                match (self.frozen_until(at, system), self.why_closed(at, system)) {
                    (Some(thaw), _) => ControlFlow::Break(Err(thaw)),
                    (None, None) => ControlFlow::Break(Ok(at)),
                    (None, Some(_)) => ControlFlow::Continue(()),
                }
            });
            match looked {
                ControlFlow::Break(Ok(at)) => return Some(at),
                ControlFlow::Break(Err(thaw)) => from = thaw,
                ControlFlow::Continue(()) => return None,
            }
        }
        None
    }

    /// When the last of the freezes that cover this moment is over.
    fn frozen_until(&self, at: DateTime<Utc>, system: Tz) -> Option<DateTime<Utc>> {
        let covering = self.deny.iter().filter_map(|deny| match deny {
            Deny::Freeze(freeze) if freeze.covers(at, system) => Some(freeze.end(system)),
            _ => None,
        });
        covering.max()
    }
}

impl Deny {
    fn covers(&self, at: DateTime<Utc>, system: Tz) -> bool {
        match self {
            Deny::Window(window) => window.is_open(at, system),
            Deny::Freeze(freeze) => freeze.covers(at, system),
        }
    }

    fn why(&self) -> String {
        match self {
            Deny::Window(window) => format!("inside of {}, which is denied", window.text),
            Deny::Freeze(freeze) => {
                let reason = freeze.reason.as_deref().unwrap_or("freeze");
                format!("{reason}, from {} to {}", freeze.from, freeze.to)
            }
        }
    }
}

impl Freeze {
    fn covers(&self, at: DateTime<Utc>, system: Tz) -> bool {
        let day = at.with_timezone(&system).date_naive();
        self.from <= day && day <= self.to
    }

    fn end(&self, system: Tz) -> DateTime<Utc> {
        let day = self.to.checked_add_signed(Duration::days(1)).unwrap_or(NaiveDate::MAX);
        instant(day.and_time(NaiveTime::MIN), system)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, TimeZone, Timelike, Weekday};
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    fn windows(allow: &[&str], deny: &[&str]) -> Windows {
        let parse = |text: &&str| Window::parse(text).unwrap();
        Windows {
            allow: allow.iter().map(parse).collect(),
            deny: deny.iter().map(|text| Deny::Window(parse(text))).collect(),
        }
    }

    fn opens(windows: &Windows, now: &str) -> Option<String> {
        let closed = windows.closed(at(now), Tz::UTC)?;
        Some(closed.until.map_or("never".to_owned(), super::super::moment::shown))
    }

    #[test]
    fn a_window_opens_with_its_first_minute_and_closes_before_its_last() {
        let sat = windows(&["SAT 01:00-05:00 Europe/Berlin"], &[]);
        assert_eq!(opens(&sat, "2026-11-27T23:59:59Z").as_deref(), Some("2026-11-28T00:00:00Z"));
        assert_eq!(opens(&sat, "2026-11-28T00:00:00Z"), None);
        assert_eq!(opens(&sat, "2026-11-28T03:59:59Z"), None);
        assert_eq!(opens(&sat, "2026-11-28T04:00:00Z").as_deref(), Some("2026-12-05T00:00:00Z"));
    }

    #[test]
    fn what_is_denied_is_closed_and_a_freeze_is_passed_over() {
        let mut all = windows(&["* 22:00-04:00"], &["* 23:00-01:00"]);
        assert_eq!(opens(&all, "2026-12-19T23:30:00Z").as_deref(), Some("2026-12-20T01:00:00Z"));
        let day = |text: &str| text.parse().unwrap();
        all.deny.push(Deny::Freeze(Freeze { from: day("2026-12-20"), to: day("2027-03-04"), reason: None }));
        assert_eq!(opens(&all, "2026-12-20T02:00:00Z").as_deref(), Some("2027-03-05T01:00:00Z"));
        assert_eq!(
            opens(&windows(&["* 01:00-02:00"], &["* 00:00-24:00"]), "2026-12-20T02:00:00Z").as_deref(),
            Some("never")
        );
        assert!(windows(&[], &[]).closed(0, Tz::UTC).is_none());
    }

    #[test]
    fn the_nights_of_summer_time_have_their_windows() {
        let night = windows(&["* 02:30-03:30 Europe/Berlin"], &[]);
        assert_eq!(
            opens(&night, "2026-03-29T00:00:00Z").as_deref(),
            Some("2026-03-29T01:00:00Z"),
            "03:00: 02:30 was left out"
        );
        let early = windows(&["* 02:00-02:30 Europe/Berlin"], &[]);
        assert_eq!(
            opens(&early, "2026-10-25T00:30:00Z").as_deref(),
            Some("2026-10-25T01:00:00Z"),
            "02:00 a second time"
        );
        let mut left_out = windows(&["SUN 02:00-02:15 Europe/Berlin"], &[]);
        assert_eq!(
            opens(&left_out, "2026-03-23T00:00:00Z").as_deref(),
            Some("2026-04-05T00:00:00Z"),
            "on the 29th there is no such time, and a week later there is"
        );
        let day = |text: &str| text.parse().unwrap();
        left_out.deny.push(Deny::Freeze(Freeze { from: day("2026-03-07"), to: day("2026-03-22"), reason: None }));
        assert_eq!(opens(&left_out, "2026-03-07T00:00:00Z").as_deref(), Some("2026-04-05T00:00:00Z"));
    }

    /// Another way to say the same: the minutes of a day, on the calendar of the zone.
    fn naive(windows: &Windows, at: DateTime<Utc>, system: Tz) -> bool {
        let inside = |window: &Window| {
            let wall = window.zone.unwrap_or(system).from_utc_datetime(&at.naive_utc());
            let minute = |time: NaiveTime| i64::from(time.hour() * 60 + time.minute());
            let (from, to, now) = (minute(window.from), minute(window.to), minute(wall.time()));
            let length = (to - from).rem_euclid(1440);
            let length = if length == 0 { 1440 } else { length };
            (0..2).any(|days_ago| {
                let day: Weekday = (wall.date_naive() - Duration::days(days_ago)).weekday();
                let since = now + days_ago * 1440 - from;
                window.has(day) && (0..length).contains(&since)
            })
        };
        let denied = windows.deny.iter().any(|deny| match deny {
            Deny::Window(window) => inside(window),
            Deny::Freeze(freeze) => {
                let day = system.from_utc_datetime(&at.naive_utc()).date_naive();
                (freeze.from..=freeze.to).contains(&day)
            }
        });
        !denied && (windows.allow.is_empty() || windows.allow.iter().any(inside))
    }

    fn window() -> impl Strategy<Value = Window> {
        let zones =
            prop::sample::select(vec!["", " Europe/Berlin", " America/New_York", " Australia/Lord_Howe", " UTC"]);
        let days = prop::sample::select(vec!["*", "SAT", "SUN", "MON-FRI", "SAT-SUN", "SUN,WED"]);
        (days, 0u32..96, 1u32..96, zones).prop_map(|(days, from, length, zone)| {
            let time = |quarter: u32| format!("{:02}:{:02}", quarter % 96 / 4, quarter % 4 * 15);
            Window::parse(&format!("{days} {}-{}{zone}", time(from), time(from + length))).unwrap()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        /// Around the nights in which clocks are changed in Berlin, New York and on Lord Howe.
        #[test]
        fn a_count_over_minutes_agrees(
            allow in prop::collection::vec(window(), 0..3),
            deny in prop::collection::vec(window(), 0..2),
            frozen in prop::option::of((0i64..6, 0i64..20)),
            night in prop::sample::select(vec!["2026-03-28", "2026-10-24", "2026-03-07", "2026-10-31", "2026-04-04", "2026-10-03"]),
            minute in 0i64..4 * 1440,
            second in 0i64..60,
        ) {
            let system = chrono_tz::Europe::Berlin;
            let night: NaiveDate = night.parse().unwrap();
            let mut windows = Windows { allow, deny: deny.into_iter().map(Deny::Window).collect() };
            if let Some((start, days)) = frozen {
                let from = night + Duration::days(start);
                windows.deny.push(Deny::Freeze(Freeze { from, to: from + Duration::days(days), reason: None }));
            }
            let now = night.and_time(NaiveTime::MIN).and_utc() + Duration::minutes(minute) + Duration::seconds(second);
            let closed = windows.closed(now.timestamp_millis(), system);
            prop_assert_eq!(closed.is_none(), naive(&windows, now, system));
            if let Some(closed) = closed {
                let first = minutes_from(now).take(36 * 1440).find(|at| naive(&windows, *at, system));
                prop_assert_eq!(closed.until, first.map(|at| at.timestamp_millis()));
            }
        }
    }
}
