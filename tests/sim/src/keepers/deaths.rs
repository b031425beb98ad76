//! Keepers that are killed, and what becomes of what they kept.

use runward_workers::driver::course::News;
use runward_workers::supervisor::journal::{AttemptResult, End, JournalError, rules};
use runward_workers::supervisor::spool::LogSummary;

use super::Stage;
use crate::disk::Calls;
use crate::world::{Event, World};

impl World {
    /// `kill -9` of one process. What it kept falls to its supervisor, or to nobody.
    pub(crate) fn kill_subreaper(&mut self, subreaper: usize) {
        if !self.subreapers[subreaper].alive {
            return;
        }
        let claim = self.subreapers[subreaper].order.claim.clone();
        self.oracle.keeper_died(&claim);
        let runs = matches!(self.subreapers[subreaper].stage, Stage::Runs);
        let keeper = self.end_subreaper(subreaper);
        if self.keepers[keeper].alive {
            self.keepers[keeper].fallen.insert(claim, subreaper);
            let delay = self.dice.between(1, 20);
            self.after(delay, Event::Swept { keeper, subreaper });
        } else if let (true, Some(effect)) = (runs, self.subreapers[subreaper].effect) {
            self.counters.add("a step was left without keepers");
            self.oracle.orphaned(effect);
        }
    }

    /// The supervisor has killed what was left, and says so where nobody else can.
    pub(crate) fn swept(&mut self, keeper: usize, subreaper: usize) {
        let it = &self.subreapers[subreaper];
        let (claim, order, effect) = (it.order.claim.clone(), it.order.clone(), it.effect);
        if !self.keepers[keeper].alive {
            return;
        }
        self.keepers[keeper].fallen.remove(&claim);
        if let Some(effect) = effect {
            self.oracle.ended(self.now, effect, None);
        }
        let dir = World::journal(&order.run, &claim);
        let now = self.clock_ms() as u64;
        let result = AttemptResult {
            boot: order.boot.clone(),
            end: End::Interrupted,
            started_at_ms: now,
            ended_at_ms: now,
            cpu_ms: None,
            max_rss_kib: None,
            log: LogSummary::default(),
            orphans: Vec::new(),
            unkillable: Vec::new(),
        };
        let pid = self.new_pid();
        let calls = Calls::default();
        calls.run(&mut self.disk, pid, u32::MAX, |hand| -> Result<(), JournalError> {
            if !matches!(rules::read_result(hand, &dir, &order.boot), Ok(Some(_))) {
                return rules::write_result(hand, &dir, &result);
            }
            Ok(())
        });
        self.tell_ended(keeper, subreaper);
        self.after(20, Event::KeeperIdle(keeper));
    }

    /// `kill -9` of a supervisor: its clients lose their connection, its subreapers end their steps.
    pub(crate) fn kill_keeper(&mut self, keeper: usize) {
        let it = &mut self.keepers[keeper];
        if !std::mem::take(&mut it.alive) {
            return;
        }
        let session = it.session.clone();
        let (clients, live) = (std::mem::take(&mut it.clients), std::mem::take(&mut it.live));
        for subreaper in std::mem::take(&mut it.fallen).into_values() {
            if let Some(effect) = self.subreapers[subreaper].effect.filter(|effect| self.oracle.runs(*effect)) {
                self.counters.add("a step was left without keepers");
                self.oracle.orphaned(effect);
            }
        }
        for (claim, subreaper) in live {
            self.oracle.keeper_died(&claim);
            self.after(1, Event::Deserted(subreaper));
        }
        for driver in clients {
            self.tell(driver, News::Gone(session.clone()));
        }
    }

    /// The machine is down: every process is dead, every lock gone.
    pub(crate) fn all_processes_die(&mut self) {
        for subreaper in 0..self.subreapers.len() {
            let it = &self.subreapers[subreaper];
            let effect = it.effect.filter(|effect| self.oracle.runs(*effect));
            if let Some(effect) = effect {
                self.oracle.ended(self.now, effect, None);
            }
            if self.subreapers[subreaper].alive {
                self.end_subreaper(subreaper);
            }
        }
        for keeper in &mut self.keepers {
            keeper.alive = false;
            keeper.clients.clear();
            keeper.listeners.clear();
            keeper.live.clear();
            keeper.fallen.clear();
        }
    }
}
