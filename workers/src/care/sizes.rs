//! What takes how much room in the state folder, in bytes on disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

use crate::home::Home;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The ledger, and what SQLite keeps beside it.
    pub database: u64,
    pub wal: u64,
    /// What the steps printed.
    pub logs: u64,
    /// Scripts, journals and outputs of the attempts.
    pub journals: u64,
    /// Pinned files, as the steps see them.
    pub files: u64,
    /// `$RUNWARD_WORKSPACE`.
    pub workspaces: u64,
    /// Folders of runs.
    pub folders: u64,
}

pub fn sizes(home: &Home) -> Sizes {
    let ledger = home.ledger();
    let wal = ledger.with_extension("db-wal");
    let mut sizes = Sizes { database: size_of(&ledger), wal: size_of(&wal), ..Sizes::default() };
    for run in fs::read_dir(home.root().join("runs")).into_iter().flatten().flatten() {
        let run = run.path();
        sizes.folders += 1;
        sizes.files += size_of(&run.join("files"));
        sizes.workspaces += size_of(&run.join("workspace"));
        let beside = fs::read_dir(&run).into_iter().flatten().flatten().map(|entry| entry.path());
        let scripts = beside.filter(|path| path.extension().is_some_and(|extension| extension == "script"));
        sizes.journals += scripts.map(|path| size_of(&path)).sum::<u64>();
        for entry in fs::read_dir(run.join("attempts")).into_iter().flatten().flatten() {
            let bytes = size_of(&entry.path());
            match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                true => sizes.logs += bytes,
                false => sizes.journals += bytes,
            }
        }
    }
    sizes
}

/// What a file, or a folder with everything in it, takes on disk. What cannot be read counts as nothing; links are not
/// followed.
pub(super) fn size_of(path: &Path) -> u64 {
    const BLOCK_BYTES: u64 = 512; // stat(2), whatever the file system's own blocks are
    let Ok(about) = fs::symlink_metadata(path) else { return 0 };
    let own = about.blocks() * BLOCK_BYTES;
    if !about.is_dir() {
        return own;
    }
    own + fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size_of(&entry.path())).sum::<u64>()
}
