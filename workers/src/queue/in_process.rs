//! Hints inside of one process.
//!
//! A waiting hint is remembered once, in the order of arrival for each label. It is lost with the process, as its worker is.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::{Notify, watch};

use super::health::Board;
use super::{Health, Hint, Offer, Pushed, Queue, Slot, Unheard, stopped};

/// How many hints may wait for workers of one label.
const WAITING_MAX: usize = 20_000;

#[derive(Default)]
pub struct InProcess {
    waiting: Mutex<Waiting>,
    bell: Notify,
    board: Board,
}

#[derive(Default)]
struct Waiting {
    known: HashSet<Hint>,
    labels: BTreeMap<String, VecDeque<Hint>>,
}

impl Waiting {
    fn push(&mut self, hint: &Hint, pushed: &mut Pushed) {
        let line = self.labels.entry(hint.label.clone()).or_default();
        if self.known.contains(hint) {
            pushed.known += 1;
        } else if line.len() >= WAITING_MAX {
            pushed.refused += 1;
        } else {
            self.known.insert(hint.clone());
            line.push_back(hint.clone());
            pushed.new += 1;
        }
    }

    fn any(&self, labels: &[String]) -> bool {
        labels.iter().any(|label| self.labels.get(label).is_some_and(|line| !line.is_empty()))
    }

    /// The next hint for one of the labels; `turn` says which of them is asked first.
    fn next(&mut self, labels: &[String], turn: usize) -> Option<Hint> {
        let in_turn = labels.iter().cycle().skip(turn % labels.len().max(1)).take(labels.len());
        let hint = in_turn.into_iter().find_map(|label| self.labels.get_mut(label)?.pop_front())?;
        self.known.remove(&hint);
        Some(hint)
    }
}

impl InProcess {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("nobody panics with it")
    }

    /// A hint and a slot for it. The slot is taken last: while nothing waits, it is free for others.
    async fn next(&self, offer: &Offer, turn: usize) -> (Hint, Slot) {
        loop {
            let rung = self.bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable(); // a push between the look and the wait is not missed
            if !self.waiting().any(&offer.labels) {
                rung.await;
                continue;
            }
            let slot = offer.slots.take().await;
            if let Some(hint) = self.waiting().next(&offer.labels, turn) {
                return (hint, slot);
            }
        }
    }
}

#[async_trait]
impl Queue for InProcess {
    async fn push_hints(&self, hints: &[Hint]) -> Result<Pushed, Unheard> {
        let mut pushed = Pushed::default();
        {
            let mut waiting = self.waiting();
            for hint in hints {
                waiting.push(hint, &mut pushed);
            }
        }
        self.bell.notify_waiters();
        Ok(pushed)
    }

    async fn run_worker(&self, offer: Offer, stop: watch::Receiver<bool>) {
        for turn in 0.. {
            let (hint, slot) = tokio::select! {
                biased;
                () = stopped(stop.clone()) => return,
                next = self.next(&offer, turn) => next,
            };
            self.board.count(&self.board.taken);
            let take = Arc::clone(&offer.take);
            tokio::spawn(async move { take(hint, slot).await }); // a panic in it is not the end of the queue
        }
    }

    fn health(&self) -> Health {
        self.board.health()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(label: &str, dispatch: u64) -> Hint {
        Hint { run: "r".into(), label: label.to_owned(), dispatch }
    }

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn labels_take_turns() {
        let mut waiting = Waiting::default();
        let mut pushed = Pushed::default();
        for (label, dispatch) in [("a", 1), ("a", 2), ("b", 3), ("c", 4)] {
            waiting.push(&hint(label, dispatch), &mut pushed);
        }
        let offered = labels(&["a", "b"]);
        let order: Vec<u64> =
            (0..4).filter_map(|turn| waiting.next(&offered, turn)).map(|hint| hint.dispatch).collect();
        assert_eq!(order, [1, 3, 2], "what nobody offers stays");
        assert_eq!(waiting.next(&[], 0), None);
    }

    #[test]
    fn no_label_grows_without_end() {
        let mut waiting = Waiting::default();
        let mut pushed = Pushed::default();
        for dispatch in 0..WAITING_MAX as u64 + 5 {
            waiting.push(&hint("a", dispatch), &mut pushed);
        }
        waiting.push(&hint("a", 0), &mut pushed);
        assert_eq!(pushed, Pushed { new: WAITING_MAX as u64, known: 1, refused: 5 });
    }
}
