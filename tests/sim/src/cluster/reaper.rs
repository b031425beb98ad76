//! Who is taken for dead, and what becomes of what they watched. Silence is counted on the clock of whoever looks.

use std::collections::BTreeMap;

use runward_engine::run::{ClaimId, Command, Place, SessionId};
use runward_store::command;

use super::{Cluster, Event, at_once, run_id};

const LOOK_MS: u64 = 5_000;
const SILENT_MS: u64 = 30_000;
/// A look that comes so late says nothing of the time before.
const LATE_MS: u64 = 10_000;
const DETACHED_MS: u64 = 600_000;

/// What the ledger knows of a session.
#[derive(Debug)]
pub(super) struct Sign {
    pub(super) beat: u64,
    pub(super) ended: bool,
}

impl Sign {
    /// A sign of life; false if it comes too late.
    pub(super) fn is_heard(&mut self) -> bool {
        self.beat += u64::from(!self.ended);
        !self.ended
    }
}

/// What a member has seen without a break.
#[derive(Debug, Default)]
pub(super) struct Observed {
    beats: BTreeMap<SessionId, (u64, u64)>,
    alone: BTreeMap<ClaimId, u64>,
    last: u64,
}

impl Cluster {
    pub(super) fn reap(&mut self, home: usize, life: u64) {
        let (now, reached) = (self.now, self.reaches_ledger(home));
        let Some(worker) = self.worker(home, life) else { return };
        let own = worker.session.clone();
        let mut observed = std::mem::take(&mut worker.observed);
        if !reached || now - observed.last > LOOK_MS + LATE_MS {
            observed = Observed::default();
        }
        observed.last = now;
        if reached {
            self.bury(&own, &mut observed);
            self.give_up(home, life, &mut observed);
        }
        if let Some(worker) = self.worker(home, life) {
            worker.observed = observed;
        }
        self.after(LOOK_MS, Event::Reap(home, life));
    }

    fn bury(&mut self, own: &SessionId, observed: &mut Observed) {
        for (session, sign) in self.signs.iter_mut().filter(|(session, sign)| *session != own && !sign.ended) {
            let known = observed.beats.entry(session.clone()).or_insert((sign.beat, self.now));
            if known.0 != sign.beat {
                *known = (sign.beat, self.now);
            }
            if self.now - known.1 >= SILENT_MS {
                sign.ended = true;
                self.counters.add("a session was taken for dead");
            }
        }
    }

    fn give_up(&mut self, home: usize, life: u64, observed: &mut Observed) {
        let mut alone = BTreeMap::new();
        for run in 0..self.runs.len() {
            let Some(view) = &self.runs[run] else { continue };
            let attempts: Vec<_> =
                view.state.live().keys().filter_map(|claim| view.state.live_attempt(claim)).collect();
            let mut due = Vec::new();
            for (unit, attempt) in attempts {
                if self.signs.get(&attempt.watched_by).is_some_and(|sign| !sign.ended) {
                    continue;
                }
                let since = observed.alone.get(&attempt.claim).copied().unwrap_or(self.now);
                alone.insert(attempt.claim.clone(), since);
                if view.state.is_strict(unit) || self.now - since >= DETACHED_MS {
                    due.push((attempt.claim.clone(), attempt.watched_by.clone()));
                }
            }
            for (claim, session) in due {
                let hangs = if self.dice.percent(10) { 60_000 } else { 3_000 };
                let delay = self.moment() + self.dice.below(hangs);
                self.after(delay, Event::Lose { home, life, run, claim, session });
            }
        }
        observed.alone = alone;
    }

    /// Between the look and this anything may have happened.
    pub(super) fn lose(&mut self, home: usize, life: u64, run: usize, claim: &ClaimId, session: SessionId) {
        if self.worker(home, life).is_none() || !self.reaches_ledger(home) {
            return;
        }
        let mut view = at_once(super::Ledger::load(&self.ledger, &run_id(run))).expect("it is there");
        let lose = Command::Lose { claim: claim.clone(), evidence: "silent".to_owned(), with: Some(session) };
        self.draw_fate(home);
        let before = view.state.live_attempt(claim).map(|(unit, attempt)| {
            let watched = self.signs.get(&attempt.watched_by).is_some_and(|sign| !sign.ended);
            (view.state.is_strict(unit), attempt.place.clone(), watched)
        });
        match at_once(command(&self.ledger, &mut view, lose, "reaper")) {
            Ok(Err(_)) => self.counters.add("a reaper was too late"),
            Ok(Ok(())) => self.was_given_up(claim, before),
            Err(_) => {}
        }
        self.audit(run);
    }

    fn was_given_up(&mut self, claim: &ClaimId, attempt: Option<(bool, Option<Place>, bool)>) {
        let Some((strict, Some(place), watched)) = attempt else { return };
        let patience = if strict { 2 * SILENT_MS } else { 2 * DETACHED_MS };
        let wrong = |home: &super::Home| home.trouble_until > 0 && home.trouble_until + patience >= self.now;
        let with_reason = !watched && self.homes.iter().any(|home| home.place == place && wrong(home));
        self.witness.given_up(self.now, claim, with_reason);
    }
}
