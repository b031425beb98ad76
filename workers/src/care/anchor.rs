//! Anchors in a file: how far the record had come, for whoever asks later whether it was cut.
//!
//! The file is only ever appended to, a line at a time, under a lock of the kernel, so it may lie on a disk, a mount or under an
//! attribute that allows nothing else. Nothing is added while the ledger contradicts what the file has: the evidence stays.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg, OFlag};
use runward_store::anchor::{Anchor, Anchors, Heads};
use runward_store::{Ledger, LedgerError};
use tokio::sync::oneshot;
use tracing::{debug, error, warn};

/// What a file may take to be read or written.
const PATIENCE: Duration = Duration::from_secs(60);

/// Files of which a thread waits: a mount that hangs for a day holds one, and not one for each time that it was tried.
static WAITED_FOR: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// What came of an anchoring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anchored {
    /// So many runs had gone on; the file has so many anchors now.
    Line { anchor: u64, runs: usize },
    /// Nothing has gone on since.
    Nothing { anchor: u64 },
}

impl Anchored {
    /// How many the file has now.
    pub fn number(&self) -> u64 {
        match self {
            Anchored::Line { anchor, .. } | Anchored::Nothing { anchor } => *anchor,
        }
    }
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
pub async fn read(file: &Path) -> Result<Anchors, AnchorError> {
    let path = file.to_owned();
    let open = move || whole_text(&mut regular(OpenOptions::new().read(true), &path)?);
    let text = apart(file, PATIENCE, open).await?;
    Ok(Anchors::read(&String::from_utf8_lossy(&text)))
}

/// Adds a line, synced, if something has gone on.
pub async fn append(ledger: &dyn Ledger, file: &Path) -> Result<Anchored, AnchorError> {
    let path = file.to_owned();
    // Whoever holds the lock reads and writes a file, and asks the ledger twice.
    let open = move || {
        let opened = regular(OpenOptions::new().read(true).append(true).create(true).mode(0o600), &path)?;
        let mut locked = Flock::lock(opened, FlockArg::LockExclusive).map_err(|(_, errno)| io::Error::from(errno))?;
        let text = whole_text(&mut locked)?;
        Ok((locked, text))
    };
    let (mut locked, text) = apart(file, PATIENCE, open).await?;
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
    let line = format!("{start}{}\n", anchor.line());
    apart(file, PATIENCE, move || locked.write_all(line.as_bytes()).and_then(|()| locked.sync_all())).await?;
    Ok(Anchored::Line { anchor: anchor.anchor, runs: anchor.runs.len() })
}

/// Not a FIFO, at which an open or a read would wait for somebody.
fn regular(how: &mut OpenOptions, file: &Path) -> io::Result<File> {
    let opened = how.custom_flags(OFlag::O_NONBLOCK.bits()).open(file)?;
    match opened.metadata()?.is_file() {
        true => Ok(opened),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

fn whole_text(file: &mut File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(text)
}

/// Does something to the file in a thread of its own, so that a mount that hangs holds up nothing else, not even the end of
/// this process.
async fn apart<T: Send + 'static>(
    file: &Path,
    patience: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, AnchorError> {
    let broken = |source| AnchorError::File { file: file.to_owned(), source };
    let Some(wait) = Wait::begin(file) else {
        return Err(broken(io::Error::other(
            "what was begun with it before still waits for its disk, or for its lock",
        )));
    };
    let (tell, told) = oneshot::channel();
    let thread = std::thread::Builder::new().name("anchor".to_owned());
    let work = move || {
        let done = work();
        drop(wait);
        let _ = tell.send(done); // nobody waits any more
    };
    thread.spawn(work).map_err(broken)?;
    match tokio::time::timeout(patience, told).await {
        Ok(Ok(done)) => done.map_err(broken),
        Ok(Err(_)) => Err(broken(io::Error::other("what wrote it ended without an answer"))),
        Err(_) => Err(broken(io::Error::other("its disk does not answer, or somebody else keeps it locked"))),
    }
}

/// Held by the one thread that may wait for a file.
struct Wait(PathBuf);

impl Wait {
    fn begin(file: &Path) -> Option<Wait> {
        let mut all = WAITED_FOR.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(file.to_owned()).then(|| Wait(file.to_owned()))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        WAITED_FOR.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
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
    let mut newest = 0;
    loop {
        match append(ledger, file).await {
            Ok(anchored) => {
                let before = std::mem::replace(&mut newest, anchored.number());
                debug!(?anchored, "the record was anchored");
                if newest < before {
                    error!(
                        "{}: {before} anchors were there, and now there are {newest}: somebody replaced it. Keep the old one: \
                         `runward audit verify --anchors FILE` compares with it",
                        file.display()
                    );
                } else if matches!(anchored, Anchored::Line { anchor: 1, .. }) {
                    warn!(
                        "{}: it had no anchors, and begins anew: what was cut off or written again before now does not show in it",
                        file.display()
                    );
                }
            }
            Err(error @ AnchorError::Contradicted { .. }) => {
                error!("{error}; `runward audit verify` tells more; nothing is anchored until this is looked into");
            }
            Err(error) => warn!("the record was not anchored: {error}; it is tried again"),
        }
        tokio::time::sleep(*every).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_mount_that_hangs_holds_one_thread_however_often_it_is_tried() {
        let (file, begun) = (Path::new("/nowhere/hangs"), Arc::new(AtomicU32::new(0)));
        let (answer, answers) = mpsc::channel::<()>();
        let answers = Arc::new(Mutex::new(answers));
        let hangs = || {
            let (begun, answers) = (Arc::clone(&begun), Arc::clone(&answers));
            move || {
                begun.fetch_add(1, Ordering::SeqCst);
                let _ = answers.lock().unwrap().recv();
                Ok(())
            }
        };
        for why in ["its disk does not answer", "begun with it before still waits", "begun with it before still waits"]
        {
            let error = apart(file, Duration::from_millis(20), hangs()).await.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        apart(Path::new("/nowhere/else"), PATIENCE, || Ok(())).await.unwrap();
        drop(answer); // it is back
        while Wait::begin(file).is_none() {
            std::thread::yield_now();
        }
        assert_eq!(begun.load(Ordering::SeqCst), 1);
        apart(file, PATIENCE, hangs()).await.unwrap();
    }
}
