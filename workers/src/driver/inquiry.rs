//! What became of one claimed attempt that this driver did not start, or whose supervisor is gone: which questions to
//! ask, in which order, and what the answers mean.
//!
//! Of each claimed attempt exactly one of these is true, and provable: it never started, it runs, it ended and left a
//! result, or it is dead without a result and therefore lost. The questions are answered by whoever carries them out.

use runward_engine::run::command::Report;
use runward_engine::run::state::Attempt;
use runward_engine::run::{ClaimId, Command, RunState, SessionId};

use super::course::Do;
use crate::step::report;
use runward_engine::mutated;

/// What the journal says of an attempt that is not known to run.
#[derive(Debug)]
pub enum Found {
    /// It ended and left a result.
    Ended(Box<Report>),
    /// Nothing was started and nothing ever will be.
    NeverStarted,
    /// It started, and it is dead without a result.
    Dead,
    /// The journal has been taken away.
    JournalGone,
    /// The journal cannot be read: what is wrong with it.
    JournalDamaged(String),
}

#[derive(Debug)]
pub(super) struct Inquiry {
    claim: ClaimId,
    session: Option<SessionId>,
    stage: Stage,
    /// Whether it becomes this driver's if it lives.
    adopts: bool,
}

#[derive(Debug)]
enum Stage {
    Wake,
    Lives,
    Join,
    /// It may have ended between the look and the handshake; then nobody will say so again.
    StillLives,
    /// This machine could not start it, for this reason.
    Void(String),
    Look,
}

pub(super) enum Next {
    Ask(Do),
    Is(Command),
    /// It is over: nothing has to be known.
    Nothing,
}

impl Inquiry {
    /// An attempt of an earlier driver.
    pub(super) fn adopt(attempt: &Attempt, boot: &str) -> Inquiry {
        let stage = if attempt.boot == boot { Stage::Wake } else { Stage::Look };
        Inquiry { claim: attempt.claim.clone(), session: Some(attempt.session.clone()), stage, adopts: true }
    }

    /// The connection to the supervisor of this attempt is over. It may live all the same, and then is asked again.
    pub(super) fn look_after(attempt: &Attempt) -> Inquiry {
        let (claim, session) = (attempt.claim.clone(), Some(attempt.session.clone()));
        Inquiry { claim, session, stage: Stage::Wake, adopts: false }
    }

    /// It is said to have ended.
    pub(super) fn look(claim: ClaimId) -> Inquiry {
        Inquiry { claim, session: None, stage: Stage::Look, adopts: false }
    }

    /// This machine could not start it. Once the journal rules out that it ever will, that is how it failed.
    pub(super) fn could_not_start(claim: ClaimId, reason: String) -> Inquiry {
        Inquiry { claim, session: None, stage: Stage::Void(reason), adopts: false }
    }

    pub(super) fn claim(&self) -> &ClaimId {
        &self.claim
    }

    pub(super) fn next(&mut self, state: &RunState, boot: &str) -> Next {
        let Some((_, attempt)) = state.live_attempt(&self.claim) else { return Next::Nothing };
        let claim = self.claim.clone();
        match (&self.stage, &self.session) {
            (Stage::Wake, Some(session)) => {
                let ask = Do::WakeUp { session: session.clone(), claim };
                self.stage = Stage::Lives;
                Next::Ask(ask)
            }
            (Stage::Lives | Stage::StillLives, _) => Next::Ask(Do::IsAlive(claim)),
            (Stage::Join, Some(session)) => Next::Ask(Do::Join(session.clone())),
            (Stage::Void(_), _) => Next::Ask(Do::Void(claim)),
            (Stage::Look, _) if attempt.boot != boot && !mutated!(TrustJournalAfterReboot) => {
                Next::Is(Command::Lose { claim, evidence: "the machine was restarted while it ran".to_owned() })
            }
            (Stage::Look | Stage::Wake | Stage::Join, _) => Next::Ask(Do::Look(claim)),
        }
    }

    /// Whether it is known now that somebody will tell of its end.
    pub(super) fn is_alive(&mut self, alive: bool) -> bool {
        let watched = alive && matches!(self.stage, Stage::StillLives);
        self.stage = if alive { Stage::Join } else { Stage::Look };
        watched
    }

    /// Its claim, if it is this driver's from now on.
    pub(super) fn joined(&mut self, joined: bool) -> Option<ClaimId> {
        self.stage = if joined { Stage::StillLives } else { Stage::Look };
        (joined && self.adopts).then(|| self.claim.clone())
    }

    pub(super) fn voided(&mut self, never_started: bool) -> Option<Command> {
        let stage = std::mem::replace(&mut self.stage, Stage::Look);
        match stage {
            Stage::Void(reason) if never_started => {
                Some(Command::Settle { claim: self.claim.clone(), report: Box::new(report::not_started(reason)) })
            }
            _ => None,
        }
    }

    pub(super) fn found(&self, found: Found) -> Command {
        let claim = self.claim.clone();
        let lose = |evidence: String| Command::Lose { claim: self.claim.clone(), evidence };
        match found {
            Found::Ended(report) => Command::Settle { claim, report },
            Found::NeverStarted if mutated!(VoidIsLost) => lose("it never started".to_owned()),
            Found::Dead if mutated!(LostIsVoid) => Command::Void { claim },
            Found::NeverStarted => Command::Void { claim },
            Found::Dead => lose("its supervisor is gone and there is no result".to_owned()),
            Found::JournalGone => lose("its journal is gone: somebody removed it".to_owned()),
            Found::JournalDamaged(what) => lose(format!("its journal is damaged ({what})")),
        }
    }
}
