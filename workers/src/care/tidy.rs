//! The folders of runs that somebody has pruned, on a host of a cluster: the ledger has forgotten them, and what their steps
//! left here goes, too. Never the folder of a run that the ledger has, or does not know, or that somebody still uses.

use std::collections::BTreeSet;
use std::fs;

use runward_engine::run::RunId;
use runward_store::failpoint::{self, Point};
use runward_store::{Ledger, LedgerError};
use tracing::{info, warn};

use super::in_use::Processes;
use super::prune::remove;
use crate::home::{DriverLock, Home};

/// Removes what can go, and says of which runs that was.
pub async fn tidy(home: &Home, ledger: &dyn Ledger) -> Result<Vec<RunId>, LedgerError> {
    let here: BTreeSet<RunId> = run_folders(home).into_iter().collect();
    if here.is_empty() {
        return Ok(Vec::new());
    }
    let entries = ledger.administration().await?;
    let pruned = entries.iter().flat_map(|entry| entry.event.pruned()).map(|run| &run.id);
    let gone: Vec<&RunId> = pruned.filter(|run| here.contains(run)).collect();
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let (home, mut gone) = (home.clone(), gone.into_iter().cloned().collect::<Vec<_>>());
    // What is large takes its time: whoever waits for this has other things to do.
    let removed = tokio::task::spawn_blocking(move || {
        let processes = Processes::look(&home);
        gone.retain(|run| processes.user_of(&home, run).is_none() && goes(&home, run));
        gone
    });
    Ok(removed.await.unwrap_or_default())
}

/// Under the lock of its driver; nobody makes the folder anew, because the run is no more.
fn goes(home: &Home, run: &RunId) -> bool {
    let Ok(_lock) = DriverLock::take_as_member(home, run) else { return false };
    failpoint::reach(Point::BeforeTidy);
    match remove(&home.run(run)) {
        Ok(()) => {
            info!(%run, "pruned: its folder is removed");
            true
        }
        Err((path, error)) => {
            warn!(%run, %error, "pruned, but {} cannot be removed; tried again later", path.display());
            false
        }
    }
}

/// The runs that have a folder here.
pub(crate) fn run_folders(home: &Home) -> Vec<RunId> {
    let entries = fs::read_dir(home.root().join("runs")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).map(RunId).collect()
}

#[cfg(test)]
mod tests {
    use runward_engine::retention::Retention;
    use runward_engine::run::{ClaimId, Command};
    use runward_store::conformance::new_run;
    use runward_store::{AdminEvent, MemoryLedger, PrunedRun, RunView, command};

    use super::*;
    use crate::home::make_dir;
    use crate::supervisor::journal;

    async fn over(ledger: &MemoryLedger, id: &str) -> RunView {
        let mut new = new_run(id, None);
        "steps: [{id: a, run: x}]".clone_into(&mut new.definition.source);
        new.params.clear();
        let mut view = ledger.trigger(new).await.unwrap().view;
        let cancel = Command::Cancel { force: false, rollback: false, reason: None };
        command(ledger, &mut view, cancel, "ann").await.unwrap().unwrap();
        view
    }

    #[tokio::test]
    async fn only_what_was_pruned_and_is_used_by_nobody_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (home, ledger) = (Home::open(dir.path()).unwrap(), MemoryLedger::default());
        assert_eq!(tidy(&home, &ledger).await.unwrap(), []);
        let [one, two, _three] =
            [over(&ledger, "run-1").await, over(&ledger, "run-2").await, over(&ledger, "run-3").await];
        for id in ["run-1", "run-2", "run-3", "unknown"] {
            make_dir(&home.attempts(&id.into())).unwrap();
        }
        let attempt = home.attempt(&two.state.id, &ClaimId::from("c1"));
        journal::open(&attempt).unwrap();
        let alive = journal::start(&attempt).unwrap().unwrap();
        let runs = vec![PrunedRun::of(&one), PrunedRun::of(&two)];
        let rule = Retention { older_than_ms: None, keep: Some(0) };
        ledger.administer(AdminEvent::RunsPruned { rule, runs }, "ann").await.unwrap();
        assert_eq!(tidy(&home, &ledger).await.unwrap(), [one.state.id]);
        drop(alive);
        assert_eq!(tidy(&home, &ledger).await.unwrap(), [two.state.id]);
        let mut left = run_folders(&home);
        left.sort();
        assert_eq!(left, ["run-3".into(), "unknown".into()]);
    }
}
