//! The names in Redis: of apalis-redis, taken from its own configuration, and the one of ours, the bell.

use std::time::Duration;

use apalis_redis::Config;

use super::Pace;
use crate::queue::hint::plain;

/// apalis would take from a worker what it holds when the clock of another host says that it was silent for so long. Clocks
/// of hosts differ; so this never happens, and `tend.lua` does it by the one clock of Redis.
const SILENT_FOR_APALIS: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Debug, Clone)]
pub(super) struct Keys {
    config: Config,
}

impl Keys {
    pub(super) fn new(prefix: &str, label: &str, pace: &Pace) -> Keys {
        let missed = SILENT_FOR_APALIS.as_millis() / pace.beat.as_millis().max(1);
        let config = Config::default()
            .queue(format!("{prefix}:hints:{}", plain(label)))
            .batch_size(1) // with more, those in the local buffer stop the heartbeat
            .heartbeat_interval(pace.beat)
            .missed_heartbeats(usize::try_from(missed).unwrap_or(usize::MAX).min(u32::MAX as usize))
            .lock_tasks(false)
            .emit_events(false)
            .persist_results(true); // this is also the acknowledgement
        Keys { config }
    }

    pub(super) fn config(&self) -> Config {
        self.config.clone()
    }

    pub(super) fn active(&self) -> String {
        self.config.active_jobs_list()
    }

    pub(super) fn data(&self) -> String {
        self.config.job_data_hash()
    }

    /// Of each hint: this, a colon, its id.
    pub(super) fn meta(&self) -> String {
        self.config.job_meta_hash()
    }

    pub(super) fn done(&self) -> String {
        self.config.done_jobs_set()
    }

    pub(super) fn dead(&self) -> String {
        self.config.dead_jobs_set()
    }

    pub(super) fn scheduled(&self) -> String {
        self.config.scheduled_jobs_set()
    }

    pub(super) fn workers(&self) -> String {
        self.config.workers_set()
    }

    /// What apalis-redis knows of a worker. We let it expire: while it is there, the worker lives.
    pub(super) fn sign_of_life(&self, worker: &str) -> String {
        format!("{}:workers:metadata:{worker}", self.config.queue)
    }

    pub(super) fn inflight(&self, worker: &str) -> String {
        format!("{}:{worker}", self.config.inflight_jobs_set())
    }

    pub(super) fn bell(&self) -> String {
        format!("{}:bell", self.config.queue)
    }
}

#[cfg(test)]
mod tests {
    use apalis_core::worker::context::WorkerContext;

    use super::*;

    #[test]
    fn names_are_those_of_apalis_redis() {
        let keys = Keys::new("runward", "db", &Pace::default());
        let worker = WorkerContext::new("w1");
        assert_eq!(keys.sign_of_life("w1"), keys.config.worker_metadata_key(&worker));
        assert_eq!(keys.inflight("w1"), keys.config.inflight_set_for(&worker));
        assert_eq!(keys.active(), "runward:hints:db:active");
        assert_eq!(keys.bell(), "runward:hints:db:bell");
    }

    #[test]
    fn no_label_reaches_into_the_keys_of_another() {
        let keys = |label| Keys::new("runward", label, &Pace::default());
        assert_eq!(keys("a:data").active(), "runward:hints:a%3Adata:active");
        assert_eq!(keys("db.eu-1_x").active(), "runward:hints:db%2Eeu-1_x:active");
    }

    #[test]
    fn no_clock_of_a_host_takes_hints_from_a_worker() {
        let config = Keys::new("runward", "db", &Pace::default()).config();
        assert_eq!(config.orphaned_duration(), SILENT_FOR_APALIS);
    }
}
