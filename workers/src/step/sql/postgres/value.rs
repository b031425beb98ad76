//! The columns of a row as JSON. Whole numbers, fractions, truth and JSON keep their types; all else becomes the text that
//! people know it by. A type that is not read here is an error with the way out, never a guess.

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use runward_engine::run::decimal;
use serde_json::{Number, Value, json};
use sqlx::postgres::{PgColumn, PgRow, PgTypeInfo, PgTypeKind};
use sqlx::{Column, Row, TypeInfo, ValueRef};

/// `json` and `jsonb`.
const JSON: [u32; 2] = [114, 3802];
const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

/// By their names, in order.
pub(super) fn columns(columns: &[PgColumn], row: &PgRow) -> Result<Vec<(String, Value)>, String> {
    let one = |(n, column): (usize, &PgColumn)| {
        let name = column.name().to_owned();
        let raw = row.try_get_raw(n).map_err(|error| format!("the column `{name}` cannot be read: {error}"))?;
        if raw.is_null() {
            return Ok((name, Value::Null));
        }
        let bytes = raw.as_bytes().map_err(|error| format!("the column `{name}` cannot be read: {error}"))?;
        let value = read(column.type_info(), bytes).ok_or_else(|| {
            let kind = column.type_info().name().to_lowercase();
            let why = match JSON.contains(&column.type_info().oid().map_or(0, |oid| oid.0)) {
                true => "nested too deep, or with a number that has more digits than can be kept",
                false => "which is not read here",
            };
            format!("the column `{name}` has the type {kind}, {why}: write `...::text as {name}`")
        })?;
        Ok((name, value))
    };
    columns.iter().enumerate().map(one).collect()
}

/// `None`: nothing that is known here.
fn read(kind: &PgTypeInfo, bytes: &[u8]) -> Option<Value> {
    match kind.kind() {
        PgTypeKind::Enum(_) => return text(bytes),
        PgTypeKind::Domain(of) => return read(of, bytes),
        PgTypeKind::Array(of) => return array(of, bytes),
        PgTypeKind::Simple | PgTypeKind::Pseudo => {}
        PgTypeKind::Composite(_) | PgTypeKind::Range(_) => return None,
    }
    let oid = kind.oid().map_or(0, |oid| oid.0);
    match oid {
        16 => Some(json!(bytes.first()? != &0)),
        17 => Some(json!(bytes.iter().fold("\\x".to_owned(), |hex, byte| hex + &format!("{byte:02x}")))),
        20 => Some(json!(whole(bytes)?)),
        21 => Some(json!(i16::from_be_bytes(bytes.try_into().ok()?))),
        23 => Some(json!(i32::from_be_bytes(bytes.try_into().ok()?))),
        26 | 28 => Some(json!(u32::from_be_bytes(bytes.try_into().ok()?))),
        18 | 19 | 25 | 142 | 705 | 1042 | 1043 => text(bytes),
        114 => document(bytes),
        3802 => document(bytes.strip_prefix(&[1])?),
        // By its shortest text: 0.1 is no 0.10000000149011612.
        700 => fraction(&f32::from_be_bytes(bytes.try_into().ok()?).to_string()),
        701 => fraction(&f64::from_be_bytes(bytes.try_into().ok()?).to_string()),
        1700 => numeric(bytes),
        1082 => date(bytes),
        1083 => time(whole(bytes)?).map(|time| json!(time.format("%H:%M:%S%.f").to_string())),
        1114 => moment(bytes, ""),
        1184 => moment(bytes, "Z"),
        2950 => uuid(bytes),
        2278 => Some(Value::Null), // void
        650 | 869 => address(bytes, oid == 650),
        _ if kind.name().eq_ignore_ascii_case("citext") => text(bytes),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> Option<Value> {
    std::str::from_utf8(bytes).ok().map(|text| json!(text))
}

fn whole(bytes: &[u8]) -> Option<i64> {
    bytes.try_into().ok().map(i64::from_be_bytes)
}

/// What JSON has no number for stays a text.
fn fraction(text: &str) -> Option<Value> {
    let number: f64 = text.parse().ok()?;
    Some(match Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None if number.is_nan() => json!("NaN"),
        None if number > 0.0 => json!("Infinity"),
        None => json!("-Infinity"),
    })
}

/// Groups of four digits, with the weight of the first. Always its text: what type a value has must not depend on its digits.
fn numeric(bytes: &[u8]) -> Option<Value> {
    let half = |n: usize| Some(u16::from_be_bytes(bytes.get(2 * n..2 * n + 2)?.try_into().ok()?));
    let (groups, weight, sign, scale) = (half(0)?, half(1)?.cast_signed(), half(2)?, usize::from(half(3)?));
    match sign {
        0xC000 => return Some(json!("NaN")),
        0xD000 => return Some(json!("Infinity")),
        0xF000 => return Some(json!("-Infinity")),
        _ => {}
    }
    let group =
        |at: i32| usize::try_from(at).ok().filter(|at| *at < usize::from(groups)).map_or(Some(0), |at| half(4 + at));
    let mut text = if sign == 0x4000 { "-".to_owned() } else { String::new() };
    let mut before = String::new();
    for at in 0..=i32::from(weight) {
        before += &format!("{:04}", group(at)?);
    }
    let before = before.trim_start_matches('0');
    text += if before.is_empty() { "0" } else { before };
    if scale > 0 {
        let mut after = String::new();
        let mut at = i32::from(weight) + 1;
        // Groups between the point and the first one are zero.
        for _ in 0..(-1 - i32::from(weight)).max(0) {
            after += "0000";
        }
        at = at.max(0);
        while after.len() < scale {
            after += &format!("{:04}", group(at)?);
            at += 1;
        }
        text += ".";
        text += &after[..scale];
    }
    Some(Value::String(text))
}

/// JSON whose numbers can be held to their last digit.
fn document(bytes: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    let value = serde_json::from_str(text).ok()?;
    numbers(text).all(is_held).then_some(value)
}

/// The numbers of a JSON text, as they are written.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let (mut in_text, mut escaped) = (false, false);
    let outside = move |c: char| {
        let inside = in_text;
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            _ => {}
        }
        inside || !(c.is_ascii_digit() || "+-.eE".contains(c))
    };
    text.split(outside).filter(|word| word.bytes().any(|byte| byte.is_ascii_digit()))
}

fn is_held(number: &str) -> bool {
    number.parse::<i64>().is_ok()
        || number.parse::<u64>().is_ok()
        || number.parse::<f64>().is_ok_and(|near| decimal::same(&near.to_string(), number))
}

fn epoch() -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(2000, 1, 1)
}

fn date(bytes: &[u8]) -> Option<Value> {
    let days = i32::from_be_bytes(bytes.try_into().ok()?);
    let epoch = epoch()?;
    let far = Days::new(u64::from(days.unsigned_abs()));
    match days {
        i32::MAX => return Some(json!("infinity")),
        i32::MIN => return Some(json!("-infinity")),
        _ => {}
    }
    let date = if days < 0 { epoch.checked_sub_days(far) } else { epoch.checked_add_days(far) };
    date.map(|date| json!(date.to_string()))
}

fn time(microseconds: i64) -> Option<NaiveTime> {
    let seconds = u32::try_from(microseconds / 1_000_000).ok()?;
    NaiveTime::from_num_seconds_from_midnight_opt(seconds, u32::try_from(microseconds % 1_000_000).ok()? * 1_000)
}

/// Of UTC, as the session has it.
fn moment(bytes: &[u8], zone: &str) -> Option<Value> {
    let microseconds = whole(bytes)?;
    match microseconds {
        i64::MAX => return Some(json!("infinity")),
        i64::MIN => return Some(json!("-infinity")),
        _ => {}
    }
    let days = TimeDelta::try_days(microseconds.div_euclid(MICROSECONDS_A_DAY))?;
    let date = epoch()?.checked_add_signed(days)?;
    let moment = NaiveDateTime::new(date, time(microseconds.rem_euclid(MICROSECONDS_A_DAY))?);
    Some(json!(format!("{}{zone}", moment.format("%Y-%m-%dT%H:%M:%S%.f"))))
}

fn uuid(bytes: &[u8]) -> Option<Value> {
    let number = u128::from_be_bytes(bytes.try_into().ok()?);
    let hex = format!("{number:032x}");
    Some(json!(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])))
}

fn address(bytes: &[u8], is_network: bool) -> Option<Value> {
    let (bits, rest) = (*bytes.get(1)?, bytes.get(4..)?);
    let (address, all) = match rest.len() {
        4 => (std::net::IpAddr::from(<[u8; 4]>::try_from(rest).ok()?), 32),
        16 => (std::net::IpAddr::from(<[u8; 16]>::try_from(rest).ok()?), 128),
        _ => return None,
    };
    Some(json!(if is_network || bits != all { format!("{address}/{bits}") } else { address.to_string() }))
}

/// Dimensions, then elements one after the other.
fn array(of: &PgTypeInfo, bytes: &[u8]) -> Option<Value> {
    let int = |at: usize| Some(i32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let dimensions = usize::try_from(int(0)?).ok()?;
    if dimensions == 0 {
        return Some(json!([]));
    }
    let lengths: Vec<usize> = (0..dimensions).map(|n| usize::try_from(int(12 + 8 * n)?).ok()).collect::<Option<_>>()?;
    let mut rest = bytes.get(12 + 8 * dimensions..)?;
    nested(of, &lengths, &mut rest)
}

fn nested(of: &PgTypeInfo, lengths: &[usize], rest: &mut &[u8]) -> Option<Value> {
    let Some((length, inner)) = lengths.split_first() else { return element(of, rest) };
    (0..*length).map(|_| nested(of, inner, rest)).collect::<Option<Vec<_>>>().map(Value::Array)
}

fn element(of: &PgTypeInfo, rest: &mut &[u8]) -> Option<Value> {
    let length = i32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
    *rest = &rest[4..];
    let Ok(length) = usize::try_from(length) else { return Some(Value::Null) };
    let value = read(of, rest.get(..length)?);
    *rest = &rest[length..];
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(groups: &[u16], weight: i16, negative: bool, scale: u16) -> Value {
        let head = [groups.len() as u16, weight.cast_unsigned(), if negative { 0x4000 } else { 0 }, scale];
        let bytes: Vec<u8> = head.iter().chain(groups).flat_map(|half| half.to_be_bytes()).collect();
        numeric(&bytes).unwrap()
    }

    #[test]
    fn a_number_of_the_database_loses_no_digit() {
        assert_eq!(number(&[], 0, false, 0), json!("0"));
        assert_eq!(number(&[12, 3456], 1, false, 0), json!("123456"));
        assert_eq!(number(&[1], 2, true, 0), json!("-100000000"));
        assert_eq!(number(&[1, 5000], 0, false, 1), json!("1.5"));
        assert_eq!(number(&[1, 5000], 0, false, 2), json!("1.50"), "its scale says something");
        assert_eq!(number(&[5], -2, false, 8), json!("0.00000005"));
        assert_eq!(number(&[5000], -1, false, 1), json!("0.5"));
        assert_eq!(number(&[9007, 1992, 5474, 993], 3, false, 0), json!("9007199254740993"));
        assert_eq!(number(&[9999, 9999, 9999, 9999, 9999], 4, false, 0), json!("99999999999999999999"));
    }

    #[test]
    fn a_document_loses_no_digit_or_is_refused() {
        for kept in [
            "1.10",
            "1e3",
            "[9007199254740993, 18446744073709551615]",
            "{\"1e999\": \"12345678901234567890123\"}",
            "0.1",
        ] {
            assert_eq!(document(kept.as_bytes()), serde_json::from_str(kept).ok(), "{kept}");
        }
        assert_eq!(numbers(r#"{"a\"1": [-1.5e+3,2], "3": "4"}"#).collect::<Vec<_>>(), ["-1.5e+3", "2"]);
        for lost in ["12345678901234567890123", "[0.1234567890123456789012]", "{\"a\": 1e400}"] {
            assert_eq!(document(lost.as_bytes()), None, "{lost}");
        }
    }

    #[test]
    fn times_are_written_as_people_and_programs_read_them() {
        assert_eq!(moment(&0_i64.to_be_bytes(), "Z"), Some(json!("2000-01-01T00:00:00Z")));
        assert_eq!(moment(&(-1_i64).to_be_bytes(), ""), Some(json!("1999-12-31T23:59:59.999999")));
        assert_eq!(moment(&i64::MAX.to_be_bytes(), "Z"), Some(json!("infinity")));
        assert_eq!(date(&(-1_i32).to_be_bytes()), Some(json!("1999-12-31")));
        assert_eq!(fraction("0.1"), Some(json!(0.1)));
        assert_eq!(fraction("NaN"), Some(json!("NaN")));
        assert_eq!(address(&[2, 24, 0, 4, 10, 0, 0, 0], true), Some(json!("10.0.0.0/24")));
    }
}
