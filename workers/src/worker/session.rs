//! The signs of life of a member. Who misses them for too long takes the session for dead, and its steps for lost.

use std::rc::Rc;
use std::time::{Duration, Instant};

use runward_engine::run::SessionId;
use runward_store::fleet::NewSession;
use tracing::{info, warn};

use super::Post;
use super::term::Term;
use crate::queue::Open;
use crate::supervisor::lease::{self, Leases};

/// Between two tries at what did not work.
pub(super) const AGAIN: Duration = Duration::from_secs(1);
/// Nobody who leaves waits for a ledger that does not answer.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// When a sign of life was sent, for this process and for the supervisors of this machine.
struct Sent {
    at: Instant,
    machine_ms: u64,
}

impl Sent {
    fn now() -> Sent {
        Sent { at: Instant::now(), machine_ms: lease::now_ms() }
    }

    /// Until when strict steps may live once it is confirmed.
    fn until(&self, lease: Duration) -> u64 {
        self.machine_ms.saturating_add(u64::try_from(lease.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Says that it is there, as often as it takes, which is its first sign of life. None if it is to stop before.
pub(super) async fn join(post: &Post, session: &SessionId) -> Option<Leases> {
    let hands = post.member.hands.as_ref();
    let new = NewSession {
        id: session.clone(),
        home: post.place.home.clone(),
        host: post.place.host.clone(),
        pid: std::process::id(),
        boot: post.member.boot.clone(),
        version: post.member.version.clone(),
        labels: hands.map(|hands| hands.labels.iter().cloned().collect()).unwrap_or_default(),
        concurrency: hands.map_or(0, |hands| u32::try_from(hands.concurrency.get()).unwrap_or(u32::MAX)),
    };
    loop {
        if post.is_stopped() {
            return None;
        }
        let sent = Sent::now();
        match post.ledger().join(&new).await {
            Ok(()) => {
                info!(%session, home = %new.home, labels = ?new.labels, concurrency = new.concurrency, "joined the cluster");
                post.health.joined(session);
                if let Some(slots) = &post.slots {
                    slots.set_open(Open::Until(sent.at + post.pace().lease));
                }
                return Some(Leases::new(sent.until(post.pace().lease)));
            }
            Err(error) => post.health.ledger_failed("this member cannot join the cluster", &error),
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            () = post.asked(super::Stop::Drain) => {}
        }
    }
}

/// Beats. Returns when the session is at its end: somebody has taken it for dead.
pub(super) async fn beat(term: &Rc<Term>) {
    let (post, pace) = (&term.post, term.post.pace());
    loop {
        let sent = Sent::now();
        match post.ledger().beat(&term.session, !term.takes_new()).await {
            Ok(true) => confirmed(term, &sent),
            Ok(false) => {
                warn!(session = %term.session, "the others took this member for dead: it begins anew, and asks what is still its own");
                return;
            }
            Err(error) => post.health.ledger_failed("a sign of life is not confirmed", &error),
        }
        post.health.note(|state| state.moved.beat = Some(Instant::now()));
        let pause = if post.health.is_confirmed_since(sent.at) { pace.beat } else { AGAIN.min(pace.beat) };
        tokio::time::sleep(pause.saturating_sub(sent.at.elapsed())).await;
    }
}

/// The lease counts from the moment at which the beat was sent: it was heard no earlier.
fn confirmed(term: &Term, sent: &Sent) {
    let lease = term.post.pace().lease;
    term.post.health.confirmed(sent.at);
    term.leases.extend(sent.until(lease));
    open(term);
}

/// Gives out slots, unless something speaks against it, for as long as the last confirmed sign of life is good for.
pub(super) fn open(term: &Term) {
    if let (Some(slots), Some(sent)) = (term.slots(), term.post.health.confirmed_at())
        && term.takes_new()
        && !term.post.shut.get()
    {
        slots.set_open(Open::Until(sent + term.post.pace().lease));
    }
}

/// Says goodbye where nothing is left running. Else it says only that it takes nothing new, and then it is as if it had
/// died: a member that starts here again soon adopts what runs, and if none does, the others see the silence.
pub(super) async fn leave(term: &Term) {
    let ledger = term.post.ledger();
    let goodbye = async {
        let ours = |session: &SessionId| *session == term.session;
        if ledger.attended().await?.iter().any(|attempt| ours(&attempt.watched_by)) {
            return ledger.beat(&term.session, true).await.map(|_| ()); // a session that is over needs no goodbye
        }
        ledger.leave(&term.session).await
    };
    match tokio::time::timeout(GOODBYE_MAX, goodbye).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!("it could not say goodbye: {error}"),
        Err(_) => warn!("it could not say goodbye: the ledger does not answer"),
    }
}
