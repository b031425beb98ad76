//! A visit to a run: look after its children if it has some, then drive it until nothing is there for this member.
//!
//! One visit a run at a time, and one lock of the kernel for the state folder, so that two never drive the same journals.
//! Visits of other members at the same time are fine: each sees to its own steps, and the lock of the run decides the rest.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use runward_engine::run::group::Permit;
use runward_engine::run::place::ENGINE;
use runward_engine::run::todo::{Todo, todo_for};
use runward_engine::run::{ClaimId, Offer, RunId, RunState};
use runward_store::fleet::Ready;
use runward_store::{Fleet, Ledger, LedgerError, RunView, Trouble};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::tell::Seen;
use super::term::Term;
use super::{now_ms, tend};
use crate::driver::{Ask, Drive, DriveError, Driver, Setting};
use crate::home::{DriverLock, DriverLockError};
use crate::queue::Slot;

/// How far the clocks of two machines may be apart before something due is taken for something to come.
const CLOCKS_MS: i64 = 120_000;

/// What comes later than that is found by the sweep.
const SOON: Duration = Duration::from_secs(30);

/// Whether there was anything to do.
type Fruit = bool;

impl Term {
    /// Whether a look at the run would find somebody at it.
    pub(super) fn is_busy_with(&self, run: &RunId, call: &str) -> bool {
        match call {
            ENGINE => self.tended.borrow().contains(run),
            _ => self.driven.borrow().contains_key(run),
        }
    }

    /// Somebody should look at this run. `row`: as the ledger named it, where it did. `slot`: for the first step.
    pub(super) fn look(self: &Rc<Self>, run: &RunId, call: &str, row: Option<Ready>, slot: Option<Slot>) {
        if let Some(driver) = self.driven.borrow().get(run) {
            let _ = driver.send(Ask::Look); // it is leaving: the sweep comes back
        }
        if self.left.get() || self.is_busy_with(run, call) {
            return;
        }
        let visit =
            Visit { term: Rc::clone(self), run: run.clone(), call: call.to_owned(), row, permit: Cell::new(false) };
        let mut visits = self.visits.borrow_mut();
        while let Some(over) = visits.try_join_next() {
            if over.is_err_and(|error| error.is_panic()) {
                warn!("a visit ended in a panic: this is a mistake in runward");
            }
        }
        match call {
            ENGINE => {
                let Some(slot) = slot.or_else(|| self.engine.try_take()) else { return self.hungry.set(true) };
                self.tended.borrow_mut().insert(run.clone());
                visits.spawn_local(visit.engine(slot));
            }
            _ => {
                let (ask, asks) = mpsc::unbounded_channel();
                self.driven.borrow_mut().insert(run.clone(), ask);
                visits.spawn_local(visit.steps(asks, slot));
            }
        }
    }
}

struct Visit {
    term: Rc<Term>,
    run: RunId,
    call: String,
    row: Option<Ready>,
    /// It waits for a permit of its group.
    permit: Cell<bool>,
}

/// Takes the run off the list again, however the visit ends.
struct Listed<'a>(&'a Visit, bool);

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let Listed(visit, driven) = self;
        match driven {
            true => _ = visit.term.driven.borrow_mut().remove(&visit.run),
            false => _ = visit.term.tended.borrow_mut().remove(&visit.run),
        }
    }
}

impl Visit {
    /// For everything that is no step.
    async fn engine(self, slot: Slot) {
        let done = self.see_to_engine().await;
        drop(slot);
        self.ended(done).await;
    }

    async fn see_to_engine(&self) -> Result<Fruit, DriveError> {
        let term = &self.term;
        let mut view;
        let mut fruit = false;
        {
            let _listed = Listed(self, false);
            view = match self.load().await? {
                Some(view) => view,
                None => return Ok(true),
            };
            if !view.state.children().is_empty() {
                fruit = tend::tend(term, &mut view).await?;
            }
        }
        self.permit.set(view.state.permit() == Some(Permit::Waits));
        if term.driven.borrow().contains_key(&self.run) || !is_due(&view.state) {
            return Ok(fruit);
        }
        let (ask, asks) = mpsc::unbounded_channel();
        term.driven.borrow_mut().insert(self.run.clone(), ask);
        let _listed = Listed(self, true);
        Ok(self.drive(view, asks, None).await? || fruit)
    }

    /// For steps, and for attempts of this home.
    async fn steps(self, asks: mpsc::UnboundedReceiver<Ask>, slot: Option<Slot>) {
        let done = self.see_to_steps(asks, slot).await;
        self.ended(done).await;
    }

    async fn see_to_steps(&self, asks: mpsc::UnboundedReceiver<Ask>, slot: Option<Slot>) -> Result<Fruit, DriveError> {
        let _listed = Listed(self, true);
        let Some(view) = self.load().await? else { return Ok(true) };
        let state = &view.state;
        let claims = !todo_for(state, &self.term.post.offer).claims.is_empty();
        if !claims && self.term.own(state).is_empty() {
            return Ok(false);
        }
        self.drive(view, asks, slot).await
    }

    /// None: there is no such run, or it is over.
    async fn load(&self) -> Result<Option<RunView>, LedgerError> {
        match self.term.post.ledger().load(&self.run).await {
            Ok(view) => Ok(Some(view).filter(|view| !view.state.status.is_terminal())),
            Err(LedgerError::NoSuchRun(_)) => Ok(None), // pruned, or a hint that somebody made up
            Err(error) => Err(error),
        }
    }

    async fn drive(
        &self,
        view: RunView,
        mut asks: mpsc::UnboundedReceiver<Ask>,
        slot: Option<Slot>,
    ) -> Result<Fruit, DriveError> {
        let (term, member) = (&self.term, &self.term.post.member);
        member.home.use_spare(&self.run);
        let lock = match DriverLock::take_as_member(&member.home, &self.run) {
            Ok(lock) => lock,
            Err(DriverLockError::Taken { holder, .. }) => {
                debug!(run = %self.run, "process {} drives it in this state folder", holder.pid);
                return Ok(false);
            }
            Err(DriverLockError::Home(error)) => return Err(error.into()),
        };
        let slots = term.slots().map(|slots| slots.keeping(slot));
        let seen = Seen::new(term, &view.state, slots.clone());
        let setting = Setting {
            home: &member.home,
            ledger: term.post.ledger() as &dyn Ledger,
            supervisor: member.supervisor.clone(),
            session: term.session.clone(),
            line: Some(term.line.clone()),
            actor: member.actor.clone(),
            boot: member.boot.clone(),
            new_session: member.new_session,
            new_claim: member.new_claim,
            log_bytes_max: member.log_bytes_max,
            place: Some(term.post.place.clone()),
            offer: term.post.offer.clone(),
            slots,
            leases: Some(term.leases.clone()),
        };
        let mut driver = Driver::new(setting, lock, view);
        driver.leave_to_people();
        let end = driver.drive(&mut asks, &seen).await;
        term.lay_spare();
        let end = end?;
        term.remember(driver.state());
        debug!(run = %self.run, ?end, fruit = seen.fruit(), "the visit is over");
        Ok(seen.fruit() || end == Drive::Finished)
    }

    /// What was in vain is not looked at again at once: the row itself is put off where all members would look in vain, and
    /// otherwise this member alone passes over it for a while.
    async fn ended(&self, done: Result<Fruit, DriveError>) {
        let (term, pace) = (&self.term, self.term.post.pace());
        match done {
            Ok(true) => return term.vain.borrow_mut().forget(&self.run, &self.call),
            Ok(false) => {}
            // Said once, where the timeline is watched.
            Err(DriveError::Ledger(LedgerError::Server(error))) if error.trouble == Trouble::Promoted => {
                debug!("{error}")
            }
            Err(DriveError::Ledger(error)) => term.post.health.ledger_failed("a run cannot be carried on", &error),
            Err(error) => {
                warn!(run = %self.run, "it cannot be carried on here: {error}; it is tried again");
                term.look_for_room.notify_one();
            }
        }
        let Some(row) = &self.row else { return };
        if self.call == ENGINE {
            let pause = if self.permit.get() { pace.permit } else { pace.children };
            let put_off = term.post.ledger().put_off(row, pause).await;
            if let Err(error) = put_off {
                term.post.health.ledger_failed("a run that waits cannot be put off", &error);
            }
        } else {
            term.vain.borrow_mut().note(row, Instant::now(), pace.sweep, pace.fruitless_max);
        }
    }
}

impl Term {
    /// What runs in this state folder, so that only a member in it can see to it.
    pub(super) fn own(&self, state: &RunState) -> Vec<ClaimId> {
        let home = &self.post.place.home;
        let live = state.live().keys().filter_map(|claim| state.live_attempt(claim));
        let own = live.filter(|(_, attempt)| attempt.place.as_ref().is_some_and(|place| place.home == *home));
        own.map(|(_, attempt)| attempt.claim.clone()).collect()
    }

    pub(super) fn ledger(&self) -> &dyn Fleet {
        self.post.ledger()
    }
}

impl Term {
    /// For the next run. Where it cannot be made, that run will say why.
    pub(super) fn lay_spare(&self) {
        if let Err(error) = self.post.member.home.lay_spare() {
            debug!("{error}");
        }
    }

    /// A run that is left may have a time that comes soon. By a clock of this machine that is not that of the ledger it is
    /// looked at too early or too late; the sweep is there for that.
    fn remember(self: &Rc<Self>, state: &RunState) {
        let Some(at) = todo_for(state, &Offer::Nothing).wake_at else { return };
        let left = Duration::from_millis(u64::try_from(at.saturating_sub(now_ms())).unwrap_or(0));
        if left.is_zero() || left > SOON {
            return;
        }
        let (term, run) = (Rc::clone(self), state.id.clone());
        let mut timers = self.timers.borrow_mut();
        while timers.try_join_next().is_some() {}
        timers.spawn_local(async move {
            tokio::time::sleep(left).await;
            term.look(&run, ENGINE, None, None);
        });
    }
}

/// Whether a driver without hands has something to do: a timer, a permit, a child to begin.
fn is_due(state: &RunState) -> bool {
    let Todo { enter, claims, wake_at, .. } = todo_for(state, &Offer::Nothing);
    enter || !claims.is_empty() || wake_at.is_some_and(|at| at <= now_ms().saturating_add(CLOCKS_MS))
}
