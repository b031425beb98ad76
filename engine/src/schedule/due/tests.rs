//! Nights without a server, and clocks that jump.

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::schedule::ticks::tests::schedule;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn course(cron: &str, missed: Missed, within_ms: i64, jitter_ms: i64) -> Course {
    let schedule = Schedule { missed, within_ms, jitter_ms, ..schedule(cron, "Europe/Berlin", Default::default()) };
    Course::new("backup/1", &schedule, Tz::UTC).unwrap()
}

fn at(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

fn fired(due: &Due) -> Vec<i64> {
    let fired = |verdict: &Verdict| match verdict {
        Verdict::Fire(tick) => Some(tick.at),
        Verdict::Skip { .. } | Verdict::SkipMany { .. } => None,
    };
    due.verdicts.iter().filter_map(fired).collect()
}

fn told(due: &Due) -> u64 {
    let count = |verdict: &Verdict| match verdict {
        Verdict::Fire(_) | Verdict::Skip { .. } => 1,
        Verdict::SkipMany { count, .. } => *count,
    };
    due.verdicts.iter().map(count).sum()
}

fn last_reason(due: &Due) -> &str {
    let reason = due.verdicts.iter().rev().find_map(|verdict| match verdict {
        Verdict::Fire(_) => None,
        Verdict::Skip { reason, .. } | Verdict::SkipMany { reason, .. } => Some(reason.as_str()),
    });
    reason.unwrap_or_default()
}

#[test]
fn twenty_ticks_without_a_server_are_one_run_or_ten_or_none() {
    let (cursor, now) = (at("2026-11-22T02:00:00Z"), at("2026-11-22T03:42:00Z"));
    let after = |missed| course("*/5 * * * *", missed, DAY, 0).due(cursor, now);
    let latest = after(Missed::Latest);
    assert_eq!((fired(&latest), told(&latest)), (vec![at("2026-11-22T03:40:00Z")], 20));
    let all = after(Missed::All);
    assert_eq!((fired(&all).len(), told(&all)), (10, 20));
    assert!(fired(&all)[0] == at("2026-11-22T02:55:00Z"), "the newest ten, oldest first");
    let none = after(Missed::None);
    assert_eq!((fired(&none).len(), told(&none)), (0, 20));
    assert_eq!(
        last_reason(&latest),
        "missed: no server ran between 2026-11-22T02:00:00Z and 2026-11-22T03:42:00Z, and only the newest is made up for \
         (`missed: latest`)"
    );
}

#[test]
fn what_is_a_minute_late_is_on_time_whatever_is_made_up_for() {
    let course = course("*/5 * * * *", Missed::None, DAY, 0);
    let tick = at("2026-11-22T02:05:00Z");
    assert_eq!(fired(&course.due(tick - MINUTE, tick - 1)), [0; 0], "not before");
    assert_eq!(fired(&course.due(tick - MINUTE, tick)), [tick]);
    assert_eq!(fired(&course.due(tick - MINUTE, tick + MINUTE)), [tick]);
    assert_eq!(fired(&course.due(tick - MINUTE, tick + MINUTE + 1)), [0; 0]);
    assert!(course.due(tick, tick + MINUTE).verdicts.is_empty(), "decided is decided");
}

#[test]
fn a_tick_that_is_too_old_is_not_made_up_for() {
    let course = course("30 2 * * *", Missed::Latest, 6 * HOUR, 0);
    let tick = at("2026-11-22T01:30:00Z");
    assert_eq!(fired(&course.due(tick - HOUR, tick + 6 * HOUR)), [tick]);
    let late = course.due(tick - HOUR, tick + 6 * HOUR + 1);
    assert_eq!(fired(&late), [0; 0]);
    assert!(last_reason(&late).ends_with("and it is older than 6h 00m (`within`)"), "{}", last_reason(&late));
}

#[test]
fn a_year_without_a_server_is_told_in_a_hundred_and_one_entries() {
    let (cursor, now) = (at("2025-11-22T00:00:00Z"), at("2026-11-22T00:00:00Z"));
    let due = course("* * * * *", Missed::All, DAY, 0).due(cursor, now);
    assert_eq!((due.verdicts.len(), told(&due), fired(&due).len()), (TOLD_MAX + 1, 525_600, 10));
    let Verdict::SkipMany { first, last, count, .. } = &due.verdicts[0] else { panic!("{:?}", due.verdicts[0]) };
    assert_eq!((first.at, *count), (cursor + MINUTE, 525_500));
    let Verdict::Skip { tick, .. } = &due.verdicts[1] else { panic!("{:?}", due.verdicts[1]) };
    assert_eq!(last.at + MINUTE, tick.at, "where one ends the other begins");
}

#[test]
fn a_clock_that_goes_back_repeats_nothing_and_is_told() {
    let course = course("* * * * *", Missed::All, DAY, 0);
    let cursor = at("2026-11-22T12:00:30Z");
    let back = course.due(cursor, cursor - HOUR);
    assert_eq!((back.verdicts.len(), back.cursor, back.behind_ms), (0, cursor, HOUR));
    let again = course.due(back.cursor, cursor + MINUTE);
    assert_eq!((fired(&again), again.behind_ms), (vec![at("2026-11-22T12:01:00Z")], 0));
}

#[test]
fn jitter_moves_every_tick_by_the_same() {
    let schedule = Schedule { jitter_ms: 5 * MINUTE, ..schedule("@hourly", "UTC", Default::default()) };
    let offsets: Vec<i64> = (0..200).map(|n| schedule.offset(&format!("backup/{n}"))).collect();
    assert!(offsets.iter().all(|offset| (0..5 * MINUTE).contains(offset)));
    let early = offsets.iter().filter(|offset| **offset < 150_000).count();
    assert!((60..140).contains(&early), "spread over the whole of it: {early} of 200 in its first half");
    let course = Course::new("backup/7", &schedule, Tz::UTC).unwrap();
    let (tick, offset) = (at("2026-11-22T12:00:00Z"), schedule.offset("backup/7"));
    assert_eq!(course.next_due(tick - 1), Some(tick + offset));
    assert_eq!(fired(&course.due(tick, tick + offset - 1)), [0; 0]);
    assert_eq!(fired(&course.due(tick, tick + offset)), [tick]);
}

fn any_course() -> impl Strategy<Value = Course> {
    let crons = prop::sample::select(vec!["* * * * *", "*/5 * * * *", "30 2 * * *", "0,30 1-3 * * *", "@weekly"]);
    let missed = prop::sample::select(vec![Missed::None, Missed::Latest, Missed::All]);
    (crons, missed, 1..100 * HOUR, 0..20 * MINUTE)
        .prop_map(|(cron, missed, within, jitter)| course(cron, missed, within, jitter))
}

/// Most looks come after seconds, some after an hour, a few after a year; and some clocks go back.
fn steps() -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        6 => 0..3 * MINUTE,
        3 => 0..2 * DAY,
        1 => Just(HOUR),
        1 => Just(365 * DAY),
        1 => -365 * DAY..0,
        1 => -HOUR..0,
    ];
    prop::collection::vec(step, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Invariant I6, as far as one server decides it.
    #[test]
    fn every_due_tick_is_in_exactly_one_verdict(course in any_course(), steps in steps()) {
        let begin = at("2026-03-01T00:00:00Z");
        let (mut now, mut cursor, mut last) = (begin, begin, i64::MIN);
        let mut ticks = 0;
        for step in steps {
            now += step;
            let due = course.due(cursor, now);
            prop_assert!(due.cursor >= cursor && due.cursor >= now);
            prop_assert!(due.verdicts.len() <= TOLD_MAX + 1);
            for verdict in &due.verdicts {
                let (first, newest, count) = match verdict {
                    Verdict::Fire(tick) | Verdict::Skip { tick, .. } => (tick, tick, 1),
                    Verdict::SkipMany { first, last, count, .. } => (first, last, *count),
                };
                prop_assert!(first.at > last, "in order, and none twice");
                prop_assert!(course.due_at(newest) <= now, "none early");
                prop_assert_eq!(course.times().count(first.at - 1, newest.at), count);
                last = newest.at;
            }
            ticks += told(&due);
            cursor = due.cursor;
        }
        let offset = course.offset_ms;
        prop_assert_eq!(course.times().count(begin - offset, cursor - offset), ticks, "none left out");
    }

    #[test]
    fn it_is_looked_at_when_it_is_due(course in any_course(), after in 0..400 * DAY) {
        let now = at("2026-03-01T00:00:00Z") + after;
        let next = course.next_due(now).unwrap();
        prop_assert!(next > now);
        prop_assert!(course.due(now, next - 1).verdicts.is_empty());
        prop_assert_eq!(fired(&course.due(now, next)).len(), 1);
    }
}
