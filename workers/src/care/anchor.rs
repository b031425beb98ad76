//! Anchors in a file: how far the record had come, for whoever asks later whether it was cut.
//!
//! The file is only ever appended to, a line at a time, under a lock of the kernel, so it may lie on a disk, a mount or under an
//! attribute that allows nothing else. Nothing is added while the ledger contradicts what the file has: the evidence stays.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg};
use runward_store::anchor::{Anchor, Anchors, Heads};
use runward_store::{Ledger, LedgerError};
use tracing::{debug, error, warn};

/// What came of an anchoring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anchored {
    /// So many runs had gone on; the file has so many anchors now.
    Line { anchor: u64, runs: usize },
    /// Nothing has gone on since.
    Nothing { anchor: u64 },
}

#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("{}: {source}", .file.display())]
    File { file: PathBuf, source: io::Error },
    /// The record is not what it was.
    #[error("the record is not what {} has seen: {}", .file.display(), .what.join("; "))]
    Contradicted { file: PathBuf, what: Vec<String> },
}

/// Every one that a file has.
pub fn read(file: &Path) -> Result<Anchors, AnchorError> {
    let broken = |source| AnchorError::File { file: file.to_owned(), source };
    let mut text = Vec::new();
    File::open(file).map_err(broken)?.read_to_end(&mut text).map_err(broken)?;
    Ok(Anchors::read(&String::from_utf8_lossy(&text)))
}

/// Adds a line, synced, if something has gone on.
pub async fn append(ledger: &dyn Ledger, file: &Path) -> Result<Anchored, AnchorError> {
    let broken = |source| AnchorError::File { file: file.to_owned(), source };
    let opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file).map_err(broken)?;
    // Whoever holds it reads and writes a file, and asks the ledger twice.
    let locking = tokio::task::spawn_blocking(move || Flock::lock(opened, FlockArg::LockExclusive));
    let locked = locking.await.map_err(|error| broken(io::Error::other(error)))?;
    let mut locked = locked.map_err(|(_, errno)| broken(errno.into()))?;
    let mut text = Vec::new();
    locked.read_to_end(&mut text).map_err(broken)?;
    let anchors = Anchors::read(&String::from_utf8_lossy(&text));
    let heads = Heads::of(ledger).await?;
    let grown = anchors.grown_wrong(ledger, &heads, false).await?;
    let what = [anchors.broken.clone(), anchors.contradicted(&heads), grown].concat();
    if !what.is_empty() {
        return Err(AnchorError::Contradicted { file: file.to_owned(), what });
    }
    let Some(anchor) = anchors.next(&heads, now_ms()) else { return Ok(Anchored::Nothing { anchor: anchors.count() }) };
    // After a line that was not written to its end a new one begins.
    let start = if text.last().is_none_or(|last| *last == b'\n') { "" } else { "\n" };
    locked.write_all(format!("{start}{}\n", anchor.line()).as_bytes()).map_err(broken)?;
    locked.sync_all().map_err(broken)?;
    Ok(Anchored::Line { anchor: anchor.anchor, runs: anchor.runs.len() })
}

/// One line of everything there is, for a place of which this program knows nothing.
pub async fn whole(ledger: &dyn Ledger) -> Result<Option<Anchor>, LedgerError> {
    Ok(Anchors::default().next(&Heads::of(ledger).await?, now_ms()))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Where a server anchors, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchoring {
    pub file: PathBuf,
    pub every: Duration,
}

/// For ever, from now on. Nothing that goes wrong is a reason for anything else to stop.
pub(crate) async fn now_and_then(anchoring: Option<&Anchoring>, ledger: &dyn Ledger) {
    let Some(Anchoring { file, every }) = anchoring else { return std::future::pending().await };
    loop {
        match append(ledger, file).await {
            Ok(anchored) => debug!(?anchored, "the record was anchored"),
            Err(error @ AnchorError::Contradicted { .. }) => {
                error!("{error}; `runward audit verify` tells more; nothing is anchored until this is looked into");
            }
            Err(error) => warn!("the record was not anchored: {error}; it is tried again"),
        }
        tokio::time::sleep(*every).await;
    }
}
