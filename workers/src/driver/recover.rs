//! What a driver does with attempts it did not start, or whose supervisor is gone: it asks the journal.
//!
//! Of each claimed attempt exactly one of these is true, and provable: it never started, it runs, it ended and left a
//! result, or it is dead without a result and therefore lost.

use std::time::Duration;

use runward_engine::run::state::Attempt;
use runward_engine::run::{ClaimId, Command, SessionId};

use super::{DriveError, Driver};
use crate::home::HomeError;
use crate::step::report;
use crate::supervisor::journal::{self, JournalError, Mark};
use crate::supervisor::protocol::Refusal;

/// How long the processes of a dead supervisor may take to be gone.
const DYING_MAX: Duration = Duration::from_secs(30);

impl Driver<'_> {
    /// Adopts what still runs and settles what ended while nobody watched.
    pub(super) async fn take_over(&mut self) -> Result<(), DriveError> {
        let found: Vec<Attempt> = {
            let state = &self.view.state;
            state
                .live()
                .keys()
                .filter_map(|claim| state.live_attempt(claim))
                .map(|(_, attempt)| attempt.clone())
                .collect()
        };
        for attempt in found {
            let claim = attempt.claim.clone();
            let dir = self.setting.home.attempt(&self.view.state.id, &claim);
            let same_boot = attempt.boot == self.setting.boot;
            if same_boot {
                self.crew.wake_up(&attempt.session, &dir);
            }
            if same_boot && journal::is_alive(&dir).unwrap_or(false) && self.crew.join(&attempt.session).await {
                let session = self.setting.session.clone();
                self.queue.push_back((Command::Adopt { claim, session }, None));
                // It may have ended between the look and the handshake; then nobody will say so again.
                if journal::is_alive(&dir).unwrap_or(false) {
                    continue;
                }
            }
            self.conclude(&attempt.claim).await?;
        }
        Ok(())
    }

    /// This machine could not start an attempt. Once the journal rules out that it ever will, that is how it failed.
    pub(super) async fn could_not_start(&mut self, claim: &ClaimId, reason: &Refusal) -> Result<(), DriveError> {
        let dir = self.setting.home.attempt(&self.view.state.id, claim);
        if journal::try_void(&dir).is_ok_and(|mark| mark == Mark::Void) {
            let report = Box::new(report::not_started(reason.to_string()));
            self.settle(Command::Settle { claim: claim.clone(), report });
            return Ok(());
        }
        self.conclude(claim).await
    }

    /// The connection to the supervisor of this attempt is over. It may live all the same, and then is asked again.
    pub(super) async fn look_after(&mut self, claim: &ClaimId, session: &SessionId) -> Result<(), DriveError> {
        let dir = self.setting.home.attempt(&self.view.state.id, claim);
        let alive = || journal::is_alive(&dir).unwrap_or(false);
        self.crew.wake_up(session, &dir); // one that somebody stopped cannot even notice that its supervisor is gone
        if alive() && self.crew.join(session).await && alive() {
            return Ok(());
        }
        self.conclude(claim).await
    }

    /// Finds out how an attempt ended, and queues what follows.
    pub(super) async fn conclude(&mut self, claim: &ClaimId) -> Result<(), DriveError> {
        let Some((unit, attempt)) = self.view.state.live_attempt(claim) else { return Ok(()) };
        let lose = |evidence: String| Command::Lose { claim: claim.clone(), evidence };
        if attempt.boot != self.setting.boot {
            self.settle(lose("the machine was restarted while it ran".to_owned()));
            return Ok(());
        }
        let dir = self.setting.home.attempt(&self.view.state.id, claim);
        let step = self.view.state.spec(unit.step);
        let boot = self.setting.boot.clone();
        // The rule: it left a result. Only the accidents have to wait for processes to die.
        let looked = match journal::read_result(&dir, &boot) {
            Ok(Some(result)) => Ok(Found::Result(Box::new(result))),
            Err(error) => Err(error),
            Ok(None) => {
                let dir = dir.clone();
                let look = move || look(&dir, &boot);
                tokio::task::spawn_blocking(look).await.map_err(|error| DriveError::Supervisor(error.to_string()))?
            }
        };
        let command = match looked {
            Ok(Found::Result(result)) => {
                Command::Settle { claim: claim.clone(), report: Box::new(report::report(&dir, step, &result)) }
            }
            Ok(Found::NeverStarted) => Command::Void { claim: claim.clone() },
            Ok(Found::Nothing) => lose("its supervisor is gone and there is no result".to_owned()),
            // Never lost while it lives: that would allow a second start beside it.
            Ok(Found::StillAlive) => {
                let problem = format!("it is gone, but {claim} still runs after {} s", DYING_MAX.as_secs());
                return Err(DriveError::Supervisor(problem));
            }
            Err(JournalError::Gone { .. }) => lose("its journal is gone: somebody removed it".to_owned()),
            Err(JournalError::Damaged { path, what }) => {
                lose(format!("its journal is damaged ({}: {what})", path.display()))
            }
            Err(JournalError::Io { path, source }) => {
                return Err(HomeError::new("cannot use the journal", &path, source).into());
            }
        };
        self.settle(command);
        Ok(())
    }
}

enum Found {
    Result(Box<journal::AttemptResult>),
    NeverStarted,
    Nothing,
    StillAlive,
}

fn look(dir: &std::path::Path, boot: &str) -> Result<Found, JournalError> {
    if journal::try_void(dir)? == Mark::Void {
        return Ok(Found::NeverStarted);
    }
    if !journal::wait_until_dead(dir, DYING_MAX)? {
        return Ok(Found::StillAlive);
    }
    Ok(journal::read_result(dir, boot)?.map_or(Found::Nothing, |result| Found::Result(Box::new(result))))
}
