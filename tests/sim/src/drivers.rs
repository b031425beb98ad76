//! Drivers: the real [`Course`] carried out in the simulated world, killed between any two things it does. Those of a run
//! and of its children are one process, which dies as one.

use std::collections::{BTreeMap, BTreeSet};

use runward_engine::run::todo::{rests, todo};
use runward_engine::run::{ClaimId, RunId, RunState, SessionId};
use runward_engine::runbook::templates::Templates;
use runward_store::{Fate, Ledger, RunView};
use runward_workers::driver::Callees;
use runward_workers::driver::Drive;
use runward_workers::driver::course::{Course, Do, Joined, News, Start};
use runward_workers::supervisor::journal::rules;

use crate::disk::{Calls, Pid};
use crate::keepers::{Order, Request};
use crate::ledger::at_once;
use crate::weather::Fault;
use crate::world::{Event, World};

mod door;
mod family;
mod questions;

pub use family::Above;
use family::{Care, FromChild};
use questions::Question;

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
    from_children: Vec<FromChild>,
    looks: bool,
    timer: bool,
    /// Supervisors it is connected to.
    pub hears: BTreeSet<usize>,
    /// What it asks the journal now.
    question: Option<Question>,
    calls: Calls,
    asked_at: u64,
    /// Of the runbooks that its run calls.
    callees: Callees,
    /// The children it looks after.
    nursery: BTreeMap<RunId, Care>,
    /// Of a child: the driver of its parent.
    above: Option<Above>,
    /// It is done, and its children leave.
    closing: bool,
    /// Its parent has left it.
    is_left: bool,
    /// Runs that were cancelled to make room in the group.
    cancelled: BTreeSet<RunId>,
    /// The event after which it has asked for a permit last.
    knocked: Option<u64>,
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
    pub(crate) fn start_driver(&mut self, job: usize, view: RunView, above: Option<Above>) {
        let driver = self.drivers.len();
        let session = SessionId(format!("session-{driver}"));
        let mut course = Course::new(session.clone(), self.boot_id());
        let callees = self.callees_of(&view.state);
        course.begin(&view.state, Templates::new(), callees.clone());
        let people = match &above {
            Some(above) => self.drivers[above.driver].course.leaves_to_people(),
            None => self.dice.percent(30),
        };
        if people {
            course.leave_to_people();
        }
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
            from_children: Vec::new(),
            looks: false,
            timer: false,
            hears: BTreeSet::new(),
            question: None,
            calls: Calls::default(),
            asked_at: 0,
            callees,
            nursery: BTreeMap::new(),
            above,
            closing: false,
            is_left: false,
            cancelled: BTreeSet::new(),
            knocked: None,
        });
        self.jobs[job].driver = Some(driver);
        self.own_keeper(driver);
        self.after(1, Event::Drive(driver));
    }

    /// Each definition is read once.
    fn callees_of(&mut self, state: &RunState) -> Callees {
        if let Some(known) = self.callees.get(&state.definition) {
            return known.clone();
        }
        let read = at_once(Callees::of(&self.ledger, state)).unwrap_or_default();
        self.callees.entry(state.definition.clone()).or_insert(read).clone()
    }

    pub(crate) fn drive(&mut self, driver: usize) {
        if !self.drivers[driver].alive || self.drivers[driver].closing {
            return;
        }
        if self.drivers[driver].question.is_some() {
            return self.ask_on(driver);
        }
        self.heed(driver);
        self.tend(driver);
        let process = &mut self.drivers[driver];
        let next = process.course.next(&process.view.state);
        if self.strikes(Fault::DriverKilled, place(&next)) {
            return self.kill_driver(driver);
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
            Do::Void(claim) => return self.ask(driver, Question::Void(claim)),
            Do::Look(claim) => return self.ask(driver, Question::Look(claim)),
            Do::Join { session, .. } if self.keeper_of(&session).is_none() => {
                self.drivers[driver].course.joined(Joined::Nobody);
                0
            }
            Do::Join { session, claim } => {
                self.drivers[driver].question = Some(Question::Join(session, claim));
                self.moment("slow handshake") + self.dice.below(60)
            }
            Do::Wait { .. } if self.rests(driver) => return self.finish_driver(driver, Some(Drive::Waiting)),
            Do::Wait { wake_at } => return self.wait(driver, wake_at),
            Do::End(end) => return self.finish_driver(driver, Some(end)),
            Do::GiveUp => return self.finish_driver(driver, None),
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
        let held = self.is_to_hold(driver);
        let live = self.drivers[driver].view.state.live().len();
        if !self.knock(driver) {
            self.drivers[driver].course.failed();
            return self.after(1, Event::Drive(driver));
        }
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
        let more = self.drivers[driver].view.state.live().len() > live;
        if held && more {
            self.oracle.broken("I15", || format!("job {job} claims something while its parent is paused"));
        }
        self.audit(job);
        if !done {
            self.after(1, Event::Drive(driver));
        } else if self.strikes(Fault::DriverKilled, "driver killed before its commit was acknowledged") {
            self.kill_driver(driver);
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
        let children = std::mem::take(&mut process.from_children);
        if process.is_left {
            process.course.leave();
            return self.after(0, Event::Drive(driver));
        }
        let (timer, looks) = (std::mem::take(&mut process.timer), std::mem::take(&mut process.looks));
        if !inbox.is_empty() || !children.is_empty() || timer || looks {
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
            for told in children {
                self.hear_child(driver, told);
            }
            if looks {
                self.read_again(driver);
            }
            return self.after(0, Event::Drive(driver));
        }
        process.waiting = true;
        process.waits += 1;
        let asks = todo(&process.view.state).enter && process.knocked != Some(process.view.state.seq);
        if asks {
            self.after(200, Event::Look(driver));
        }
        let process = &self.drivers[driver];
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

    /// Whether its run can go on only when a child does, and none of them does.
    fn rests(&self, driver: usize) -> bool {
        let process = &self.drivers[driver];
        let children = |child: &RunId| process.nursery.get(child).is_some_and(|care| care.rests);
        rests(&process.view.state, process.course.leaves_to_people(), children)
    }

    /// `kill -9` of the process that this driver is a part of. The kernel gives back its locks, and its connections end.
    pub(crate) fn kill_driver(&mut self, driver: usize) {
        match self.drivers[driver].above.as_ref().map(|above| above.driver) {
            Some(above) => {
                self.counters.add("a driver was killed together with one of a child");
                self.kill_driver(above);
            }
            None => self.end_with_children(driver),
        }
    }

    fn end_with_children(&mut self, driver: usize) {
        for child in self.children_of(driver) {
            self.end_with_children(child);
        }
        self.end_driver(driver);
    }

    /// The drivers of children, as long as they are there.
    fn children_of(&self, driver: usize) -> Vec<usize> {
        let child = |it: &DriverProcess| it.alive && it.above.as_ref().is_some_and(|above| above.driver == driver);
        // A child's driver is younger.
        (driver + 1..self.drivers.len()).filter(|it| child(&self.drivers[*it])).collect()
    }

    /// Driving is over: `None` after an error.
    fn finish_driver(&mut self, driver: usize, end: Option<Drive>) {
        self.counters.add(match end {
            Some(Drive::Finished) => "a driver finished its run",
            Some(Drive::Waiting) => "a driver left a run to a person",
            Some(Drive::Left) => "a driver was asked to leave",
            Some(Drive::Idle) => "a driver found nothing for its worker",
            None => "a driver gave up after an error",
        });
        self.drivers[driver].closing = true;
        self.drivers[driver].nursery.clear();
        for child in self.children_of(driver) {
            self.leave(child);
        }
        self.report_to_parent(driver, end);
        self.close(driver);
    }

    /// Ends a driver that is done, once its children have left.
    fn close(&mut self, driver: usize) {
        if self.drivers[driver].closing && self.children_of(driver).is_empty() {
            let above = self.drivers[driver].above.as_ref().map(|above| above.driver);
            self.end_driver(driver);
            if let Some(above) = above {
                self.close(above);
            }
        }
    }

    fn end_driver(&mut self, driver: usize) {
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
        self.stir_group(job);
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
        Do::Join { .. } => "driver killed while it took over",
        Do::Void(_) | Do::Look(_) => "driver killed before it looked into a journal",
        Do::Wait { .. } => "driver killed while it waited",
        Do::End(_) | Do::GiveUp => "driver killed at its end",
    }
}
