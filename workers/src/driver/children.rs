//! The children of a run: each is driven in the same process, under its own lock, beside its parent.
//!
//! The parent's state says which children there should be ([`runward_engine::run::todo`]); `Children` is the parent's
//! end of it, the `Nursery` drives them. Both go on at the same time and talk through channels only: neither ever waits
//! for the other while it holds something of the ledger. Nothing here has to survive: the next driver of the parent finds
//! the same children in its state, and each child under its id.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use runward_engine::limits;
use runward_engine::mutated;
use runward_engine::plan::Definition;
use runward_engine::run::acts::Act;
use runward_engine::run::child::{self, ChildEnd, ChildOutcome, ChildStop};
use runward_engine::run::decide::decide;
use runward_engine::run::group::Priority;
use runward_engine::run::todo::{ChildTodo, todo};
use runward_engine::run::{Command, Env, Parent, RunId, RunState, RunStatus, Unit};
use runward_engine::runbook::calls::calls;
use runward_engine::runbook::model::{Action, Call, Runbook};
use runward_store::{Ledger, LedgerError, NewRun, RunView, command};
use tokio::sync::{mpsc, watch};

use super::{Ask, Drive, DriveError, Driver, LOOK_EVERY, Observer, Setting};
use crate::home::{DriverLock, DriverLockError};

/// How often a child that waits for one of its own is asked whether that goes on.
const LOOK_DEEPER_EVERY: Duration = Duration::from_secs(2);

/// The runbooks that the steps of a run call, from its definition, by the text that names them.
#[derive(Debug, Default, Clone)]
pub struct Callees(BTreeMap<String, Callee>);

#[derive(Debug, Clone)]
struct Callee {
    definition: Arc<Definition>,
    hash: String,
    runbook: Arc<Runbook>,
}

impl Callees {
    /// One that cannot be read is left out; the step that calls it says so.
    pub async fn of(ledger: &dyn Ledger, state: &RunState) -> Result<Callees, LedgerError> {
        let mut callees = Callees::default();
        if calls(&state.runbook).next().is_none() {
            return Ok(callees);
        }
        for called in ledger.definition(&state.definition).await?.runbooks {
            let definition = ledger.definition(&called.definition).await?;
            if let Ok(runbook) = definition.runbook() {
                let (definition, runbook) = (Arc::new(definition), Arc::new(runbook));
                callees.0.insert(called.runbook, Callee { definition, hash: called.definition, runbook });
            }
        }
        Ok(callees)
    }

    /// What a ready `runbook` step asks for: its child, or to fail because its values do not fit.
    pub(super) fn command(&self, state: &RunState, unit: Unit, call: &Call) -> Command {
        let started = child::may_start(state).and_then(|()| {
            let callee = self.get(call)?;
            child::arguments(state, unit, call, &callee.runbook, &str::to_owned)?;
            Ok(Command::StartChild { unit, definition: callee.hash.clone() })
        });
        started.unwrap_or_else(|error| Command::Refuse { unit, error })
    }

    fn get(&self, call: &Call) -> Result<&Callee, String> {
        let none =
            || format!("the runbook `{}` is not part of this run's definition, or cannot be read", call.runbook.value);
        self.0.get(&call.runbook.value).ok_or_else(none)
    }

    /// The child of this unit, should it have to be made.
    ///
    /// `absolute`: whoever gives a relative path means the folder in which its own steps run.
    pub fn new_run(
        &self,
        state: &RunState,
        unit: Unit,
        id: &RunId,
        absolute: &dyn Fn(&str) -> String,
    ) -> Result<NewRun, String> {
        let Action::Runbook(call) = &state.spec(unit.step).action else { return Err("it calls no runbook".to_owned()) };
        let callee = self.get(call)?;
        Ok(NewRun {
            id: if mutated!(ChildOfAnotherId) { RunId(format!("{id}-{}", state.seq)) } else { id.clone() },
            definition: (*callee.definition).clone(),
            // Both were recorded with the first run of this family.
            called: Vec::new(),
            blobs: Vec::new(),
            params: child::arguments(state, unit, call, &callee.runbook, absolute)?,
            trigger: "runbook".to_owned(),
            key: None,
            // It runs under the permit of its parent.
            group: None,
            priority: Priority::Normal,
            queued_max: limits::QUEUED_MAX,
            parent: Some(Parent::of(state, unit)),
            seed: child::seed(id),
            actor: state.actor.clone(),
            planned: None,
            only_after: None,
            zone: Some(state.zone.name().to_owned()),
            requester: state.requester.clone(),
            tick: None,
        })
    }
}

/// What a parent wants of a child, whatever it is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    pub stop: Option<ChildStop>,
    /// Nothing new starts.
    pub held: bool,
    /// Who paused the parent, and why: the child is paused with it.
    pub paused: Option<Act>,
    /// Who let the parent go on again, if somebody did.
    pub unpaused: Option<String>,
}

impl Wish {
    /// `held`: nothing new starts in the parent itself. `stop`: see [`ChildTodo::stop`].
    pub fn of(parent: &RunState, held: bool, stop: Option<ChildStop>) -> Wish {
        let unpaused = parent.unpaused.as_ref().map(|act| act.by.clone());
        Wish { stop, held: held || parent.paused.is_some(), paused: parent.paused.clone(), unpaused }
    }

    /// What a child has to be told that it does not know yet, and in whose name where a person asked for it.
    pub fn orders(&self, child: &RunState) -> Vec<(Command, Option<String>)> {
        let (by, reason) = match &self.paused {
            Some(act) => (Some(act.by.clone()), act.reason.clone()),
            None => (self.unpaused.clone(), None),
        };
        let pause = Command::PauseWithParent { pause: self.paused.is_some(), reason };
        let mut orders = vec![(pause, by)];
        // It may have been told already; to say it again would stop a rollback.
        let known = |stop: &ChildStop| child.cancel.as_ref().is_some_and(|cancel| cancel.force || !stop.force);
        if let Some(stop) = self.stop.clone().filter(|stop| !known(stop)) {
            let cancel = Command::Cancel { force: stop.force, rollback: stop.rollback, reason: Some(stop.reason) };
            orders.push((cancel, stop.by));
        }
        let is_news = |order: &Command| decide(child, order, &Env::default()).is_ok_and(|events| !events.is_empty());
        orders.retain(|(order, _)| is_news(order));
        orders
    }
}

/// A child to look after.
struct Order {
    child: RunId,
    generation: u32,
    /// As it would have to be made, or why it cannot be.
    new: Result<Box<NewRun>, String>,
    /// Who lets it go on, if it is to go on after its end.
    by: String,
    wish: watch::Receiver<Wish>,
    asks: mpsc::UnboundedReceiver<Ask>,
}

/// What the parent is told.
pub(super) enum ChildNews {
    Ended(RunId, ChildEnd),
    /// Nothing more can happen in it without a person; or no longer so.
    Rests(RunId, bool),
    Trouble(DriveError),
}

/// The parent's end.
pub(super) struct Children {
    tended: BTreeMap<RunId, Tended>,
    orders: mpsc::UnboundedSender<Order>,
    news: mpsc::UnboundedReceiver<ChildNews>,
}

struct Tended {
    wish: watch::Sender<Wish>,
    /// Dropped, it makes the child's driver leave.
    _asks: mpsc::UnboundedSender<Ask>,
    rests: bool,
}

/// Where children are driven.
pub(super) struct Nursery {
    orders: mpsc::UnboundedReceiver<Order>,
    news: mpsc::UnboundedSender<ChildNews>,
}

pub(super) fn open() -> (Children, Nursery) {
    let (order, orders) = mpsc::unbounded_channel();
    let (tell, news) = mpsc::unbounded_channel();
    (Children { tended: BTreeMap::new(), orders: order, news }, Nursery { orders, news: tell })
}

impl Children {
    /// Looks after the children the state says there are, and tells them what is wanted now.
    pub(super) fn tend(&mut self, setting: &Setting<'_>, callees: &Callees, state: &RunState, held: bool) {
        let wanted = todo(state).children;
        self.tended.retain(|child, _| state.children().contains_key(child));
        for ChildTodo { child, unit, generation, stop } in wanted {
            let wish = Wish::of(state, held, stop);
            match self.tended.get(&child) {
                Some(tended) => _ = tended.wish.send_if_modified(|old| std::mem::replace(old, wish.clone()) != wish),
                None => {
                    let absolute = |path: &str| setting.home.files(&state.id).join(path).display().to_string();
                    let new = callees.new_run(state, unit, &child, &absolute).map(Box::new);
                    let by = state.resumed.as_ref().map_or(&setting.actor, |act| &act.by).clone();
                    let (tell, wish) = watch::channel(wish);
                    let (ask, asks) = mpsc::unbounded_channel();
                    self.tended.insert(child.clone(), Tended { wish: tell, _asks: ask, rests: false });
                    let _ = self.orders.send(Order { child, generation, new, by, wish, asks });
                }
            }
        }
    }

    /// Whether nothing more can happen in a child without a person.
    pub(super) fn rests(&self, child: &RunId) -> bool {
        self.tended.get(child).is_some_and(|tended| tended.rests)
    }

    pub(super) async fn next(&mut self) -> ChildNews {
        let Some(news) = self.news.recv().await else { return std::future::pending().await };
        if let ChildNews::Rests(child, rests) = &news
            && let Some(tended) = self.tended.get_mut(child)
        {
            tended.rests = *rests;
        }
        news
    }
}

impl Nursery {
    /// Drives children until the parent is done with them, then lets each of them leave.
    pub(super) async fn run(mut self, setting: &Setting<'_>, observer: &dyn Observer, people: bool) {
        let mut running: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
        loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => running.push(Box::pin(look_after(setting, observer, people, order, self.news.clone()))),
                    None => break,
                },
                () = one_of(&mut running) => {}
            }
        }
        while !running.is_empty() {
            one_of(&mut running).await;
        }
    }
}

/// Goes on with all of them until one is done. There are no more than may run at once.
async fn one_of(running: &mut Vec<Pin<Box<dyn Future<Output = ()> + '_>>>) {
    poll_fn(|context| {
        let before = running.len();
        running.retain_mut(|child| child.as_mut().poll(context).is_pending());
        if running.len() < before { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn look_after(
    setting: &Setting<'_>,
    observer: &dyn Observer,
    people: bool,
    order: Order,
    news: mpsc::UnboundedSender<ChildNews>,
) {
    let child = order.child.clone();
    let told = match bring_to_its_end(setting, observer, people, order, &news).await {
        Ok(Some(end)) => ChildNews::Ended(child, end),
        Ok(None) => return,
        Err(error) => ChildNews::Trouble(error),
    };
    let _ = news.send(told); // a parent that has left meanwhile finds out again
}

/// How the child ended; `None` if its parent left it before.
async fn bring_to_its_end(
    setting: &Setting<'_>,
    observer: &dyn Observer,
    people: bool,
    order: Order,
    news: &mpsc::UnboundedSender<ChildNews>,
) -> Result<Option<ChildEnd>, DriveError> {
    let Order { child, generation, new, by, mut wish, mut asks } = order;
    let ledger = setting.ledger;
    let mut view = match find_or_make(ledger, &child, new, &wish).await? {
        Ok(view) => view,
        Err(end) => return Ok(Some(end)),
    };
    if goes_on(&view.state, generation) {
        // Refused only if somebody was faster; then it goes on all the same.
        let _ = command(ledger, &mut view, Command::Resume { from: None, reason: None }, &by).await?;
    }
    let before = ledger.events(&child, 0).await?.into_iter().map(|event| event.recorded);
    observer.child(&view.state, &before.filter(|recorded| recorded.seq <= view.state.seq).collect::<Vec<_>>());
    loop {
        if let Some(end) = end_of(&view.state) {
            return Ok(Some(end));
        }
        let rests = match DriverLock::take(setting.home, &child, &setting.actor) {
            Ok(lock) => {
                let session = if setting.line.is_some() { setting.session.clone() } else { (setting.new_session)() };
                let own = Setting { session, ..setting.clone() };
                let mut driver = Driver::new(own, lock, view).under(wish.clone());
                if people {
                    driver.leave_to_people();
                }
                match Box::pin(driver.drive(&mut asks, observer)).await? {
                    Drive::Finished => return Ok(Some(child::end(driver.state()))),
                    Drive::Left | Drive::Idle => return Ok(None),
                    Drive::Waiting => view = driver.into_view(),
                }
                true
            }
            // Somebody else ends it just now (a cancel), or drives it: it is watched.
            Err(DriverLockError::Taken { .. }) => false,
            Err(DriverLockError::Home(error)) => return Err(error.into()),
        };
        let _ = news.send(ChildNews::Rests(child.clone(), rests));
        if !something_happens(ledger, observer, people, &mut view, &mut wish, &mut asks).await? {
            return Ok(None);
        }
        let _ = news.send(ChildNews::Rests(child.clone(), false));
    }
}

/// Whether a child that is at its end has to begin this generation.
pub fn goes_on(state: &RunState, generation: u32) -> bool {
    state.status.is_terminal() && state.status != RunStatus::Succeeded && state.generation < generation
}

/// How a child ended that is at its end.
pub fn end_of(state: &RunState) -> Option<ChildEnd> {
    let early = mutated!(ChildSettledEarly) && state.started_at.is_some();
    (state.status.is_terminal() || early).then(|| child::end(state))
}

/// What there is to make of a child that is not there: its run, or its end before it came to be.
pub fn to_make(new: Result<Box<NewRun>, String>, wish: &Wish) -> Result<Box<NewRun>, ChildEnd> {
    let never = |outcome, error| ChildEnd { outcome, generation: 0, outputs: Default::default(), error: Some(error) };
    match &wish.stop {
        Some(stop) => Err(never(ChildOutcome::Cancelled, format!("its run was not started: {}", stop.reason))),
        None => new.map_err(|error| never(ChildOutcome::Failed, error)),
    }
}

/// Whether a child that rested has something to do again.
pub fn is_stirred(state: &RunState, people: bool) -> bool {
    let todo = todo(state);
    let idle = todo.is_idle(state) || people && todo.only_people(state);
    state.status.is_terminal() || !idle
}

/// The child: the one there is, else a new one. `Err`: it is over before it came to be.
async fn find_or_make(
    ledger: &dyn Ledger,
    child: &RunId,
    new: Result<Box<NewRun>, String>,
    wish: &watch::Receiver<Wish>,
) -> Result<Result<RunView, ChildEnd>, DriveError> {
    match ledger.load(child).await {
        Ok(view) => return Ok(Ok(view)),
        Err(LedgerError::NoSuchRun(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let new = to_make(new, &wish.borrow().clone());
    match new {
        Ok(new) => Ok(Ok(ledger.trigger(*new).await?.view)),
        Err(end) => Ok(Err(end)),
    }
}

/// Waits until a child that rests has something to do again; false if its parent leaves it.
async fn something_happens(
    ledger: &dyn Ledger,
    observer: &dyn Observer,
    people: bool,
    view: &mut RunView,
    wish: &mut watch::Receiver<Wish>,
    asks: &mut mpsc::UnboundedReceiver<Ask>,
) -> Result<bool, DriveError> {
    // A child of its own goes on without a word to it: it is asked now and then.
    let often = if view.state.children().is_empty() { LOOK_EVERY } else { LOOK_DEEPER_EVERY };
    loop {
        tokio::select! {
            ask = asks.recv() => if matches!(ask, Some(Ask::Leave) | None) { return Ok(false) },
            Ok(()) = wish.changed() => return Ok(true),
            () = tokio::time::sleep(often) => {}
        }
        let news = ledger.refresh(view).await?;
        observer.changed(&view.state, &news);
        if is_stirred(&view.state, people) {
            return Ok(true);
        }
    }
}
