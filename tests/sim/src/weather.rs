//! What goes wrong, when, and how often.
//!
//! Every place where something can go wrong is a site; sites are counted in the order they are reached. Whether one is
//! struck depends on the seed and its number alone, so a run of the world can be repeated with only some of its faults.
//! Each seed allows a random part of the kinds (swarm testing): what is hidden by one kind is found where it is absent.

use std::collections::BTreeSet;

use crate::dice::{Dice, mix};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `kill -9` of a driver, between any two things it does.
    DriverKilled,
    SupervisorKilled,
    SubreaperKilled,
    /// A subreaper and its supervisor at the same moment: nobody is left to end the step.
    KeepersKilled,
    /// Locks gone, processes dead, another boot id, journals as old as the disk had them.
    Reboot,
    /// The ledger refuses a write at once.
    Refused,
    /// A write takes no effect, and nobody is told.
    Vanished,
    /// A write takes effect, and nobody is told.
    Unanswered,
    /// A write, a message or a start takes seconds.
    Slow,
    /// The machine's clock jumps: it is wrong by up to two hours, in either direction.
    ClockJump,
    /// Somebody removes the journal of an attempt.
    JournalGone,
    /// No journal can be made.
    DiskFull,
    /// The supervisor cannot fork.
    NoFork,
}

pub const FAULTS: [Fault; 13] = [
    Fault::DriverKilled,
    Fault::SupervisorKilled,
    Fault::SubreaperKilled,
    Fault::KeepersKilled,
    Fault::Reboot,
    Fault::Refused,
    Fault::Vanished,
    Fault::Unanswered,
    Fault::Slow,
    Fault::ClockJump,
    Fault::JournalGone,
    Fault::DiskFull,
    Fault::NoFork,
];

/// A fault that happened: the number of its site, what and where.
#[derive(Debug, Clone)]
pub struct Struck {
    pub site: u64,
    pub fault: Fault,
    pub at_ms: u64,
    pub place: &'static str,
}

#[derive(Debug)]
pub struct Weather {
    seed: u64,
    /// Of a million sites of this kind, how many are struck.
    rates: [u64; FAULTS.len()],
    sites: u64,
    /// From now on nothing goes wrong.
    pub calm: bool,
    only: Option<BTreeSet<u64>>,
    pub struck: Vec<Struck>,
}

impl Weather {
    /// `only`: no other sites than these are struck.
    pub fn new(seed: u64, only: Option<BTreeSet<u64>>) -> Weather {
        let mut dice = Dice::new(mix(seed, 0xBAD));
        let mut rates = [0; FAULTS.len()];
        let share = *dice.pick(&[20, 40, 60]);
        for (fault, rate) in FAULTS.into_iter().zip(&mut rates) {
            if dice.percent(share) {
                let usual = match fault {
                    Fault::DriverKilled => 12_000,
                    Fault::SupervisorKilled | Fault::SubreaperKilled => 8_000,
                    Fault::KeepersKilled => 2_000,
                    Fault::Reboot => 12_000,
                    Fault::Refused | Fault::Vanished | Fault::Unanswered => 10_000,
                    Fault::Slow => 10_000,
                    Fault::ClockJump => 30_000,
                    Fault::JournalGone | Fault::NoFork => 2_000,
                    Fault::DiskFull => 3_000,
                };
                *rate = usual * *dice.pick(&[1, 1, 3]);
            }
        }
        Weather { seed, rates, sites: 0, calm: false, only, struck: Vec::new() }
    }

    /// Whether this site is struck. To be asked once for each.
    pub fn strikes(&mut self, fault: Fault, at_ms: u64, place: &'static str) -> bool {
        let site = self.sites;
        self.sites += 1;
        let struck = match &self.only {
            _ if self.calm => false,
            Some(only) => only.contains(&site),
            None => {
                let rate = self.rates[fault as usize];
                rate > 0 && mix(self.seed, site) % 1_000_000 < rate
            }
        };
        if struck {
            self.struck.push(Struck { site, fault, at_ms, place });
        }
        struck
    }

    /// How a fault turns out: always the same for the same site.
    pub fn how(&self, choices: u64) -> u64 {
        let site = self.struck.last().map_or(0, |struck| struck.site);
        mix(mix(self.seed, site), 7) % choices
    }
}
