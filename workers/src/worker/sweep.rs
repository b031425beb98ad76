//! Finds what is ready: by its own looks at the ledger, every few seconds, and by hints, at once. With no hints at all
//! everything still happens, later.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runward_engine::run::RunId;
use runward_engine::run::place::{ANY, ENGINE};
use runward_store::LedgerError;
use runward_store::failpoint::{self, Point};
use runward_store::fleet::Ready;
use tokio::sync::{mpsc, watch};

use super::term::Term;
use crate::queue::{Hint, Offer, Slot, Slots};

/// Rows asked for at once, beside those that are known to be in vain.
const ROWS: usize = 256;
/// What becomes free is collected for so long before the next look.
const COLLECT: Duration = Duration::from_millis(5);

/// Looks, for ever.
pub(super) async fn sweep(term: &Rc<Term>) {
    loop {
        if term.takes_new()
            && let Err(error) = look(term).await
        {
            term.post.health.ledger_failed("what is ready cannot be read", &error);
        }
        term.post.health.note(|state| state.moved.sweep = Some(Instant::now()));
        let pause = jittered(term.post.pace().sweep);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = room(term) => tokio::time::sleep(COLLECT).await,
            () = term.sweep_now.notified() => {}
        }
    }
}

/// A slot has become free, and the last look has left something for it.
async fn room(term: &Term) {
    let hands = async {
        match term.slots() {
            Some(slots) => slots.freed().await,
            None => std::future::pending().await,
        }
    };
    if !term.hungry.get() {
        return std::future::pending().await;
    }
    tokio::select! {
        () = hands => {}
        () = term.engine.freed() => {}
    }
}

async fn look(term: &Rc<Term>) -> Result<(), LedgerError> {
    term.vain.borrow_mut().tidy(Instant::now(), term.post.pace().fruitless_max);
    let limit = ROWS + term.vain.borrow().len();
    let rows = term.post.ledger().ready(&term.calls(), u32::try_from(limit).unwrap_or(u32::MAX)).await?;
    term.hungry.set(term.slots().is_some_and(|slots| slots.free() == 0));
    for row in rows {
        if term.is_busy_with(&row.run, &row.call) || !term.vain.borrow_mut().is_worth_it(&row, Instant::now()) {
            continue;
        }
        if row.call == ENGINE {
            let (run, call) = (row.run.clone(), row.call.clone());
            term.look(&run, &call, Some(row), None);
            continue;
        }
        match term.slots().and_then(Slots::try_take) {
            Some(slot) => {
                let (run, call) = (row.run.clone(), row.call.clone());
                term.look(&run, &call, Some(row), Some(slot));
            }
            None => term.hungry.set(true),
        }
    }
    Ok(())
}

/// Takes hints, for ever. Steps are hinted to whoever has a slot for them; the rest needs none.
pub(super) async fn listen(term: &Rc<Term>) {
    let Some(queue) = &term.post.member.queue else { return std::future::pending().await };
    let (give, mut hints) = mpsc::unbounded_channel();
    let offer = |labels: Vec<String>, slots: Slots| {
        let give = give.clone();
        let take = move |hint, slot| {
            let _ = give.send((hint, slot)); // the session is over
            Box::pin(std::future::ready(())) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
        };
        Offer { labels, slots, take: Arc::new(take) }
    };
    let (_never, stop) = watch::channel(false);
    let engine = queue.run_worker(offer(vec![ENGINE.to_owned()], term.engine.clone()), stop.clone());
    let steps = async {
        let (Some(hands), Some(slots)) = (&term.post.member.hands, term.slots()) else { return };
        let labels = hands.labels.iter().map(String::as_str).chain([ANY]).map(str::to_owned).collect();
        queue.run_worker(offer(labels, slots.clone()), stop.clone()).await;
    };
    let taking = async {
        while let Some((hint, slot)) = hints.recv().await {
            take(term, hint, slot);
        }
    };
    tokio::join!(engine, steps, taking);
}

fn take(term: &Rc<Term>, hint: Hint, slot: Slot) {
    failpoint::reach(Point::HintTaken);
    let Hint { run, label, .. } = hint;
    if term.takes_new() && (label == ENGINE || term.listens_to(&label)) {
        term.look(&run, &label, None, Some(slot));
    }
}

impl Term {
    pub(super) fn listens_to(&self, call: &str) -> bool {
        self.post.member.hands.as_ref().is_some_and(|hands| call == ANY || hands.labels.contains(call))
    }
}

/// Of what is said, up to half as much again, so that the members do not look in step.
fn jittered(pause: Duration) -> Duration {
    let chance = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    pause + pause.mul_f64(chance / 2.0)
}

/// Rows behind which there was nothing for this member: a label that it does not have, or somebody who was faster.
#[derive(Default)]
pub(super) struct Vain(BTreeMap<(RunId, String), Rest>);

struct Rest {
    /// As the row was then. What has changed is worth a look again.
    row: (i64, u64),
    until: Instant,
    pause: Duration,
}

impl Vain {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_worth_it(&mut self, row: &Ready, now: Instant) -> bool {
        let known = self.0.get(&(row.run.clone(), row.call.clone()));
        known.is_none_or(|rest| now >= rest.until || rest.row != (row.since, row.seq))
    }

    /// There was nothing. The pause doubles with each time that it is the same nothing.
    pub(super) fn note(&mut self, row: &Ready, now: Instant, first: Duration, longest: Duration) {
        let key = (row.run.clone(), row.call.clone());
        let before = self.0.get(&key).filter(|rest| rest.row == (row.since, row.seq));
        let pause = before.map_or(first, |rest| (rest.pause * 2).min(longest));
        self.0.insert(key, Rest { row: (row.since, row.seq), until: now + pause, pause });
    }

    /// Forgets what nobody has found for a while.
    pub(super) fn tidy(&mut self, now: Instant, longest: Duration) {
        self.0.retain(|_, rest| now < rest.until + longest);
    }

    pub(super) fn forget(&mut self, run: &RunId, call: &str) {
        self.0.remove(&(run.clone(), call.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(2);
    const LONGEST: Duration = Duration::from_secs(30);

    fn row(seq: u64) -> Ready {
        Ready { run: "r".into(), call: "db".to_owned(), since: 5, seq }
    }

    #[test]
    fn a_run_with_nothing_for_this_member_is_looked_at_ever_more_rarely() {
        let (mut vain, mut now) = (Vain::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert!(vain.is_worth_it(&row(1), now));
            vain.note(&row(1), now, FIRST, LONGEST);
            let began = now;
            while !vain.is_worth_it(&row(1), now) {
                now += Duration::from_secs(1);
            }
            pauses.push((now - began).as_secs());
        }
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn a_run_that_has_changed_is_looked_at_at_once() {
        let (mut vain, now) = (Vain::default(), Instant::now());
        vain.note(&row(1), now, FIRST, LONGEST);
        assert!(!vain.is_worth_it(&row(1), now));
        assert!(vain.is_worth_it(&row(2), now));
        assert!(vain.is_worth_it(&Ready { since: 6, ..row(1) }, now));
        vain.forget(&row(1).run, "db");
        assert!(vain.is_worth_it(&row(1), now));
    }

    #[test]
    fn what_nobody_asks_for_any_more_is_forgotten() {
        let (mut vain, now) = (Vain::default(), Instant::now());
        for n in 0..100 {
            let row = Ready { run: RunId(n.to_string()), ..row(1) };
            vain.note(&row, now + FIRST * n, FIRST, LONGEST);
        }
        vain.tidy(now + FIRST * 100, LONGEST);
        assert!(vain.len() < 20, "{}", vain.len());
    }
}
