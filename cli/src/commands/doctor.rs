//! `runward doctor`: what is wrong with this machine and configuration, and what to do about each.

use serde_json::json;

use super::{print_json, print_line};
use crate::args::Format;
use crate::config::{Config, Flags, load};
use crate::doctor::{Check, Verdict, examine};
use crate::failure::Failure;

/// `config`: what is right of what is configured; the rest is one of the things that are told.
pub async fn run(config: &Config, flags: &Flags, format: Format) -> Result<i32, Failure> {
    let checks = examine(config, &load(flags)).await;
    let count = |verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let (failed, warned) = (count(Verdict::Fail), count(Verdict::Warn));
    match format {
        Format::Json => print_json(&json!({"ok": failed == 0, "failed": failed, "warned": warned, "checks": checks})),
        Format::Text => {
            checks.iter().for_each(line);
            print_line(&format!("\n{}", summary(failed, warned, count(Verdict::Unknown))));
        }
    }
    Ok(i32::from(failed > 0))
}

/// What could not be looked at may be wrong.
fn summary(failed: usize, warned: usize, unknown: usize) -> String {
    let found = match (failed, warned) {
        (0, 0) if unknown == 0 => return "nothing is wrong".to_owned(),
        (0, 0) => "nothing wrong is found".to_owned(),
        (0, n) => format!("nothing fails; {n} to look at"),
        (failed, warned) => format!("{failed} failed, {warned} to look at"),
    };
    match unknown {
        0 => found,
        n => format!("{found}, {n} that cannot be checked"),
    }
}

fn line(check: &Check) {
    let word = match check.verdict {
        Verdict::Ok => "ok",
        Verdict::Warn => "warn",
        Verdict::Fail => "FAIL",
        Verdict::Unknown => "?",
    };
    let indent = format!("\n{:20}", "");
    print_line(&format!("{word:<5} {:<13} {}", check.name, check.says.replace('\n', &indent)));
    if let Some(fix) = &check.fix {
        print_line(&format!("{:20}-> {}", "", fix.replace('\n', &format!("{indent}-> "))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_checked_is_not_called_right() {
        assert_eq!(summary(0, 0, 0), "nothing is wrong");
        assert_eq!(summary(0, 0, 1), "nothing wrong is found, 1 that cannot be checked");
        assert_eq!(summary(1, 2, 3), "1 failed, 2 to look at, 3 that cannot be checked");
    }
}
