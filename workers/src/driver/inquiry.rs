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
    /// Its supervisor knows it as long as anything of it is left, even when the process that kept it is dead. Whoever lives
    /// there now need not know it: it has ended, or its supervisor is dead and another one lives in its place.
    Join,
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
                self.stage = Stage::Join;
                Next::Ask(ask)
            }
            (Stage::Join, Some(session)) => Next::Ask(Do::Join { session: session.clone(), claim }),
            (Stage::Void(_), _) => Next::Ask(Do::Void(claim)),
            (Stage::Look, _) if attempt.boot != boot && !mutated!(TrustJournalAfterReboot) => {
                let evidence = "the machine was restarted while it ran".to_owned();
                Next::Is(Command::Lose { claim, evidence, with: None })
            }
            (Stage::Look | Stage::Wake | Stage::Join, _) => Next::Ask(Do::Look(claim)),
        }
    }

    /// Nobody will tell of its end: the journal has to.
    pub(super) fn not_joined(&mut self) {
        self.stage = Stage::Look;
    }

    /// Its end will be told. Its claim, if it is this driver's from now on.
    pub(super) fn adopted(&self) -> Option<ClaimId> {
        self.adopts.then(|| self.claim.clone())
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
        let lose = |evidence: String| Command::Lose { claim: self.claim.clone(), evidence, with: None };
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use runward_engine::run::{Event, Unit, create, execute};

    use super::super::course::{Course, Joined};
    use super::*;

    /// A run with one attempt, claimed by a driver that is dead.
    fn left_behind() -> RunState {
        let runbook = runward_engine::runbook::parse(b"steps:\n  - {id: a, run: \"true\"}\n").unwrap();
        let mut state = RunState::new("run".into(), Arc::new(runbook));
        let created = r#"{"kind":"run_created","name":"n","definition":"d","params":{},"trigger":"cli","seed":1}"#;
        create(&mut state, serde_json::from_str::<Event>(created).unwrap(), 1, "alice");
        let claim = Command::Claim {
            unit: Unit::step(0),
            claim: "c".into(),
            session: "old".into(),
            boot: "b".into(),
            place: None,
        };
        execute(&mut state, &claim, 2, "alice").unwrap();
        state
    }

    /// A new driver that asks whoever lives in the place of its supervisor, whatever the journal looks like: the process
    /// that kept the attempt may be dead while others of it are still being killed.
    fn at_the_door(state: &RunState) -> Course {
        let mut course = Course::new("new".into(), "b".to_owned());
        course.begin(state, Default::default(), Default::default());
        assert!(matches!(course.next(state), Do::WakeUp { .. }));
        let Do::Join { session, claim } = course.next(state) else { panic!("nobody is asked") };
        assert_eq!((session, claim), ("old".into(), "c".into()));
        course
    }

    #[test]
    fn an_attempt_is_watched_when_its_supervisor_says_that_it_keeps_it() {
        let state = left_behind();
        let mut course = at_the_door(&state);
        course.joined(Joined::Keeper);
        assert!(matches!(course.next(&state), Do::Commit), "it is adopted");
        let commands: Vec<Command> = std::iter::from_fn(|| course.command(&state, || None)).collect();
        assert!(commands.iter().any(|command| matches!(command, Command::Adopt { .. })), "{commands:?}");
    }

    #[test]
    fn an_attempt_that_the_supervisor_in_its_place_does_not_know_is_looked_up() {
        let state = left_behind();
        for answer in [Joined::Stranger, Joined::Nobody] {
            let mut course = at_the_door(&state);
            course.joined(answer);
            assert!(matches!(course.next(&state), Do::Look(_)), "{answer:?}");
        }
    }
}
