//! When schedules are due, against others that should know: the minutes themselves, which decide, and croner.

#![allow(clippy::unwrap_used)]

mod schedules_support;

use std::collections::HashMap;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::parser::CronParser;
use croner::{Cron as Croner, JobType};
use runward_engine::crontab::{self, Form};
use runward_engine::runbook;
use runward_engine::schedule::cron::Cron;
use runward_engine::schedule::entry::{Dst, Gap, Repeat, Tick};
use runward_engine::schedule::ticks::Times;
use schedules_support::{Plain, expression, schedule};

const HOUR: i64 = 3600;
/// 1990-01-01 and 2040-01-01.
const YEARS: std::ops::Range<i64> = 631_152_000..2_208_988_800;

fn offset(zone: Tz, at: i64) -> i64 {
    i64::from(zone.offset_from_utc_datetime(&naive(at)).fix().local_minus_utc())
}

fn naive(seconds: i64) -> NaiveDateTime {
    DateTime::<Utc>::from_timestamp(seconds, 0).unwrap().naive_utc()
}

/// Every moment at which the clocks of a zone are changed, found by looking every `step` seconds.
fn changes(zone: Tz, step: i64) -> Vec<i64> {
    let mut found = Vec::new();
    let mut before = offset(zone, YEARS.start);
    for at in (YEARS.start..YEARS.end).step_by(step as usize) {
        if offset(zone, at + step) != before {
            let second = (at + 1..=at + step).collect::<Vec<_>>();
            found.push(second[second.partition_point(|at| offset(zone, *at) == before)]);
            before = offset(zone, at + step);
        }
    }
    found
}

/// One zone of each history, and its changes: many zones have two names.
fn histories() -> Vec<(Tz, Vec<i64>)> {
    let mut seen: HashMap<Vec<(i64, i64)>, ()> = HashMap::new();
    let mut histories = Vec::new();
    for zone in TZ_VARIANTS {
        let changes = changes(zone, 24 * HOUR);
        let history =
            changes.iter().map(|at| (*at, offset(zone, *at))).chain([(0, offset(zone, YEARS.start))]).collect();
        if seen.insert(history, ()).is_none() {
            histories.push((zone, changes));
        }
    }
    histories
}

/// What the clocks show, minute by minute, around a change.
struct Night {
    zone: Tz,
    /// The moment of the first minute, in epoch seconds.
    from: i64,
    walls: Vec<NaiveDateTime>,
    /// For each minute: whether the clocks showed the same before, and whether they will again.
    again: Vec<(bool, bool)>,
}

impl Night {
    fn around(zone: Tz, change: i64) -> Night {
        let jump = (offset(zone, change) - offset(zone, change - 1)).abs();
        Night::between(zone, change - jump - 4 * HOUR, change + jump + 5 * HOUR)
    }

    fn between(zone: Tz, from: i64, until: i64) -> Night {
        let from = from - from.rem_euclid(60);
        let walls: Vec<NaiveDateTime> = (from..until).step_by(60).map(|at| naive(at + offset(zone, at))).collect();
        let earliest = walls.iter().min().copied().unwrap();
        let mut shown = vec![None; 3 * walls.len()];
        let mut again = vec![(false, false); walls.len()];
        for (n, wall) in walls.iter().enumerate() {
            if let Some(earlier) = shown[(*wall - earliest).num_minutes() as usize].replace(n) {
                (again[earlier].1, again[n].0) = (true, true);
            }
        }
        Night { zone, from, walls, again }
    }

    /// `due`: of each minute, whether the expression says what the clocks show.
    fn ticks(&self, plain: &Plain, due: &[bool], gap: Gap, repeat: Repeat) -> Vec<Tick> {
        let tick = |n: usize, wall: NaiveDateTime, fold: bool| Tick {
            at: (self.from + 60 * n as i64) * 1000,
            nominal: wall.format("%Y-%m-%dT%H:%M").to_string(),
            zone: self.zone.name().to_owned(),
            fold: u8::from(fold),
        };
        let mut ticks = Vec::new();
        for (n, wall) in self.walls.iter().enumerate() {
            let (before, after) = self.again[n];
            let counts = match repeat {
                Repeat::First => !before,
                Repeat::Last => !after,
                Repeat::Both => true,
            };
            if due[n] {
                ticks.extend(counts.then(|| tick(n, *wall, before)));
            } else if n > 0 && gap == Gap::Shift {
                let mut left_out = (1..).map(|minutes| self.walls[n - 1] + TimeDelta::minutes(minutes));
                let first = left_out.find(|left_out| left_out >= wall || plain.has(*left_out));
                ticks.extend(first.filter(|first| first < wall).map(|first| tick(n, first, false)));
            }
        }
        ticks
    }
}

/// What an author can say, and what the expression says where he says nothing.
fn policies(plain: &Plain) -> Vec<(Dst, Gap, Repeat)> {
    let (gap, repeat) = if plain.times_of_day { (Gap::Shift, Repeat::First) } else { (Gap::Skip, Repeat::Both) };
    let mut all = vec![(Dst::default(), gap, repeat)];
    for gap in [Gap::Shift, Gap::Skip] {
        all.extend(
            [Repeat::First, Repeat::Last, Repeat::Both]
                .map(|repeat| (Dst { gap: Some(gap), repeat: Some(repeat) }, gap, repeat)),
        );
    }
    all
}

/// Fault F29: every change of every zone of 50 years, half hours, midnights and lost days included.
#[test]
fn around_every_change_of_every_clock_the_minutes_decide() {
    let mut rng = fastrand::Rng::with_seed(29);
    let (mut nights, mut compared) = (0, 0);
    for (zone, changes) in histories() {
        for change in changes {
            let night = Night::around(zone, change);
            nights += 1;
            let cron = expression(&mut rng);
            let plain = Plain::read(&cron);
            let due: Vec<bool> = night.walls.iter().map(|wall| plain.has(*wall)).collect();
            for (dst, gap, repeat) in policies(&plain) {
                let Ok(times) = Times::new(&schedule(&cron, zone.name(), dst), Tz::UTC) else { continue };
                let (from, until) = (night.from * 1000 - 1, (night.from + 60 * night.walls.len() as i64) * 1000 - 1);
                let expected = night.ticks(&plain, &due, gap, repeat);
                let found: Vec<Tick> =
                    std::iter::successors(times.next_until(from, until), |tick| times.next_until(tick.at, until))
                        .collect();
                assert_eq!(found, expected, "{cron} {dst:?} in {zone} around {}", naive(change));
                assert_eq!(times.count(from, until), expected.len() as u64, "{cron} {dst:?} in {zone}");
                // From anywhere in the night the next one is the next one, and never behind.
                let now = rng.i64(from..until);
                let next = times.next_until(now, until);
                assert_eq!(
                    next.as_ref(),
                    expected.iter().find(|tick| tick.at > now),
                    "{cron} {dst:?} in {zone} at {now}"
                );
                compared += 1;
            }
        }
    }
    assert!(nights > 9_000 && compared > 60_000, "{nights} nights, {compared} comparisons");
}

/// What [`Times`] takes for granted when it looks for changes every six hours.
#[test]
fn nobody_changed_a_clock_twice_within_six_hours() {
    for (zone, _) in histories() {
        let changes = changes(zone, HOUR);
        assert!(changes.windows(2).all(|pair| pair[1] - pair[0] > 6 * HOUR), "{zone}: {changes:?}");
    }
}

const ZONES: [Tz; 7] = [
    Tz::UTC,
    chrono_tz::Europe::Berlin,
    chrono_tz::America::New_York,
    chrono_tz::America::Sao_Paulo,
    chrono_tz::Australia::Lord_Howe,
    chrono_tz::Africa::Casablanca,
    chrono_tz::Asia::Kathmandu,
];

/// The two differ by design in two things, both of Vixie cron:
///
/// - `*/2` in day of month or day of week beside a restricted other one: AND here, OR there. Such expressions are left out.
/// - `0,30 2 * * *` or `0 1-3 * * *`: times of day here, because no field begins with a star; croner takes only single values
///   for times of day and lets the rest follow the clock. These are compared with a `dst:` that says what croner does.
#[test]
fn croner_agrees_where_it_means_the_same() {
    let mut rng = fastrand::Rng::with_seed(4);
    let mut expressions = 0;
    while expressions < 20_000 {
        let cron = expression(&mut rng);
        let fields: Vec<&str> = cron.split(' ').collect();
        let (day, week) = (fields[2], fields[4]);
        if [day, week].iter().any(|field| field.starts_with("*/")) && day != "*" && week != "*" {
            continue;
        }
        let theirs = CronParser::new().parse(&cron).unwrap();
        let dst = match theirs.determine_job_type() {
            JobType::FixedTime => Dst { gap: Some(Gap::Shift), repeat: Some(Repeat::First) },
            JobType::IntervalWildcard => Dst { gap: Some(Gap::Skip), repeat: Some(Repeat::Both) },
        };
        for zone in ZONES {
            let Ok(ours) = Times::new(&schedule(&cron, zone.name(), dst), Tz::UTC) else { break };
            let now = rng.i64(YEARS);
            let next = ours.next(now * 1000).map(|tick| tick.at / 1000);
            let theirs = next_of_croner(&theirs, zone, now);
            assert_eq!(next, theirs, "{cron} in {zone} after {}", naive(now));
            assert!(next.is_none_or(|next| next > now));
        }
        expressions += 1;
    }
}

fn next_of_croner(cron: &Croner, zone: Tz, now: i64) -> Option<i64> {
    let now = zone.from_utc_datetime(&naive(now));
    cron.find_next_occurrence(&now, false).ok().map(|next| next.timestamp())
}

/// Many ticks are compared day by day.
const TICKS_LISTED_MAX: usize = 100_000;

/// What `runward import crontab` writes is due when cron would have started the line: for five years, by the minute.
#[test]
fn a_line_of_a_crontab_is_due_at_the_same_minutes_as_a_runbook() {
    let mut rng = fastrand::Rng::with_seed(5);
    let zone = chrono_tz::Europe::Berlin;
    let day = |text: &str| DateTime::<Utc>::from_str(&format!("{text}T00:00:00Z")).unwrap().timestamp();
    let (from, until) = (day("2026-01-01"), day("2031-01-01"));
    let years = Night::between(zone, from, until);
    let nicknames =
        [("@hourly", "0 * * * *"), ("@daily", "0 0 * * *"), ("@weekly", "0 0 * * 0"), ("@annually", "0 0 1 1 *")];
    let written = (0..24).map(|_| expression(&mut rng)).map(|cron| (cron.replace(' ', "\t "), cron));
    let lines = written.chain(nicknames.map(|(name, cron)| (name.to_owned(), cron.to_owned())));
    let lines: Vec<(String, String)> = lines.filter(|(_, cron)| Cron::parse(cron).is_ok()).collect();
    let crontab: String = lines.iter().map(|(line, _)| format!("{line} true 100\\%\n")).collect();
    let import = crontab::read(crontab.as_bytes(), &Form { system: false, user: "deploy".into() });
    assert!(import.jobs.len() == lines.len() && lines.len() > 20 && import.left_out.is_empty());
    for (job, (_, cron)) in import.jobs.iter().zip(&lines) {
        let runbook = runbook::parse(crontab::write(job, "a test", Some("/home/deploy")).as_bytes()).unwrap();
        let times = Times::new(&runbook.schedules[0], zone).unwrap();
        let plain = Plain::read(cron);
        let due: Vec<bool> = years.walls.iter().map(|wall| plain.has(*wall)).collect();
        let (_, gap, repeat) = policies(&plain)[0];
        let expected = years.ticks(&plain, &due, gap, repeat);
        if expected.len() <= TICKS_LISTED_MAX {
            let found: Vec<Tick> = times.after(from * 1000 - 1).take_while(|tick| tick.at < until * 1000).collect();
            assert!(found == expected, "{cron}");
        } else {
            for day in (from * 1000..until * 1000).step_by(24 * HOUR as usize * 1000) {
                let end = day + 24 * HOUR * 1000;
                let count =
                    expected.partition_point(|tick| tick.at < end) - expected.partition_point(|tick| tick.at < day);
                assert_eq!(times.count(day - 1, end - 1), count as u64, "{cron}");
            }
        }
    }
}

/// docs/schedules.md shows what this computes.
#[test]
fn the_page_shows_the_instants_of_both_nights() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schedules.md")).unwrap();
    let row = |name: &str, dst: Dst, days: [&str; 3]| {
        let times = Times::new(&schedule("30 2 * * *", "Europe/Berlin", dst), Tz::UTC).unwrap();
        let cells = days.map(|day| {
            let begin = DateTime::<Utc>::from_str(&format!("{day}T00:00:00Z")).unwrap().timestamp_millis();
            let ticks = times.after(begin - 1).take_while(|tick| tick.at < begin + 24 * HOUR * 1000);
            let shown: Vec<String> = ticks.map(|tick| instant(tick.at)).collect();
            if shown.is_empty() { "never".to_owned() } else { shown.join(", ") }
        });
        let row = format!("| {name} | {} |\n", cells.join(" | "));
        assert!(page.contains(&row), "docs/schedules.md does not show this row:\n{row}");
    };
    let spring = ["2026-03-28", "2026-03-29", "2026-03-30"];
    let autumn = ["2026-10-24", "2026-10-25", "2026-10-26"];
    row("`shift`, the default", Dst::default(), spring);
    row("`shift`, the default", Dst { gap: Some(Gap::Shift), repeat: None }, spring);
    row("`skip`", Dst { gap: Some(Gap::Skip), repeat: None }, spring);
    row("`first`, the default", Dst::default(), autumn);
    row("`first`, the default", Dst { gap: None, repeat: Some(Repeat::First) }, autumn);
    row("`last`", Dst { gap: None, repeat: Some(Repeat::Last) }, autumn);
    row("`both`", Dst { gap: None, repeat: Some(Repeat::Both) }, autumn);
    let hourly = Times::new(&schedule("0 * * * *", "Europe/Berlin", Dst::default()), Tz::UTC).unwrap();
    let hours = |from: &str, to: &str| {
        let at = |text: &str| DateTime::<Utc>::from_str(text).unwrap().timestamp_millis() - 1;
        hourly.count(at(from), at(to))
    };
    let shorter = hours("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z");
    let longer = hours("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
    assert!(
        page.contains(&format!("`0 * * * *` comes {shorter} times on the day"))
            && page.contains(&format!("and {longer} times"))
    );
}

fn instant(at: i64) -> String {
    let at = DateTime::from_timestamp_millis(at).unwrap();
    let wall = at.with_timezone(&chrono_tz::Europe::Berlin).format("%H:%M %:z");
    format!("{wall} ({} UTC)", at.format("%H:%M"))
}
