//! Removing runs that are over.
//!
//! The order is what makes it safe: lock, look, record, remove. The driver's lock is taken first, so that nobody can
//! resume a run while it is looked at; the ledger forgets a run, and remembers that it did, in one transaction that
//! still compares its last hash; only then the folder goes. Killed in between, the folder is left with its run on the
//! record as pruned, and the next pruning finishes it. Runs go a few at a time, so that others can write meanwhile.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use runward_engine::retention::Retention;
use runward_engine::run::RunId;
use runward_engine::run::rows::{AttemptRow, RunRow};
use runward_store::failpoint::{self, Point};
use runward_store::{AdminEvent, Ledger, LedgerError, PrunedRun, RunQuery, check};

use super::in_use::Processes;
use super::sizes::size_of;
use crate::home::{DriverLock, DriverLockError, Holder, Home, HomeError};
use crate::supervisor::client::Supervisor;

/// Runs, and events of them, that go in one transaction: a writer waits for no more than these.
const RUNS_AT_ONCE: usize = 50;
const EVENTS_AT_ONCE: u64 = 5_000;

/// A run that the rule lets go and that stays all the same.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Kept {
    pub run: RunId,
    pub name: String,
    pub why: String,
}

/// What a pruning did, or would do.
#[derive(Debug, Default, serde::Serialize)]
pub struct Pruning {
    pub pruned: Vec<PrunedRun>,
    /// Ticks of schedules, decided before the age that runs reach: those without a run, or whose run was pruned.
    pub ticks: u64,
    pub kept: Vec<Kept>,
    /// Folders of runs that an earlier, interrupted pruning had removed from the ledger.
    pub finished: Vec<RunId>,
    /// Room that the folders took, in bytes.
    pub folder_bytes: u64,
    /// Folders that could not be removed. The next pruning tries again.
    pub problems: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// A run that may go, with the lock that keeps others from it.
struct Going {
    run: PrunedRun,
    attempts: Vec<AttemptRow>,
    lock: Option<DriverLock>,
}

/// One pruning. `only_look` changes nothing.
pub struct Pruner<'a> {
    /// Where the folders of the runs are, and their drivers. `None`: on the hosts of a cluster, each of which removes its
    /// own (`super::tidy`); who goes on with a run there has changed its last hash.
    pub home: Option<&'a Home>,
    pub ledger: &'a dyn Ledger,
    pub actor: String,
    pub only_look: bool,
}

impl Pruner<'_> {
    /// Removes what the rule lets go as of `now` (epoch milliseconds).
    pub async fn prune(&self, rule: Retention, now: i64) -> Result<Pruning, PruneError> {
        let mut done = Pruning::default();
        self.finish_earlier(&mut done).await?;
        let rows = self.ledger.runs(&RunQuery::default()).await?;
        let mut selected: &[&RunRow] = &rule.select(&rows, now);
        let mut below: BTreeMap<&RunId, Vec<&RunRow>> = BTreeMap::new();
        rows.iter().for_each(|row| row.parent.iter().for_each(|parent| below.entry(parent).or_default().push(row)));
        while !selected.is_empty() {
            let (batch, rest) = selected.split_at(batch_len(selected));
            self.batch(rule, batch, &below, &mut done).await?;
            selected = rest;
        }
        self.ticks(rule, now, &mut done).await?;
        Ok(done)
    }

    /// By age alone: that a tick was decided is known for as long as its schedule can ask for it, and longer.
    async fn ticks(&self, rule: Retention, now: i64, done: &mut Pruning) -> Result<(), PruneError> {
        let Some(older) = rule.older_than_ms.filter(|_| !self.only_look) else { return Ok(()) };
        let before = now.saturating_sub_unsigned(older);
        loop {
            let event = AdminEvent::TicksPruned { before, ticks: 0 };
            match self.ledger.administer(event, &self.actor).await? {
                AdminEvent::TicksPruned { ticks, .. } if ticks > 0 => done.ticks += ticks,
                _ => return Ok(()),
            }
        }
    }

    /// Folders of runs that the ledger has forgotten already.
    async fn finish_earlier(&self, done: &mut Pruning) -> Result<(), PruneError> {
        let Some(home) = self.home else { return Ok(()) };
        for entry in self.ledger.administration().await? {
            for run in entry.event.pruned() {
                if home.run(&run.id).exists() {
                    done.finished.push(run.id.clone());
                    self.remove_folder(&run.id, done);
                }
            }
        }
        Ok(())
    }

    async fn batch(
        &self,
        rule: Retention,
        batch: &[&RunRow],
        below: &BTreeMap<&RunId, Vec<&RunRow>>,
        done: &mut Pruning,
    ) -> Result<(), PruneError> {
        let processes = self.home.map(Processes::look);
        let mut going = Vec::new();
        for row in batch {
            match self.family(row, below, processes.as_ref()).await? {
                Ok(runs) => going.extend(runs),
                Err(why) => done.kept.push(Kept { run: row.id.clone(), name: row.name.clone(), why }),
            }
        }
        let runs: Vec<PrunedRun> = going.iter().map(|going| going.run.clone()).collect();
        let gone = match self.only_look {
            true => runs,
            false => {
                going.iter().for_each(|going| self.forget_supervisors(&going.attempts));
                let event = AdminEvent::RunsPruned { rule, runs };
                self.ledger.administer(event, &self.actor).await?.pruned().to_vec()
            }
        };
        failpoint::reach(Point::AfterPrune);
        for Going { run, lock, .. } in going {
            if gone.contains(&run) {
                self.remove_folder(&run.id, done);
                done.pruned.push(run);
            } else {
                let why = "it went on meanwhile".to_owned();
                done.kept.push(Kept { run: run.id, name: run.name, why });
            }
            drop(lock);
        }
        Ok(())
    }

    /// A run with all that are its steps: they go together or not at all.
    async fn family(
        &self,
        row: &RunRow,
        below: &BTreeMap<&RunId, Vec<&RunRow>>,
        processes: Option<&Processes>,
    ) -> Result<Result<Vec<Going>, String>, PruneError> {
        let (mut going, mut ahead) = (Vec::new(), vec![row]);
        while let Some(member) = ahead.pop() {
            match self.look_at(member, processes).await? {
                Ok(run) => going.push(run),
                Err(why) if member.id == row.id => return Ok(Err(why)),
                Err(why) => return Ok(Err(format!("run {} is a step of it: {why}", member.id))),
            }
            ahead.extend(below.get(&member.id).into_iter().flatten());
        }
        Ok(Ok(going))
    }

    /// A run that may go, or why it may not.
    async fn look_at(&self, row: &RunRow, processes: Option<&Processes>) -> Result<Result<Going, String>, PruneError> {
        let lock = match self.home.map(|home| self.lock(home, &row.id)).transpose()? {
            Some(Err(why)) => return Ok(Err(why)),
            Some(Ok(lock)) => lock,
            None => None,
        };
        let user = self.home.zip(processes).and_then(|(home, processes)| processes.user_of(home, &row.id));
        if let Some(user) = user {
            return Ok(Err(user));
        }
        match check::run(self.ledger, &row.id).await {
            Ok(checked) if checked.differences.is_empty() => {
                let (_, _, attempts) = self.ledger.rows(&row.id).await?;
                Ok(Ok(Going { run: checked.run, attempts, lock }))
            }
            Ok(_) => Ok(Err("its rows are not what its events say: see `runward db check`".to_owned())),
            Err(LedgerError::NoSuchRun(_)) => Ok(Err("somebody else pruned it".to_owned())),
            Err(error) if error.is_about_one_run() => {
                Ok(Err(format!("its record cannot be verified, and may be evidence: {error}")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The right to drive the run, or who has it.
    fn lock(&self, home: &Home, run: &RunId) -> Result<Result<Option<DriverLock>, String>, PruneError> {
        let driven = |holder: &Holder| Ok(Err(format!("process {} drives it", holder.pid)));
        if self.only_look {
            return DriverLock::holder(home, run).map_or(Ok(Ok(None)), |holder| driven(&holder));
        }
        match DriverLock::take(home, run, &self.actor) {
            Ok(lock) => Ok(Ok(Some(lock))),
            Err(DriverLockError::Taken { holder, .. }) => driven(&holder),
            Err(DriverLockError::Home(error)) => Err(error.into()),
        }
    }

    /// Supervisors that were killed leave their folders. A session drives one run, so nobody comes back to them.
    fn forget_supervisors(&self, attempts: &[AttemptRow]) {
        let Some(home) = self.home else { return };
        for session in attempts.iter().flat_map(|attempt| [&attempt.session, &attempt.watched_by]) {
            let dir = home.supervisor(&session.as_str().into());
            if dir.exists() && !Supervisor::is_alive(&dir) {
                let _ = std::fs::remove_dir_all(&dir); // a few bytes; nothing refers to them
            }
        }
    }

    fn remove_folder(&self, run: &RunId, done: &mut Pruning) {
        let Some(folder) = self.home.map(|home| home.run(run)) else { return };
        let bytes = size_of(&folder);
        let removed = if self.only_look { Ok(()) } else { remove(&folder) };
        match removed {
            Ok(()) => done.folder_bytes += bytes,
            Err((path, error)) => done.problems.push(format!("{} cannot be removed: {error}", path.display())),
        }
    }
}

fn batch_len(selected: &[&RunRow]) -> usize {
    let mut events = 0;
    let fits = |row: &&&RunRow| {
        events += row.seq;
        events <= EVENTS_AT_ONCE
    };
    selected.iter().take(RUNS_AT_ONCE).take_while(fits).count().max(1)
}

/// Removes a folder; a step may have left folders in it that nobody may write to.
pub(super) fn remove(folder: &Path) -> Result<(), (PathBuf, io::Error)> {
    let attempt = || match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    attempt().or_else(|_| {
        open_up(folder);
        attempt().map_err(|error| (folder.to_owned(), error))
    })
}

/// Gives the owner back the rights that removing needs.
fn open_up(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)); // removing says what is wrong
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}
