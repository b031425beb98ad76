//! The ledger in a Postgres database, used by many processes on many hosts at once.
//!
//! READ COMMITTED with explicit locks: a run by its row (`FOR NO KEY UPDATE`), everything that has no row by a lock of the
//! transaction ([`locks`]). A commit is four trips to the server: begin, lock, write, commit; or one, where nobody else is
//! at the run ([`once`]). Nothing here depends on the clock of a host, on LISTEN, or on anything that outlives a transaction.

/// The server's clock as a statement begins, in epoch milliseconds.
macro_rules! now {
    () => {
        "floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint"
    };
}

/// Asks for something, again if the line breaks: a question changes nothing, nor does what is done twice here.
macro_rules! ask {
    ($ledger:ident, $begin:expr, |$connection:ident| $question:expr) => {{
        let mut tries = Tries::begin();
        loop {
            let asked = async {
                let mut $connection = $begin.await?;
                let answer = $question.await.map_err(ReadError::from);
                Ok::<_, ReadError>(($connection, answer))
            };
            let error = match answered(asked).await {
                Ok((loan, answer @ (Ok(_) | Err(ReadError::Ledger(_))))) => {
                    loan.end().await;
                    break answer.map_err(|error| $ledger.error(error));
                }
                Ok((_, Err(error))) | Err(error) => error,
            };
            tries.after(error).await.map_err(|error| $ledger.error(error))?;
        }
    }};
    ($ledger:ident, |$connection:ident| $question:expr) => {
        ask!($ledger, $ledger.pool.lend(), |$connection| $question)
    };
}

/// The many rows of the JSON text that `$1` is: `item.value` is one.
macro_rules! items {
    () => {
        "jsonb_array_elements($1::jsonb) AS item (value)"
    };
}

/// Rows of this table, to the end of the transaction.
macro_rules! locked {
    ($table:literal) => {
        concat!(" FOR NO KEY UPDATE OF ", $table)
    };
}

/// As [`locked`], without those that somebody else has locked.
macro_rules! passing {
    ($table:literal) => {
        concat!(" FOR NO KEY UPDATE OF ", $table, " SKIP LOCKED")
    };
}

/// An entry of the ledger's own record, as JSON.
macro_rules! entry {
    () => {
        "administration.body::jsonb"
    };
}

/// The ticks that were skipped, each with its entry of the ledger's own record: `tick.value` is one.
macro_rules! skipped_on_record {
    () => {
        "administration, jsonb_array_elements(administration.body::jsonb -> 'ticks') AS tick (value) \
         WHERE kind = 'ticks_skipped'"
    };
}

#[macro_use]
mod repeat;

mod address;
mod care;
mod change;
mod definitions;
mod errors;
mod fleet;
mod health;
mod letters;
mod load;
mod locks;
mod logs;
mod once;
#[path = "../sql/outbox.rs"]
mod outbox;
#[path = "../sql/past.rs"]
mod past;
mod pool;
#[path = "../sql/prune.rs"]
mod prune;
#[path = "../sql/read.rs"]
mod read;
mod ready;
mod schema;
mod sessions;
mod text;
#[path = "../sql/tick_audit.rs"]
mod tick_audit;
#[path = "../sql/ticks.rs"]
mod ticks;
mod timeline;
mod timetable;
mod together;
mod tries;
mod trouble;
mod turns;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use runward_engine::plan::history::PastRun;
use runward_engine::plan::{Definition, Seal};
use runward_engine::run::group::Member;
use runward_engine::run::rows::{AttemptRow, RunRow, StepRow};
use runward_engine::run::{Event, Recorded, RunId};
use sqlx::PgConnection as Connection;
use sqlx::postgres::PgRow as Row;
use tokio::sync::OnceCell;

use self::address::Address;
use self::change::Unrecorded;
use self::definitions::{Definitions, Known};
use self::load::Loads;
use self::once::Clock;
use self::pool::{Pool, answered};
use self::sessions::Beats;
use self::text::{shown, stored};
use self::together::Together;
use self::tries::Tries;
use crate::administration::{self, AdminEntry, AdminEvent};
use crate::anchor::Head;
use crate::error::LedgerError;
use crate::ledger::{Announced, Committed, Ledger, NewRun, Next, RunQuery, RunView, StoredEvent, Triggered};
use crate::sql::ReadError;

pub use care::PostgresStats;
pub use health::{Line, ServerHealth, Standbys};
pub use schema::ServerStatus;
pub use trouble::{ServerError, Trouble};

/// Pruned runs with their keys, as the record of the ledger names them.
const PRUNED_ON_RECORD: &str = "SELECT run ->> 'id', run ->> 'key' FROM administration, \
     jsonb_array_elements(body::jsonb -> 'runs') AS run WHERE kind = 'runs_pruned'";
/// Definitions that no run has and none of them calls.
const UNUSED_DEFINITIONS: &str = "WITH RECURSIVE used (hash) AS (SELECT definition FROM runs UNION \
     SELECT called ->> 'definition' FROM used JOIN definitions ON definitions.hash = used.hash, \
     jsonb_array_elements(coalesce(definitions.body::jsonb -> 'runbooks', '[]')) AS called) \
     DELETE FROM definitions WHERE hash NOT IN (SELECT hash FROM used)";
/// Files that no definition names.
const UNNAMED_BLOBS: &str = "DELETE FROM blobs WHERE sha256 NOT IN (SELECT file ->> 'sha256' FROM definitions, \
     jsonb_array_elements(coalesce(definitions.body::jsonb -> 'files', '[]')) AS file)";

/// Several statements that see one moment.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

pub struct PostgresLedger {
    place: String,
    pool: Pool,
    beats: Beats,
    seal: OnceCell<Seal>,
    definitions: Definitions,
    clock: Clock,
    loads: Loads,
    together: Together,
}

impl PostgresLedger {
    /// Opens the ledger in this database, whose tables are those that this program knows.
    pub async fn open(url: &str) -> Result<PostgresLedger, LedgerError> {
        let address = Address::parse(url)?;
        let mut connection = schema::connect(&address).await?;
        let status = schema::status(&mut connection, &address.place).await?;
        if let Some(trouble) = status.refusal() {
            return Err(trouble.into());
        }
        // Any other value is the administrator's choice, and at least as strong.
        let beats = Beats::new(address.options.clone());
        let pool = match status.acknowledges_early {
            true => Pool::new(address.options.options([("synchronous_commit", "on")])),
            false => Pool::with(address.options, connection),
        };
        Ok(PostgresLedger {
            place: address.place,
            pool,
            beats,
            seal: OnceCell::new(),
            definitions: Definitions::default(),
            clock: Clock::default(),
            loads: Loads::new(),
            together: Together::new(),
        })
    }

    /// Looks at a server, and at how far its database is made ready, without changing anything.
    pub async fn status(url: &str) -> Result<ServerStatus, LedgerError> {
        let address = Address::parse(url)?;
        let mut connection = schema::connect(&address).await?;
        schema::status(&mut connection, &address.place).await
    }

    /// Makes the database ready: creates its tables, or brings them up to date.
    pub async fn migrate(url: &str) -> Result<ServerStatus, LedgerError> {
        schema::migrate(&Address::parse(url)?).await
    }

    /// Where the database of a URL is, without the password.
    pub fn place_of(url: &str) -> Result<String, ServerError> {
        Address::parse(url).map(|address| address.place)
    }

    fn error(&self, error: impl Into<ReadError>) -> LedgerError {
        errors::at(&self.place, error.into())
    }

    async fn known(&self, hash: &str) -> Result<Arc<Known>, LedgerError> {
        if let Some(known) = self.definitions.get(hash) {
            return Ok(known);
        }
        let definition = ask!(self, |connection| read::definition(&mut connection, hash))?;
        Ok(self.definitions.keep(hash, definition))
    }

    fn unrecorded(&self, error: Unrecorded, what: &str) -> LedgerError {
        match error {
            Unrecorded::Failed(error) => self.error(error),
            Unrecorded::Unanswered(error) => {
                let message = format!("{what} may be recorded, or not ({error})");
                ServerError { place: self.place.clone(), trouble: Trouble::Unanswered, message }.into()
            }
        }
    }
}

#[async_trait]
impl Ledger for PostgresLedger {
    async fn trigger(&self, new: NewRun) -> Result<Triggered, LedgerError> {
        let seal = self.seal().await?;
        let triggered = change::trigger(&self.pool, &seal, &new).await;
        triggered.map_err(|error| self.unrecorded(error, &format!("run {}", new.id)))
    }

    /// One trip, where the definition is known: a statement sees one moment, and the first event names the definition.
    async fn load(&self, run: &RunId) -> Result<RunView, LedgerError> {
        let (events, bodies) = self.whole(run).await?;
        let created = events.first().map(|first| &first.recorded.event);
        if let Some(Event::RunCreated { definition, .. }) = created
            && let Ok(known) = self.known(definition).await
        {
            let mut view = RunView::of(run, known.runbook(run)?);
            view.fold(events, &bodies)?;
            return Ok(view);
        }
        // There is no such run, or no longer, or something is wrong with it: this says what.
        ask!(self, self.pool.begin(SNAPSHOT), |connection| read::load(&mut connection, run))
    }

    async fn refresh(&self, view: &mut RunView) -> Result<Vec<Recorded>, LedgerError> {
        ask!(self, |connection| read::catch_up(&mut connection, view))
    }

    async fn commit(&self, view: &mut RunView, next: &mut Next<'_>, actor: &str) -> Result<Committed, LedgerError> {
        PostgresLedger::commit(self, view, next, actor).await
    }

    async fn past(&self, name: &str, runs: u32) -> Result<Vec<PastRun>, LedgerError> {
        ask!(self, self.pool.begin(SNAPSHOT), |connection| past::past(&mut connection, name, runs))
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRow>, LedgerError> {
        ask!(self, |connection| read::runs(&mut connection, query))
    }

    async fn rows(&self, run: &RunId) -> Result<(RunRow, Vec<StepRow>, Vec<AttemptRow>), LedgerError> {
        ask!(self, self.pool.begin(SNAPSHOT), |connection| read::rows(&mut connection, run))
    }

    async fn announced(&self, run: &RunId) -> Result<Option<Announced>, LedgerError> {
        ask!(self, |connection| ready::announced(&mut connection, run)).map(Some)
    }

    async fn group(&self, name: &str) -> Result<Vec<Member>, LedgerError> {
        ask!(self, |connection| read::members(&mut connection, name))
    }

    async fn events(&self, run: &RunId, after: u64) -> Result<Vec<StoredEvent>, LedgerError> {
        let (events, _) = ask!(self, |connection| read::events(&mut connection, run, after))?;
        Ok(events)
    }

    async fn heads(&self) -> Result<BTreeMap<RunId, Head>, LedgerError> {
        ask!(self, |connection| read::heads(&mut connection))
    }

    async fn find(&self, part: &str) -> Result<Vec<RunId>, LedgerError> {
        ask!(self, |connection| read::find(&mut connection, part))
    }

    async fn definition(&self, hash: &str) -> Result<Definition, LedgerError> {
        self.known(hash).await.map(|known| known.definition.clone())
    }

    async fn blob(&self, sha256: &str) -> Result<Vec<u8>, LedgerError> {
        ask!(self, |connection| read::blob(&mut connection, sha256))
    }

    async fn seal(&self) -> Result<Seal, LedgerError> {
        let seal = self.seal.get_or_try_init(async || ask!(self, |connection| read::seal(&mut connection)));
        seal.await.cloned()
    }

    async fn administer(&self, event: AdminEvent, actor: &str) -> Result<AdminEvent, LedgerError> {
        let done = change::administer(&self.pool, &event, actor).await;
        self.definitions.forget();
        done.map_err(|error| self.unrecorded(error, "what was done to the ledger"))
    }

    async fn administration(&self) -> Result<Vec<AdminEntry>, LedgerError> {
        let stored = ask!(self, |connection| prune::entries(&mut connection))?;
        administration::verified(stored)
    }
}
