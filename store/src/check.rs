//! `replay(events) == rows`, what is announced, and the chain: what an auditor asks of a run.

use std::collections::{BTreeMap, BTreeSet};

use runward_engine::run::RunId;
use runward_engine::run::calls::calls;
use runward_engine::run::place::ENGINE;
use runward_engine::run::rows::{self, RunRow};

use crate::administration::PrunedRun;
use crate::error::LedgerError;
use crate::ledger::{Announced, Ledger};

/// Nobody puts anything off for longer.
const PUT_OFF_MAX_MS: i64 = 60_000;

/// What was checked of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The run as a pruning would name it. Note its `head` elsewhere to be able to tell whether the record was cut short.
    pub run: PrunedRun,
    /// Where the rows are not what the events say.
    pub differences: Vec<String>,
}

/// Replays a run from its events, verifying every hash, and compares the result with its rows.
pub async fn run(ledger: &dyn Ledger, id: &RunId) -> Result<Checked, LedgerError> {
    let mut view = ledger.load(id).await?;
    let ((run_row, step_rows, attempt_rows), announced) = loop {
        let rows = (ledger.rows(id).await?, ledger.announced(id).await?);
        // A run that is under way goes on between two looks: then the rows are younger than the events, not wrong.
        if ledger.refresh(&mut view).await?.is_empty() {
            break rows;
        }
    };
    let (run, mut steps, attempts) = rows::all(&view.state);
    let mut differences = Vec::new();
    if run.seq < run_row.seq {
        // Whatever else the rows say comes from events that are not there.
        differences.push(format!(
            "event {}: it was removed, with all that came after it, up to {}",
            run.seq + 1,
            run_row.seq
        ));
        return Ok(Checked { run: PrunedRun::of(&view), differences });
    }
    if run != run_row {
        differences.push(format!("the row of the run says {run_row:?}, its events say {run:?}"));
    }
    steps.retain(|step| step.status != "pending" || step.attempts > 0);
    let stored = step_rows.into_iter().filter(|step| step.status != "pending" || step.attempts > 0);
    compare("step", steps.iter(), stored.collect::<Vec<_>>().iter(), &mut differences);
    compare("attempt", attempts.iter(), attempt_rows.iter(), &mut differences);
    differences.extend(announced.and_then(|announced| unheard(&announced, &calls(&view.state))));
    Ok(Checked { run: PrunedRun::of(&view), differences })
}

/// What is wrong with the files that these runs are pinned to. Each is read once; the ledger compares it with its hash.
/// A definition that cannot be read is among the problems of its run; one that is only called is named here.
pub async fn pinned(ledger: &dyn Ledger, rows: &[RunRow]) -> Vec<String> {
    let mut ahead: Vec<String> = rows.iter().map(|row| row.definition.clone()).collect();
    let own: BTreeSet<String> = ahead.iter().cloned().collect();
    let (mut seen, mut files, mut bad) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    while let Some(hash) = ahead.pop() {
        if !seen.insert(hash.clone()) {
            continue;
        }
        match ledger.definition(&hash).await {
            Ok(definition) => {
                files.extend(definition.files.into_iter().map(|file| file.sha256));
                ahead.extend(definition.runbooks.into_iter().map(|called| called.definition));
            }
            Err(error) if !own.contains(&hash) => bad.push(error.to_string()),
            Err(_) => {}
        }
    }
    for sha256 in files {
        if let Err(error) = ledger.blob(&sha256).await {
            bad.push(error.to_string());
        }
    }
    bad
}

/// Whether somebody is not told in time that the run can go on, or is told so of one that cannot. What can be done without
/// a step may have been put off for a while, or may have been stirred before its time.
fn unheard(announced: &Announced, calls: &BTreeMap<String, i64>) -> Option<String> {
    let in_time = |(call, from): (&String, &i64)| {
        let latest = from.max(&announced.at) + if call == ENGINE { PUT_OFF_MAX_MS } else { 0 };
        announced.calls.get(call).is_some_and(|since| *since <= latest)
    };
    let same = announced.calls.keys().eq(calls.keys());
    let differ = || format!("the ledger announces {:?}, the events call for {calls:?}", announced.calls);
    (!same || !calls.iter().all(in_time)).then(differ)
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
