//! Points in time as people write them: `2026-11-22T02:30:00+01:00`, `2026-11-22 02:30 Europe/Berlin`,
//! `02:30 Europe/Berlin`. Always with a zone: a time of day alone means another moment on every machine.

use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeZone, Utc};
use chrono_tz::Tz;

use crate::runbook::syntax::{Complaint, zone};

const FORM: &str = "write for example `2026-11-22T02:30:00+01:00`, `2026-11-22 02:30 Europe/Berlin` or, for the next time \
                    it is that late, `02:30 Europe/Berlin`";

/// The moment a text names, in epoch milliseconds. `now` decides which day a time without a date means: the next time it
/// is that late.
pub fn parse(text: &str, now: i64) -> Result<i64, Complaint> {
    let text = text.trim();
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Ok(moment.timestamp_millis());
    }
    let not_one = || (format!("`{text}` is not a point in time"), Some(FORM.to_owned()));
    let (wall, zone_name) = match text.rsplit_once(' ') {
        Some((wall, name)) if name.starts_with(|c: char| c.is_ascii_alphabetic()) => (wall.trim(), name),
        _ if time_of_day(text).is_some() || date_and_time(text).is_some() => {
            return Err((format!("`{text}` names no zone"), Some(FORM.to_owned())));
        }
        _ => return Err(not_one()),
    };
    let (time, date_time) = (time_of_day(wall), date_and_time(wall));
    if time.is_none() && date_time.is_none() {
        return Err(not_one());
    }
    zone(zone_name)?;
    let zone: Tz = zone_name.parse().map_err(|_| not_one())?;
    let moment = match (date_time, time) {
        (Some(wall), _) => instant(wall, zone),
        (None, Some(time)) => next(time, zone, now).ok_or_else(not_one)?,
        (None, None) => return Err(not_one()),
    };
    Ok(moment.timestamp_millis())
}

/// The next time it is that late, now included.
fn next(time: NaiveTime, zone: Tz, now: i64) -> Option<DateTime<Utc>> {
    let now = DateTime::from_timestamp_millis(now)?;
    let today = now.with_timezone(&zone).date_naive();
    // An hour that exists twice, or not at all, can put today's behind and leave tomorrow's.
    (0..=2).map(|days| instant((today + Duration::days(days)).and_time(time), zone)).find(|moment| *moment >= now)
}

fn time_of_day(text: &str) -> Option<NaiveTime> {
    let ok = text.len() == "02:30".len() || text.len() == "02:30:00".len();
    ["%H:%M", "%H:%M:%S"].iter().find_map(|form| NaiveTime::parse_from_str(text, form).ok()).filter(|_| ok)
}

fn date_and_time(text: &str) -> Option<NaiveDateTime> {
    let (date, time) = text.split_once(['T', ' '])?;
    Some(date.parse::<NaiveDate>().ok()?.and_time(time_of_day(time.trim())?))
}

/// When the clocks of a zone show this. Of an hour that exists twice the first one; of one that does not exist the moment
/// after it.
pub fn instant(wall: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    let found = |wall: NaiveDateTime| zone.from_local_datetime(&wall).earliest().map(|at| at.with_timezone(&Utc));
    // The longest hour that did not exist was a day: Samoa, 2011-12-30.
    let minutes = (0..=26 * 60).map(|minutes| wall.checked_add_signed(Duration::minutes(minutes)));
    minutes.flatten().find_map(found).unwrap_or_else(|| wall.and_utc())
}

/// As RFC 3339 in UTC, for messages and outputs.
pub fn shown(at: i64) -> String {
    let at = DateTime::from_timestamp_millis(at).unwrap_or(DateTime::<Utc>::MAX_UTC);
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    #[test]
    fn a_moment_has_a_date_or_means_the_next_time_it_is_that_late() {
        let now = at("2026-11-22T01:00:00Z");
        let parsed = |text| parse(text, now).map(shown);
        assert_eq!(parsed("2026-11-22T02:30:00+01:00").unwrap(), "2026-11-22T01:30:00Z");
        assert_eq!(parsed("2026-11-22 02:30 Europe/Berlin").unwrap(), "2026-11-22T01:30:00Z");
        assert_eq!(parsed("2026-11-22T02:30:15 UTC").unwrap(), "2026-11-22T02:30:15Z");
        assert_eq!(parsed("02:30 Europe/Berlin").unwrap(), "2026-11-22T01:30:00Z");
        assert_eq!(parsed("01:30 Europe/Berlin").unwrap(), "2026-11-23T00:30:00Z", "tomorrow");
        assert_eq!(parsed("02:00 Europe/Berlin").unwrap(), "2026-11-22T01:00:00Z", "just now");
    }

    #[test]
    fn the_hours_of_summer_time_are_found() {
        let now = at("2026-03-28T12:00:00Z");
        let parsed = |text| parse(text, now).map(shown).unwrap();
        assert_eq!(parsed("02:30 Europe/Berlin"), "2026-03-29T01:00:00Z", "02:00 to 03:00 does not exist");
        assert_eq!(parsed("2026-10-25 02:30 Europe/Berlin"), "2026-10-25T00:30:00Z", "the first of two");
        assert_eq!(parsed("2011-12-30 12:00 Pacific/Apia"), "2011-12-30T10:00:00Z", "a day that was left out");
    }

    #[test]
    fn a_moment_without_a_zone_is_refused_with_what_to_write() {
        for (text, said) in [
            ("02:30", "`02:30` names no zone"),
            ("2026-11-22 02:30", "names no zone"),
            ("2026-11-22T02:30:00", "names no zone"),
            ("tomorrow", "is not a point in time"),
            ("", "is not a point in time"),
            ("25:00 UTC", "is not a point in time"),
            ("2026-02-30 02:30 UTC", "is not a point in time"),
            ("02:30 Europe/Berlni", "is not a time zone"),
        ] {
            let (message, help) = parse(text, 0).unwrap_err();
            assert!(message.contains(said) && help.is_some(), "{text}: {message}");
        }
    }
}
