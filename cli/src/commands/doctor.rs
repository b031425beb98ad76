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
            print_line(&match (failed, warned) {
                (0, 0) => "\nnothing is wrong".to_owned(),
                (0, n) => format!("\nnothing fails; {n} to look at"),
                (failed, warned) => format!("\n{failed} failed, {warned} to look at"),
            });
        }
    }
    Ok(i32::from(failed > 0))
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
