//! What the silence of others means: a session that is not heard for long enough is dead, and what it watched is lost.
//!
//! Silence is counted on this member's own clock, from one look at the ledger to the next; no clock of another machine is
//! in it. A look that fails, or comes late, says nothing of what happened meanwhile: then everything is counted anew, so
//! that a ledger that was away, or a member that was frozen, takes nobody for dead. Every member does this, and nobody
//! leads: what two of them do at once, one does in vain.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Instant;

use chrono::DateTime;
use runward_engine::run::place::ANY;
use runward_engine::run::{ClaimId, Command, RunId, SessionId};
use runward_store::LedgerError;
use runward_store::fleet::{Attended, Session, SessionEnd};
use tracing::{info, warn};

use super::Pace;
use super::tell::Calls;
use super::term::Term;
use super::twin::Twins;

/// When a look began, and when its answer was there.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub asked: Instant,
    pub answered: Instant,
}

/// What was seen so far without a break.
#[derive(Debug, Default)]
pub struct Observed {
    /// The beat of each session, and since when it has not moved.
    sessions: BTreeMap<SessionId, (u64, Instant)>,
    /// Attempts that nobody watches, and since when.
    alone: BTreeMap<ClaimId, Alone>,
    last: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Alone {
    since: Instant,
    /// Whether it may live without its worker; not known before its run was read.
    detached: bool,
}

impl Observed {
    /// Nothing is known of the time since the last look.
    pub fn forget(&mut self) {
        *self = Observed::default();
    }

    /// Which sessions are dead.
    pub fn sessions(&mut self, look: Look, sessions: &[Session], pace: &Pace) -> Vec<(SessionId, u64)> {
        if self.last.is_some_and(|last| look.answered.saturating_duration_since(last) > pace.late + pace.beat) {
            self.forget();
        }
        self.last = Some(look.answered);
        let living: Vec<(&SessionId, u64)> =
            sessions.iter().filter(|session| session.end.is_none()).map(|it| (&it.new.id, it.beat)).collect();
        let before = std::mem::take(&mut self.sessions);
        for (id, beat) in &living {
            let known = before.get(id).filter(|(known, _)| known == beat);
            self.sessions.insert((*id).clone(), known.copied().unwrap_or((*beat, look.answered)));
        }
        let silent = |since: Instant| look.asked.saturating_duration_since(since) >= pace.silent;
        let dead = self.sessions.iter().filter(|(_, (_, since))| silent(*since));
        dead.map(|(id, (beat, _))| (id.clone(), *beat)).collect()
    }

    /// Which attempts to look at: nobody watches them, and those that may live without their worker have done so for long.
    pub fn abandoned(&mut self, look: Look, attended: &[Attended], sessions: &[Session], pace: &Pace) -> Vec<Attended> {
        let living: BTreeSet<&SessionId> =
            sessions.iter().filter(|session| session.end.is_none()).map(|session| &session.new.id).collect();
        let alone: Vec<&Attended> = attended.iter().filter(|it| !living.contains(&it.watched_by)).collect();
        let before = std::mem::take(&mut self.alone);
        for attempt in &alone {
            let known = before.get(&attempt.claim).copied();
            self.alone.insert(attempt.claim.clone(), known.unwrap_or(Alone { since: look.answered, detached: false }));
        }
        let due = |attempt: &&&Attended| {
            let Alone { since, detached } = self.alone[&attempt.claim];
            !detached || look.asked.saturating_duration_since(since) >= pace.lost_after
        };
        alone.iter().filter(due).map(|attempt| (**attempt).clone()).collect()
    }

    /// Whether an abandoned attempt is lost now. One that may live without its worker is waited for first: from the second
    /// time on it is only abandoned when that is over.
    pub fn is_lost(&mut self, claim: &ClaimId, strict: bool) -> bool {
        let Some(alone) = self.alone.get_mut(claim) else { return false };
        strict || std::mem::replace(&mut alone.detached, true)
    }
}

/// Looks, until it finds one that this member gives way to.
pub(super) async fn watch(term: &Rc<Term>) -> Session {
    let (mut observed, mut twins) = (Observed::default(), Twins::default());
    loop {
        match round(term, &mut observed, &mut twins).await {
            Ok(None) => {}
            Ok(Some(twin)) => return twin,
            Err(error) => {
                observed.forget();
                term.post.health.ledger_failed("the signs of life of the others cannot be read", &error);
            }
        }
        term.post.health.note(|state| state.moved.reaper = Some(Instant::now()));
        tokio::time::sleep(term.post.pace().beat).await;
    }
}

async fn round(term: &Rc<Term>, observed: &mut Observed, twins: &mut Twins) -> Result<Option<Session>, LedgerError> {
    let (ledger, pace) = (term.ledger(), term.post.pace());
    let asked = Instant::now();
    // Attempts first: the session that watches one was there before it.
    let attended = ledger.attended().await?;
    let mut sessions = ledger.sessions().await?;
    if let Some(twin) = twins.elder(&term.session, &sessions) {
        return Ok(Some(twin.clone()));
    }
    let look = Look { asked, answered: Instant::now() };
    if look.answered.saturating_duration_since(asked) > pace.late {
        observed.forget();
        return Ok(None);
    }
    see_to_own(term, &attended);
    let heard = sessions.clone();
    for (session, beat) in observed.sessions(look, &sessions, pace) {
        // After a failover who died before it is told from who died with it by this: nobody is taken for dead meanwhile.
        // Whoever looks is there, whatever became of its beats.
        if !term.post.shut.get() && session != term.session && ledger.bury(&session, beat).await? {
            warn!(%session, "a member was not heard for {} s: it is taken for dead", pace.silent.as_secs_f32());
            sessions.retain(|known| known.new.id != session);
        }
    }
    for attempt in observed.abandoned(look, &attended, &sessions, pace) {
        let watcher = heard.iter().find(|session| session.new.id == attempt.watched_by);
        lose(term, observed, &attempt, watcher).await?;
    }
    Ok(None)
}

/// What runs in this state folder is this member's to see to, whoever started it.
fn see_to_own(term: &Rc<Term>, attended: &[Attended]) {
    if term.draining.get() {
        return;
    }
    let own = attended.iter().filter(|attempt| attempt.home.as_ref() == Some(&term.post.place.home));
    let runs: BTreeSet<&RunId> = own.map(|attempt| &attempt.run).collect();
    for run in runs {
        if !term.is_busy_with(run, ANY) {
            term.look(run, ANY, None, None);
        }
    }
}

/// Records that nobody knows what became of an attempt, unless somebody has taken it over by then.
async fn lose(
    term: &Rc<Term>,
    observed: &mut Observed,
    attempt: &Attended,
    watcher: Option<&Session>,
) -> Result<(), LedgerError> {
    let ledger = term.ledger();
    let mut view = match ledger.load(&attempt.run).await {
        Err(LedgerError::NoSuchRun(_)) => return Ok(()),
        view => view?,
    };
    let Some((unit, live)) = view.state.live_attempt(&attempt.claim) else { return Ok(()) };
    if !observed.is_lost(&attempt.claim, view.state.is_strict(unit)) {
        return Ok(());
    }
    let host = live.place.as_ref().map_or("an unknown host", |place| &place.host).to_owned();
    let evidence = silence(&host, watcher);
    let lost = Command::Lose { claim: attempt.claim.clone(), evidence, with: Some(attempt.watched_by.clone()) };
    let (before, seq) = (Calls::of(&view.state), view.state.seq);
    let mut once = Some(lost);
    ledger.commit(&mut view, &mut |_| once.take(), &term.post.member.actor).await?;
    if view.state.seq > seq {
        info!(run = %attempt.run, claim = %attempt.claim, host, "lost with its worker");
        term.spread(&before, &view.state, true);
    }
    Ok(())
}

/// Whose silence it is, and since when.
fn silence(host: &str, watcher: Option<&Session>) -> String {
    let Some(watcher) = watcher else { return format!("its worker on {host} is not heard any more") };
    let at = DateTime::from_timestamp_millis(watcher.heard_at).unwrap_or_default().format("%Y-%m-%d %H:%M:%S");
    let (host, pid) = (&watcher.new.host, watcher.new.pid);
    match watcher.end {
        Some(SessionEnd::Left) => {
            format!("its worker on {host} (process {pid}) left at {at} UTC, and none came back for it")
        }
        _ => format!("its worker on {host} (process {pid}) was last heard at {at} UTC"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runward_store::fleet::{NewSession, SessionEnd};

    use super::*;

    fn session(id: &str, beat: u64) -> Session {
        let new = NewSession {
            id: id.into(),
            home: "h".into(),
            host: "db1".to_owned(),
            pid: 7,
            boot: "b".to_owned(),
            version: "1".to_owned(),
            labels: Vec::new(),
            concurrency: 1,
        };
        Session { new, beat, joined_at: 0, heard_at: 0, draining: false, end: None }
    }

    fn attended(claim: &str, watched_by: &str) -> Attended {
        Attended { run: "r".into(), claim: claim.into(), home: None, watched_by: watched_by.into() }
    }

    /// Looks every five seconds, each of which takes one.
    struct Clock(Instant);

    impl Clock {
        fn look(&mut self) -> Look {
            self.0 += Duration::from_secs(5);
            Look { asked: self.0, answered: self.0 + Duration::from_secs(1) }
        }
    }

    /// How many looks it takes until `a` is dead, if it ever is within so many.
    fn looks_until_dead(observed: &mut Observed, clock: &mut Clock, beat: impl Fn(u64) -> u64) -> Option<u64> {
        (1..=20).find(|n| {
            let sessions = [session("a", beat(*n)), session("b", *n)];
            observed.sessions(clock.look(), &sessions, &Pace::default()).iter().any(|(id, _)| id.0 == "a")
        })
    }

    #[test]
    fn a_member_is_dead_when_its_beat_has_not_moved_for_all_the_time_of_silence() {
        let mut clock = Clock(Instant::now());
        // Seen first at 6 s, and 30 s of it are over at 40 s: counted from the answer to the next question.
        assert_eq!(looks_until_dead(&mut Observed::default(), &mut clock, |_| 7), Some(8));
        assert_eq!(looks_until_dead(&mut Observed::default(), &mut clock, |n| n), None, "it beats");
        assert_eq!(looks_until_dead(&mut Observed::default(), &mut clock, |n| n / 6), None, "it is late, and lives");
    }

    #[test]
    fn a_look_that_failed_or_came_late_says_nothing_of_the_time_before() {
        let mut clock = Clock(Instant::now());
        let mut observed = Observed::default();
        let quiet = [session("a", 7)];
        for _ in 0..7 {
            assert!(observed.sessions(clock.look(), &quiet, &Pace::default()).is_empty());
        }
        observed.forget();
        assert_eq!(looks_until_dead(&mut observed, &mut clock, |_| 7), Some(8), "counted anew");
        for _ in 0..3 {
            observed.sessions(clock.look(), &quiet, &Pace::default());
        }
        clock.0 += Duration::from_secs(60); // whoever looks was frozen, or the ledger was away
        assert_eq!(looks_until_dead(&mut observed, &mut clock, |_| 7), Some(8), "counted anew");
    }

    #[test]
    fn a_session_at_its_end_is_not_buried_again() {
        let mut clock = Clock(Instant::now());
        let mut observed = Observed::default();
        let over = [Session { end: Some(SessionEnd::Silent), ..session("a", 7) }];
        assert!((0..20).all(|_| observed.sessions(clock.look(), &over, &Pace::default()).is_empty()));
    }

    #[test]
    fn a_strict_attempt_is_lost_with_its_session_and_a_detached_one_ten_minutes_later() {
        let mut clock = Clock(Instant::now());
        let mut observed = Observed::default();
        let (pace, sessions) = (Pace::default(), [session("alive", 1)]);
        let all = [attended("strict", "gone"), attended("detached", "gone"), attended("fine", "alive")];
        let look = clock.look();
        let abandoned = observed.abandoned(look, &all, &sessions, &pace);
        let lost: Vec<&str> = abandoned
            .iter()
            .filter(|attempt| observed.is_lost(&attempt.claim, attempt.claim.0 == "strict"))
            .map(|attempt| attempt.claim.0.as_str())
            .collect();
        assert_eq!(lost, ["strict"]);
        let left = [attended("detached", "gone")];
        let later = (1..).find(|_| {
            let abandoned = observed.abandoned(clock.look(), &left, &sessions, &pace);
            abandoned.iter().any(|attempt| observed.is_lost(&attempt.claim, false))
        });
        assert_eq!(later, Some(121), "600 s, five at a time");
    }

    #[test]
    fn an_attempt_that_somebody_adopts_is_waited_for_anew() {
        let mut clock = Clock(Instant::now());
        let mut observed = Observed::default();
        let (pace, sessions) = (Pace::default(), [session("alive", 1)]);
        for _ in 0..100 {
            for attempt in observed.abandoned(clock.look(), &[attended("c", "gone")], &sessions, &pace) {
                assert!(!observed.is_lost(&attempt.claim, false));
            }
        }
        assert!(observed.abandoned(clock.look(), &[attended("c", "alive")], &sessions, &pace).is_empty());
        for _ in 0..100 {
            for attempt in observed.abandoned(clock.look(), &[attended("c", "gone")], &sessions, &pace) {
                assert!(!observed.is_lost(&attempt.claim, false));
            }
        }
    }
}
