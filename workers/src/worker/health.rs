//! What a member knows of its own state: for `/healthz`, `/readyz` and the log.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use runward_engine::run::SessionId;
use runward_store::LedgerError;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::Post;
use super::http::Vitals;
use crate::scheduler::Standing;

/// A loop that has not moved for so long hangs: each of its rounds has an end, whatever the ledger does.
const STUCK_AFTER: Duration = Duration::from_secs(180);

#[derive(Default)]
pub(super) struct Health(RefCell<State>);

#[derive(Default)]
pub(super) struct State {
    session: Option<SessionId>,
    /// When the last sign of life was sent that is confirmed.
    confirmed: Option<Instant>,
    /// Since when the ledger does not answer, and what it says.
    trouble: Option<(Instant, String)>,
    /// Since when nothing can be begun in the state folder, and why.
    no_room: Option<(Instant, String)>,
    pub(super) draining: bool,
    /// Of a server that fires schedules.
    fires: Option<Standing>,
    pub(super) moved: Moved,
}

/// When each loop has come round last.
#[derive(Default)]
pub(super) struct Moved {
    pub(super) beat: Option<Instant>,
    pub(super) sweep: Option<Instant>,
    pub(super) reaper: Option<Instant>,
    scheduler: Option<Instant>,
}

impl Health {
    pub(super) fn note(&self, what: impl FnOnce(&mut State)) {
        what(&mut self.0.borrow_mut());
    }

    pub(super) fn joined(&self, session: &SessionId) {
        self.answered();
        let mut state = self.0.borrow_mut();
        (state.session, state.confirmed) = (Some(session.clone()), Some(Instant::now()));
    }

    pub(super) fn confirmed(&self, sent: Instant) {
        self.answered();
        self.0.borrow_mut().confirmed = Some(sent);
    }

    pub(super) fn confirmed_at(&self) -> Option<Instant> {
        self.0.borrow().confirmed
    }

    /// What speaks against beginning anything in the state folder, if something does. Said once.
    pub(super) fn room(&self, trouble: Option<String>) {
        let no_room = &mut self.0.borrow_mut().no_room;
        match (no_room.as_mut(), trouble) {
            (None, Some(why)) => {
                warn!("{why}: nothing new is taken until there is room; running steps run on");
                *no_room = Some((Instant::now(), why));
            }
            (Some((_, known)), Some(why)) => *known = why,
            (Some((since, _)), None) => {
                info!(seconds = since.elapsed().as_secs(), "there is room in the state folder again");
                *no_room = None;
            }
            (None, None) => {}
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.0.borrow().no_room.is_none()
    }

    pub(super) fn is_confirmed_since(&self, sent: Instant) -> bool {
        self.0.borrow().confirmed.is_some_and(|confirmed| confirmed >= sent)
    }

    /// Said once an outage: a database that is away for ten minutes is weather.
    pub(super) fn ledger_failed(&self, what: &str, error: &LedgerError) {
        let mut state = self.0.borrow_mut();
        match &mut state.trouble {
            Some((_, why)) => *why = error.to_string(),
            None => {
                warn!("{what}: {error}; it is tried again until it works, and running steps run on");
                state.trouble = Some((Instant::now(), error.to_string()));
            }
        }
    }

    /// A round of the scheduler is over.
    pub(super) fn fires(&self, standing: &Standing) {
        let mut state = self.0.borrow_mut();
        state.moved.scheduler = Some(Instant::now());
        if state.fires.as_ref() != Some(standing) {
            state.fires = Some(standing.clone());
        }
    }

    fn answered(&self) {
        if let Some((since, _)) = self.0.borrow_mut().trouble.take() {
            info!(seconds = since.elapsed().as_secs(), "the ledger answers again");
        }
    }

    /// Which loop hangs.
    pub(super) fn stuck(&self) -> Option<&'static str> {
        let moved = &self.0.borrow().moved;
        let loops = [("beat", moved.beat), ("sweep", moved.sweep), ("reaper", moved.reaper)];
        let hangs = |at: &Option<Instant>| at.is_some_and(|at| at.elapsed() > STUCK_AFTER);
        loops.iter().find(|(_, at)| hangs(at)).map(|(name, _)| *name)
    }
}

impl Vitals for Post {
    fn stuck(&self) -> Option<&'static str> {
        self.health.stuck()
    }

    fn readiness(&self) -> (bool, Value) {
        readiness(self)
    }
}

fn readiness(post: &Post) -> (bool, Value) {
    let state = post.health.0.borrow();
    let age = state.confirmed.map(|at| at.elapsed());
    let ready = age.is_some_and(|age| age < post.pace().lease)
        && state.trouble.is_none()
        && state.no_room.is_none()
        && !state.draining;
    let redis = post.member.queue.as_ref().map(|queue| match queue.health().outage {
        Some(away) => json!({"away": outage(away.since, &away.why)}),
        None => json!({"away": null}),
    });
    let hands = post.member.hands.as_ref();
    let body = json!({
        "ready": ready,
        "session": state.session,
        "home": post.place.home,
        "host": post.place.host,
        "labels": hands.map(|hands| &hands.labels),
        "concurrency": hands.map_or(0, |hands| hands.concurrency.get()),
        "running": post.slots.as_ref().map_or(0, |slots| slots.taken()),
        "draining": state.draining,
        "confirmed_ms_ago": age.map(ms),
        "ledger": {"away": state.trouble.as_ref().map(|(since, why)| outage(*since, why))},
        "redis": redis,
        "state_folder": {"trouble": state.no_room.as_ref().map(|(since, why)| outage(*since, why))},
        "scheduler": state.fires.as_ref().map(|standing| scheduler(standing, state.moved.scheduler)),
    });
    (ready, body)
}

/// What every server says that fires schedules.
pub(crate) fn scheduler(standing: &Standing, round: Option<Instant>) -> Value {
    let broken = standing.broken.iter().map(|(name, why)| json!({"schedule": name, "why": why}));
    json!({
        "schedules": standing.schedules,
        "disabled": standing.disabled,
        "broken": broken.collect::<Vec<_>>(),
        "next": standing.next,
        "round_ms_ago": round.map(|at| ms(at.elapsed())),
    })
}

/// Since when something is away, and what it says.
pub(crate) fn outage(since: Instant, why: &str) -> Value {
    json!({"since_ms": ms(since.elapsed()), "why": why})
}

pub(crate) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
