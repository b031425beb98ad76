//! Five-field cron with the meaning of Vixie cron.
//!
//! The `cron` crate does the calendar arithmetic; its own reading of fields differs from Vixie's (seconds first, Sunday is
//! 1, day-of-month AND day-of-week), so fields are read here and handed over as lists of numbers.
//!
//! Day-of-month and day-of-week are joined by OR, unless one of them begins with `*`: then by AND, as in Vixie cron.

use std::str::FromStr;

/// A cron expression that can come due.
#[derive(Debug, Clone)]
pub struct Cron {
    /// Due where any of them is.
    parts: Vec<cron::Schedule>,
}

/// What is wrong with a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("`{text}` has {found} fields; cron has five: minute, hour, day of month, month, day of week")]
    Fields { text: String, found: usize },
    #[error("`{text}` is not a nickname of cron")]
    Nickname { text: String },
    #[error("{field} `{item}`: {reason}")]
    Item { field: &'static str, item: String, reason: String },
    #[error("`{text}` never comes")]
    Never { text: String },
}

impl CronError {
    /// What to write instead.
    pub fn help(&self) -> Option<String> {
        match self {
            CronError::Fields { found: 6, .. } => Some("without seconds: `30 2 * * SAT` is Saturday, 02:30".into()),
            CronError::Fields { .. } => Some("`30 2 * * SAT` is Saturday, 02:30".into()),
            CronError::Nickname { .. } => Some("`@hourly`, `@daily`, `@weekly`, `@monthly` or `@yearly`".into()),
            CronError::Item { .. } | CronError::Never { .. } => None,
        }
    }
}

struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    /// Names of the values from `min` on.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, names: &[] },
    Field { name: "hour", min: 0, max: 23, names: &[] },
    Field { name: "day of month", min: 1, max: 31, names: &[] },
    Field {
        name: "month",
        min: 1,
        max: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field { name: "day of week", min: 0, max: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] },
];

impl Cron {
    pub fn parse(text: &str) -> Result<Cron, CronError> {
        let expanded = nickname(text.trim())?;
        let fields: Vec<&str> = expanded.split_whitespace().collect();
        let [minute, hour, dom, month, dow] = fields[..] else {
            return Err(CronError::Fields { text: text.into(), found: fields.len() });
        };
        let minutes = list(&FIELDS[0], minute)?;
        let hours = list(&FIELDS[1], hour)?;
        let months = list(&FIELDS[3], month)?;
        let days = list(&FIELDS[2], dom)?;
        let weekdays = weekdays(dow)?;
        let schedule = |days: &str, weekdays: &str| {
            cron::Schedule::from_str(&format!("0 {minutes} {hours} {days} {months} {weekdays}"))
                .map_err(|error| CronError::Item { field: "cron", item: text.into(), reason: error.to_string() })
        };
        let parts = if dom.starts_with('*') || dow.starts_with('*') {
            vec![schedule(&days, &weekdays)?]
        } else {
            vec![schedule(&days, "*")?, schedule("*", &weekdays)?]
        };
        let cron = Cron { parts };
        let epoch = chrono::DateTime::<chrono::Utc>::from_timestamp(1_700_000_000, 0).unwrap_or_default();
        match cron.next_wall(epoch) {
            Some(_) => Ok(cron),
            None => Err(CronError::Never { text: text.into() }),
        }
    }

    /// The next due time after `wall`, both of them wall-clock times written as UTC: without zone and summer time.
    pub fn next_wall(&self, wall: chrono::DateTime<chrono::Utc>) -> Option<chrono::DateTime<chrono::Utc>> {
        self.parts.iter().filter_map(|part| part.after(&wall).next()).min()
    }
}

fn nickname(text: &str) -> Result<&str, CronError> {
    match text {
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        "@monthly" => Ok("0 0 1 * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@hourly" => Ok("0 * * * *"),
        _ if text.starts_with('@') => Err(CronError::Nickname { text: text.into() }),
        _ => Ok(text),
    }
}

/// The values of a field as the `cron` crate reads them: `*`, or a list of numbers.
fn list(field: &Field, text: &str) -> Result<String, CronError> {
    let on = values(field, text)?;
    if on.len() as u32 == field.max - field.min + 1 {
        return Ok("*".into());
    }
    Ok(on.iter().map(u32::to_string).collect::<Vec<_>>().join(","))
}

/// The crate's week begins with Sunday = 1.
fn weekdays(text: &str) -> Result<String, CronError> {
    let mut on: Vec<u32> = values(&FIELDS[4], text)?.into_iter().map(|day| day % 7 + 1).collect();
    on.sort_unstable();
    on.dedup();
    Ok(if on.len() == 7 { "*".into() } else { on.iter().map(u32::to_string).collect::<Vec<_>>().join(",") })
}

fn values(field: &Field, text: &str) -> Result<Vec<u32>, CronError> {
    let mut on = std::collections::BTreeSet::new();
    for item in text.split(',') {
        let fail = |reason: String| CronError::Item { field: field.name, item: item.into(), reason };
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let (first, last) = match range.split_once('-') {
            // Sunday is both 0 and 7: a star means each day once.
            _ if range == "*" => (field.min, field.max.min(if field.names.len() == 7 { 6 } else { field.max })),
            Some((first, last)) => (value(field, first).map_err(fail)?, value(field, last).map_err(fail)?),
            None if step.is_some() => {
                return Err(fail(format!("a step follows a range or `*`: `{range}-{}/..`", field.max)));
            }
            None => (value(field, range).map_err(fail)?, value(field, range).map_err(fail)?),
        };
        if first > last {
            return Err(fail("the range ends before it begins".into()));
        }
        let step: usize = match step {
            None => 1,
            Some(step) => {
                step.parse().ok().filter(|n| *n > 0).ok_or_else(|| fail("a step is a number from 1".into()))?
            }
        };
        on.extend((first..=last).step_by(step));
    }
    Ok(on.into_iter().collect())
}

fn value(field: &Field, text: &str) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(at) = field.names.iter().position(|name| *name == lower) {
        return Ok(field.min + at as u32);
    }
    let number: Option<u32> = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    number.filter(|n| (field.min..=field.max).contains(n)).ok_or_else(|| {
        let names = match field.names {
            [first, .., last] => format!(", or {first} to {last}"),
            _ => String::new(),
        };
        format!("must be {} to {}{names}", field.min, field.max)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expression: &str, after: &str) -> String {
        let after = format!("{after}:00Z").parse().unwrap();
        Cron::parse(expression).unwrap().next_wall(after).unwrap().format("%Y-%m-%dT%H:%M").to_string()
    }

    #[test]
    fn fields_mean_what_vixie_cron_means() {
        assert_eq!(next("30 2 * * SAT", "2026-11-22T00:00"), "2026-11-28T02:30");
        assert_eq!(next("0 0 * * 0", "2026-11-23T00:00"), "2026-11-29T00:00", "0 is Sunday");
        assert_eq!(next("0 0 * * 7", "2026-11-23T00:00"), "2026-11-29T00:00", "7 is Sunday");
        assert_eq!(next("0 0 * * 1-5", "2026-11-21T00:00"), "2026-11-23T00:00", "1-5 is Monday to Friday");
        assert_eq!(next("0 0 13 * FRI", "2026-11-22T00:00"), "2026-11-27T00:00", "day of month OR day of week");
        assert_eq!(next("*/20 * * * *", "2026-11-22T00:01"), "2026-11-22T00:20");
        assert_eq!(next("@daily", "2026-11-22T00:00"), "2026-11-23T00:00");
    }

    #[test]
    fn messages_name_the_field() {
        let message = |text| Cron::parse(text).unwrap_err().to_string();
        assert_eq!(message("61 * * * *"), "minute `61`: must be 0 to 59");
        assert_eq!(message("0 0 * * FRY"), "day of week `FRY`: must be 0 to 7, or sun to sat");
        assert_eq!(message("0 5/10 * * *"), "hour `5/10`: a step follows a range or `*`: `5-23/..`");
        assert_eq!(message("0 0 31 2 *"), "`0 0 31 2 *` never comes");
        assert_eq!(message("@reboot"), "`@reboot` is not a nickname of cron");
        assert!(message("0 0 0 1 1 *").starts_with("`0 0 0 1 1 *` has 6 fields"));
        assert!(Cron::parse("0 0 * * *").is_ok() && Cron::parse("").is_err() && Cron::parse(",").is_err());
    }
}
