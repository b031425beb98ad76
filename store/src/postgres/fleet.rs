//! What a cluster asks of its ledger beside the runs. Each verb is one statement, and each can be repeated: so a line
//! that breaks under it is not noticed.

use std::time::Duration;

use async_trait::async_trait;
use runward_engine::run::{ClaimId, HomeId, RunId, SessionId};

use super::pool::answered;
use super::tries::Tries;
use super::{PostgresLedger, logs, ready, sessions, timeline};
use crate::error::LedgerError;
use crate::fleet::{Attended, Fleet, LogPart, NewSession, Ready, Session, Shipped, Unshipped};
use crate::sql::ReadError;
use crate::timeline::Timeline;

#[async_trait]
impl Fleet for PostgresLedger {
    async fn ready(&self, calls: &[String], limit: u32) -> Result<Vec<Ready>, LedgerError> {
        ask!(self, |connection| ready::due(&mut connection, calls, limit))
    }

    async fn put_off(&self, ready: &Ready, by: Duration) -> Result<(), LedgerError> {
        ask!(self, |connection| ready::put_off(&mut connection, ready, by))
    }

    async fn stir(&self, run: &RunId) -> Result<(), LedgerError> {
        ask!(self, |connection| ready::stir(&mut connection, run))
    }

    async fn join(&self, session: &NewSession) -> Result<(), LedgerError> {
        ask!(self, |connection| sessions::join(&mut connection, session))?;
        self.learn_to_write().await;
        Ok(())
    }

    async fn beat(&self, session: &SessionId, draining: bool) -> Result<bool, LedgerError> {
        self.beats.beat(session, draining).await.map_err(|error| self.error(error))
    }

    async fn leave(&self, session: &SessionId) -> Result<(), LedgerError> {
        ask!(self, |connection| sessions::leave(&mut connection, session))
    }

    async fn bury(&self, session: &SessionId, beat: u64) -> Result<bool, LedgerError> {
        ask!(self, |connection| sessions::bury(&mut connection, session, beat))
    }

    async fn sessions(&self) -> Result<Vec<Session>, LedgerError> {
        ask!(self, |connection| sessions::all(&mut connection))
    }

    async fn attended(&self) -> Result<Vec<Attended>, LedgerError> {
        ask!(self, |connection| sessions::attended(&mut connection))
    }

    async fn timeline(&self) -> Result<Option<Timeline>, LedgerError> {
        ask!(self, |connection| timeline::read(&mut connection))
    }

    async fn unknown(&self, started: &[(RunId, ClaimId)]) -> Result<Vec<(RunId, ClaimId)>, LedgerError> {
        ask!(self, |connection| timeline::unknown(&mut connection, started))
    }

    async fn ship(&self, run: &RunId, claim: &ClaimId, part: &LogPart, complete: bool) -> Result<(), LedgerError> {
        ask!(self, |connection| logs::ship(&mut connection, run, claim, part, complete))
    }

    async fn thin(&self, run: &RunId, claim: &ClaimId, from: u64, to: u64) -> Result<(), LedgerError> {
        ask!(self, |connection| logs::thin(&mut connection, run, claim, from, to))
    }

    async fn unshipped(&self, home: &HomeId) -> Result<Vec<Unshipped>, LedgerError> {
        ask!(self, |connection| logs::unshipped(&mut connection, home))
    }

    async fn shipped(&self, run: &RunId, claim: &ClaimId) -> Result<Shipped, LedgerError> {
        ask!(self, |connection| logs::shipped(&mut connection, run, claim))
    }

    async fn log(&self, run: &RunId, claim: &ClaimId, after: u64, limit: u32) -> Result<Vec<LogPart>, LedgerError> {
        ask!(self, |connection| logs::parts(&mut connection, run, claim, after, limit))
    }
}
