//! Drivers: the real [`Course`] of a member, carried out one thing after the other, with anything in between.

use runward_engine::run::{ClaimId, Offer};
use runward_engine::runbook::templates::Templates;
use runward_store::{Ledger, RunView};
use runward_workers::driver::Callees;
use runward_workers::driver::course::{Course, Do, Joined, News};
use runward_workers::driver::inquiry::Found;
use runward_workers::step::report;
use runward_workers::supervisor::journal::{AttemptResult, End};
use runward_workers::supervisor::spool::LogSummary;

use super::steps::{Process, Stage, Why};
use super::{Cluster, Event, at_once};

/// How often a driver looks whether others have changed its run.
const LOOK_MS: u64 = 1_000;

#[derive(Debug)]
pub(super) struct Visit {
    pub(super) home: usize,
    pub(super) run: usize,
    pub(super) alive: bool,
    pub(super) course: Course,
    pub(super) view: RunView,
    waiting: bool,
    waits: u64,
    inbox: Vec<News>,
    /// It would have claimed something, and its worker may not: it is not heard of.
    full: bool,
}

/// What a driver has asked, and hears after a while.
#[derive(Debug, Clone)]
pub(super) enum Question {
    Join(ClaimId),
    Look(ClaimId),
}

impl Cluster {
    pub(super) fn open_visit(&mut self, home: usize, run: usize, view: RunView) {
        let it = &self.homes[home];
        let Some(worker) = &it.worker else { return };
        let course = Course::new(worker.session.clone(), boot(it.boot));
        let mut course = course.for_member(it.place.clone(), it.offer.clone());
        course.begin(&view.state, Templates::new(), Callees::default());
        if course.own(&view.state).next().is_some() {
            self.counters.add("a driver took over attempts of another");
        }
        let visit = self.visits.len();
        self.visits.push(Visit {
            home,
            run,
            alive: true,
            course,
            view,
            waiting: false,
            waits: 0,
            inbox: Vec::new(),
            full: false,
        });
        if let Some(worker) = &mut self.homes[home].worker {
            worker.visits.insert(run, visit);
        }
        self.after(1, Event::Drive(visit));
    }

    pub(super) fn drive(&mut self, visit: usize) {
        let it = &mut self.visits[visit];
        if !it.alive {
            return;
        }
        for news in std::mem::take(&mut it.inbox) {
            it.course.heard(&it.view.state, news);
        }
        match it.course.next(&it.view.state) {
            Do::Commit => return self.commit(visit),
            Do::Start(start) => self.launch(visit, &start.claim),
            Do::WakeUp { .. } => {}
            Do::Kill { claim, grace, .. } => self.kill(visit, &claim, grace.as_millis() as u64),
            Do::Join { claim, .. } => return self.ask(visit, Question::Join(claim)),
            Do::Look(claim) => return self.ask(visit, Question::Look(claim)),
            Do::Wait { wake_at } => return self.wait(visit, wake_at),
            Do::End(end) => {
                self.counters.add(match end {
                    runward_workers::driver::Drive::Idle => "a driver found nothing more for its worker",
                    _ => "a driver finished its run",
                });
                return self.close(visit);
            }
            Do::GiveUp => {
                self.counters.add("a driver gave up after an error");
                return self.close(visit);
            }
            Do::Say { .. } | Do::Void(_) => {}
        }
        self.after(self.now % 2, Event::Drive(visit));
    }

    fn close(&mut self, visit: usize) {
        let (home, run) = (self.visits[visit].home, self.visits[visit].run);
        self.visits[visit].alive = false;
        if let Some(worker) = &mut self.homes[home].worker {
            worker.visits.remove(&run);
        }
    }

    fn commit(&mut self, visit: usize) {
        let home = self.visits[visit].home;
        self.draw_fate(home);
        let boot = self.homes[home].boot;
        let lease_until = self.homes[home].worker.as_ref().map_or(0, |worker| worker.lease_until);
        let heard = self.now < lease_until;
        let Cluster { visits, ledger, claims, processes, by_claim, .. } = self;
        let Visit { course, view, run, full, .. } = &mut visits[visit];
        *full = false;
        let next = &mut |state: &_| {
            course.command(state, || {
                if !heard {
                    *full = true;
                    return None;
                }
                *claims += 1;
                let claim = ClaimId(format!("c{claims}"));
                // The unit is known when it starts.
                let unit = runward_engine::run::Unit::step(0);
                by_claim.insert(claim.clone(), processes.len());
                processes.push(Process::claimed(home, *run, unit, claim.clone(), boot, false));
                processes.last_mut().expect("it was pushed").lease_until = lease_until;
                Some(claim)
            })
        };
        let committed = at_once(ledger.commit(view, next, "driver"));
        if committed.is_err() {
            course.failed();
        }
        let run = *run;
        self.audit(run);
        let delay = self.moment();
        match committed {
            Ok(_) => self.after(delay, Event::Acknowledged(visit)),
            Err(_) => self.after(delay, Event::Drive(visit)),
        }
    }

    pub(super) fn acknowledged(&mut self, visit: usize) {
        let it = &mut self.visits[visit];
        if it.alive {
            it.course.committed(&it.view.state);
            self.after(0, Event::Drive(visit));
        }
    }

    fn launch(&mut self, visit: usize, claim: &ClaimId) {
        let it = &self.visits[visit];
        let Some((unit, _)) = it.view.state.live_attempt(claim) else { return };
        let strict = it.view.state.is_strict(unit);
        let lease_until = self.homes[it.home].worker.as_ref().map_or(0, |worker| worker.lease_until);
        let process = self.by_claim[claim];
        let home = self.visits[visit].home;
        let mut delay = self.moment();
        if !self.calm && self.faults.machines > 0 && self.dice.percent(1) {
            self.counters.add("a worker hung before a start");
            delay = self.dice.between(15_000, 60_000);
            let it = &mut self.homes[home];
            it.stopped_until = it.stopped_until.max(self.now + delay);
            it.trouble_until = it.trouble_until.max(self.now + delay);
        }
        let it = &mut self.processes[process];
        (it.unit, it.strict, it.lease_until) = (unit, strict, lease_until);
        self.after(delay, Event::Start(process));
    }

    fn kill(&mut self, visit: usize, claim: &ClaimId, grace_ms: u64) {
        match self.by_claim.get(claim).copied().filter(|process| self.processes[*process].is_there()) {
            Some(process) => self.stop(process, Why::Killed, grace_ms),
            None => self.visits[visit].inbox.push(News::Ended(claim.clone())),
        }
    }

    fn ask(&mut self, visit: usize, question: Question) {
        let delay = self.moment() + self.dice.below(60);
        self.after(delay, Event::Answer(visit, question));
    }

    pub(super) fn answer(&mut self, visit: usize, question: Question) {
        if !self.visits[visit].alive {
            return;
        }
        let (Question::Join(claim) | Question::Look(claim)) = &question;
        let Some(process) = self.by_claim.get(claim).copied() else { return };
        let home = self.visits[visit].home;
        if self.processes[process].home != home {
            // Its journal is on another machine.
            match question {
                Question::Join(_) => self.visits[visit].course.joined(Joined::Nobody),
                Question::Look(_) => self.visits[visit].course.found(Found::JournalGone),
            }
            return self.after(0, Event::Drive(visit));
        }
        match question {
            Question::Join(_) => {
                let joined = if self.processes[process].is_there() { Joined::Keeper } else { Joined::Stranger };
                self.visits[visit].course.joined(joined);
            }
            Question::Look(_) => {
                let Some(found) = self.journal(visit, process) else {
                    return self.after(20, Event::Answer(visit, question)); // it lives
                };
                self.visits[visit].course.found(found);
            }
        }
        self.after(0, Event::Drive(visit));
    }

    /// What is proven of an attempt; `None` while it lives.
    fn journal(&mut self, visit: usize, process: usize) -> Option<Found> {
        let it = &mut self.processes[process];
        let end = match &it.stage {
            Stage::Runs => return None,
            Stage::Claimed => {
                it.stage = Stage::Void;
                return Some(Found::NeverStarted);
            }
            Stage::Void => return Some(Found::NeverStarted),
            Stage::Dead => return Some(Found::Dead),
            Stage::Over(end) => end.clone(),
        };
        let state = &self.visits[visit].view.state;
        let unit = self.processes[process].unit;
        Some(Found::Ended(Box::new(report::concluded(state.timeout_of(unit), &result(end), || Ok(Default::default())))))
    }

    fn wait(&mut self, visit: usize, wake_at: Option<i64>) {
        let clock = self.clock_ms();
        let it = &mut self.visits[visit];
        it.waiting = true;
        it.waits += 1;
        let wait = it.waits;
        let left = wake_at.map_or(LOOK_MS, |at| u64::try_from(at - clock).unwrap_or(0).clamp(1, LOOK_MS));
        self.after(left, Event::Look(visit, wait));
    }

    pub(super) fn hear(&mut self, visit: usize, news: News) {
        let it = &mut self.visits[visit];
        it.inbox.push(news);
        if it.alive && std::mem::take(&mut it.waiting) {
            self.after(0, Event::Drive(visit));
        }
    }

    /// Reads what others have recorded, and looks whether a moment has come.
    pub(super) fn look(&mut self, visit: usize, wait: u64) {
        let clock = self.clock_ms();
        let home = self.visits[visit].home;
        let reached = self.reaches_ledger(home);
        let it = &mut self.visits[visit];
        if !it.alive || !it.waiting || it.waits != wait {
            return;
        }
        it.waiting = false;
        if !reached {
            it.course.failed();
        } else if at_once(self.ledger.refresh(&mut it.view)).is_ok_and(|news| !news.is_empty() || it.full) {
            it.course.looked();
        }
        let due = runward_engine::run::todo::todo_for(&it.view.state, &Offer::Nothing).wake_at;
        if due.is_some_and(|at| at <= clock) {
            it.course.woken();
        }
        self.after(0, Event::Drive(visit));
    }
}

fn boot(boot: u32) -> String {
    format!("boot-{boot}")
}

fn result(end: End) -> AttemptResult {
    let log = LogSummary::default();
    let (orphans, unkillable) = (Vec::new(), Vec::new());
    let (started_at_ms, ended_at_ms, cpu_ms, max_rss_kib) = (1, 1, None, None);
    AttemptResult {
        boot: String::new(),
        end,
        started_at_ms,
        ended_at_ms,
        cpu_ms,
        max_rss_kib,
        log,
        orphans,
        unkillable,
    }
}
