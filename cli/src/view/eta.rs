//! What is left of a run, in words: for whoever sits before it and wants to know whether to wait.

use runward_engine::plan::forecast::{Forecast, Overdue};
use runward_engine::plan::history::History;
use runward_engine::run::{RunState, Unit};
use runward_engine::units::format_duration;
use runward_store::Ledger;
use std::time::Duration;

use crate::text;

/// Succeeded runs that a history is made of.
pub const RUNS: u32 = 20;

/// What the ledger knows of the runs before this one. A run is not kept from going on by what is not known.
pub async fn forecast(ledger: &dyn Ledger, state: &RunState) -> Option<Forecast> {
    let past = ledger.past(&state.name, RUNS).await.inspect_err(|error| {
        tracing::warn!(run = %state.id, %error, "no forecast: what runs took before cannot be read");
    });
    Some(Forecast::new(&state.runbook, History::of(&past.ok()?)?))
}

/// `about 3m 20s left (from 12 runs)`; nothing where nothing can be said.
pub fn left(forecast: &Forecast, state: &RunState, now: i64) -> Option<String> {
    let left = forecast.left(state, now)?;
    let from = format!("(from {})", text::count(forecast.history.runs as u64, "run"));
    let late = state.live().values().any(|unit| forecast.overdue(state, *unit, now).is_some());
    Some(match (left.ms, left.unknown.is_empty(), late) {
        (0, true, true) => format!("longer than usual {from}"),
        (0, true, false) => format!("nearly done {from}"),
        (0, false, _) => return None,
        (ms, true, _) => format!("about {} left {from}", text::about(ms)),
        (ms, false, _) => format!("at least {} left {from}", text::about(ms)),
    })
}

/// `longer than usual (p90 40.0 s)`, of a unit that runs; of a `for-each`, where an item of it does.
pub fn late(forecast: &Forecast, state: &RunState, unit: Unit, now: i64) -> Option<String> {
    let own = || forecast.overdue(state, unit, now);
    let items = || state.live().values().filter(|live| unit.item.is_none() && live.step == unit.step);
    let Overdue { p90_ms } = own().or_else(|| items().find_map(|item| forecast.overdue(state, *item, now)))?;
    Some(format!("longer than usual (p90 {})", format_duration(Duration::from_millis(p90_ms))))
}
