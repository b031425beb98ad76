//! I15, the part of the windows: nothing that goes forward begins while they are closed.

use runward_engine::run::ids::Part;
use runward_engine::run::{RunState, Unit};

use super::Oracle;
use crate::world::unit_text;

impl Oracle {
    /// But for retries, undo, `finally`, and the remaining items of a `for-each`.
    pub(super) fn within_hours(&mut self, job: usize, state: &RunState, unit: Unit, at: i64) {
        let Some(window) = state.runbook.windows.allow.first() else { return };
        let told = &self.told[job];
        let again = told.claims.get(&unit.owner()).is_some_and(|claims| *claims > 0);
        let begun = unit.item.is_some() && told.claims.keys().any(|other| other.step == unit.step);
        let forward = unit.part != Part::Undo && !state.runbook.is_finally(unit.step as usize);
        let open = told.overridden || is_open(&window.text, at);
        self.demand(open || again || begun || !forward, "I15", || {
            format!("job {job}: {} was claimed outside of `{}`", unit_text(unit), window.text)
        });
    }
}

/// `* 17:48-17:47 UTC`, all of which begin later than they end.
fn is_open(text: &str, at: i64) -> bool {
    let minute = |text: &str| -> Option<i64> {
        let (hours, minutes) = text.split_once(':')?;
        Some(hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?)
    };
    let span = text.split(' ').nth(1).and_then(|span| span.split_once('-'));
    let now = at.div_euclid(60_000).rem_euclid(24 * 60);
    span.and_then(|(from, to)| Some((minute(from)?, minute(to)?))).is_none_or(|(from, to)| now >= from || now < to)
}
