//! Runs that are loaded at the same time are read in one statement ([`super::turns`]), which also says what time it is: who
//! loads a run commits something next.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use runward_engine::run::RunId;
use sqlx::{PgConnection, Row as _};

use super::pool::answered;
use super::tries::Tries;
use super::turns::Turns;
use super::{PostgresLedger, Row, read};
use crate::error::LedgerError;
use crate::ledger::StoredEvent;
use crate::sql::ReadError;

/// Runs of one statement.
const RUNS_MAX: usize = 16;

/// All events of a run, and what they were made of.
pub(super) type Events = (Vec<StoredEvent>, Vec<String>);
pub(super) type Loads = Turns<RunId, Events>;

impl PostgresLedger {
    pub(super) async fn whole(&self, run: &RunId) -> Result<Events, LedgerError> {
        match self.loads.lay(run.clone(), || self.load_what_lies()).await {
            Some(events) => Ok(events),
            // Something is wrong with the line, or with the run: this tries again, and says what.
            None => ask!(self, |connection| read::events(&mut connection, run, 0)),
        }
    }

    async fn load_what_lies(&self) {
        let lent: Result<_, sqlx::Error> = answered(self.pool.lend()).await;
        let mut runs = BTreeSet::new();
        let lying = self.loads.take(|run| runs.len() < RUNS_MAX && runs.insert(run.clone()));
        let Ok(mut loan) = lent else { return };
        if lying.is_empty() {
            return loan.end().await;
        }
        let asked = Instant::now();
        let ids: Vec<&str> = runs.iter().map(|run| run.0.as_str()).collect();
        let Ok(rows) = answered(rows(&mut loan, &ids)).await else { return };
        loan.end().await;
        if let Some(now) = rows.first().and_then(|row| row.try_get("now").ok()) {
            self.clock.heard(now, asked, asked);
        }
        let mut of_runs: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in &rows {
            if let Ok(run) = row.try_get("run_id") {
                of_runs.entry(run).or_default().push(row);
            }
        }
        for lying in lying {
            let rows = of_runs.remove(lying.one.0.as_str()).unwrap_or_default();
            let events: Result<Vec<_>, ReadError> = rows.into_iter().map(|row| read::event(row, &lying.one)).collect();
            if let Ok(mut events) = events {
                events.sort_by_key(|(event, _)| event.recorded.seq);
                lying.tell(events.into_iter().unzip());
            }
        }
    }
}

/// In any order, because the server would sort them, bodies and all. The clock comes also where there is no event.
async fn rows(connection: &mut PgConnection, runs: &[&str]) -> Result<Vec<Row>, sqlx::Error> {
    let sql = concat!(
        "SELECT now, run_id, seq, at, actor, body, hash FROM (SELECT ",
        now!(),
        " AS now) AS clock LEFT JOIN events ON run_id = ANY ($1)"
    );
    sqlx::query(sql).bind(runs).fetch_all(connection).await
}
