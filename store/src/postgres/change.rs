//! The transactions that change the ledger: a trigger, a commit, and what is done to the ledger itself.
//!
//! Every lock is taken before anything is decided, so a deadlock or a lost connection up to there is tried again from the
//! start, unseen. What is decided is written once. Whether a COMMIT that was not answered took effect nobody knows: a
//! trigger is repeated, because the id of its run says whether it did; a commit leaves its view stale.

use runward_engine::plan::Seal;
use runward_engine::run::group::Member;
use runward_engine::run::{Recorded, RunId};
use sqlx::PgConnection;

use super::pool::{Loan, NotCommitted, Pool, answered, answered_at_leisure};
use super::tries::Tries;
use super::{locks, prune, read, write};
use crate::administration::AdminEvent;
use crate::error::LedgerError;
use crate::failpoint::{self, Point};
use crate::ledger::{NewRun, RunQuery, RunView, Triggered};
use crate::sql::ReadError;

pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
/// The server's clock, in epoch milliseconds: hosts may disagree about theirs.
pub(super) const NOW: &str = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
const LOCK_RUN: &str = "SELECT seq, head, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM runs \
                        WHERE id = $1 FOR NO KEY UPDATE";
/// A pruning, or a look through everything, may take longer than a step's commit, and its plan lives of the values.
const AT_LEISURE: &str =
    "SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '10s'; SET LOCAL plan_cache_mode = auto";

/// Why something was not recorded.
pub(super) enum Unrecorded {
    Failed(ReadError),
    /// It may be: the COMMIT was not answered.
    Unanswered(sqlx::Error),
}

impl From<NotCommitted> for Unrecorded {
    fn from(error: NotCommitted) -> Self {
        match error {
            NotCommitted::Failed(error) => Unrecorded::Failed(error.into()),
            NotCommitted::Unanswered(error) => Unrecorded::Unanswered(error),
        }
    }
}

/// A run, locked, and what others recorded of it.
pub(super) struct Locked<'a> {
    pub loan: Loan<'a>,
    pub now: i64,
    pub members: Option<Vec<Member>>,
}

/// Locks a run and brings the view up to date; what was new is added to `news`.
pub(super) async fn lock<'a>(
    pool: &'a Pool,
    view: &mut RunView,
    news: &mut Vec<Recorded>,
) -> Result<Locked<'a>, ReadError> {
    let mut tries = Tries::begin();
    loop {
        match answered(try_lock(pool, view, news)).await {
            Ok(locked) => return Ok(locked),
            Err(error) => tries.after(error).await?,
        }
    }
}

async fn try_lock<'a>(pool: &'a Pool, view: &mut RunView, news: &mut Vec<Recorded>) -> Result<Locked<'a>, ReadError> {
    let mut loan = pool.begin(BEGIN).await?;
    match look(&mut loan, view, news).await {
        Ok((now, members)) => Ok(Locked { loan, now, members }),
        Err(error @ ReadError::Ledger(_)) => {
            loan.roll_back().await;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

async fn look(
    connection: &mut PgConnection,
    view: &mut RunView,
    news: &mut Vec<Recorded>,
) -> Result<(i64, Option<Vec<Member>>), ReadError> {
    let id = view.state.id.clone();
    let row: Option<(i64, String, i64)> = sqlx::query_as(LOCK_RUN).bind(&id.0).fetch_optional(&mut *connection).await?;
    let (seq, head, now) = row.ok_or_else(|| LedgerError::NoSuchRun(id.clone()))?;
    if view.stale {
        read::reload(connection, view).await?;
    } else {
        news.extend(read::tail(connection, view, seq as u64, &head).await?);
    }
    let members = match view.asks() {
        Some(group) => {
            locks::group(connection, group).await?;
            Some(read::members(connection, group).await?)
        }
        None => None,
    };
    Ok((now, members))
}

/// Records a run, or finds the one that it already is.
pub(super) async fn trigger(pool: &Pool, seal: &Seal, new: &NewRun) -> Result<Triggered, Unrecorded> {
    let mut tries = Tries::begin();
    let mut unanswered = None;
    loop {
        let error = match try_trigger(pool, seal, new).await {
            Ok(triggered) => return Ok(triggered),
            Err(Unrecorded::Failed(error @ ReadError::Ledger(_))) => return Err(Unrecorded::Failed(error)),
            Err(Unrecorded::Failed(error)) => error,
            Err(Unrecorded::Unanswered(error)) => {
                unanswered = Some(error.to_string());
                ReadError::Database(error)
            }
        };
        // A definite error of a later try says nothing of an earlier one that was not answered.
        tries.after(error).await.map_err(|error| match (unanswered.take(), error) {
            (Some(earlier), _) => Unrecorded::Unanswered(sqlx::Error::Protocol(earlier)),
            (None, error) => Unrecorded::Failed(error),
        })?;
    }
}

async fn try_trigger(pool: &Pool, seal: &Seal, new: &NewRun) -> Result<Triggered, Unrecorded> {
    let begun = answered(async { Ok(pool.begin(BEGIN).await?) });
    let mut loan = begun.await.map_err(Unrecorded::Failed)?;
    match answered(record(&mut loan, seal, new)).await {
        Ok(triggered) if triggered.created => {
            let done =
                loan.commit().await.and_then(|()| failpoint::fails_at(Point::AfterTrigger).map_err(NotCommitted::lost));
            done.map(|()| triggered).map_err(Unrecorded::from)
        }
        Ok(triggered) => {
            loan.roll_back().await;
            Ok(triggered)
        }
        Err(error) => {
            if matches!(error, ReadError::Ledger(_)) {
                loan.roll_back().await;
            }
            Err(Unrecorded::Failed(error))
        }
    }
}

async fn record(connection: &mut PgConnection, seal: &Seal, new: &NewRun) -> Result<Triggered, ReadError> {
    locks::ledger_stays(connection).await?;
    if new.only_after.is_some() {
        locks::name(connection, &new.definition.name).await?;
    }
    if let Some(group) = &new.group {
        locks::group(connection, &group.name).await?;
    }
    if let Some(triggered) = existing(connection, new).await? {
        return Ok(triggered);
    }
    if let Some(last) = &new.only_after {
        let query = RunQuery { name: Some(new.definition.name.clone()), limit: Some(1), ..RunQuery::default() };
        last.moved_on(read::runs(connection, &query).await?.first())?;
    }
    if let Some(group) = &new.group {
        new.fits(&read::members(connection, &group.name).await?)?;
    }
    let now = sqlx::query_scalar(NOW).fetch_one(&mut *connection).await?;
    let mut view = RunView::empty(&new.id, &new.definition)?;
    let events = view.begin(new, seal, now);
    write::definitions(connection, [new]).await?;
    write::run(connection, &mut view, events, now).await?;
    Ok(Triggered { view, created: true })
}

/// The run that is this one already: of the same key, the same child, or an earlier try of this very trigger.
async fn existing(connection: &mut PgConnection, new: &NewRun) -> Result<Option<Triggered>, ReadError> {
    let sql = "SELECT id FROM runs WHERE id = $1 UNION ALL SELECT id FROM runs WHERE key = $2 LIMIT 1";
    let found: Option<String> = sqlx::query_scalar(sql)
        .bind(&new.id.0)
        .bind(new.key.as_deref().map(super::text::stored))
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(id) = found {
        let view = read::load(connection, &RunId(id)).await?;
        // The id of a run is made for one trigger, that of a child says whose step it is.
        let created = view.state.id == new.id && new.parent.is_none();
        return Ok(Some(Triggered { view, created }));
    }
    if let Some(key) = &new.key
        && let Some(run) = prune::owner(connection, key).await?
    {
        return Err(LedgerError::KeyOfPruned { key: key.clone(), run }.into());
    }
    Ok(None)
}

/// Does something to the ledger itself, with the ledger to itself.
pub(super) async fn administer(pool: &Pool, event: &AdminEvent, actor: &str) -> Result<AdminEvent, Unrecorded> {
    let mut tries = Tries::begin();
    loop {
        match try_administer(pool, event, actor).await {
            Err(Unrecorded::Failed(error)) => tries.after(error).await.map_err(Unrecorded::Failed)?,
            done => return done,
        }
    }
}

async fn try_administer(pool: &Pool, event: &AdminEvent, actor: &str) -> Result<AdminEvent, Unrecorded> {
    let begun = answered(async { Ok(pool.begin(BEGIN).await?) });
    let mut loan = begun.await.map_err(Unrecorded::Failed)?;
    let done = async {
        sqlx::raw_sql(AT_LEISURE).execute(&mut *loan).await?;
        locks::runs(&mut loan, event.pruned()).await?;
        locks::ledger(&mut loan).await?;
        let now = sqlx::query_scalar(NOW).fetch_one(&mut *loan).await?;
        prune::administer(&mut loan, event.clone(), now, actor).await
    };
    let event = answered_at_leisure(done).await.map_err(Unrecorded::Failed)?;
    loan.commit().await?;
    Ok(event)
}
