//! The nights in which clocks are changed, by hand; and that counting is going through.

use chrono_tz::Europe::Berlin;
use proptest::prelude::*;

use super::*;
use crate::schedule::entry::Dst;
use crate::schedule::moment::shown;

pub fn schedule(cron: &str, zone: &str, dst: Dst) -> Schedule {
    let json = serde_json::json!({
        "id": "1", "cron": cron, "timezone": zone, "dst": dst, "missed": "latest", "within_ms": 86_400_000,
        "overlap": "skip", "jitter_ms": 0, "with": {}
    });
    serde_json::from_value(json).unwrap()
}

fn times(cron: &str, zone: &str, gap: Option<Gap>, repeat: Option<Repeat>) -> Times {
    Times::new(&schedule(cron, zone, Dst { gap, repeat }), Berlin).unwrap()
}

fn at(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

/// `from` and `to` are days.
fn between(times: &Times, from: &str, to: &str) -> Vec<String> {
    let day = |text: &str| at(&format!("{text}T00:00:00Z"));
    let ticks = times.after(day(from) - 1).take_while(|tick| tick.at < day(to));
    ticks.map(|tick| format!("{} = {}", tick.key().replace(" Europe/Berlin", ""), &shown(tick.at)[..16])).collect()
}

#[test]
fn a_time_of_day_comes_once_a_day_whatever_the_clocks_do() {
    let half_past_two = times("30 2 * * *", "Europe/Berlin", None, None);
    assert_eq!(
        between(&half_past_two, "2026-03-28", "2026-03-31"),
        [
            "2026-03-28T02:30 = 2026-03-28T01:30",
            "2026-03-29T02:30 = 2026-03-29T01:00",
            "2026-03-30T02:30 = 2026-03-30T00:30"
        ]
    );
    assert_eq!(
        between(&half_past_two, "2026-10-24", "2026-10-27"),
        [
            "2026-10-24T02:30 = 2026-10-24T00:30",
            "2026-10-25T02:30 = 2026-10-25T00:30",
            "2026-10-26T02:30 = 2026-10-26T01:30"
        ]
    );
}

#[test]
fn an_author_may_decide_otherwise() {
    let ticks = |gap, repeat, from, to| between(&times("30 2 * * *", "Europe/Berlin", gap, repeat), from, to);
    assert!(ticks(Some(Gap::Skip), None, "2026-03-29", "2026-03-30").is_empty());
    assert_eq!(
        ticks(None, Some(Repeat::Last), "2026-10-25", "2026-10-26"),
        ["2026-10-25T02:30 (second) = 2026-10-25T01:30"]
    );
    assert_eq!(
        ticks(None, Some(Repeat::Both), "2026-10-25", "2026-10-26"),
        ["2026-10-25T02:30 = 2026-10-25T00:30", "2026-10-25T02:30 (second) = 2026-10-25T01:30"]
    );
}

#[test]
fn what_follows_the_clock_has_nothing_in_the_gap_and_both_hours_of_the_night_that_is_longer() {
    let hourly = times("0 * * * *", "Europe/Berlin", None, None);
    let hours = |from: &str, to: &str| hourly.count(at(from), at(to));
    assert_eq!(hours("2026-03-28T22:59:59Z", "2026-03-29T21:59:59Z"), 23, "the 29th of March");
    assert_eq!(hours("2026-10-24T21:59:59Z", "2026-10-25T22:59:59Z"), 25, "the 25th of October");
}

#[test]
fn what_is_shifted_to_one_moment_comes_once() {
    let often = times("0,30 1-3 * * *", "Europe/Berlin", None, None);
    assert_eq!(
        between(&often, "2026-03-29", "2026-03-30")[..4],
        [
            "2026-03-29T01:00 = 2026-03-29T00:00",
            "2026-03-29T01:30 = 2026-03-29T00:30",
            "2026-03-29T03:00 = 2026-03-29T01:00",
            "2026-03-29T03:30 = 2026-03-29T01:30"
        ]
    );
    let twice = times("15,45 2 * * *", "Europe/Berlin", None, None);
    assert_eq!(between(&twice, "2026-03-29", "2026-03-30"), ["2026-03-29T02:15 = 2026-03-29T01:00"]);
}

#[test]
fn a_day_that_was_left_out_and_a_half_hour_are_changes_like_others() {
    let apia = times("30 2 * * *", "Pacific/Apia", None, None);
    let shown = |ticks: Vec<String>| ticks.join(", ");
    assert_eq!(
        shown(between(&apia, "2011-12-29", "2012-01-01")),
        "2011-12-29T02:30 Pacific/Apia = 2011-12-29T12:30, 2011-12-30T02:30 Pacific/Apia = 2011-12-30T10:00, \
         2011-12-31T02:30 Pacific/Apia = 2011-12-30T12:30, 2012-01-01T02:30 Pacific/Apia = 2011-12-31T12:30"
    );
    let lord_howe = times("45 1 * * *", "Australia/Lord_Howe", None, Some(Repeat::Both));
    assert_eq!(between(&lord_howe, "2026-04-04", "2026-04-05").len(), 2);
}

#[test]
fn a_schedule_that_cannot_be_read_says_so() {
    let zone = Times::new(&schedule("@daily", "Europe/Berlni", Dst::default()), Berlin).unwrap_err();
    assert!(zone.to_string().contains("`Europe/Berlni`"), "{zone}");
    assert!(Times::new(&schedule("0 0 31 2 *", "UTC", Dst::default()), Berlin).is_err());
}

#[test]
fn no_clock_is_too_wrong() {
    let daily = times("@daily", "UTC", None, None);
    for moment in [i64::MIN, -1, i64::MAX] {
        assert!(daily.next(moment).is_none_or(|tick| tick.at > moment), "{moment}");
    }
    assert_eq!(daily.count(i64::MIN, i64::MAX), daily.after(-1).count() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn counting_is_going_through(
        cron in prop::sample::select(vec!["*/7 * * * *", "30 2 * * *", "0,30 1-3 * * SUN", "59 23 28-31 * *", "15 */2 1 * 1"]),
        zone in prop::sample::select(vec!["Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "UTC", "Africa/Cairo"]),
        gap in prop::sample::select(vec![None, Some(Gap::Shift), Some(Gap::Skip)]),
        repeat in prop::sample::select(vec![None, Some(Repeat::First), Some(Repeat::Last), Some(Repeat::Both)]),
        from in 1_300_000_000_000i64..1_330_000_000_000,
        length in 0i64..40 * 86_400_000,
    ) {
        let times = times(cron, zone, gap, repeat);
        let ticks: Vec<Tick> = times.after(from).take_while(|tick| tick.at <= from + length).collect();
        prop_assert_eq!(ticks.len() as u64, times.count(from, from + length));
        prop_assert!(ticks.is_sorted_by(|a, b| a.at < b.at));
        prop_assert!(ticks.first().is_none_or(|tick| tick.at > from));
        prop_assert_eq!(ticks.first().cloned(), times.next_until(from, from + length));
    }
}
