//! The answers that only the journal, the kernel and other supervisors can give. What they mean is in `inquiry`.

use std::time::{Duration, Instant};

use runward_engine::run::ClaimId;
use runward_store::failpoint::{self, Point};

use super::course::Do;
use super::inquiry::Found;
use super::{DriveError, Driver};
use crate::home::HomeError;
use crate::step::report;
use crate::supervisor::journal::{self, JournalError, Looked, Mark};

/// How long the processes of a dead supervisor may take to be gone.
const DYING_MAX: Duration = Duration::from_secs(30);
/// How often is looked: the kernel has no lock with a timeout.
const DYING_POLL: Duration = Duration::from_millis(5);

impl Driver<'_> {
    pub(super) async fn ask(&mut self, question: Do) -> Result<(), DriveError> {
        match question {
            Do::Join { session, claim } => {
                let joined = self.crew.find_keeper(&session, &claim).await;
                self.course.joined(joined);
                // Over the line of now, which may not be that of before.
                self.kept.clear();
                self.keep_alive();
            }
            Do::Void(claim) => {
                let mark = journal::try_void(&self.journal(&claim));
                failpoint::reach(Point::VoidMarked);
                self.course.voided(mark.is_ok_and(|mark| mark == Mark::Void));
            }
            Do::Look(claim) => {
                let found = self.look(&claim).await?;
                self.course.found(found);
            }
            _ => {}
        }
        Ok(())
    }

    fn journal(&self, claim: &ClaimId) -> std::path::PathBuf {
        self.setting.home.attempt(&self.view.state.id, claim)
    }

    /// Finds out how an attempt ended. The rule: it left a result. Only the accidents have to wait for processes to die.
    async fn look(&mut self, claim: &ClaimId) -> Result<Found, DriveError> {
        let dir = self.journal(claim);
        let give_up = Instant::now() + DYING_MAX;
        let looked = loop {
            match journal::look(&dir, &self.setting.boot) {
                // Never lost while it lives: that would allow a second start beside it.
                Ok(Looked::Alive) if Instant::now() >= give_up => {
                    let problem = format!("it is gone, but {claim} still runs after {} s", DYING_MAX.as_secs());
                    return Err(DriveError::Supervisor(problem));
                }
                Ok(Looked::Alive) => tokio::time::sleep(DYING_POLL).await,
                other => break other,
            }
        };
        let unit = self.view.state.live_attempt(claim).map(|(unit, _)| unit);
        Ok(match (looked, unit) {
            (Ok(Looked::Result(result)), Some(unit)) => {
                Found::Ended(Box::new(report::report(&dir, &self.view.state, unit, &result)))
            }
            (Ok(Looked::NeverStarted), _) => {
                failpoint::reach(Point::VoidMarked);
                Found::NeverStarted
            }
            (Ok(_), _) => Found::Dead,
            (Err(JournalError::Gone { .. }), _) => Found::JournalGone,
            (Err(JournalError::Damaged { path, what }), _) => {
                Found::JournalDamaged(format!("{}: {what}", path.display()))
            }
            (Err(JournalError::Io { path, source }), _) => {
                return Err(HomeError::new("cannot use the journal", &path, source).into());
            }
        })
    }
}
