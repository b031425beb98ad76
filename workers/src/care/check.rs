//! Whether everything is as the ledger says: each run against its events, each attempt against its folder and output,
//! each folder against the ledger, each run under way against somebody who drives it. It looks and changes nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use runward_engine::plan::definition::hex;
use runward_engine::run::rows::{AttemptRow, RunRow};
use runward_engine::run::{ClaimId, RunId};
use runward_store::{Ledger, LedgerError, RunQuery, check};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::in_use::attempts;
use super::tidy::run_folders;
use crate::home::{DRIVER_LOCK, DriverLock, Home};
use crate::supervisor::journal::{self, Mark};
use crate::supervisor::log::{LogItem, LogReader};

/// Something that is not as it should be, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub run: Option<RunId>,
    /// `step` or `step[item]`.
    pub step: Option<String>,
    pub attempt: Option<u32>,
    pub what: String,
    pub help: String,
}

/// What was looked at, and what was found.
#[derive(Debug, Default, Serialize)]
pub struct Checkup {
    pub runs: u64,
    pub events: u64,
    pub attempts: u64,
    /// Output that was read and compared with its hash, in bytes.
    pub log_bytes: u64,
    pub problems: Vec<Problem>,
}

const TAMPERED: &str = "somebody changed the ledger by other means than runward, or its disk did: keep a copy of it for \
                        analysis, and compare it with a backup";

/// `damage`: what the database says about its own file.
pub async fn check(home: &Home, ledger: &dyn Ledger, damage: Vec<String>) -> Result<Checkup, LedgerError> {
    // The folders first: whatever appears later belongs to a run that appears later.
    let folders = run_folders(home);
    let mut found = Checkup::default();
    for what in damage {
        found.problem(None, what, TAMPERED);
    }
    let pruned: BTreeSet<RunId> = match ledger.administration().await {
        Ok(entries) => entries.iter().flat_map(|entry| entry.event.pruned()).map(|run| run.id.clone()).collect(),
        Err(error @ LedgerError::Record { .. }) => {
            found.problem(None, error.to_string(), TAMPERED);
            BTreeSet::new()
        }
        Err(error) => return Err(error),
    };
    let rows = ledger.runs(&RunQuery::default()).await?;
    for row in &rows {
        found.run(home, ledger, row).await?;
    }
    for what in check::pinned(ledger, &rows).await {
        found.problem(None, what, TAMPERED);
    }
    let known: BTreeSet<&RunId> = rows.iter().map(|row| &row.id).collect();
    for row in &rows {
        if let Some(parent) = row.parent.as_ref().filter(|parent| !known.contains(parent)) {
            found.problem(
                Some(&row.id),
                format!("it is a step of run {parent}, which the ledger does not have"),
                TAMPERED,
            );
        }
    }
    for run in folders.iter().filter(|run| !known.contains(run)) {
        found.stray_folder(home, run, pruned.contains(run));
    }
    Ok(found)
}

impl Checkup {
    fn problem(&mut self, run: Option<&RunId>, what: String, help: &str) {
        self.problems.push(Problem { run: run.cloned(), step: None, attempt: None, what, help: help.to_owned() });
    }

    async fn run(&mut self, home: &Home, ledger: &dyn Ledger, row: &RunRow) -> Result<(), LedgerError> {
        let id = &row.id;
        let checked = match check::run(ledger, id).await {
            Ok(checked) => checked,
            Err(LedgerError::NoSuchRun(_)) => return Ok(()), // pruned since the list was made
            Err(error) if error.is_about_one_run() => {
                self.problem(Some(id), error.to_string(), error.help().unwrap_or(TAMPERED));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.runs += 1;
        self.events += checked.run.events;
        for difference in checked.differences {
            self.problem(Some(id), difference, TAMPERED);
        }
        let (row, _, attempts) = ledger.rows(id).await?;
        self.attempts_of(home, &row, &attempts);
        if row.finished_at.is_none() && DriverLock::holder(home, id).is_none() {
            self.unattended(home, ledger, id).await?;
        }
        Ok(())
    }

    /// A run that is not at its end, and that nobody drives.
    async fn unattended(&mut self, home: &Home, ledger: &dyn Ledger, id: &RunId) -> Result<(), LedgerError> {
        // Its driver may have ended it between the two looks.
        let (row, steps, _) = match ledger.rows(id).await {
            Err(LedgerError::NoSuchRun(_)) => return Ok(()),
            rows => rows?,
        };
        if row.finished_at.is_some() || DriverLock::holder(home, id).is_some() {
            return Ok(());
        }
        // A run that is a step of another one is carried on with that.
        if !row.held && row.parent.is_none() {
            let what = format!("it is {}, but nobody drives it", row.status);
            self.problem(Some(id), what, "`runward resume RUN` carries it on, `runward cancel RUN` ends it");
        }
        for step in steps.iter().filter(|step| step.status == "held") {
            self.problems.push(Problem {
                run: Some(id.clone()),
                step: Some(step.unit.clone()),
                attempt: None,
                what: "it is held: somebody has to say what became of it".to_owned(),
                help: "`runward resolve RUN STEP --as succeeded|failed|retry`, then `runward resume RUN`".to_owned(),
            });
        }
        Ok(())
    }

    fn attempts_of(&mut self, home: &Home, row: &RunRow, rows: &[AttemptRow]) {
        let id = &row.id;
        let gone = "its output is lost; put the folder back from a backup of the state folder, or leave it to \
                    `runward db prune`";
        if !home.run(id).exists() {
            if row.finished_at.is_some() && !rows.is_empty() {
                self.problem(Some(id), format!("its folder {} is gone", home.run(id).display()), gone);
            }
            return;
        }
        for attempt in rows.iter().filter(|attempt| attempt.status != "running") {
            self.attempts += 1;
            let dir = home.attempt(id, &ClaimId(attempt.claim.clone()));
            if let Some(what) = self.wrong_with(attempt, &dir) {
                self.problems.push(Problem {
                    run: Some(id.clone()),
                    step: Some(attempt.unit.clone()),
                    attempt: Some(attempt.attempt),
                    what,
                    help: gone.to_owned(),
                });
            }
        }
        self.unclaimed(home, row, rows);
    }

    /// What is wrong with the folder of an attempt that is over.
    fn wrong_with(&mut self, attempt: &AttemptRow, dir: &Path) -> Option<String> {
        if attempt.log_sha256.is_empty() {
            return None; // interrupted, lost or never started: nobody knows what it printed
        }
        let kept = attempt.log_bytes.saturating_sub(attempt.log_dropped);
        if kept > 0 && !dir.is_dir() {
            return Some(format!("its output in {} is gone", dir.display()));
        }
        let (bytes, sha256) = match digest(dir) {
            Ok(read) => read,
            Err(error) => return Some(format!("its output in {} cannot be read: {error}", dir.display())),
        };
        self.log_bytes += bytes;
        if bytes != kept {
            return Some(format!("its output in {} has {bytes} bytes, not {kept}", dir.display()));
        }
        (attempt.log_dropped == 0 && sha256 != attempt.log_sha256)
            .then(|| format!("its output in {} is not what it printed", dir.display()))
    }

    /// A journal whose attempt was never claimed is harmless, unless it says that something was started.
    fn unclaimed(&mut self, home: &Home, row: &RunRow, rows: &[AttemptRow]) {
        if row.finished_at.is_none() {
            return; // its driver opens the journal of the next attempt before it claims it
        }
        let claims: BTreeSet<&str> = rows.iter().map(|row| row.claim.as_str()).collect();
        for dir in attempts(home, &row.id) {
            let claim = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !claims.contains(claim) && matches!(journal::read_mark(&dir), Ok(Some(Mark::Started))) {
                let what = format!("something was started as {}, and the ledger does not know it", dir.display());
                self.problem(Some(&row.id), what, "was an older copy of the ledger put back? Look at what it did");
            }
        }
    }

    fn stray_folder(&mut self, home: &Home, run: &RunId, pruned: bool) {
        let folder = home.run(run);
        if !folder.exists() || DriverLock::holder(home, run).is_some() || never_began(&folder) {
            return; // gone again, about to become a run, or left by a command that was killed before it was one
        }
        if home.has_id() && !folder.join(DRIVER_LOCK).exists() {
            return; // of the member of a cluster that lives here, too: its runs are in the ledger of that
        }
        let (what, help) = match pruned {
            true => ("its folder is left of an interrupted pruning", "`runward db prune` removes it"),
            false => (
                "it has a folder, but the ledger does not know it",
                "was an older copy of the ledger put back? If nothing in the folder is needed, remove it by hand",
            ),
        };
        self.problem(Some(run), format!("{what}: {}", folder.display()), help);
    }
}

/// Whether nothing but a lock was ever put into the folder of a run.
fn never_began(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|entries| entries.flatten().all(|entry| entry.file_name() == DRIVER_LOCK))
}

/// Length and SHA-256 of the output that is there.
fn digest(dir: &Path) -> io::Result<(u64, String)> {
    let (mut bytes, mut hash) = (0, Sha256::new());
    for item in LogReader::open(dir)? {
        if let LogItem::Chunk { bytes: chunk, .. } = item? {
            bytes += chunk.len() as u64;
            hash.update(&chunk);
        }
    }
    Ok((bytes, hex(&hash.finalize())))
}
