//! Where things lie on this machine: the state folder.
//!
//! ```text
//! ledger.db                          the ledger
//! secrets.sealed                     secrets of this machine, encrypted; the key is elsewhere
//! home-id                            its name among the members of a cluster
//! worker.lock                        held by the one member of a cluster that lives here
//! runs/<run>/driver.lock             held by the one process that drives the run; a member locks attempts/ instead
//! runs/<run>/files/                  the pinned files, the default folder of its steps
//! runs/<run>/workspace/              scratch, `$RUNWARD_WORKSPACE`
//! runs/<run>/<hash>.script           the text of a script, named by its content
//! runs/<run>/attempts/<claim>.*      the journal and the outputs of one attempt
//! runs/<run>/attempts/<claim>/       what it printed, once it did
//! spare/                             the folder of the next run of a worker
//! probe                              for a moment: a worker looks whether it can write
//! supervisors/<session>/             the socket of a supervisor
//! ```

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runward_engine::run::{ClaimId, RunId, SessionId};

use crate::reach::Reach;
use crate::secrets::sealed::Store;

mod id;
mod lock;
mod room;
mod spare;

pub(crate) use lock::is_dying;
pub use lock::{DriverLock, DriverLockError, Holder, WorkerLock, WorkerLockError};
pub use room::{FREE_BYTES_MIN, FREE_FILES_MIN, Room};

/// The name of the lock in the folder of a run.
pub(crate) const DRIVER_LOCK: &str = "driver.lock";

#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
    sealed: Store,
    reach: Arc<Reach>,
}

/// A folder or file of the state folder that cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[error("{what} {path}: {source}")]
pub struct HomeError {
    pub what: &'static str,
    pub path: String,
    pub source: io::Error,
}

impl HomeError {
    pub(crate) fn new(what: &'static str, path: &Path, source: io::Error) -> HomeError {
        HomeError { what, path: path.display().to_string(), source }
    }

    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::StorageFull => "free some space on that file system and repeat the command",
            io::ErrorKind::ReadOnlyFilesystem => {
                "that file system is mounted read-only: name another state folder with --state or RUNWARD_STATE"
            }
            io::ErrorKind::PermissionDenied => {
                "check owner and mode of that folder, or name another state folder with --state or RUNWARD_STATE"
            }
            _ => "name another state folder with --state or RUNWARD_STATE",
        }
    }
}

impl Home {
    /// The state folder at `root` (made absolute); creates it, private to this user.
    pub fn open(root: &Path) -> Result<Home, HomeError> {
        let root =
            std::path::absolute(root).map_err(|error| HomeError::new("cannot use the state folder", root, error))?;
        make_dir(&root)?;
        let sealed = Store { file: root.join("secrets.sealed"), key_file: None };
        Ok(Home { root, sealed, reach: Arc::default() })
    }

    /// The same with the sealed secrets elsewhere, and their key here.
    pub fn with_sealed(self, file: Option<PathBuf>, key_file: Option<PathBuf>) -> Home {
        let file = file.unwrap_or(self.sealed.file);
        Home { sealed: Store { file, key_file }, ..self }
    }

    /// The same with what steps may reach beyond this machine.
    pub fn with_reach(self, reach: Reach) -> Home {
        Home { reach: Arc::new(reach), ..self }
    }

    pub fn reach(&self) -> Arc<Reach> {
        Arc::clone(&self.reach)
    }

    /// The sealed secrets of this machine.
    pub fn sealed(&self) -> Store {
        self.sealed.clone()
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn ledger(&self) -> PathBuf {
        self.root.join("ledger.db")
    }

    pub fn run(&self, run: &RunId) -> PathBuf {
        self.root.join("runs").join(&run.0)
    }

    /// Removes the folder of a run that never came to be. One with anything but its lock in it stays.
    pub fn forget(&self, run: &RunId) {
        let _ = std::fs::remove_file(self.run(run).join(DRIVER_LOCK));
        let _ = std::fs::remove_dir(self.run(run));
    }

    pub fn files(&self, run: &RunId) -> PathBuf {
        self.run(run).join("files")
    }

    pub fn workspace(&self, run: &RunId) -> PathBuf {
        self.run(run).join("workspace")
    }

    /// `hash`: of the text of the script.
    pub fn script(&self, run: &RunId, hash: &str) -> PathBuf {
        self.run(run).join(hash).with_extension("script")
    }

    pub fn attempts(&self, run: &RunId) -> PathBuf {
        self.run(run).join("attempts")
    }

    /// The folder of an attempt, which need not exist; its other files are beside it, with an extension.
    pub fn attempt(&self, run: &RunId, claim: &ClaimId) -> PathBuf {
        self.attempts(run).join(&claim.0)
    }

    pub fn supervisor(&self, session: &SessionId) -> PathBuf {
        self.root.join("supervisors").join(&session.0)
    }
}

/// Creates a folder and its parents, mode 0700.
pub(crate) fn make_dir(path: &Path) -> Result<(), HomeError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| HomeError::new("cannot create the folder", path, error))
}
