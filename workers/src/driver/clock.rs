//! When to wake, by the clock of the ledger: in a cluster that of another machine.
//!
//! What the two clocks say is compared whenever something was recorded. A comparison that is wrong costs a look too early or
//! a second of delay, never a busy loop: what was looked at in vain is not looked at again at once.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Between two looks at the same moment.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Clock {
    /// How far the ledger is ahead of this machine, in milliseconds.
    ahead_ms: i64,
    /// The moment that was woken for last, and when.
    woken: Option<(i64, Instant)>,
}

impl Clock {
    /// Something was recorded just now, at this time of the ledger.
    pub(super) fn heard(&mut self, at: i64) {
        self.ahead_ms = at.saturating_sub(local_ms());
    }

    /// Returns when this moment of the ledger (epoch milliseconds) has come.
    pub(super) async fn reaches(&mut self, at: Option<i64>) {
        let Some(at) = at else { return std::future::pending().await };
        tokio::time::sleep(self.left(at, local_ms(), Instant::now())).await;
        self.woken = Some((at, Instant::now()));
    }

    fn left(&self, at: i64, local_ms: i64, now: Instant) -> Duration {
        let left = at.saturating_sub(local_ms.saturating_add(self.ahead_ms));
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        match self.woken {
            Some((before, when)) if before == at => left.max((when + AGAIN_AFTER).saturating_duration_since(now)),
            _ => left,
        }
    }
}

fn local_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_comes_by_the_clock_of_the_ledger_and_is_not_looked_for_without_end() {
        let now = Instant::now();
        let mut clock = Clock { ahead_ms: -90_000, woken: None };
        assert_eq!(clock.left(10_000, 95_000, now), Duration::from_secs(5));
        assert_eq!(clock.left(10_000, 100_000, now), Duration::ZERO);
        clock.woken = Some((10_000, now));
        assert_eq!(clock.left(10_000, 100_000, now), AGAIN_AFTER, "it was looked at, and nothing had come");
        assert_eq!(clock.left(11_000, 101_000, now), Duration::ZERO, "another moment");
    }
}
