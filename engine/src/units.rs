//! Durations (`30s 10m 2h 7d`) and sizes (`4MiB`) as they are written in runbooks and printed by the CLI.

use std::time::Duration;

/// Why a text is not a duration or a size. The message says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("`{0}` has no unit: write `{0}s`, `{0}m`, `{0}h` or `{0}d`")]
    BareDuration(String),
    #[error("`{0}` is not a duration: write for example `30s`, `10m`, `2h`, `7d` or `1h30m`")]
    Duration(String),
    #[error("`{0}` is not a size: write for example `512B`, `64KiB`, `4MiB` or `2GB`")]
    Size(String),
    #[error("`{0}` is too large")]
    TooLarge(String),
}

const DURATION_UNITS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

const SIZE_UNITS: [(&str, u64); 11] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("", 1),
];

/// `90s`, `1h30m`, `250ms`; several parts add up. A bare number is refused: nobody can know whether it meant seconds.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(UnitError::Duration(text.into()));
    }
    if trimmed.bytes().all(|b| b.is_ascii_digit()) {
        return Err(UnitError::BareDuration(trimmed.into()));
    }
    let mut total_ms: u64 = 0;
    let mut rest = trimmed;
    while !rest.is_empty() {
        let (number, unit, tail) = number_and_unit(rest).ok_or_else(|| UnitError::Duration(text.into()))?;
        let factor = lookup(&DURATION_UNITS, unit).ok_or_else(|| UnitError::Duration(text.into()))?;
        let part = scale(number, factor).ok_or_else(|| UnitError::TooLarge(text.into()))?;
        total_ms = total_ms.checked_add(part).ok_or_else(|| UnitError::TooLarge(text.into()))?;
        rest = tail.trim_start();
    }
    Ok(Duration::from_millis(total_ms))
}

/// `4MiB`, `10GB`, `512B`, or a bare number of bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (number, unit, tail) = number_and_unit(text.trim()).ok_or_else(|| UnitError::Size(text.into()))?;
    let factor = lookup(&SIZE_UNITS, unit.trim()).ok_or_else(|| UnitError::Size(text.into()))?;
    if !tail.is_empty() {
        return Err(UnitError::Size(text.into()));
    }
    scale(number, factor).ok_or_else(|| UnitError::TooLarge(text.into()))
}

/// A duration for people: `350 ms`, `4.2 s`, `3m 05s`, `2h 10m`, `3d 4h`.
pub fn format_duration(duration: Duration) -> String {
    let ms = duration.as_millis() as u64;
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{}m {:02}s", ms / 60_000, ms / 1_000 % 60),
        3_600_000..86_400_000 => format!("{}h {:02}m", ms / 3_600_000, ms / 60_000 % 60),
        _ => format!("{}d {}h", ms / 86_400_000, ms / 3_600_000 % 24),
    }
}

/// A size for people: `512 B`, `4.0 MiB`.
pub fn format_size(bytes: u64) -> String {
    const STEPS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut step = 0;
    while value >= 1024.0 && step + 1 < STEPS.len() {
        value /= 1024.0;
        step += 1;
    }
    if step == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", STEPS[step]) }
}

fn lookup(table: &[(&str, u64)], unit: &str) -> Option<u64> {
    table.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// Splits `1.5h30m` into (`1.5`, `h`, `30m`).
fn number_and_unit(text: &str) -> Option<(&str, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, tail) = rest.split_at(letters);
    (!number.is_empty()).then_some((number, unit.trim(), tail))
}

fn scale(number: &str, factor: u64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let value = number.parse::<f64>().ok()? * factor as f64;
    (value.is_finite() && value < u64::MAX as f64).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("10"), Err(UnitError::BareDuration("10".into())));
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        for bad in ["", "m", "1y", "10 minutes", "-1s", "1..5s", "9999999999999999999d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_decimal_or_binary() {
        assert_eq!(parse_size("4MiB"), Ok(4 << 20));
        assert_eq!(parse_size("2GB"), Ok(2_000_000_000));
        assert_eq!(parse_size("512"), Ok(512));
        assert!(parse_size("4 bananas").is_err());
        assert!(parse_size("4MiB5").is_err());
    }

    #[test]
    fn durations_read_well() {
        let shown: Vec<String> =
            [350, 4_230, 185_000, 7_800_000, 273_600_000].map(|ms| format_duration(Duration::from_millis(ms))).into();
        assert_eq!(shown, ["350 ms", "4.2 s", "3m 05s", "2h 10m", "3d 4h"]);
    }
}
