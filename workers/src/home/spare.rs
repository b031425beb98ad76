//! The folder of the next run, made while nobody waits for it: new inodes take a file system longer than the claim of a step
//! takes the ledger.

use std::fs;
use std::path::PathBuf;

use runward_engine::run::RunId;

use super::{Home, HomeError, make_dir};

/// Of the one member of a cluster that lives in a state folder. What a dead one has left is as good as new: it is empty.
impl Home {
    /// Has a folder ready. Without one a run makes its own.
    pub(crate) fn lay_spare(&self) -> Result<(), HomeError> {
        let [first, last] = ["workspace", "attempts"].map(|name| self.spare().join(name));
        if last.exists() {
            return Ok(());
        }
        make_dir(&self.root.join("runs"))?;
        make_dir(&first)?;
        make_dir(&last)
    }

    /// Makes it the folder of this run, unless that has one.
    pub(crate) fn use_spare(&self, run: &RunId) {
        let folder = self.run(run);
        if !folder.exists() {
            let _ = fs::rename(self.spare(), folder); // there is none, or somebody was faster: the run makes its own
        }
    }

    fn spare(&self) -> PathBuf {
        self.root.join("spare")
    }
}
