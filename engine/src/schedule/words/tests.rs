//! Every phrase says what its expression says: a reader of the words comes to the same days and minutes.

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use proptest::prelude::*;
use regex::Regex;

use super::*;

#[test]
fn the_usual_ones_read_well() {
    for (cron, expected) in [
        ("30 2 * * SAT", "at 02:30 on Saturday"),
        ("30 2 * * *", "at 02:30 every day"),
        ("*/5 * * * *", "every 5 minutes"),
        ("* * * * *", "every minute"),
        ("@hourly", "every hour"),
        ("7 * * * *", "at minute 7 of every hour"),
        ("0,30 9-17 * * MON-FRI", "every 30 minutes of every hour from 9 to 17, Monday to Friday"),
        ("0,20 9-17 * * MON-FRI", "at minute 0 and 20 of every hour from 9 to 17, Monday to Friday"),
        ("0 */2 * * *", "every 2 hours, from 00:00 on"),
        ("0 9,17 * * *", "at 09:00 and 17:00 every day"),
        ("0 0 1 1 *", "at 00:00 on day 1 of January"),
        ("0 3 1,15 * *", "at 03:00 on day 1 and 15 of the month"),
        ("0 0 13 * FRI", "at 00:00 on day 13 of the month, and also on Friday"),
        ("0 0 */2 * MON", "at 00:00 on Monday, if it is day 1, 3, 5, ... 31 of the month"),
        ("15 4 * 6-8 0,6", "at 04:15 on Saturday and Sunday, June to August"),
        ("0 12 * JAN *", "at 12:00 on every day in January"),
        ("3 1 13 * 0-6", "at 01:03 every day"),
        ("*/7 1,3 * * *", "at minute 0, 7, 14, ... 56 of hour 1 and 3"),
    ] {
        assert_eq!(words(cron).unwrap(), expected, "{cron}");
    }
    assert!(words("61 * * * *").is_err());
}

/// What somebody understands who reads the words.
struct Read {
    times: Vec<(u32, u32)>,
    days: Days,
    months: Vec<u32>,
}

enum Days {
    All,
    OfMonth(Vec<u32>),
    OfWeek(Vec<u32>),
    Either(Vec<u32>, Vec<u32>),
    Both(Vec<u32>, Vec<u32>),
}

impl Read {
    fn has(&self, wall: NaiveDateTime) -> bool {
        use chrono::{Datelike, Timelike};
        let (day, of_week) = (wall.day(), wall.weekday().number_from_monday());
        let day = match &self.days {
            Days::All => true,
            Days::OfMonth(days) => days.contains(&day),
            Days::OfWeek(days) => days.contains(&of_week),
            Days::Either(days, of_weeks) => days.contains(&day) || of_weeks.contains(&of_week),
            Days::Both(days, of_weeks) => days.contains(&day) && of_weeks.contains(&of_week),
        };
        day && self.months.contains(&wall.month()) && self.times.contains(&(wall.hour(), wall.minute()))
    }
}

/// `1, 3, 5, ... 31` · `1 to 5, 7 and 9`
fn list(text: &str, names: &[&str]) -> Vec<u32> {
    let number = |text: &str| {
        let named = names.iter().position(|name| *name == text).map(|n| n as u32 + 1);
        named.or_else(|| text.parse().ok()).unwrap_or_else(|| panic!("`{text}` is no number"))
    };
    if let Some((begin, last)) = text.split_once(", ... ") {
        let begin = list(begin, names);
        return (begin[0]..=number(last)).step_by((begin[1] - begin[0]) as usize).collect();
    }
    let item = |item: &str| match item.split_once(" to ") {
        Some((first, last)) => (number(first)..=number(last)).collect::<Vec<_>>(),
        None => vec![number(item)],
    };
    text.split(", ").flat_map(|part| part.split(" and ")).flat_map(item).collect()
}

fn read_times(text: &str) -> Vec<(u32, u32)> {
    let clock = Regex::new("([0-9]{2}):([0-9]{2})").unwrap();
    let clocks: Vec<(u32, u32)> =
        clock.captures_iter(text).map(|found| (found[1].parse().unwrap(), found[2].parse().unwrap())).collect();
    let part = |pattern: &str| Regex::new(pattern).unwrap().captures(text).map(|found| found[1].to_owned());
    if let Some(step) = part("^every ([0-9]+) hours, from") {
        return (0..24).step_by(step.parse().unwrap()).map(|hour| (hour, clocks[0].1)).collect();
    }
    if !clocks.is_empty() {
        return clocks;
    }
    let hours = match (part("of hour (.*)$"), part("of every hour from (.*)$")) {
        (Some(some), _) | (None, Some(some)) => list(&some, &[]),
        (None, None) => (0..24).collect(),
    };
    let minutes = match (part("^at minute (.*?)(?: of (?:every )?hour.*)?$"), part("^every ([0-9]+) minutes")) {
        (Some(some), _) => list(&some, &[]),
        (None, Some(step)) => (0..60).step_by(step.parse().unwrap()).collect(),
        (None, None) if text.starts_with("every minute") => (0..60).collect(),
        (None, None) => vec![0],
    };
    hours.into_iter().flat_map(|hour| minutes.iter().map(move |minute| (hour, *minute))).collect()
}

fn read(words: &str) -> Read {
    let name = format!("(?:{})", [&MONTHS[..], &WEEKDAYS[..]].concat().join("|"));
    let months = format!("(?:{})", MONTHS.join("|"));
    let names = |of: &str| format!("{of}(?:(?:, | and | to |, \\.\\.\\. ){of})*");
    let whole = Regex::new(&format!(
        "^(?<times>.*?)(?: every day| on every day|(?: on|,) (?<week>{}))?(?:(?: on|, if it is) day (?<days>[0-9][0-9a-z,. ]*?) \
         of (?:the month|(?<of>{})))?(?:, and also(?: on)? (?<also>{}))?(?:(?: in|,) (?<months>{}))?$",
        names(&format!("(?:{})", WEEKDAYS.join("|"))),
        names(&months),
        names(&format!("(?:{})", WEEKDAYS.join("|"))),
        names(&months),
    ))
    .unwrap();
    let found = whole.captures(words).unwrap_or_else(|| panic!("`{words}` is not understood"));
    let part = |part: &str, names: &[&str]| found.name(part).map(|text| list(text.as_str(), names));
    assert!(!found["times"].contains(" day") && !Regex::new(&name).unwrap().is_match(&found["times"]), "{words}");
    Read {
        times: read_times(&found["times"]),
        months: part("months", &MONTHS).or(part("of", &MONTHS)).unwrap_or((1..=12).collect()),
        days: match (part("days", &[]), part("week", &WEEKDAYS), part("also", &WEEKDAYS)) {
            (Some(days), None, Some(week)) => Days::Either(days, week),
            (Some(days), Some(week), None) => Days::Both(days, week),
            (Some(days), None, None) => Days::OfMonth(days),
            (None, Some(week), None) => Days::OfWeek(week),
            (None, None, None) => Days::All,
            _ => panic!("`{words}` is not understood"),
        },
    }
}

fn field(min: u32, max: u32) -> impl Strategy<Value = String> {
    let number = move || min..=max;
    let item = prop_oneof![
        3 => number().prop_map(|n| n.to_string()),
        2 => (number(), number()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (number(), number(), 1..9u32).prop_map(|(a, b, step)| format!("{}-{}/{step}", a.min(b), a.max(b))),
    ];
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => (1..35u32).prop_map(|step| format!("*/{step}")),
        5 => prop::collection::vec(item, 1..4).prop_map(|items| items.join(",")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn whoever_reads_the_words_knows_the_minutes(
        cron in (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
            .prop_map(|(minute, hour, day, month, week)| format!("{minute} {hour} {day} {month} {week}"))
    ) {
        let Ok(parsed) = Cron::parse(&cron) else { return Ok(()) };
        let said = words(&cron).unwrap();
        let read = read(&said);
        let begin = NaiveDate::from_ymd_opt(2027, 12, 1).unwrap().and_hms_opt(0, 0, 0).unwrap();
        for day in 0..430 {
            // Every minute of a few days, and a due one of the others.
            let midnight = begin + TimeDelta::days(day);
            let minutes: Vec<u32> = match day % 143 {
                0 => (0..1440).collect(),
                _ => read.times.first().map(|(hour, minute)| hour * 60 + minute).into_iter().collect(),
            };
            for minute in minutes {
                let wall = midnight + TimeDelta::minutes(minute.into());
                prop_assert_eq!(parsed.first_from(wall) == Some(wall), read.has(wall), "{} is `{}`: {}", cron, said, wall);
            }
        }
    }
}
