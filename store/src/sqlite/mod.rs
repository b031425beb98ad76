//! The ledger in one SQLite file, used by many processes at once.
//!
//! WAL with `synchronous=FULL`: what is acknowledged survives power loss. Every write begins with `BEGIN IMMEDIATE`, so
//! that processes queue up for the write lock instead of failing in the middle. Opening, the switch to WAL and
//! migrations are serialised by a lock on a file beside it, because SQLite alone answers "database is locked" there.

/// The many rows of the JSON text that `$1` is: `item.value` is one.
macro_rules! items {
    () => {
        "json_each($1) AS item"
    };
}

/// For whoever holds the write lock, every row is locked.
macro_rules! locked {
    ($table:literal) => {
        ""
    };
}

/// For whoever holds the write lock, nobody else has locked a row.
macro_rules! passing {
    ($table:literal) => {
        ""
    };
}

/// An entry of the ledger's own record, as JSON.
macro_rules! entry {
    () => {
        "administration.body"
    };
}

/// The ticks that were skipped, each with its entry of the ledger's own record: `tick.value` is one.
macro_rules! skipped_on_record {
    () => {
        "administration, json_each(administration.body, '$.ticks') AS tick WHERE kind = 'ticks_skipped'"
    };
}

mod care;
mod errors;
mod examine;
mod letters;
mod open;
#[path = "../sql/outbox.rs"]
mod outbox;
mod pace;
#[path = "../sql/past.rs"]
mod past;
#[cfg(test)]
mod plan;
#[path = "../sql/prune.rs"]
mod prune;
#[path = "../sql/read.rs"]
mod read;
#[path = "../sql/tick_audit.rs"]
mod tick_audit;
#[path = "../sql/ticks.rs"]
mod ticks;
mod timetable;
mod write;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use runward_engine::plan::Seal;
use runward_engine::plan::definition::Definition;
use runward_engine::plan::history::PastRun;
use runward_engine::run::group::Member;
use runward_engine::run::rows::{AttemptRow, RunRow, StepRow};
use runward_engine::run::{Recorded, RunId};
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

use self::pace::Pace;
use crate::administration::{self, AdminEntry, AdminEvent};
use crate::anchor::Head;
use crate::error::LedgerError;
use crate::failpoint::{self, Point};
use crate::ledger::{Committed, Ledger, NewRun, Next, RunQuery, RunView, StoredEvent, Triggered, now_ms};

use sqlx::SqliteConnection as Connection;
use sqlx::sqlite::SqliteRow as Row;

/// Pruned runs with their keys, as the record of the ledger names them.
const PRUNED_ON_RECORD: &str = "SELECT json_extract(run.value, '$.id'), json_extract(run.value, '$.key') \
     FROM administration, json_each(administration.body, '$.runs') AS run \
     WHERE json_extract(administration.body, '$.kind') = 'runs_pruned'";
/// Definitions that no run has and none of them calls.
const UNUSED_DEFINITIONS: &str = "WITH RECURSIVE used (hash) AS (SELECT definition FROM runs UNION \
     SELECT json_extract(called.value, '$.definition') FROM used \
     JOIN definitions ON definitions.hash = used.hash, json_each(definitions.body, '$.runbooks') AS called) \
     DELETE FROM definitions WHERE hash NOT IN (SELECT hash FROM used)";
/// Files that no definition names.
const UNNAMED_BLOBS: &str = "DELETE FROM blobs WHERE sha256 NOT IN (SELECT json_extract(file.value, '$.sha256') \
     FROM definitions, json_each(definitions.body, '$.files') AS file)";

/// Any text can be stored as it is.
fn stored(text: &str) -> &str {
    text
}

fn shown(text: String) -> String {
    text
}

pub use care::Stats;
pub use examine::{Examined, examine};

/// How long a writer waits for the others, in seconds.
pub(crate) const BUSY_SECONDS: u64 = 60;

pub struct SqliteLedger {
    path: PathBuf,
    /// Which file was opened there.
    file: Identity,
    connection: Mutex<SqliteConnection>,
}

/// The device and the number of a file: its name may come to mean another one.
type Identity = (u64, u64);

impl SqliteLedger {
    /// Opens the ledger in this file; creates it, and brings its schema up to date, if need be.
    pub async fn open(path: &Path) -> Result<SqliteLedger, LedgerError> {
        let connection = open::open(path).await?;
        let file = identity(path).ok_or_else(|| LedgerError::Replaced { path: path.display().to_string() })?;
        Ok(SqliteLedger { path: path.to_owned(), file, connection: Mutex::new(connection) })
    }

    /// The connection, in no transaction. What is written to a file that is not the ledger any more, nobody would find.
    ///
    /// A transaction that SQLite itself took back, because the disk was full, is still counted by the library, which begins
    /// no other on that connection: then it is a new one.
    async fn connection(&self) -> Result<MutexGuard<'_, SqliteConnection>, LedgerError> {
        let mut connection = self.connection.lock().await;
        if identity(&self.path) != Some(self.file) {
            return Err(LedgerError::Replaced { path: self.path.display().to_string() });
        }
        if connection.is_in_transaction() {
            // One that was dropped is being taken back; that is done before this is answered.
            connection.ping().await.map_err(|error| self.error(error))?;
        }
        if connection.is_in_transaction() {
            *connection = open::connect(&self.path, false).await?;
        }
        Ok(connection)
    }

    fn error(&self, error: sqlx::Error) -> LedgerError {
        errors::translate(&self.path, error)
    }
}

fn identity(path: &Path) -> Option<Identity> {
    path.metadata().ok().map(|file| (file.dev(), file.ino()))
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn trigger(&self, new: NewRun) -> Result<Triggered, LedgerError> {
        let mut connection = self.connection().await?;
        let mut pace = Pace::start();
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(|error| self.error(error))?;
        pace.locked(&new.id);
        if let Some(key) = &new.key {
            let existing: Option<String> = sqlx::query_scalar("SELECT id FROM runs WHERE key = $1")
                .bind(key)
                .fetch_optional(&mut *tx)
                .await
                .map_err(|error| self.error(error))?;
            if let Some(id) = existing {
                let view = read::load(&mut tx, &RunId(id)).await.map_err(|error| errors::at(&self.path, error))?;
                return Ok(Triggered { view, created: false });
            }
            if let Some(run) = prune::owner(&mut tx, key).await.map_err(|error| self.error(error))? {
                return Err(LedgerError::KeyOfPruned { key: key.clone(), run });
            }
        }
        if new.parent.is_some() && read::run(&mut tx, &new.id).await.map_err(|error| self.error(error))?.is_some() {
            let view = read::load(&mut tx, &new.id).await.map_err(|error| errors::at(&self.path, error))?;
            return Ok(Triggered { view, created: false });
        }
        if let Some(last) = &new.only_after {
            let query = RunQuery { name: Some(new.definition.name.clone()), limit: Some(1), ..RunQuery::default() };
            let newest = read::runs(&mut tx, &query).await.map_err(|error| self.error(error))?;
            last.moved_on(newest.first())?;
        }
        if let Some(group) = &new.group {
            new.fits(&read::members(&mut tx, &group.name).await.map_err(|error| self.error(error))?)?;
        }
        let mut view = RunView::empty(&new.id, &new.definition)?;
        let seal = read::seal(&mut tx).await.map_err(|error| self.error(error))?;
        let events = view.begin(&new, &seal, now_ms());
        write::definition(&mut tx, &new).await.map_err(|error| self.error(error))?;
        write::run(&mut tx, &mut view, &events).await.map_err(|error| self.error(error))?;
        tx.commit().await.map_err(|error| self.error(error))?;
        failpoint::fails_at(Point::AfterTrigger).map_err(|error| self.error(error.into()))?;
        pace.committed(&view.state.id, events.len());
        Ok(Triggered { view, created: true })
    }

    async fn load(&self, run: &RunId) -> Result<RunView, LedgerError> {
        let mut connection = self.connection().await?;
        let mut tx = connection.begin().await.map_err(|error| self.error(error))?;
        read::load(&mut tx, run).await.map_err(|error| errors::at(&self.path, error))
    }

    async fn refresh(&self, view: &mut RunView) -> Result<Vec<Recorded>, LedgerError> {
        let mut connection = self.connection().await?;
        read::catch_up(&mut connection, view).await.map_err(|error| errors::at(&self.path, error))
    }

    async fn commit(&self, view: &mut RunView, next: &mut Next<'_>, actor: &str) -> Result<Committed, LedgerError> {
        let mut connection = self.connection().await?;
        let mut pace = Pace::start();
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(|error| self.error(error))?;
        pace.locked(&view.state.id);
        let mut news = read::catch_up(&mut tx, view).await.map_err(|error| errors::at(&self.path, error))?;
        let members = match view.asks() {
            Some(group) => Some(read::members(&mut tx, group).await.map_err(|error| self.error(error))?),
            None => None,
        };
        // From here on the view runs ahead of the ledger until the commit is acknowledged.
        view.stale = true;
        let (replies, events) = view.advance(next, &view.env(now_ms(), members), actor);
        if !events.is_empty() {
            failpoint::before_commit(&events).map_err(|error| self.error(error.into()))?;
            write::changes(&mut tx, view, &events).await.map_err(|error| self.error(error))?;
            tx.commit().await.map_err(|error| self.error(error))?;
            failpoint::after_commit(&events).map_err(|error| self.error(error.into()))?;
            pace.committed(&view.state.id, events.len());
        }
        view.stale = false;
        news.extend(events.into_iter().map(|(event, _)| event.recorded));
        Ok(Committed { replies, news, again: false })
    }

    async fn past(&self, name: &str, runs: u32) -> Result<Vec<PastRun>, LedgerError> {
        let mut connection = self.connection().await?;
        let mut tx = connection.begin().await.map_err(|error| self.error(error))?;
        past::past(&mut tx, name, runs).await.map_err(|error| self.error(error))
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRow>, LedgerError> {
        let mut connection = self.connection().await?;
        read::runs(&mut connection, query).await.map_err(|error| self.error(error))
    }

    async fn rows(&self, run: &RunId) -> Result<(RunRow, Vec<StepRow>, Vec<AttemptRow>), LedgerError> {
        let mut connection = self.connection().await?;
        let mut tx = connection.begin().await.map_err(|error| self.error(error))?;
        read::rows(&mut tx, run).await.map_err(|error| errors::at(&self.path, error))
    }

    async fn group(&self, name: &str) -> Result<Vec<Member>, LedgerError> {
        let mut connection = self.connection().await?;
        read::members(&mut connection, name).await.map_err(|error| self.error(error))
    }

    async fn events(&self, run: &RunId, after: u64) -> Result<Vec<StoredEvent>, LedgerError> {
        let mut connection = self.connection().await?;
        let (events, _) =
            read::events(&mut connection, run, after).await.map_err(|error| errors::at(&self.path, error))?;
        Ok(events)
    }

    async fn heads(&self) -> Result<BTreeMap<RunId, Head>, LedgerError> {
        let mut connection = self.connection().await?;
        read::heads(&mut connection).await.map_err(|error| self.error(error))
    }

    async fn find(&self, part: &str) -> Result<Vec<RunId>, LedgerError> {
        let mut connection = self.connection().await?;
        read::find(&mut connection, part).await.map_err(|error| self.error(error))
    }

    async fn definition(&self, hash: &str) -> Result<Definition, LedgerError> {
        let mut connection = self.connection().await?;
        read::definition(&mut connection, hash).await.map_err(|error| errors::at(&self.path, error))
    }

    async fn blob(&self, sha256: &str) -> Result<Vec<u8>, LedgerError> {
        let mut connection = self.connection().await?;
        read::blob(&mut connection, sha256).await.map_err(|error| errors::at(&self.path, error))
    }

    async fn seal(&self) -> Result<Seal, LedgerError> {
        let mut connection = self.connection().await?;
        read::seal(&mut connection).await.map_err(|error| self.error(error))
    }

    async fn administer(&self, event: AdminEvent, actor: &str) -> Result<AdminEvent, LedgerError> {
        let mut connection = self.connection().await?;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(|error| self.error(error))?;
        let event = prune::administer(&mut tx, event, now_ms(), actor).await;
        let event = event.map_err(|error| errors::at(&self.path, error))?;
        tx.commit().await.map_err(|error| self.error(error))?;
        Ok(event)
    }

    async fn administration(&self) -> Result<Vec<AdminEntry>, LedgerError> {
        let mut connection = self.connection().await?;
        let stored = prune::entries(&mut connection).await.map_err(|error| self.error(error))?;
        administration::verified(stored)
    }
}
