//! Schedules and ticks on a server. Whoever decides locks the rows of the schedules, in the order of their names; then the
//! groups of the runs; and the ledger's own record last, so that nobody waits for it longer than for a few rows.
//!
//! Everything here can be repeated, and is, if the line breaks: a tick that was decided says so.

use async_trait::async_trait;
use runward_engine::plan::Seal;
use runward_engine::run::{HomeId, RunId};
use runward_engine::schedule::entry::Tick;
use sqlx::PgConnection;

use super::change::NOW;
use super::pool::answered;
use super::tries::Tries;
use super::{PostgresLedger, SNAPSHOT, locks, outbox, read, ticks, write};
use crate::error::LedgerError;
use crate::failpoint::{self, Point};
use crate::ledger::Ledger as _;
use crate::sql::ReadError;
use crate::timetable::ruling::{Facts, rule};
use crate::timetable::{Decided, Entry, Order, ScheduleRow, Standing, TickRow, Timetable, Waiting};

#[async_trait]
impl Timetable for PostgresLedger {
    async fn now(&self) -> Result<i64, LedgerError> {
        PostgresLedger::now(self).await
    }

    async fn post(
        &self,
        home: &HomeId,
        host: &str,
        entries: &[Entry],
        actor: &str,
    ) -> Result<Vec<Standing>, LedgerError> {
        if ask!(self, |connection| ticks::differs(&mut connection, home, host, entries))? {
            repeat!(self, "what this server fires", |loan| post(&mut loan, home, host, entries, actor))?;
        }
        self.posted(home).await
    }

    async fn posted(&self, home: &HomeId) -> Result<Vec<Standing>, LedgerError> {
        ask!(self, |connection| ticks::posted(&mut connection, home))
    }

    async fn undecided(&self, ticks: &[(Entry, Tick)]) -> Result<Vec<bool>, LedgerError> {
        ask!(self, |connection| ticks::undecided(&mut connection, ticks))
    }

    async fn decide(&self, home: &HomeId, orders: Vec<Order>, actor: &str) -> Result<Vec<Decided>, LedgerError> {
        let seal = self.seal().await?;
        repeat!(self, "what became of these ticks", |loan| decide(&mut loan, home, &orders, &seal, actor))
    }

    async fn passed(&self, entries: &[(Entry, i64)]) -> Result<(), LedgerError> {
        let cursors = ticks::cursors(entries);
        repeat!(self, "how far ticks are decided", |loan| passed(&mut loan, &cursors))
    }

    async fn waiting(&self, home: &HomeId) -> Result<Vec<Waiting>, LedgerError> {
        ask!(self, |connection| ticks::waiting(&mut connection, home))
    }

    async fn unfinished(&self) -> Result<Vec<RunId>, LedgerError> {
        ask!(self, |connection| ticks::unfinished(&mut connection))
    }

    async fn schedules(&self) -> Result<Vec<ScheduleRow>, LedgerError> {
        ask!(self, self.pool.begin(SNAPSHOT), |connection| ticks::schedules(&mut connection))
    }

    async fn ticks(&self, schedule: Option<&str>, limit: u32) -> Result<Vec<TickRow>, LedgerError> {
        ask!(self, |connection| ticks::ticks(&mut connection, schedule, limit))
    }
}

async fn post(
    connection: &mut PgConnection,
    home: &HomeId,
    host: &str,
    entries: &[Entry],
    actor: &str,
) -> Result<((), bool), ReadError> {
    locks::ledger_stays(connection).await?;
    locks::posts(connection).await?;
    let now = sqlx::query_scalar(NOW).fetch_one(&mut *connection).await?;
    let ruling = ticks::post(connection, home, host, entries, now).await?;
    if !ruling.skipped.is_empty() {
        locks::record(connection).await?;
        ticks::record(connection, &ruling, now, actor).await?;
    }
    Ok(((), true))
}

async fn decide(
    connection: &mut PgConnection,
    home: &HomeId,
    orders: &[Order],
    seal: &Seal,
    actor: &str,
) -> Result<(Vec<Decided>, bool), ReadError> {
    locks::ledger_stays(connection).await?;
    let mut facts = Facts { sheets: ticks::sheets(connection, home, orders).await?, ..Facts::default() };
    for group in ticks::groups(orders) {
        locks::group(connection, &group).await?;
        facts.queue(&group, &read::members(connection, &group).await?);
    }
    let now = sqlx::query_scalar(NOW).fetch_one(&mut *connection).await?;
    facts.now = now;
    let mut ruling = rule(facts, orders.to_vec());
    if ruling.rows.is_empty() {
        return Ok((ruling.answers, false));
    }
    write::definitions(connection, ruling.runs.iter().map(|(new, _)| new)).await?;
    for (new, view) in &mut ruling.runs {
        let events = view.begin(new, seal, now);
        write::run(connection, view, events, now).await?;
    }
    ticks::write(connection, &ruling).await?;
    outbox::write(connection, &ruling.notices).await?;
    if !ruling.skipped.is_empty() {
        locks::record(connection).await?;
        ticks::record(connection, &ruling, now, actor).await?;
    }
    failpoint::fails_at(Point::TickInserted).map_err(sqlx::Error::from)?;
    Ok((ruling.answers, true))
}

async fn passed(connection: &mut PgConnection, cursors: &[(String, String, i64)]) -> Result<((), bool), ReadError> {
    locks::ledger_stays(connection).await?;
    let moved = ticks::passed(connection, cursors).await?;
    Ok(((), moved))
}
