//! How a run stands against the objectives of its runbook, in words.

use runward_engine::run::RunState;
use runward_engine::run::objectives::{Measured, Objective, RPO_OUTPUT, Standing};

use crate::text;

/// A line for each: `rto 4h met: 23m 10s`.
pub fn lines(state: &RunState) -> Vec<String> {
    state.standings().iter().map(|one| line(one, state.created_at)).collect()
}

/// `from`: when the run was triggered.
pub fn line(one: &Measured, from: i64) -> String {
    let name = format!("{} {}", one.objective.as_str(), duration(one.limit_ms));
    let measured = one.measured_ms.map(|ms| format!(": {}", duration(ms))).unwrap_or_default();
    match (one.standing, one.objective) {
        (Standing::Met, _) => format!("{name} met{measured}"),
        (Standing::Missed, _) => format!("{name} missed{measured}"),
        (Standing::NotReached, _) => format!("{name} not reached: the run did not succeed"),
        (Standing::NotMeasured, _) => match &one.why {
            Some(why) => format!("{name} not measured: {}", text::safe(why)),
            None => format!("{name} not measured: the runbook hands back no output `{RPO_OUTPUT}`"),
        },
        (Standing::Open, Objective::Rto) => {
            format!("{name}, until {}", text::time(from.saturating_add(one.limit_ms)))
        }
        (Standing::Open, Objective::Rpo) => format!("{name}, measured at the end"),
    }
}

/// For a cell of a table: `met 23m 10s`.
pub fn cell(one: &Measured) -> String {
    let measured = one.measured_ms.map(|ms| format!(" {}", duration(ms))).unwrap_or_default();
    format!("{}{measured}", one.standing.as_str().replace('_', " "))
}

pub fn duration(ms: i64) -> String {
    text::took(Some(0), Some(ms))
}
