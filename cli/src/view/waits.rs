//! What a run waits for, in words: until when, and how long that still is.

use std::time::Duration;

use chrono::{DateTime, Local};
use chrono_tz::Tz;
use runward_engine::run::{RunState, Unit};
use runward_engine::units::format_duration;

use super::words;
use crate::open::zone_name;
use crate::text::{self, cells};

/// `until 02:30 CET, 12m 30s left`, or `dba, 1 of 2, 3h 12m left: runward approve 7f3a agree`, of a unit that waits.
pub fn sentence(state: &RunState, unit: Unit, now: i64) -> Option<String> {
    let until = state.unit(unit)?.waits_until()?;
    if let Some(who) = state.who_is_asked(unit) {
        let (short, step) = (words::short(&state.id.0), state.unit_name(unit));
        return Some(format!("{}, {} left: runward approve {short} {step}", cells(&who), left(until, now)));
    }
    Some(format!("until {}, {} left", moment(until, now), left(until, now)))
}

/// Why nothing new starts, and until when.
pub fn closed(until: Option<i64>, because: &str, now: i64) -> String {
    let until = until.map_or("it never opens".to_owned(), |at| format!("it opens {}", moment(at, now)));
    format!("◦ the window is closed, {}; {until}, `runward override-window` does not wait", cells(because))
}

/// A line for each step that waits when somebody begins to look.
pub fn already(state: &RunState) -> Vec<String> {
    let line = |unit: Unit| {
        let step = state.unit_name(unit);
        let until = moment(state.unit(unit)?.waits_until()?, text::now());
        Some(match state.who_is_asked(unit) {
            Some(who) => {
                let plan = plan(&state.plan);
                format!("◦ {step} asks for approval of plan {plan}: {}, until {until}", cells(&who))
            }
            None => format!("◦ {step} waits until {until}"),
        })
    };
    let closed = state.closure().map(|closure| closed(closure.until, &closure.because, text::now()));
    closed.into_iter().chain(state.waiting().take(LINES_MAX).filter_map(line)).collect()
}

/// Of a thousand items that wait nobody reads a line each.
const LINES_MAX: usize = 20;

/// `02:30 CET`; with its date where that is another one than today's.
pub fn moment(at: i64, now: i64) -> String {
    match zone_name().parse::<Tz>() {
        Ok(zone) => shown(at, now, zone),
        Err(_) => shown(at, now, Local),
    }
}

fn shown<Z: chrono::TimeZone>(at: i64, now: i64, zone: Z) -> String
where
    Z::Offset: std::fmt::Display,
{
    let local = |ms: i64| DateTime::from_timestamp_millis(ms).unwrap_or_default().with_timezone(&zone);
    let (at, now) = (local(at), local(now));
    let seconds = if at.timestamp() % 60 == 0 { "" } else { ":%S" };
    let date = if at.date_naive() == now.date_naive() { "" } else { "%Y-%m-%d " };
    at.format(&format!("{date}%H:%M{seconds} %Z")).to_string()
}

/// As much of a plan's hash as people compare.
pub fn plan(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// `45 s`, `12m 30s`, `3d 4h`.
pub fn left(until: i64, now: i64) -> String {
    let seconds = (until.saturating_sub(now).max(0) as u64).div_ceil(1000);
    match seconds {
        0..60 => format!("{seconds} s"),
        _ => format_duration(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_its_zone_and_a_date_where_it_is_not_today() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis();
        let now = at("2026-11-22T00:30:00Z");
        let berlin = |text: &str| shown(at(text), now, chrono_tz::Europe::Berlin);
        assert_eq!(berlin("2026-11-22T01:30:00Z"), "02:30 CET");
        assert_eq!(berlin("2026-11-22T01:30:05Z"), "02:30:05 CET");
        assert_eq!(berlin("2026-11-22T23:30:00Z"), "2026-11-23 00:30 CET");
    }

    #[test]
    fn the_time_left_is_never_shown_too_short() {
        assert_eq!(left(44_001, 0), "45 s");
        assert_eq!((left(59_001, 0), left(3_725_000, 0)), ("1m 00s".into(), "1h 02m".into()));
    }
}
