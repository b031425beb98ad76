//! After a commit: tells whoever can go on with the run. At once to whom it may concern in this process, through the
//! queue to all others; nobody who carries out a run waits for either.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use runward_engine::run::calls::calls;
use runward_engine::run::group::Member;
use runward_engine::run::place::ENGINE;
use runward_engine::run::{ClaimId, Event, Recorded, Reject, RunId, RunState};
use runward_store::failpoint::{self, Point};
use tracing::{debug, info};

use super::now_ms;
use super::term::Term;
use crate::driver::Observer;
use crate::queue::{Hint, Slots};

/// Hints that wait to be pushed. More are not needed: the sweepers find the rest.
const WAITING_MAX: usize = 10_000;

pub(super) enum Told {
    Ready(Hint),
    /// A child of this run has come to its end.
    ChildEnded(RunId),
}

/// Carries away what was told, for ever.
pub(super) async fn tell(term: &Rc<Term>) {
    let Some(mut heard) = term.heard.take() else { return };
    let mut news = Vec::new();
    loop {
        if heard.recv_many(&mut news, WAITING_MAX).await == 0 {
            return;
        }
        let mut hints = Vec::new();
        for told in news.drain(..) {
            match told {
                Told::Ready(hint) => hints.push(hint),
                Told::ChildEnded(parent) => hints.push(child_ended(term, parent).await),
            }
        }
        push(term, &hints).await;
    }
}

/// The parent comes up for everybody, and is looked after here at once.
async fn child_ended(term: &Rc<Term>, parent: RunId) -> Hint {
    if let Err(error) = term.post.ledger().stir(&parent).await {
        term.post.health.ledger_failed("the end of a child is not told to its parent yet", &error);
    }
    term.look(&parent, ENGINE, None, None);
    // The parent's own count is not known here; the time has never been one.
    let dispatch = u64::try_from(now_ms()).unwrap_or(0);
    Hint { run: parent, label: ENGINE.to_owned(), dispatch }
}

async fn push(term: &Term, hints: &[Hint]) {
    let Some(queue) = term.post.member.queue.as_ref().filter(|_| !hints.is_empty()) else { return };
    if failpoint::fails_at(Point::BeforeHints).is_err() {
        return; // as if Redis had lost them
    }
    if let Err(unheard) = queue.push_hints(hints).await {
        debug!("nobody was told: {unheard}");
    }
}

impl Term {
    /// Tells of what can be done in the run now and could not be before.
    pub(super) fn spread(self: &Rc<Term>, before: &Calls, state: &RunState, here: bool) {
        for label in before.new_in(state) {
            // The children of a run are not its driver's business.
            let here = here || label == ENGINE && !state.children().is_empty();
            let slot = self.slots().filter(|_| here && label != ENGINE && self.listens_to(&label));
            let slot = slot.and_then(Slots::try_take);
            if here && (label == ENGINE || slot.is_some()) {
                self.look(&state.id, &label, None, slot);
            } else {
                let _ = self.told.send(Told::Ready(Hint { run: state.id.clone(), label, dispatch: state.seq }));
            }
        }
        if state.group.is_some() && state.status.is_terminal() {
            self.sweep_now.notify_one(); // its permit is free, and the ledger knows for whom
        }
        if let (Some(parent), true) = (&state.parent, state.status.is_terminal()) {
            let _ = self.told.send(Told::ChildEnded(parent.run.clone()));
        }
    }
}

/// What somebody could do in a run when it was last looked at.
#[derive(Default)]
pub(super) struct Calls(BTreeMap<String, i64>);

impl Calls {
    pub(super) fn of(state: &RunState) -> Calls {
        Calls(calls(state))
    }

    fn new_in(&self, state: &RunState) -> Vec<String> {
        let now = now_ms();
        let after = calls(state).into_iter().filter(|(label, since)| *since <= now && self.0.get(label) != Some(since));
        after.map(|(label, _)| label).collect()
    }
}

/// What a driver's run has come to, seen by the member whose driver it is.
pub(super) struct Seen {
    term: Rc<Term>,
    slots: Option<Slots>,
    calls: RefCell<Calls>,
    /// Something was recorded.
    fruit: Cell<bool>,
    /// Attempts of this home, whose output is shipped.
    own: RefCell<BTreeSet<ClaimId>>,
    /// Nothing was, yet: what was left over then is told, because the hint that was taken told nobody else.
    first: Cell<bool>,
}

impl Seen {
    pub(super) fn new(term: &Rc<Term>, state: &RunState, slots: Option<Slots>) -> Seen {
        let calls = RefCell::new(Calls::of(state));
        let (fruit, first) = (Cell::new(false), Cell::new(true));
        let seen = Seen { term: Rc::clone(term), slots, calls, fruit, own: RefCell::default(), first };
        seen.ship(state, &[]);
        seen
    }

    /// What runs in this state folder prints, and what has ended there has printed everything.
    fn ship(&self, state: &RunState, news: &[Recorded]) {
        let (shipper, mut own) = (&self.term.post.shipper, self.own.borrow_mut());
        own.retain(|claim| {
            let runs = state.live().contains_key(claim);
            if !runs {
                shipper.settled(&state.id, claim, news.iter().any(|recorded| tells_output(recorded, claim)));
            }
            runs
        });
        for claim in self.term.own(state) {
            if own.insert(claim.clone()) {
                shipper.watch(&state.id, &claim);
            }
        }
    }

    pub(super) fn fruit(&self) -> bool {
        self.fruit.get()
    }
}

/// Whether this is the end of the attempt, with what it printed.
fn tells_output(recorded: &Recorded, attempt: &ClaimId) -> bool {
    matches!(&recorded.event, Event::AttemptSettled { claim, log, .. } if claim == attempt && !log.sha256.is_empty())
}

impl Observer for Seen {
    fn changed(&self, state: &RunState, news: &[Recorded]) {
        // What the visit came for is claimed by now, or will not be.
        if let Some(slots) = &self.slots {
            slots.keep_none();
        }
        if news.is_empty() {
            return;
        }
        self.fruit.set(true);
        self.ship(state, news);
        let before = if self.first.replace(false) { Calls::default() } else { self.calls.take() };
        self.term.spread(&before, state, false);
        self.calls.replace(Calls::of(state));
    }

    /// In a cluster each run is driven by itself.
    fn child(&self, _: &RunState, _: &[Recorded]) {}

    fn waiting(&self, _: &RunState, _: &[Member]) {}

    fn refused(&self, reject: &Reject) {
        info!("refused: {reject}");
    }
}
