//! Random expressions, and a second reading of them that shares nothing with the engine's.

use chrono::{Datelike, NaiveDateTime, Timelike};
use runward_engine::schedule::entry::{Dst, Schedule};

pub fn schedule(cron: &str, zone: &str, dst: Dst) -> Schedule {
    let json = serde_json::json!({
        "id": "1", "cron": cron, "timezone": zone, "dst": dst, "missed": "latest", "within_ms": 1,
        "overlap": "skip", "jitter_ms": 0, "with": {}
    });
    serde_json::from_value(json).unwrap()
}

/// What an expression of numbers says, read the plain way.
pub struct Plain {
    minute: Vec<bool>,
    hour: Vec<bool>,
    day: Vec<bool>,
    month: Vec<bool>,
    week: Vec<bool>,
    /// Vixie cron: day of month and day of week are joined by AND if one of them begins with a star.
    and: bool,
    pub times_of_day: bool,
}

impl Plain {
    pub fn read(cron: &str) -> Plain {
        let fields: Vec<&str> = cron.split(' ').collect();
        let star = |n: usize| fields[n].starts_with('*');
        let mut week = plain_field(fields[4], 0, 7);
        week[0] |= week[7];
        Plain {
            minute: plain_field(fields[0], 0, 59),
            hour: plain_field(fields[1], 0, 23),
            day: plain_field(fields[2], 1, 31),
            month: plain_field(fields[3], 1, 12),
            week,
            and: star(2) || star(4),
            times_of_day: !star(0) && !star(1),
        }
    }

    pub fn has(&self, wall: NaiveDateTime) -> bool {
        let day = self.day[wall.day() as usize];
        let week = self.week[wall.weekday().num_days_from_sunday() as usize];
        self.minute[wall.minute() as usize]
            && self.hour[wall.hour() as usize]
            && self.month[wall.month() as usize]
            && if self.and { day && week } else { day || week }
    }
}

fn plain_field(text: &str, min: usize, max: usize) -> Vec<bool> {
    let mut on = vec![false; max + 1];
    for item in text.split(',') {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let number = |text: &str| text.parse::<usize>().unwrap();
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first), number(last)),
            None if range == "*" => (min, if max == 7 { 6 } else { max }),
            None => (number(range), number(range)),
        };
        (first..=last).step_by(number(step)).for_each(|n| on[n] = true);
    }
    on
}

/// Hours that are left out and repeated are those of the night, so most hours are.
pub fn expression(rng: &mut fastrand::Rng) -> String {
    let minute = field(rng, 0, 59, 2);
    let hour = if rng.u8(..3) == 0 { field(rng, 0, 23, 3) } else { field(rng, 0, 4, 3) };
    let rarely =
        |rng: &mut fastrand::Rng, min, max| if rng.u8(..3) == 0 { field(rng, min, max, 4) } else { "*".into() };
    format!("{minute} {hour} {} {} {}", rarely(rng, 1, 31), rarely(rng, 1, 12), rarely(rng, 0, 7))
}

fn field(rng: &mut fastrand::Rng, min: u32, max: u32, star: u8) -> String {
    if rng.u8(..10) < star {
        return match rng.bool() {
            true => "*".into(),
            false => format!("*/{}", rng.u32(1..=max.min(30))),
        };
    }
    let item = |rng: &mut fastrand::Rng| {
        let (a, b) = (rng.u32(min..=max), rng.u32(min..=max));
        match rng.u8(..4) {
            0 => format!("{}-{}", a.min(b), a.max(b)),
            1 => format!("{}-{}/{}", a.min(b), a.max(b), rng.u32(1..7)),
            _ => a.to_string(),
        }
    };
    (0..rng.u8(1..3)).map(|_| item(rng)).collect::<Vec<_>>().join(",")
}
