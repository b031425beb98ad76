//! How often and how long: every time that the members of a cluster keep, in one place, because they hang together.
//!
//! A strict step dies with the lease of its worker before anybody may take it for lost: lease + what the supervisor
//! takes to see and to kill < silence. A worker that is slow, but lives, is heard of in time: several beats < silence.

use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two signs of life.
    pub beat: Duration,
    /// How long after a sign of life was sent strict steps may live, once it is confirmed.
    pub lease: Duration,
    /// After so much silence a worker is gone.
    pub silent: Duration,
    /// A look at the others that is so late says nothing of how long they were silent.
    pub late: Duration,
    /// How much longer the detached steps of a worker that is gone are waited for.
    pub lost_after: Duration,
    /// Between two looks for what is ready, and up to half as much again.
    pub sweep: Duration,
    /// How often the driver of a run looks whether somebody else changed it.
    pub look: Duration,
    /// How long nobody asks again for a permit that was not to be had.
    pub permit: Duration,
    /// How long nobody looks again after children that had nothing to be told.
    pub children: Duration,
    /// The longest pause before a run is visited again in which there was nothing to do.
    pub fruitless_max: Duration,
    /// How often the folders of pruned runs are removed.
    pub tidy: Duration,
    /// Between two looks at the ledger's clock, and at what is due by it.
    pub timetable: Duration,
    /// Between two looks whether a runbook was edited.
    pub files: Duration,
    /// Between two looks for what people are to be told.
    pub outbox: Duration,
    /// How long a notification is its sender's.
    pub letter_lease: Duration,
    /// Before a notification that did not arrive is sent again, doubled each time, and the longest.
    pub letter_again: Duration,
    pub letter_again_max: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            beat: Duration::from_secs(5),
            lease: Duration::from_secs(20),
            silent: Duration::from_secs(30),
            late: Duration::from_secs(10),
            lost_after: Duration::from_secs(600),
            sweep: Duration::from_secs(2),
            look: Duration::from_secs(1),
            permit: Duration::from_secs(2),
            children: Duration::from_secs(5),
            fruitless_max: Duration::from_secs(30),
            tidy: Duration::from_secs(3_600),
            timetable: Duration::from_secs(10),
            files: Duration::from_secs(2),
            outbox: Duration::from_secs(1),
            letter_lease: Duration::from_secs(90),
            letter_again: Duration::from_secs(1),
            letter_again_max: Duration::from_secs(15 * 60),
        }
    }
}

/// For tests only: divides every time by this number, so that what takes half a minute is over in a second. Every member
/// of a cluster has to have the same.
pub const TEST_PACE: &str = "RUNWARD_TEST_PACE";

impl Pace {
    /// The one there is, or, in a test that says so, a faster one.
    pub fn in_force() -> Pace {
        let divisor = std::env::var(TEST_PACE).ok().and_then(|text| text.parse().ok());
        Pace::default().divided(divisor.unwrap_or(1))
    }

    fn divided(self, by: u32) -> Pace {
        let by = by.max(1);
        Pace {
            beat: self.beat / by,
            lease: self.lease / by,
            silent: self.silent / by,
            late: self.late / by,
            lost_after: self.lost_after / by,
            sweep: self.sweep / by,
            look: self.look / by,
            permit: self.permit / by,
            children: self.children / by,
            fruitless_max: self.fruitless_max / by,
            tidy: self.tidy / by,
            timetable: self.timetable / by,
            files: self.files / by,
            outbox: self.outbox / by,
            letter_lease: self.letter_lease / by,
            letter_again: self.letter_again / by,
            letter_again_max: self.letter_again_max / by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a supervisor takes to see that a lease is over, and to kill what hangs on it.
    const SELF_KILL: Duration = Duration::from_secs(1 + 5);

    #[test]
    fn a_strict_step_is_dead_before_its_worker_is_taken_for_gone() {
        let pace = Pace::default();
        assert!(pace.lease + SELF_KILL < pace.silent);
        assert!(pace.beat * 3 < pace.lease, "two beats may get lost");
        assert!(pace.late < pace.silent);
    }
}
