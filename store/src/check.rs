//! `replay(events) == rows`, and the chain: what an auditor asks of a run.

use runward_engine::run::{RunId, rows};

use crate::error::LedgerError;
use crate::ledger::Ledger;

/// What was checked of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    pub events: u64,
    /// The hash of the last event: note it elsewhere to be able to tell whether the record was cut short.
    pub head: String,
    /// Where the rows are not what the events say.
    pub differences: Vec<String>,
}

/// Replays a run from its events, verifying every hash, and compares the result with its rows.
pub async fn run(ledger: &dyn Ledger, id: &RunId) -> Result<Checked, LedgerError> {
    let mut view = ledger.load(id).await?;
    let (run_row, step_rows, attempt_rows) = loop {
        let rows = ledger.rows(id).await?;
        // A run that is under way goes on between two looks: then the rows are younger than the events, not wrong.
        if ledger.refresh(&mut view).await?.is_empty() {
            break rows;
        }
    };
    let (run, mut steps, attempts) = rows::all(&view.state);
    let mut differences = Vec::new();
    if run != run_row {
        differences.push(format!("the row of the run says {run_row:?}, its events say {run:?}"));
    }
    steps.retain(|step| step.status != "pending" || step.attempts > 0);
    let stored = step_rows.into_iter().filter(|step| step.status != "pending" || step.attempts > 0);
    compare("step", steps.iter(), stored.collect::<Vec<_>>().iter(), &mut differences);
    compare("attempt", attempts.iter(), attempt_rows.iter(), &mut differences);
    Ok(Checked { events: view.state.seq, head: view.head, differences })
}

fn compare<'a, T: PartialEq + std::fmt::Debug + 'a>(
    what: &str,
    mut replayed: impl Iterator<Item = &'a T>,
    mut stored: impl Iterator<Item = &'a T>,
    differences: &mut Vec<String>,
) {
    loop {
        match (replayed.next(), stored.next()) {
            (None, None) => return,
            (a, b) if a == b => {}
            (a, b) => differences.push(format!("{what}: the row says {b:?}, the events say {a:?}")),
        }
    }
}
