//! What time it is by the ledger's clock, between two looks at it: only that one decides what is due.

use std::time::{Duration, Instant};

/// A clock that differs by so much from what it should show has been set.
const JUMP_MS: i64 = 5_000;

/// What one look at the clock has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    AsExpected,
    /// It was put forward by so much; or this machine slept.
    Forward(Duration),
    Back(Duration),
}

/// The last look: what it showed, and when that was known.
#[derive(Debug, Default)]
pub(super) struct LedgerClock(Option<(i64, Instant)>);

impl LedgerClock {
    /// `heard`: when the answer was there. The clock has gone on since it was read, so this one is never ahead of it: who waits
    /// by it is not early.
    pub(super) fn note(&mut self, ledger_ms: i64, heard: Instant) -> Looked {
        let off = self.now(heard).map_or(0, |expected| ledger_ms.saturating_sub(expected));
        self.0 = Some((ledger_ms, heard));
        let by = Duration::from_millis(off.unsigned_abs());
        match off {
            _ if off.abs() < JUMP_MS => Looked::AsExpected,
            1.. => Looked::Forward(by),
            _ => Looked::Back(by),
        }
    }

    pub(super) fn now(&self, at: Instant) -> Option<i64> {
        let (ledger_ms, heard) = self.0?;
        let since = at.saturating_duration_since(heard).as_millis();
        Some(ledger_ms.saturating_add(i64::try_from(since).unwrap_or(i64::MAX)))
    }

    /// How long until this moment of the ledger; more than the clock can tell is not waited for at once.
    pub(super) fn left(&self, moment: i64, at: Instant) -> Duration {
        let left = self.now(at).map_or(0, |now| moment.saturating_sub(now));
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_noticed_and_believed() {
        let (mut clock, start) = (LedgerClock::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(clock.note(1_000_000, at(0)), Looked::AsExpected);
        assert_eq!(clock.note(1_010_200, at(10)), Looked::AsExpected);
        assert_eq!(clock.note(4_620_200, at(20)), Looked::Forward(Duration::from_secs(3_600)));
        assert_eq!(clock.note(1_030_200, at(30)), Looked::Back(Duration::from_secs(3_600)));
        assert_eq!(clock.now(at(35)), Some(1_035_200));
        assert_eq!(clock.left(1_040_200, at(35)), Duration::from_secs(5));
        assert_eq!(clock.left(5, at(35)), Duration::ZERO);
    }
}
