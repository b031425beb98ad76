//! Keeps the worker of a label alive for ever: whatever ends one life, the next one begins, on a new connection and under a
//! new name.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{debug, warn};

use super::chance;
use super::generation::Delivery;
use crate::queue::stopped;

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A life that lasted so long has been a good one.
const SETTLED: Duration = Duration::from_secs(10);

pub(super) async fn supervise(delivery: Delivery, stop: watch::Receiver<bool>) {
    let (mut failures, mut last) = (0, None);
    while !*stop.borrow() {
        let began = Instant::now();
        let name = format!("{}-{:016x}", std::process::id(), chance());
        let Err(why) = delivery.live(&name, last.as_deref(), &stop).await else { return };
        if began.elapsed() > SETTLED {
            failures = 0;
        }
        failures += 1;
        delivery.board.count(&delivery.board.restarts);
        if delivery.board.down(&delivery.label, why.clone()) {
            warn!(label = %delivery.label, "hints are not delivered, steps start at the pace of the sweeper: {why}");
        } else {
            debug!(label = %delivery.label, failures, "hints are still not delivered: {why}");
        }
        last = Some(name);
        tokio::select! {
            () = tokio::time::sleep(pause(failures, chance())) => {}
            () = stopped(stop.clone()) => {}
        }
    }
}

/// Doubles from [`PAUSE_MIN`] to [`PAUSE_MAX`], and of that between a half and all, so that the workers of a cluster do not
/// come back in step.
pub(super) fn pause(failures: u32, chance: u64) -> Duration {
    let full = PAUSE_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(PAUSE_MAX);
    full / 2 + full.mul_f64((chance as f64 / u64::MAX as f64) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        let most: Vec<u128> = (0..8).map(|failures| pause(failures, u64::MAX).as_millis()).collect();
        assert_eq!(most, [100, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(pause(1, 0), Duration::from_millis(50));
        assert_eq!(pause(u32::MAX, u64::MAX), PAUSE_MAX);
    }
}
