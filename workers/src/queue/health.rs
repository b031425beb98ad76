//! How the delivery of hints is doing: what `/readyz` and the metrics ask.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// One look at it.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// The longest outage that goes on; none if all is well.
    pub outage: Option<Outage>,
    /// Hints that were handed to the worker.
    pub taken: u64,
    /// What was no hint, or one of a version that is not known here. Acknowledged, and otherwise ignored.
    pub junk: u64,
    /// How often a delivery ended and was built anew.
    pub restarts: u64,
}

/// Since when no hints of a label are delivered, and why. Runs go on all the same, at the pace of the sweeper.
#[derive(Debug, Clone)]
pub struct Outage {
    pub label: String,
    pub since: Instant,
    pub why: String,
}

/// Where those who deliver write it down.
#[derive(Debug, Default)]
pub(super) struct Board {
    outages: Mutex<BTreeMap<String, Outage>>,
    pub(super) taken: AtomicU64,
    pub(super) junk: AtomicU64,
    pub(super) restarts: AtomicU64,
}

impl Board {
    /// True if this is the beginning of an outage.
    pub(super) fn down(&self, label: &str, why: String) -> bool {
        let mut outages = self.outages.lock().expect("nobody panics with it");
        if let Some(known) = outages.get_mut(label) {
            known.why = why;
            return false;
        }
        outages.insert(label.to_owned(), Outage { label: label.to_owned(), since: Instant::now(), why });
        true
    }

    /// What is over, if something was.
    pub(super) fn up(&self, label: &str) -> Option<Outage> {
        self.outages.lock().expect("nobody panics with it").remove(label)
    }

    pub(super) fn count(&self, counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn health(&self) -> Health {
        let outages = self.outages.lock().expect("nobody panics with it");
        Health {
            outage: outages.values().min_by_key(|outage| outage.since).cloned(),
            taken: self.taken.load(Ordering::Relaxed),
            junk: self.junk.load(Ordering::Relaxed),
            restarts: self.restarts.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_keeps_its_beginning_and_takes_the_latest_reason() {
        let board = Board::default();
        assert!(board.down("db", "refused".to_owned()));
        let began = board.health().outage.unwrap().since;
        assert!(!board.down("db", "timed out".to_owned()));
        let outage = board.health().outage.unwrap();
        assert_eq!((outage.since, outage.why.as_str()), (began, "timed out"));
        assert!(board.up("db").is_some());
        assert!(board.health().outage.is_none());
    }

    #[test]
    fn of_several_outages_the_longest_is_told() {
        let board = Board::default();
        board.down("web", "first".to_owned());
        board.down("db", "second".to_owned());
        assert_eq!(board.health().outage.unwrap().label, "web");
    }
}
