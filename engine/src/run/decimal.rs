//! Decimal numbers as texts, of any number of digits: whether two say the same.

/// Whether both are numbers, and equal: `1.10` and `1.1`, `1e3` and `1000`.
pub fn same(a: &str, b: &str) -> bool {
    normal(a).is_some_and(|a| normal(b) == Some(a))
}

/// Sign, digits without zeros at either end, and the power of ten of the last one.
fn normal(text: &str) -> Option<(bool, String, i64)> {
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = [whole, fraction].concat();
    let is_padded = whole.len() > 1 && whole.starts_with('0');
    if all.is_empty() || is_padded || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let short = all.trim_end_matches('0');
    let power = i64::from(exponent) - fraction.len() as i64 + (all.len() - short.len()) as i64;
    match short.trim_start_matches('0') {
        "" => Some((false, String::new(), 0)),
        digits => Some((is_negative, digits.to_owned(), power)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_the_same_by_what_they_are() {
        for (a, b) in [("1.10", "1.1"), ("1e3", "1000"), ("-0.00", "0"), ("100", "1E+2"), ("0.05", "5e-2")] {
            assert!(same(a, b) && same(b, a), "{a} {b}");
        }
        for (a, b) in [
            ("1.1", "1.10000000000000000001"),
            ("-1", "1"),
            ("10", "1"),
            ("", ""),
            ("01", "1"),
            ("NaN", "NaN"),
            ("1x", "1x"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
        assert!(!same("9007199254740993", "9007199254740992"));
    }

    proptest! {
        #[test]
        fn what_a_double_prints_is_the_same_as_itself(number in proptest::num::f64::NORMAL) {
            let (plain, short) = (format!("{number}"), format!("{number:e}"));
            prop_assert!(same(&plain, &short));
        }
    }
}
