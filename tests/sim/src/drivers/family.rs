//! Children, looked after as `workers::driver::children` does: found or made, continued, driven beside their parent, left.

use runward_engine::run::child::{self, ChildEnd, ChildOutcome};
use runward_engine::run::todo::{ChildTodo, todo};
use runward_engine::run::{Command, RunId};
use runward_store::{Ledger, LedgerError, NewRun, RunView, command};
use runward_workers::driver::Drive;
use runward_workers::driver::children::{Wish, end_of, goes_on, is_stirred, to_make};

use crate::ledger::at_once;
use crate::weather::Fault;
use crate::world::{Event, World};

/// Of the driver of a child: who drives its parent.
#[derive(Debug, Clone)]
pub struct Above {
    pub driver: usize,
    pub child: RunId,
}

/// A child that is looked after.
#[derive(Debug)]
pub(super) struct Care {
    generation: u32,
    new: Result<Box<NewRun>, String>,
    /// Who lets it go on, if it is to go on after its end.
    by: String,
    wish: Wish,
    pub(super) rests: bool,
    driven: bool,
    over: bool,
}

#[derive(Debug)]
pub(super) enum FromChild {
    Ended(RunId, Box<ChildEnd>),
    Rests,
    Trouble,
}

impl World {
    /// What its parent wants of the run of this driver now.
    pub(super) fn heed(&mut self, driver: usize) {
        let Some(Above { driver: above, child }) = self.drivers[driver].above.clone() else { return };
        let Some(wish) = self.drivers[above].nursery.get(&child).map(|care| care.wish.clone()) else { return };
        let process = &mut self.drivers[driver];
        process.course.heed(&process.view.state, &wish, "driver");
    }

    /// Whether its parent wants nothing new to start.
    pub(super) fn is_to_hold(&self, driver: usize) -> bool {
        let above = self.drivers[driver].above.as_ref();
        let care = above.and_then(|above| self.drivers[above.driver].nursery.get(&above.child));
        care.is_some_and(|care| care.wish.held)
    }

    /// Looks after the children there have to be, and tells them what is wanted now.
    pub(super) fn tend(&mut self, driver: usize) {
        let process = &mut self.drivers[driver];
        let state = &process.view.state;
        if state.children().is_empty() && process.nursery.is_empty() {
            return;
        }
        let held = process.course.is_held();
        process.nursery.retain(|child, _| state.children().contains_key(child));
        let mut minded = Vec::new();
        for ChildTodo { child, unit, generation, stop } in todo(state).children {
            let wish = Wish::of(state, held, stop);
            if let Some(care) = process.nursery.get_mut(&child) {
                if care.wish != wish {
                    (care.wish, care.rests) = (wish, false);
                    minded.push(child);
                }
                continue;
            }
            let new = process.callees.new_run(state, unit, &child, &str::to_owned).map(Box::new);
            let by = state.resumed.as_ref().map_or("driver", |act| &act.by).to_owned();
            let care = Care { generation, new, by, wish, rests: false, driven: false, over: false };
            process.nursery.insert(child.clone(), care);
            minded.push(child);
        }
        for child in minded {
            let delay = self.moment("slow child");
            self.after(delay, Event::Mind { driver, child });
        }
    }

    /// A child is looked for, made, continued or driven; or its driver hears what is wanted now.
    pub(crate) fn mind(&mut self, driver: usize, child: &RunId) {
        let process = &self.drivers[driver];
        let Some(care) = process.nursery.get(child).filter(|care| process.alive && !process.closing && !care.over)
        else {
            return;
        };
        if care.driven {
            let below = self.children_of(driver);
            let below =
                below.into_iter().find(|it| self.drivers[*it].above.as_ref().is_some_and(|it| it.child == *child));
            return below.into_iter().for_each(|below| self.stir(below));
        }
        if self.strikes(Fault::DriverKilled, "driver killed before it looked for a child") {
            return self.kill_driver(driver);
        }
        let Some(mut view) = self.find_or_make(driver, child) else { return };
        let job = self.child_job(self.drivers[driver].job, &view.state.id);
        if self.strikes(Fault::DriverKilled, "driver killed when it had found or made a child") {
            return self.kill_driver(driver);
        }
        let people = self.drivers[driver].course.leaves_to_people();
        let Some(care) = self.drivers[driver].nursery.get_mut(child) else { return };
        if care.rests && !is_stirred(&view.state, people) && view.state.children().is_empty() {
            return;
        }
        care.rests = false;
        if goes_on(&view.state, care.generation) && !self.go_on(driver, child, job, &mut view) {
            return self.tell_parent(driver, FromChild::Trouble);
        }
        if let Some(end) = end_of(&view.state) {
            return self.child_ended(driver, child, end);
        }
        if self.jobs[job].driver.is_some() {
            return self.after(200, Event::Mind { driver, child: child.clone() });
        }
        if let Some(care) = self.drivers[driver].nursery.get_mut(child) {
            care.driven = true;
        }
        self.start_driver(job, view, Some(Above { driver, child: child.clone() }));
    }

    /// The child: the one there is, else a new one. `None`: it is over before it came to be, or something went wrong.
    fn find_or_make(&mut self, driver: usize, child: &RunId) -> Option<RunView> {
        // Read from the first event on, or as somebody has it who has read every event.
        let known = self.by_run.get(child).filter(|_| !self.now.is_multiple_of(10));
        if let Some(view) = known.and_then(|job| self.jobs[*job].watcher.clone()) {
            return Some(view);
        }
        match at_once(self.ledger.load(child)) {
            Ok(view) => return Some(view),
            Err(LedgerError::NoSuchRun(_)) => {}
            Err(error) => {
                self.oracle.broken("I7", || format!("the child {child} cannot be read: {error}"));
                return None;
            }
        }
        let care = self.drivers[driver].nursery.get(child)?;
        match to_make(care.new.clone(), &care.wish) {
            Err(end) => {
                self.counters.add("a child never came to be");
                self.child_ended(driver, child, end);
                None
            }
            Ok(new) => {
                self.draw_fate();
                let made = at_once(self.ledger.trigger(*new)).ok().map(|triggered| triggered.view);
                match &made {
                    Some(_) => self.counters.add("a child was made"),
                    None => self.tell_parent(driver, FromChild::Trouble),
                }
                made
            }
        }
    }

    /// A child that was at its end begins its next generation; refused only if somebody was faster.
    fn go_on(&mut self, driver: usize, child: &RunId, job: usize, view: &mut RunView) -> bool {
        let by = self.drivers[driver].nursery.get(child).map_or_else(|| "driver".to_owned(), |care| care.by.clone());
        self.draw_fate();
        let done = at_once(command(&self.ledger, view, Command::Resume { from: None, reason: None }, &by));
        self.audit(job);
        self.counters.add("a child was continued");
        done.is_ok()
    }

    fn child_ended(&mut self, driver: usize, child: &RunId, end: ChildEnd) {
        if let Some(care) = self.drivers[driver].nursery.get_mut(child) {
            care.over = true;
        }
        self.counters.add(match end.outcome {
            ChildOutcome::Succeeded => "a child succeeded",
            ChildOutcome::Failed => "a child failed",
            ChildOutcome::Rejected => "a child was rejected",
            ChildOutcome::TimedOut => "a child timed out",
            ChildOutcome::Cancelled => "a child was cancelled",
            ChildOutcome::Unknown => "nobody knows what became of a step of a child",
        });
        self.tell_parent(driver, FromChild::Ended(child.clone(), Box::new(end)));
    }

    fn tell_parent(&mut self, driver: usize, told: FromChild) {
        self.drivers[driver].from_children.push(told);
        self.stir(driver);
    }

    pub(super) fn hear_child(&mut self, driver: usize, told: FromChild) {
        let course = &mut self.drivers[driver].course;
        match told {
            FromChild::Ended(child, end) => course.child_ended(child, *end),
            FromChild::Rests => {}
            FromChild::Trouble => course.failed(),
        }
    }

    /// Its parent has left it.
    pub(super) fn leave(&mut self, driver: usize) {
        self.drivers[driver].is_left = true;
        self.stir(driver);
    }

    /// The driver of a child is done; `None` after an error.
    pub(super) fn report_to_parent(&mut self, driver: usize, end: Option<Drive>) {
        let Some(Above { driver: above, child }) = self.drivers[driver].above.clone() else { return };
        let Some(care) = self.drivers[above].nursery.get_mut(&child) else { return };
        care.driven = false;
        match end {
            Some(Drive::Finished) => {
                let end = child::end(&self.drivers[driver].view.state);
                self.child_ended(above, &child, end);
            }
            Some(Drive::Left | Drive::Idle) => care.over = true,
            Some(Drive::Waiting) => {
                care.rests = true;
                self.counters.add("a child rests");
                let grandchildren = !self.drivers[driver].view.state.children().is_empty();
                self.after(if grandchildren { 2_000 } else { 200 }, Event::Mind { driver: above, child });
                self.tell_parent(above, FromChild::Rests);
            }
            None => self.tell_parent(above, FromChild::Trouble),
        }
    }
}
