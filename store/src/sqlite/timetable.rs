//! Schedules and ticks in a file: every decision has the write lock of the whole ledger.

use async_trait::async_trait;
use runward_engine::run::{HomeId, RunId};
use runward_engine::schedule::entry::Tick;
use sqlx::{Connection as _, SqliteConnection};

use super::{SqliteLedger, errors, outbox, read, ticks, write};
use crate::error::LedgerError;
use crate::ledger::now_ms;
use crate::sql::ReadError;
use crate::timetable::ruling::{Facts, rule};
use crate::timetable::{Decided, Entry, Order, ScheduleRow, Standing, TickRow, Timetable, Waiting};

#[async_trait]
impl Timetable for SqliteLedger {
    async fn now(&self) -> Result<i64, LedgerError> {
        Ok(now_ms())
    }

    async fn post(
        &self,
        home: &HomeId,
        host: &str,
        entries: &[Entry],
        actor: &str,
    ) -> Result<Vec<Standing>, LedgerError> {
        let mut connection = self.connection().await?;
        post(&mut connection, home, host, entries, actor).await.map_err(|error| self.error(error))
    }

    async fn posted(&self, home: &HomeId) -> Result<Vec<Standing>, LedgerError> {
        let mut connection = self.connection().await?;
        ticks::posted(&mut connection, home).await.map_err(|error| self.error(error))
    }

    async fn undecided(&self, ticks: &[(Entry, Tick)]) -> Result<Vec<bool>, LedgerError> {
        let mut connection = self.connection().await?;
        ticks::undecided(&mut connection, ticks).await.map_err(|error| self.error(error))
    }

    async fn decide(&self, home: &HomeId, orders: Vec<Order>, actor: &str) -> Result<Vec<Decided>, LedgerError> {
        let mut connection = self.connection().await?;
        let decided = decide(&mut connection, home, orders, actor).await;
        decided.map_err(|error| errors::at(&self.path, error))
    }

    async fn passed(&self, entries: &[(Entry, i64)]) -> Result<(), LedgerError> {
        let mut connection = self.connection().await?;
        passed(&mut connection, entries).await.map_err(|error| self.error(error))
    }

    async fn waiting(&self, home: &HomeId) -> Result<Vec<Waiting>, LedgerError> {
        let mut connection = self.connection().await?;
        ticks::waiting(&mut connection, home).await.map_err(|error| self.error(error))
    }

    async fn unfinished(&self) -> Result<Vec<RunId>, LedgerError> {
        let mut connection = self.connection().await?;
        ticks::unfinished(&mut connection).await.map_err(|error| self.error(error))
    }

    async fn schedules(&self) -> Result<Vec<ScheduleRow>, LedgerError> {
        let mut connection = self.connection().await?;
        let mut tx = connection.begin().await.map_err(|error| self.error(error))?;
        ticks::schedules(&mut tx).await.map_err(|error| self.error(error))
    }

    async fn ticks(&self, schedule: Option<&str>, limit: u32) -> Result<Vec<TickRow>, LedgerError> {
        let mut connection = self.connection().await?;
        ticks::ticks(&mut connection, schedule, limit).await.map_err(|error| self.error(error))
    }
}

async fn post(
    connection: &mut SqliteConnection,
    home: &HomeId,
    host: &str,
    entries: &[Entry],
    actor: &str,
) -> Result<Vec<Standing>, sqlx::Error> {
    if ticks::differs(connection, home, host, entries).await? {
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let now = now_ms();
        let ruling = ticks::post(&mut tx, home, host, entries, now).await?;
        ticks::record(&mut tx, &ruling, now, actor).await?;
        tx.commit().await?;
    }
    ticks::posted(connection, home).await
}

async fn decide(
    connection: &mut SqliteConnection,
    home: &HomeId,
    orders: Vec<Order>,
    actor: &str,
) -> Result<Vec<Decided>, ReadError> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut facts = Facts { now: now_ms(), sheets: ticks::sheets(&mut tx, home, &orders).await?, ..Facts::default() };
    for group in ticks::groups(&orders) {
        facts.queue(&group, &read::members(&mut tx, &group).await?);
    }
    let now = facts.now;
    let mut ruling = rule(facts, orders);
    if ruling.rows.is_empty() {
        return Ok(ruling.answers);
    }
    let seal = read::seal(&mut tx).await?;
    for (new, view) in &mut ruling.runs {
        let events = view.begin(new, &seal, now);
        write::definition(&mut tx, new).await?;
        write::run(&mut tx, view, &events).await?;
    }
    ticks::write(&mut tx, &ruling).await?;
    outbox::write(&mut tx, &ruling.notices).await?;
    ticks::record(&mut tx, &ruling, now, actor).await?;
    tx.commit().await?;
    Ok(ruling.answers)
}

async fn passed(connection: &mut SqliteConnection, entries: &[(Entry, i64)]) -> Result<(), sqlx::Error> {
    let cursors = ticks::cursors(entries);
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    ticks::passed(&mut tx, &cursors).await?;
    tx.commit().await
}
