//! What happens to the machine as a whole, or at no particular moment.

use crate::weather::Fault;
use crate::world::{Event, World};

impl World {
    pub(crate) fn storm(&mut self) {
        if self.weather.calm {
            return;
        }
        if self.strikes(Fault::Reboot, "the machine restarted") {
            self.reboot();
        }
        if self.strikes(Fault::ClockJump, "the clock jumped") {
            self.skew_ms = self.weather.how(4 * 3_600_000) as i64 - 2 * 3_600_000;
        }
        if self.strikes(Fault::SupervisorKilled, "supervisor killed at any time") {
            let alive: Vec<usize> = (0..self.keepers.len()).filter(|keeper| self.keepers[*keeper].alive).collect();
            if !alive.is_empty() {
                let keeper = alive[self.weather.how(alive.len() as u64) as usize];
                self.kill_keeper(keeper);
            }
        }
        if self.strikes(Fault::SubreaperKilled, "subreaper killed at any time") {
            let alive: Vec<usize> = (0..self.subreapers.len()).filter(|it| self.subreapers[*it].alive).collect();
            if !alive.is_empty() {
                let subreaper = alive[self.weather.how(alive.len() as u64) as usize];
                self.kill_subreaper(subreaper);
            }
        }
        if self.strikes(Fault::DriverKilled, "driver killed at any time") {
            let alive: Vec<usize> = (0..self.drivers.len()).filter(|it| self.drivers[*it].alive).collect();
            if !alive.is_empty() {
                let driver = alive[self.weather.how(alive.len() as u64) as usize];
                self.kill_driver(driver);
            }
        }
        if self.strikes(Fault::JournalGone, "somebody removed a journal") {
            let last = self.subreapers.iter().rev().find(|it| it.alive);
            if let Some(order) = last.map(|it| it.order.clone()) {
                self.disk.remove(&World::journal(&order.run, &order.claim));
                self.oracle.journal_removed(&order.claim);
            }
        }
        self.after(500, Event::Weather);
    }

    /// Power off and on: every process is dead, and of the journals there is what the disk had.
    fn reboot(&mut self) {
        for driver in 0..self.drivers.len() {
            self.kill_driver(driver);
        }
        self.all_processes_die();
        self.boot += 1;
        self.oracle.rebooted(self.boot);
        for subreaper in 0..self.subreapers.len() {
            let order = self.subreapers[subreaper].order.clone();
            let how = self.dice.below(4);
            self.disk.after_reboot(&World::journal(&order.run, &order.claim), how);
        }
    }
}
