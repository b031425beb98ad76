//! One session of a member: everything it does while the others believe that it lives.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use runward_engine::run::place::{ANY, ENGINE};
use runward_engine::run::{RunId, SessionId};
use runward_store::fleet::Session;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::sweep::Vain;
use super::tell::Told;
use super::{Post, Stop, keeper, notify, reaper, room, session, strays, sweep, tell};
use crate::driver::{Ask, Line};
use crate::queue::{Open, Slots};
use crate::supervisor::lease::Leases;

/// How long drivers may take to leave their runs. What they leave undone the next ones find.
const LEAVE_MAX: Duration = Duration::from_secs(5);
/// How often somebody who waits for running steps looks.
const DRAIN_POLL: Duration = Duration::from_millis(50);

/// Visits to runs in which no step is to be started, at once.
const ENGINE_AT_ONCE: NonZeroUsize = NonZeroUsize::new(16).expect("it is not 0");

/// How a session ended.
pub(super) enum End {
    /// The others have taken it for dead.
    Silent,
    Stopped,
    /// Somebody who was there before lives in a copy of the state folder.
    Twin(Session),
}

pub(super) struct Term {
    pub(super) post: Rc<Post>,
    pub(super) session: SessionId,
    /// Until when its strict steps may live.
    pub(super) leases: Leases,
    /// To its supervisor.
    pub(super) line: Line,
    /// Runs that are driven here, and how to reach who does.
    pub(super) driven: RefCell<BTreeMap<RunId, mpsc::UnboundedSender<Ask>>>,
    /// Runs whose children are looked after just now.
    pub(super) tended: RefCell<BTreeSet<RunId>>,
    pub(super) visits: RefCell<JoinSet<()>>,
    /// What comes due soon in runs that were left.
    pub(super) timers: RefCell<JoinSet<()>>,
    /// Room for visits that start no step.
    pub(super) engine: Slots,
    pub(super) vain: RefCell<Vain>,
    pub(super) told: mpsc::UnboundedSender<Told>,
    pub(super) heard: Cell<Option<mpsc::UnboundedReceiver<Told>>>,
    /// There may be something to find that the last look has left.
    pub(super) hungry: Cell<bool>,
    pub(super) sweep_now: Notify,
    /// Something could not be written.
    pub(super) look_for_room: Notify,
    /// Takes nothing new.
    pub(super) draining: Cell<bool>,
    /// Begins no visit any more: nobody would end it.
    pub(super) left: Cell<bool>,
}

impl Term {
    /// `leases`: as its joining has confirmed them.
    pub(super) fn new(post: Rc<Post>, session: SessionId, leases: Leases) -> Rc<Term> {
        let (told, heard) = mpsc::unbounded_channel();
        let line = Line::new(post.member.supervisor.clone(), &post.member.home, session.clone());
        Rc::new(Term {
            post,
            session,
            leases,
            line,
            driven: RefCell::default(),
            tended: RefCell::default(),
            visits: RefCell::default(),
            timers: RefCell::default(),
            engine: Slots::new(ENGINE_AT_ONCE),
            vain: RefCell::default(),
            told,
            heard: Cell::new(Some(heard)),
            hungry: Cell::new(false),
            sweep_now: Notify::new(),
            look_for_room: Notify::new(),
            draining: Cell::new(false),
            left: Cell::new(false),
        })
    }

    /// Until the session is at its end, or the process is to stop.
    pub(super) async fn live(self: Rc<Term>) -> End {
        let end = tokio::select! {
            () = session::beat(&self) => End::Silent,
            () = self.drain() => End::Stopped,
            twin = reaper::watch(&self) => End::Twin(twin),
            () = self.work() => End::Stopped,
        };
        self.leave().await;
        if !matches!(end, End::Silent) {
            session::leave(&self).await;
        }
        end
    }

    /// For ever, once there is one. A server starts nothing, and needs no supervisor.
    async fn keep(&self) {
        match self.slots() {
            Some(_) => keeper::keep(&self.line).await,
            None => std::future::pending().await,
        }
    }

    /// Everything that never ends by itself. A supervisor may be long in starting; signs of life do not wait for it.
    async fn work(self: &Rc<Term>) {
        let mut lookout = room::Lookout::new(self);
        lookout.look().await;
        let started = async {
            if self.slots().is_some() {
                self.lay_spare();
                keeper::start(&self.line).await;
            }
            tokio::join!(self.keep(), strays::end(self), sweep::sweep(self), sweep::listen(self), tell::tell(self));
        };
        tokio::join!(lookout.watch(), started);
    }

    /// What this member listens to: the steps it can do, while it has room, and everything that is no step.
    pub(super) fn calls(&self) -> Vec<String> {
        let mut calls = vec![ENGINE.to_owned()];
        if let (Some(hands), Some(slots)) = (&self.post.member.hands, &self.post.slots)
            && slots.free() > 0
        {
            calls.push(ANY.to_owned());
            calls.extend(hands.labels.iter().cloned());
        }
        calls
    }

    /// Nobody has asked it to leave, and it can write down what it would begin.
    pub(super) fn takes_new(&self) -> bool {
        !self.draining.get() && self.post.health.has_room()
    }

    pub(super) fn slots(&self) -> Option<&Slots> {
        self.post.slots.as_ref()
    }

    /// Returns when it is time to leave.
    async fn drain(&self) {
        self.post.asked(Stop::Drain).await;
        notify::stopping();
        self.draining.set(true);
        self.post.health.note(|state| state.draining = true);
        let Some(slots) = self.slots() else { return };
        slots.set_open(Open::Closed);
        let patience = self.post.member.drain_timeout;
        if slots.taken() == 0 || patience.is_zero() {
            return;
        }
        info!(running = slots.taken(), "taking nothing new, waiting for what runs");
        // A slot is given back in the commit that records the end; a driver hears that it is to leave after that.
        let done = async {
            while slots.taken() > 0 {
                tokio::time::sleep(DRAIN_POLL).await;
            }
        };
        tokio::select! {
            () = done => {}
            () = tokio::time::sleep(patience) => info!(running = slots.taken(), "not waiting any longer: it runs on"),
            () = self.post.asked(Stop::Now) => {}
        }
    }

    /// Leaves every run. What runs goes on.
    async fn leave(&self) {
        self.left.set(true);
        for ask in self.driven.borrow().values() {
            let _ = ask.send(Ask::Leave); // it is leaving already
        }
        let mut visits = self.visits.take();
        let all = async { while visits.join_next().await.is_some() {} };
        if tokio::time::timeout(LEAVE_MAX, all).await.is_err() {
            warn!(visits = visits.len(), "some drivers did not leave in time: they are given up");
            visits.shutdown().await;
        }
        self.timers.take().abort_all(); // what the last of them have set
    }
}
