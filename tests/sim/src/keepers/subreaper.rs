//! What a subreaper does with its attempt, one thing after the other: lock and name, exec, the result.

use runward_engine::run::Unit;
use runward_engine::run::ids::Part;
use runward_workers::driver::course::News;
use runward_workers::supervisor::journal::{AttemptResult, End, Mark, Reported, rules};
use runward_workers::supervisor::protocol::Refusal;
use runward_workers::supervisor::spool::LogSummary;

use super::{Stage, Why};
use crate::disk::Calls;
use crate::weather::Fault;
use crate::world::{Event, World};

impl World {
    /// The subreaper does its next thing: lock and name, exec, or the result.
    pub(crate) fn carry(&mut self, subreaper: usize) {
        if !self.subreapers[subreaper].alive {
            return;
        }
        let (place, both) = match self.subreapers[subreaper].stage {
            Stage::Start => ("subreaper killed before or while it marked the start", "keepers killed at the start"),
            Stage::Exec => ("subreaper killed between mark and exec", "keepers killed between mark and exec"),
            Stage::Runs | Stage::Over => return,
            Stage::Publish(_) => ("subreaper killed while it wrote the result", "keepers killed at the result"),
        };
        if self.strikes(Fault::KeepersKilled, both) {
            let keeper = self.subreapers[subreaper].keeper;
            self.kill_subreaper(subreaper);
            return self.kill_keeper(keeper);
        }
        if self.strikes(Fault::SubreaperKilled, place) {
            return self.kill_subreaper(subreaper);
        }
        match self.subreapers[subreaper].stage {
            Stage::Start => self.mark(subreaper),
            Stage::Exec => self.exec(subreaper),
            Stage::Publish(_) => self.publish(subreaper),
            Stage::Runs | Stage::Over => {}
        }
    }

    fn mark(&mut self, subreaper: usize) {
        let calls = if self.dice.percent(50) { u32::MAX } else { 1 };
        let it = &self.subreapers[subreaper];
        let dir = World::journal(&it.order.run, &it.order.claim);
        let marked = it.calls.run(&mut self.disk, it.pid, calls, |hand| rules::start(hand, &dir, it.pid as u32));
        let refusal = match marked {
            None => return self.after(self.now % 2, Event::Carry(subreaper)),
            Some(Ok(Ok(_))) => {
                self.subreapers[subreaper].stage = Stage::Exec;
                return self.after(1, Event::Carry(subreaper));
            }
            Some(Ok(Err(Mark::Started))) => Refusal::AlreadyStarted,
            Some(Ok(Err(Mark::Void))) => Refusal::Void,
            Some(Err(error)) => Refusal::Directory(error.to_string()),
        };
        self.counters.add("the journal refused a start");
        let keeper = self.end_subreaper(subreaper);
        let (claim, by) = (self.subreapers[subreaper].order.claim.clone(), self.subreapers[subreaper].asked_by);
        if !self.keepers[keeper].alive {
            return;
        }
        for driver in self.told(keeper, by) {
            let news = match driver == by {
                true => News::Refused(claim.clone(), refusal.clone()),
                false => News::Ended(claim.clone()),
            };
            self.tell(driver, news);
        }
    }

    fn exec(&mut self, subreaper: usize) {
        let start = self.clock_ms();
        let it = &mut self.subreapers[subreaper];
        it.stage = Stage::Runs;
        it.started_at_ms = start as u64;
        let (order, deserted) = (it.order.clone(), it.deserted);
        let effect = self.oracle.started(self.now, &self.jobs, &order);
        self.subreapers[subreaper].effect = Some(effect);
        let lasts = match self.dice.below(100) {
            0..75 => self.dice.between(1, 60),
            75..95 => self.dice.between(60, 1_500),
            _ => self.dice.between(1_500, 30_000),
        };
        self.after(lasts, Event::StepEnds(subreaper));
        self.after(order.timeout_ms, Event::StepTimesOut(subreaper));
        if deserted {
            self.deserted(subreaper);
        } else if let Some(kill_at) = self.subreapers[subreaper].kill_at {
            self.step_is_told(subreaper, kill_at);
        }
    }

    pub(crate) fn step_ends(&mut self, subreaper: usize) {
        let it = &self.subreapers[subreaper];
        let orphaned = !it.alive && it.effect.is_some_and(|effect| self.oracle.is_orphan(effect));
        if !orphaned && (!it.alive || !matches!(it.stage, Stage::Runs)) {
            return;
        }
        let (job, unit, effect) = (it.order.job, it.order.unit, it.effect);
        let code = self.exit_code(job, unit);
        // What failed may have done it all the same.
        let there = code == 0 || self.dice.percent(30);
        self.oracle.brought_about(job, unit, there);
        if let Some(effect) = effect {
            self.oracle.ended(self.now, effect, Some(code));
        }
        if orphaned {
            return;
        }
        let it = &self.subreapers[subreaper];
        let reported = Reported::Exited { code };
        let end = match it.why {
            None => reported.into(),
            Some(Why::TimedOut) => End::TimedOut { reported: Some(reported) },
            Some(Why::Killed) => End::Killed { reported: Some(reported) },
            Some(Why::Interrupted) => End::Interrupted,
        };
        self.conclude(subreaper, end);
    }

    fn exit_code(&mut self, job: usize, unit: Unit) -> i32 {
        if unit.part == Part::Check && self.dice.percent(94) {
            return i32::from(!self.oracle.is_in_place(job, unit));
        }
        if self.dice.percent(self.bad_luck) { self.dice.between(1, 3) as i32 } else { 0 }
    }

    pub(crate) fn step_times_out(&mut self, subreaper: usize) {
        let it = &self.subreapers[subreaper];
        if it.alive && matches!(it.stage, Stage::Runs) && it.why.is_none() {
            self.counters.add("a step timed out");
            let grace_ms = it.order.grace_ms;
            self.stop(subreaper, Why::TimedOut, grace_ms);
        }
    }

    /// TERM now, KILL after the grace.
    pub(crate) fn step_is_told(&mut self, subreaper: usize, grace_ms: u64) {
        let it = &mut self.subreapers[subreaper];
        if !it.alive {
            return;
        }
        match it.stage {
            Stage::Start | Stage::Exec => it.kill_at = Some(grace_ms), // it came together with the order to start
            Stage::Runs => self.stop(subreaper, Why::Killed, grace_ms),
            Stage::Publish(_) | Stage::Over => {}
        }
    }

    fn stop(&mut self, subreaper: usize, why: Why, grace_ms: u64) {
        self.subreapers[subreaper].why.get_or_insert(why);
        let obeys = self.dice.percent(80);
        let delay = if obeys { self.dice.below(20).min(grace_ms) } else { grace_ms };
        self.after(delay, Event::StepIsKilled(subreaper));
    }

    pub(crate) fn step_is_killed(&mut self, subreaper: usize) {
        let it = &self.subreapers[subreaper];
        if !it.alive || !matches!(it.stage, Stage::Runs) {
            return;
        }
        let reported = Some(Reported::Signaled { signal: 15 });
        let end = match it.why {
            Some(Why::TimedOut) => End::TimedOut { reported },
            Some(Why::Killed) => End::Killed { reported },
            Some(Why::Interrupted) | None => End::Interrupted,
        };
        let (job, unit, effect) = (it.order.job, it.order.unit, it.effect);
        let there = self.dice.percent(40);
        self.oracle.brought_about(job, unit, there);
        if let Some(effect) = effect {
            self.oracle.ended(self.now, effect, None);
        }
        self.conclude(subreaper, end);
    }

    /// The supervisor is dead: the step is killed at once.
    pub(crate) fn deserted(&mut self, subreaper: usize) {
        let it = &mut self.subreapers[subreaper];
        it.deserted = true;
        if it.alive && matches!(it.stage, Stage::Runs) {
            it.why.get_or_insert(Why::Interrupted);
            let delay = self.dice.below(120);
            self.after(delay, Event::StepIsKilled(subreaper));
        }
    }

    /// Nothing of the step is left: the result is written.
    fn conclude(&mut self, subreaper: usize, end: End) {
        let ended_at_ms = self.clock_ms() as u64;
        let it = &mut self.subreapers[subreaper];
        let result = AttemptResult {
            boot: it.order.boot.clone(),
            end,
            started_at_ms: it.started_at_ms,
            ended_at_ms,
            cpu_ms: None,
            max_rss_kib: None,
            log: LogSummary::default(),
            orphans: Vec::new(),
            unkillable: Vec::new(),
        };
        it.stage = Stage::Publish(Box::new(result));
        it.calls = it.calls.next();
        let delay = self.moment("slow result");
        self.after(delay, Event::Carry(subreaper));
    }

    fn publish(&mut self, subreaper: usize) {
        let calls = if self.dice.percent(70) { u32::MAX } else { 1 };
        let it = &self.subreapers[subreaper];
        let Stage::Publish(result) = &it.stage else { return };
        let dir = World::journal(&it.order.run, &it.order.claim);
        let written = it.calls.run(&mut self.disk, it.pid, calls, |hand| rules::write_result(hand, &dir, result));
        match written {
            None => self.after(self.now % 2, Event::Carry(subreaper)),
            Some(_) => {
                let keeper = self.end_subreaper(subreaper);
                if self.keepers[keeper].alive {
                    self.tell_ended(keeper, subreaper);
                }
            }
        }
    }

    /// The subreaper has let go of its attempt.
    pub(super) fn end_subreaper(&mut self, subreaper: usize) -> usize {
        let it = &mut self.subreapers[subreaper];
        it.alive = false;
        it.stage = Stage::Over;
        let (keeper, pid, holds) = (it.keeper, it.pid, it.calls.holds.get());
        let claim = it.order.claim.clone();
        it.calls = Calls::default();
        self.disk.died(pid, holds);
        self.keepers[keeper].live.remove(&claim);
        self.after(20, Event::KeeperIdle(keeper));
        keeper
    }
}
