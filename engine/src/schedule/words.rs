//! An expression in words, for people: `at 02:30 on Saturday`, `every 5 minutes`.
//!
//! The words are made from what the fields come to, not from how they are written: `*/30` and `0,30` are the same. A test
//! reads every phrase back.

use super::cron::{Cron, CronError, Join, Set};

/// So many times of day are told one by one.
const TIMES_MAX: u64 = 4;
/// Numbers with the same distance from each other are told by the first few, from so many on.
const SERIES_MIN: usize = 5;
/// Numbers that follow each other are told by the first and the last, from so many on.
const RUN_MIN: usize = 3;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// Monday is 1.
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// What an expression says, without its zone.
pub fn words(cron: &str) -> Result<String, CronError> {
    let cron = Cron::parse(cron)?;
    Ok(format!("{}{}", times(&cron), days(&cron)))
}

fn times(cron: &Cron) -> String {
    let (minutes, hours): (Vec<u32>, Vec<u32>) = (cron.minutes.iter().collect(), cron.hours.iter().collect());
    if cron.minutes.len() * cron.hours.len() <= TIMES_MAX {
        let of_hour = |hour: &u32| minutes.iter().map(|minute| clock(*hour, *minute)).collect::<Vec<_>>();
        return format!("at {}", listed(&hours.iter().flat_map(of_hour).collect::<Vec<_>>()));
    }
    if let ([minute], Some(step)) = (&minutes[..], round(&hours, 24)) {
        return match step {
            1 if *minute == 0 => "every hour".to_owned(),
            1 => format!("at minute {minute} of every hour"),
            _ => format!("every {step} hours, from {} on", clock(0, *minute)),
        };
    }
    let within = match round(&minutes, 60) {
        Some(1) => "every minute".to_owned(),
        Some(step) if step < 60 => format!("every {step} minutes"),
        _ => format!("at minute {}", numbers(&minutes, |minute| minute.to_string())),
    };
    match (&hours[..], runs(&hours).len()) {
        (all, _) if all.len() == 24 && within.starts_with("every") => within,
        (all, _) if all.len() == 24 => format!("{within} of every hour"),
        ([first, .., last], 1) if hours.len() >= RUN_MIN => format!("{within} of every hour from {first} to {last}"),
        _ => format!("{within} of hour {}", numbers(&hours, |hour| hour.to_string())),
    }
}

fn days(cron: &Cron) -> String {
    let month = |number: u32| MONTHS[number as usize - 1].to_owned();
    let months: Vec<u32> = cron.months.iter().collect();
    let in_months = if months.len() == 12 { String::new() } else { on(" in ", &numbers(&months, month)) };
    let of_month =
        format!("day {} of the month", numbers(&cron.days.iter().collect::<Vec<_>>(), |day| day.to_string()));
    let all = (cron.days.len() == 31, cron.weekdays.len() == 7);
    let either = cron.join == Join::Or && (all.0 || all.1);
    match all {
        (true, true) if in_months.is_empty() => every_day(cron).to_owned(),
        _ if either && in_months.is_empty() => every_day(cron).to_owned(),
        (true, true) => format!(" on every day{in_months}"),
        _ if either => format!(" on every day{in_months}"),
        (true, false) => format!("{}{in_months}", on(" on ", &weekdays(cron.weekdays))),
        (false, true) if in_months.is_empty() => format!(" on {of_month}"),
        (false, true) => format!(" on {}", of_month.replace("the month", &numbers(&months, month))),
        (false, false) => {
            let weekdays = weekdays(cron.weekdays);
            match cron.join {
                Join::Or => {
                    format!(" on {of_month}, and also{}{in_months}", on(" on ", &weekdays).trim_start_matches(','))
                }
                Join::And => format!("{}, if it is {of_month}{in_months}", on(" on ", &weekdays)),
            }
        }
    }
}

/// A time of day alone leaves open how often it comes.
fn every_day(cron: &Cron) -> &'static str {
    if cron.minutes.len() * cron.hours.len() <= TIMES_MAX { " every day" } else { "" }
}

/// Names in a row stand better without a preposition: `, Monday to Friday`.
fn on(preposition: &str, names: &str) -> String {
    if names.contains(" to ") { format!(", {names}") } else { format!("{preposition}{names}") }
}

/// In the order of the week, which begins with Monday.
fn weekdays(set: Set) -> String {
    let mut days: Vec<u32> = set.iter().map(|day| if day == 0 { 7 } else { day }).collect();
    days.sort_unstable();
    numbers(&days, |day| WEEKDAYS[day as usize - 1].to_owned())
}

/// The distance of numbers that go round from 0 without a break: `0, 5, 10 ...` of 60.
fn round(numbers: &[u32], all: u32) -> Option<u32> {
    let step = all.checked_div(numbers.len() as u32).filter(|step| step * numbers.len() as u32 == all)?;
    numbers.iter().zip(0..).all(|(number, n)| *number == n * step).then_some(step)
}

fn numbers(numbers: &[u32], name: impl Fn(u32) -> String) -> String {
    if let [first, second, third, .., last] = numbers
        && numbers.len() >= SERIES_MIN
        && second - first > 1
        && numbers.windows(2).all(|pair| pair[1] - pair[0] == second - first)
    {
        return format!("{}, {}, {}, ... {}", name(*first), name(*second), name(*third), name(*last));
    }
    let told = |run: &[u32]| match run {
        [first, .., last] if run.len() >= RUN_MIN => vec![format!("{} to {}", name(*first), name(*last))],
        few => few.iter().map(|number| name(*number)).collect(),
    };
    listed(&runs(numbers).into_iter().flat_map(told).collect::<Vec<_>>())
}

/// Cut where a number is left out.
fn runs(numbers: &[u32]) -> Vec<&[u32]> {
    numbers.chunk_by(|one, next| one + 1 == *next).collect()
}

fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [some @ .., last] => format!("{} and {last}", some.join(", ")),
    }
}

fn clock(hour: u32, minute: u32) -> String {
    format!("{hour:02}:{minute:02}")
}

#[cfg(test)]
mod tests;
