//! How long it will take, as far as history tells: nothing is guessed where nothing is known.

use runward_engine::plan::forecast::{Forecast, Path};
use runward_engine::plan::history::{History, Spread};
use runward_engine::runbook::model::{Runbook, Step};
use runward_engine::units::format_duration;
use serde_json::{Value, json};
use std::time::Duration;

use super::past::Past;
use crate::text;

/// Steps named in one line.
const NAMED_MAX: usize = 12;

pub struct Outlook {
    history: History,
    path: Path,
}

impl Outlook {
    /// `items`: how many a `for-each` has, where that is known.
    pub fn of(history: &History, runbook: &Runbook, items: &dyn Fn(usize) -> Option<usize>) -> Outlook {
        let path = Forecast::new(runbook, history.clone()).whole(runbook, items);
        Outlook { history: history.clone(), path }
    }

    pub fn usual(&self, step: &Step) -> Option<Spread> {
        Some(self.history.step(&step.id)?.spread)
    }

    /// Under a step.
    pub fn of_step(&self, step: &Step) -> Option<String> {
        let usual = self.usual(step)?;
        let each = if step.for_each.is_some() { "an item usually takes" } else { "usually takes" };
        let times = text::count(usual.n as u64, "time");
        Some(format!("{each} {}, nine of ten at most {} ({times})", ms(usual.median_ms), ms(usual.p90_ms)))
    }

    pub fn lines(&self, runbook: &Runbook) -> Vec<String> {
        let Path { ms: total, steps, unknown } = &self.path;
        if *total == 0 && !unknown.is_empty() {
            return vec!["expected    not known: none of its steps has succeeded before".to_owned()];
        }
        let more = if unknown.is_empty() { "about" } else { "at least" };
        let runs = text::count(self.history.runs as u64, "run");
        let mut lines = vec![
            format!("expected    {more} {}: {}", text::about(*total), named(runbook, steps, " → ")),
            format!(
                "            the longest way by medians of the last {runs} that succeeded; whole runs took {}, nine of ten at most {}",
                ms(self.history.total.median_ms),
                ms(self.history.total.p90_ms)
            ),
            "            not in it: waiting for people and for a free place under `max-parallel`".to_owned(),
        ];
        if !unknown.is_empty() {
            lines.push(format!(
                "            nor these, which never succeeded before: {}",
                named(runbook, unknown, ", ")
            ));
        }
        lines
    }

    pub fn json(&self, runbook: &Runbook) -> Value {
        let ids = |steps: &[usize]| steps.iter().map(|step| runbook.steps[*step].id.clone()).collect::<Vec<_>>();
        json!({
            "ms": self.path.ms,
            "path": ids(&self.path.steps),
            "unknown": ids(&self.path.unknown),
            "runs": self.history.runs,
            "total": self.history.total,
        })
    }
}

/// Why there is no outlook.
pub fn none(past: &Past) -> String {
    match past {
        Past::Unreadable(why) => format!("expected    not known: {why}"),
        Past::None | Past::Known(_) => "expected    not known: no run of it has succeeded here".to_owned(),
    }
}

fn ms(ms: u64) -> String {
    format_duration(Duration::from_millis(ms))
}

fn named(runbook: &Runbook, steps: &[usize], between: &str) -> String {
    let rest = steps.len().saturating_sub(NAMED_MAX);
    let ids = steps.iter().take(NAMED_MAX).map(|step| runbook.steps[*step].id.as_str());
    let more = if rest > 0 { format!("{between}{rest} more") } else { String::new() };
    format!("{}{more}", ids.collect::<Vec<_>>().join(between))
}
