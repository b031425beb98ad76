//! Drivers: the real [`Course`] carried out in the simulated world, killed between any two things it does.

use std::collections::BTreeSet;

use runward_engine::run::ids::Part;
use runward_engine::run::outputs::Outputs;
use runward_engine::run::{ClaimId, RunState, SessionId};
use runward_engine::runbook::templates::Templates;
use runward_store::{Fate, Ledger, RunView};
use runward_workers::driver::Callees;
use runward_workers::driver::Drive;
use runward_workers::driver::course::{Course, Do, News, Start};
use runward_workers::driver::inquiry::Found;
use runward_workers::step::report;
use runward_workers::supervisor::journal::{JournalError, Looked, Mark, rules};

use crate::disk::{Calls, Pid};
use crate::keepers::{Order, Request};
use crate::ledger::at_once;
use crate::weather::Fault;
use crate::world::{Event, World};

/// A driver waits so long for the processes of a dead supervisor to be gone.
const DYING_MAX_MS: u64 = 30_000;

#[derive(Debug)]
pub struct DriverProcess {
    pub job: usize,
    pub session: SessionId,
    pub alive: bool,
    pid: Pid,
    course: Course,
    pub view: RunView,
    /// Nothing to do before something happens. Counted, so that an old timer means nothing.
    waiting: bool,
    waits: u64,
    inbox: Vec<News>,
    looks: bool,
    timer: bool,
    /// Supervisors it is connected to.
    pub hears: BTreeSet<usize>,
    /// What it asks the journal now.
    question: Option<Question>,
    calls: Calls,
    asked_at: u64,
}

#[derive(Debug, Clone)]
enum Question {
    IsAlive(ClaimId),
    Void(ClaimId),
    Look(ClaimId),
}

enum Answer {
    IsAlive(bool),
    Void(bool),
    Looked(Result<Looked, JournalError>),
}

impl DriverProcess {
    /// Where it stands, for whoever looks for what went wrong.
    pub fn told(&self) -> String {
        let view = &self.view.state;
        format!(
            "seq {}, {}, waits: {}, asks: {:?}, {:?}",
            view.seq, view.status, self.waiting, self.question, self.course
        )
    }
}

impl World {
    /// A new process drives the run; the kernel has given it the lock.
    pub(crate) fn start_driver(&mut self, job: usize, view: RunView) {
        let driver = self.drivers.len();
        let session = SessionId(format!("session-{driver}"));
        let mut course = Course::new(session.clone(), self.boot_id());
        course.begin(&view.state, Templates::new(), Callees::default());
        if !view.state.live().is_empty() {
            self.counters.add("a driver took over attempts of another");
        }
        let pid = self.new_pid();
        self.drivers.push(DriverProcess {
            job,
            session,
            alive: true,
            pid,
            course,
            view,
            waiting: false,
            waits: 0,
            inbox: Vec::new(),
            looks: false,
            timer: false,
            hears: BTreeSet::new(),
            question: None,
            calls: Calls::default(),
            asked_at: 0,
        });
        self.jobs[job].driver = Some(driver);
        self.own_keeper(driver);
        self.after(1, Event::Drive(driver));
    }

    pub(crate) fn drive(&mut self, driver: usize) {
        if !self.drivers[driver].alive {
            return;
        }
        if self.drivers[driver].question.is_some() {
            return self.ask_on(driver);
        }
        let process = &mut self.drivers[driver];
        let next = process.course.next(&process.view.state);
        if self.strikes(Fault::DriverKilled, place(&next)) {
            return self.end_driver(driver);
        }
        let delay = match next {
            Do::Say { command, actor } => {
                self.draw_fate();
                let mut once = Some(command);
                let (ledger, process) = (&self.ledger, &mut self.drivers[driver]);
                let said = at_once(ledger.commit(&mut process.view, &mut |_| once.take(), &actor));
                if said.is_err() {
                    process.course.failed();
                }
                self.audit(self.drivers[driver].job);
                1
            }
            Do::Commit => return self.commit(driver),
            Do::Start(start) => self.start(driver, start),
            Do::WakeUp { .. } => 0,
            Do::Kill { session, claim, grace } => {
                self.counters.add("a driver told an attempt to end");
                let keeper = self.keeper_of(&session).filter(|keeper| self.drivers[driver].hears.contains(keeper));
                match keeper {
                    Some(keeper) => {
                        let request = Request::Kill { claim, grace_ms: grace.as_millis() as u64 };
                        let delay = self.moment("slow message");
                        self.after(delay, Event::Asked { keeper, by: driver, request });
                    }
                    None => self.drivers[driver].inbox.push(News::Ended(claim)),
                }
                0
            }
            Do::IsAlive(claim) => return self.ask(driver, Question::IsAlive(claim)),
            Do::Void(claim) => return self.ask(driver, Question::Void(claim)),
            Do::Look(claim) => return self.ask(driver, Question::Look(claim)),
            Do::Join(session) => {
                let keeper = self.keeper_of(&session);
                if let Some(keeper) = keeper {
                    self.connect(driver, keeper);
                    self.counters.add("a driver joined the supervisor of another");
                }
                self.drivers[driver].course.joined(keeper.is_some());
                self.moment("slow handshake")
            }
            Do::Wait { wake_at } => return self.wait(driver, wake_at),
            Do::End(end) => {
                self.counters.add(match end {
                    Drive::Finished => "a driver finished its run",
                    Drive::Waiting => "a driver left a run to a person",
                    Drive::Left => "a driver was asked to leave",
                });
                return self.end_driver(driver);
            }
            Do::GiveUp => {
                self.counters.add("a driver gave up after an error");
                return self.end_driver(driver);
            }
        };
        self.after(delay, Event::Drive(driver));
    }

    /// What becomes of the next write.
    pub(crate) fn draw_fate(&mut self) {
        self.set_clock();
        let fate = if self.strikes(Fault::Refused, "ledger refused a write") {
            Fate::Refused
        } else if self.strikes(Fault::Vanished, "write vanished") {
            Fate::Vanished
        } else if self.strikes(Fault::Unanswered, "write took effect unanswered") {
            Fate::Unanswered
        } else {
            Fate::Done
        };
        self.dials.set_fate(fate);
    }

    fn commit(&mut self, driver: usize) {
        let disk_full = self.strikes(Fault::DiskFull, "no room for a journal");
        self.draw_fate();
        let World { drivers, ledger, disk, claims, .. } = self;
        let DriverProcess { course, view, pid, job, .. } = &mut drivers[driver];
        let mut opened = true;
        let next = &mut |state: &RunState| {
            course.command(state, || {
                *claims += 1;
                let claim = ClaimId(format!("c{claims}"));
                let dir = World::journal(&state.id, &claim);
                let made = Calls::default().run(disk, *pid, u32::MAX, |hand| rules::open(hand, &dir));
                opened = !disk_full && matches!(made, Some(Ok(())));
                opened.then_some(claim)
            })
        };
        let committed = at_once(ledger.commit(view, next, "driver"));
        let done = committed.is_ok() && opened;
        if !done {
            course.failed();
        }
        let job = *job;
        self.audit(job);
        if !done {
            self.after(1, Event::Drive(driver));
        } else if self.strikes(Fault::DriverKilled, "driver killed before its commit was acknowledged") {
            self.end_driver(driver);
        } else {
            let delay = self.moment("slow commit");
            self.after(delay, Event::Acknowledged(driver));
        }
    }

    pub(crate) fn acknowledged(&mut self, driver: usize) {
        let process = &mut self.drivers[driver];
        if process.alive {
            process.course.committed(&process.view.state);
            self.after(0, Event::Drive(driver));
        }
    }

    /// Hands a claimed unit to the driver's supervisor.
    fn start(&mut self, driver: usize, start: Start) -> u64 {
        let process = &self.drivers[driver];
        let state = &process.view.state;
        let Some((unit, attempt)) = state.live_attempt(&start.claim) else { return 0 };
        let order = Order {
            job: process.job,
            run: state.id.clone(),
            unit,
            claim: start.claim,
            generation: attempt.generation,
            boot: attempt.boot.clone(),
            timeout_ms: state.timeout_of(unit).as_millis() as u64,
            grace_ms: state.spec(unit.step).grace.as_millis() as u64,
        };
        self.oracle.inputs(self.now, state, unit, &start.prepared);
        let Some(keeper) = self.own_keeper(driver) else {
            // Nobody reads it: the journal says that it never started.
            self.drivers[driver].inbox.push(News::Ended(order.claim));
            return 0;
        };
        let delay = self.moment("slow start");
        self.after(delay, Event::Asked { keeper, by: driver, request: Request::Start(Box::new(order)) });
        0
    }

    fn wait(&mut self, driver: usize, wake_at: Option<i64>) {
        let now = self.clock_ms();
        let process = &mut self.drivers[driver];
        let inbox = std::mem::take(&mut process.inbox);
        let (timer, looks) = (std::mem::take(&mut process.timer), std::mem::take(&mut process.looks));
        if !inbox.is_empty() || timer || looks {
            // What has happened meanwhile goes into the same commit.
            for news in inbox {
                if let News::Gone(session) = &news
                    && let Some(keeper) = self.sessions.get(session)
                {
                    process.hears.remove(keeper);
                }
                process.course.heard(&process.view.state, news);
            }
            if timer {
                process.course.woken();
            }
            if looks {
                self.read_again(driver);
            }
            return self.after(0, Event::Drive(driver));
        }
        process.waiting = true;
        process.waits += 1;
        if let Some(at) = wake_at {
            let wait = process.waits;
            let left = u64::try_from(at - now).unwrap_or(0);
            self.after(left, Event::Timer(driver, wait));
        }
    }

    pub(crate) fn hear(&mut self, driver: usize, news: News) {
        if self.drivers[driver].alive {
            self.drivers[driver].inbox.push(news);
            self.stir(driver);
        }
    }

    pub(crate) fn wake(&mut self, driver: usize, wait: u64) {
        let process = &mut self.drivers[driver];
        if process.alive && process.waiting && process.waits == wait {
            process.timer = true;
            self.stir(driver);
        }
    }

    /// A waiting driver goes on.
    fn stir(&mut self, driver: usize) {
        if std::mem::take(&mut self.drivers[driver].waiting) {
            self.after(0, Event::Drive(driver));
        }
    }

    /// It looks every 200 ms whether somebody has changed its run; here it looks when somebody has.
    pub(crate) fn look(&mut self, driver: usize) {
        let process = &mut self.drivers[driver];
        if !process.alive {
            return;
        }
        if !process.waiting {
            process.looks = true;
            return;
        }
        process.waiting = false;
        self.read_again(driver);
        self.after(0, Event::Drive(driver));
    }

    fn read_again(&mut self, driver: usize) {
        let process = &mut self.drivers[driver];
        match at_once(self.ledger.refresh(&mut process.view)) {
            Ok(_) => process.course.looked(),
            Err(_) => process.course.failed(),
        }
    }

    fn ask(&mut self, driver: usize, question: Question) {
        let process = &mut self.drivers[driver];
        process.question = Some(question);
        process.calls = Calls::default();
        process.asked_at = self.now;
        self.ask_on(driver);
    }

    /// Asks the journal, at once or call by call.
    fn ask_on(&mut self, driver: usize) {
        let calls = if self.dice.percent(70) { u32::MAX } else { 1 };
        let process = &mut self.drivers[driver];
        let Some(question) = &process.question else { return };
        let (id, pid, boot) = (&process.view.state.id, process.pid, format!("boot-{}", self.boot));
        let (Question::IsAlive(claim) | Question::Void(claim) | Question::Look(claim)) = question;
        let dir = World::journal(id, claim);
        let answer = process.calls.run(&mut self.disk, pid, calls, |hand| match question {
            Question::IsAlive(_) => Answer::IsAlive(rules::is_alive(hand, &dir).unwrap_or(false)),
            Question::Void(_) => Answer::Void(rules::try_void(hand, &dir).is_ok_and(|mark| mark == Mark::Void)),
            Question::Look(_) => Answer::Looked(rules::look(hand, &dir, &boot)),
        });
        let delay = match answer {
            None if self.strikes(Fault::DriverKilled, "driver killed while it asked a journal") => {
                return self.end_driver(driver);
            }
            None => self.dice.below(3),
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
        let (Question::IsAlive(claim) | Question::Void(claim) | Question::Look(claim)) = question;
        match answer {
            Answer::IsAlive(alive) => process.course.is_alive(alive),
            Answer::Void(never_started) => process.course.voided(never_started),
            Answer::Looked(looked) => {
                let state = &process.view.state;
                let unit = state.live_attempt(&claim).map(|(unit, _)| unit);
                let found = match (looked, unit) {
                    (Ok(Looked::Result(result)), Some(unit)) => {
                        let outputs =
                            if unit.part == Part::Step { self.oracle.outputs_of(&claim) } else { Outputs::new() };
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

    /// The process is gone, however it went. The kernel gives back its lock, and its connections end.
    pub(crate) fn end_driver(&mut self, driver: usize) {
        let process = &mut self.drivers[driver];
        if !std::mem::take(&mut process.alive) {
            return;
        }
        let job = process.job;
        process.calls = Calls::default();
        for keeper in std::mem::take(&mut process.hears) {
            self.hang_up(keeper, driver);
        }
        self.jobs[job].driver = None;
        let delay = self.dice.between(50, 4_000);
        self.after(delay, Event::Owner(job));
    }

    pub(crate) fn connect(&mut self, driver: usize, keeper: usize) {
        self.drivers[driver].hears.insert(keeper);
        self.keepers[keeper].clients.insert(driver);
    }
}

fn place(next: &Do) -> &'static str {
    match next {
        Do::Say { .. } | Do::Commit => "driver killed before a commit",
        Do::Start(_) => "driver killed between a commit and a start",
        Do::WakeUp { .. } | Do::Kill { .. } => "driver killed before a kill",
        Do::IsAlive(_) | Do::Join(_) => "driver killed while it took over",
        Do::Void(_) | Do::Look(_) => "driver killed before it looked into a journal",
        Do::Wait { .. } => "driver killed while it waited",
        Do::End(_) | Do::GiveUp => "driver killed at its end",
    }
}
