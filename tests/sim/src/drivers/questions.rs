//! What a driver asks about an attempt: the journal, the kernel, and whoever lives where its supervisor was.

use runward_engine::run::ids::Part;
use runward_engine::run::outputs::Outputs;
use runward_engine::run::{ClaimId, SessionId};
use runward_workers::driver::course::Joined;
use runward_workers::driver::inquiry::Found;
use runward_workers::step::report;
use runward_workers::supervisor::journal::{JournalError, Looked, Mark, rules};

use crate::disk::Calls;
use crate::weather::Fault;
use crate::world::{Event, World};

/// A driver waits so long for the processes of a dead supervisor to be gone.
const DYING_MAX_MS: u64 = 30_000;

#[derive(Debug, Clone)]
pub(super) enum Question {
    Void(ClaimId),
    Look(ClaimId),
    /// First the handshake, then the list of what is kept.
    Join(SessionId, ClaimId),
}

enum Answer {
    Void(bool),
    Looked(Result<Looked, JournalError>),
}

impl Question {
    fn claim(&self) -> &ClaimId {
        let (Question::Void(claim) | Question::Look(claim) | Question::Join(_, claim)) = self;
        claim
    }
}

impl World {
    pub(super) fn ask(&mut self, driver: usize, question: Question) {
        let process = &mut self.drivers[driver];
        process.question = Some(question);
        process.calls = Calls::default();
        process.asked_at = self.now;
        self.ask_on(driver);
    }

    /// Asks the journal, at once or call by call.
    pub(super) fn ask_on(&mut self, driver: usize) {
        let calls = if self.dice.percent(70) { u32::MAX } else { 1 };
        let process = &mut self.drivers[driver];
        let Some(question) = &process.question else { return };
        if let Question::Join(session, claim) = question {
            let (session, claim) = (session.clone(), claim.clone());
            return self.join(driver, &session, &claim);
        }
        let (id, pid, boot) = (&process.view.state.id, process.pid, format!("boot-{}", self.boot));
        let claim = question.claim();
        let dir = World::journal(id, claim);
        let answer = process.calls.run(&mut self.disk, pid, calls, |hand| match question {
            Question::Void(_) => Answer::Void(rules::try_void(hand, &dir).is_ok_and(|mark| mark == Mark::Void)),
            Question::Look(_) | Question::Join(..) => Answer::Looked(rules::look(hand, &dir, &boot)),
        });
        let delay = match answer {
            None if self.strikes(Fault::DriverKilled, "driver killed while it asked a journal") => {
                return self.kill_driver(driver);
            }
            None => self.moment("slow journal") + self.dice.below(40),
            Some(Answer::Looked(Ok(Looked::Alive))) => {
                let process = &mut self.drivers[driver];
                process.calls = Calls::default();
                if self.now - process.asked_at > DYING_MAX_MS {
                    process.question = None;
                    process.course.failed();
                }
                self.dice.between(1, 50)
            }
            Some(answer) => {
                self.answered(driver, answer);
                0
            }
        };
        self.after(delay, Event::Drive(driver));
    }

    fn answered(&mut self, driver: usize, answer: Answer) {
        let process = &mut self.drivers[driver];
        let Some(question) = process.question.take() else { return };
        let claim = question.claim().clone();
        match answer {
            Answer::Void(never_started) => process.course.voided(never_started),
            Answer::Looked(looked) => {
                let state = &process.view.state;
                let unit = state.live_attempt(&claim).map(|(unit, _)| unit);
                let found = match (looked, unit) {
                    (Ok(Looked::Result(result)), Some(unit)) => {
                        let outputs =
                            if unit.part == Part::Undo { Outputs::new() } else { self.oracle.outputs_of(&claim) };
                        Found::Ended(Box::new(report::concluded(state.timeout_of(unit), &result, || Ok(outputs))))
                    }
                    (Ok(Looked::NeverStarted), _) => Found::NeverStarted,
                    (Ok(_), _) => Found::Dead,
                    (Err(JournalError::Gone { .. }), _) => Found::JournalGone,
                    (Err(error), _) => Found::JournalDamaged(error.to_string()),
                };
                self.counters.add(match found {
                    Found::Ended(_) => "journal: it ended",
                    Found::NeverStarted => "journal: never started",
                    Found::Dead => "journal: dead without a result",
                    Found::JournalGone => "journal: gone",
                    Found::JournalDamaged(_) => "journal: damaged",
                });
                process.course.found(found);
            }
        }
    }

    /// Connects, and asks for what is kept. Both take their time, in which an attempt may end.
    fn join(&mut self, driver: usize, session: &SessionId, claim: &ClaimId) {
        let keeper = self.keeper_of(session);
        let Some(keeper) = keeper else { return self.joined(driver, Joined::Nobody) };
        if !self.drivers[driver].hears.contains(&keeper) {
            self.connect(driver, keeper);
            self.counters.add("a driver joined the supervisor of another");
            let delay = self.moment("slow answer");
            return self.after(delay, Event::Drive(driver));
        }
        self.keepers[keeper].listeners.insert(driver);
        let known = self.keepers[keeper].keeps(claim);
        if !known {
            self.counters.add("a supervisor does not keep what it is asked for");
        }
        self.joined(driver, if known { Joined::Keeper } else { Joined::Stranger });
    }

    fn joined(&mut self, driver: usize, joined: Joined) {
        let process = &mut self.drivers[driver];
        process.question = None;
        process.course.joined(joined);
        self.after(0, Event::Drive(driver));
    }
}
