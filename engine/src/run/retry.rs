//! How long to wait before a step starts again.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::runbook::model::{Jitter, Retry};

/// A number in `0..=u32::MAX` that is always the same for one start of one unit of one run.
pub fn draw(seed: u64, unit: &str, attempt: u32) -> u32 {
    let mut hash = Sha256::new();
    hash.update(seed.to_be_bytes());
    hash.update(attempt.to_be_bytes());
    hash.update(unit.as_bytes());
    let digest = hash.finalize();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// The delay after the `starts`-th start (from 1): `delay * backoff^(starts-1)`, capped, then jitter by `draw`.
pub fn delay(policy: &Retry, starts: u32, draw: u32) -> Duration {
    let cap_ms = policy.max_delay.as_millis() as f64;
    let grown_ms = policy.delay.as_millis() as f64 * policy.backoff.powf(f64::from(starts.saturating_sub(1)));
    let full_ms = if grown_ms.is_finite() { grown_ms.min(cap_ms) } else { cap_ms };
    let fraction = f64::from(draw) / f64::from(u32::MAX);
    let ms = match policy.jitter {
        Jitter::None => full_ms,
        Jitter::Full => full_ms * fraction,
        Jitter::Equal => full_ms / 2.0 + full_ms / 2.0 * fraction,
    };
    Duration::from_millis(ms.max(0.0) as u64)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn policy(jitter: Jitter) -> Retry {
        Retry {
            attempts: NonZeroU32::new(5).unwrap(),
            delay: Duration::from_secs(2),
            backoff: 1.5,
            max_delay: Duration::from_secs(5),
            jitter,
            on_exit: vec![],
        }
    }

    #[test]
    fn the_delay_grows_to_its_cap() {
        let delays: Vec<u128> = (1..=4).map(|n| delay(&policy(Jitter::None), n, 0).as_millis()).collect();
        assert_eq!(delays, [2000, 3000, 4500, 5000]);
        assert_eq!(delay(&policy(Jitter::None), u32::MAX, 0).as_millis(), 5000);
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_is_the_same_for_the_same_start() {
        for attempt in 0..200 {
            let number = draw(7, "backup", attempt);
            assert_eq!(number, draw(7, "backup", attempt));
            assert!(delay(&policy(Jitter::Full), 1, number) <= Duration::from_secs(2));
            let equal = delay(&policy(Jitter::Equal), 1, number);
            assert!((Duration::from_secs(1)..=Duration::from_secs(2)).contains(&equal));
        }
        assert_ne!(draw(7, "backup", 1), draw(8, "backup", 1));
    }
}
