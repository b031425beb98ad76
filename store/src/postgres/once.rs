//! A commit in one trip to the server: decided on what is known of the run, and recorded only if that is all there is.
//!
//! The statement names the event that it follows, and the time that it believes it is; it writes everything or nothing. It
//! takes along what else is to be written ([`super::together`]).
//! One that records nothing asks whether that is right.
//! Where it has written nothing, or nobody knows, the commit is made again in small steps ([`super::change`]): the run is
//! locked and read, and the same commands are decided anew, unless what they came to is there already. A statement that
//! was held up on its way finds another last event when it arrives, and does nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use runward_engine::run::{Command, Event, RunId, RunState};

use super::change::{self, Unrecorded};
use super::pool::{NotCommitted, answered};
use super::together::Written;
use super::trouble::{ServerError, Trouble};
use super::write::{self, Change};
use super::{PostgresLedger, read, ready};
use crate::error::LedgerError;
use crate::failpoint;
use crate::ledger::{Committed, Linked, Next, RunView};

/// So many commits of a view are made in small steps after somebody else has recorded something in its run.
const CROWDED: u32 = 64;
/// An answer that took longer tells little of the time.
const PROMPT: Duration = Duration::from_millis(50);

/// So far from the server's clock it is still now, as in the statement.
const NOW_MS: u64 = 250;

/// The server's clock, as it was last heard.
#[derive(Default)]
pub(super) struct Clock(Mutex<Option<(i64, Instant)>>);

impl Clock {
    /// `asked`: when the question was sent; `read`: when, by the clock of this process, the server looked at its own.
    pub(super) fn heard(&self, now: i64, asked: Instant, read: Instant) {
        if asked.elapsed() <= PROMPT {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, read));
        }
    }

    /// What it says now, which the server will compare with its own; `None` where it was never heard.
    fn guess(&self) -> Option<i64> {
        let heard = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map(|(at, since)| at.saturating_add(since.elapsed().as_millis() as i64))
    }
}

impl RunView {
    /// Nobody else counts, as far as it knows: no other member of a group, and nobody at the same run.
    fn is_alone(&self) -> bool {
        !self.stale && self.state.group.is_none() && self.crowded == 0
    }

    /// Whether others have recorded something since the last commit.
    fn note_others(&mut self, some: bool) {
        self.crowded = if some { CROWDED } else { self.crowded.saturating_sub(1) };
    }
}

/// What has become of a commit so far.
#[derive(Default)]
struct Tried {
    done: bool,
    /// What was said, to be said again.
    commands: Vec<Command>,
    /// Up to where the run was known.
    known: u64,
    /// What it came to, should it be there after all.
    committed: Committed,
    /// It may be, or come to be.
    unanswered: Option<String>,
}

/// Whether something starts, or may start something, because of them.
fn claims(events: &[Linked]) -> bool {
    let starts = |event: &Event| matches!(event, Event::AttemptClaimed { .. } | Event::ChildStarted { .. });
    events.iter().any(|(event, _)| starts(&event.recorded.event))
}

impl PostgresLedger {
    pub(super) async fn commit(
        &self,
        view: &mut RunView,
        next: &mut Next<'_>,
        actor: &str,
    ) -> Result<Committed, LedgerError> {
        let tried = if view.is_alone() { self.commit_at_once(view, next, actor).await } else { Tried::default() };
        if tried.done {
            return Ok(tried.committed);
        }
        let (id, unanswered) = (view.state.id.clone(), tried.unanswered.clone());
        let committed = self.commit_in_steps(view, next, tried, actor).await;
        match unanswered {
            // No later error says what became of the statement.
            Some(error) if committed.is_err() => {
                let error = Unrecorded::Unanswered(sqlx::Error::Protocol(error));
                Err(self.unrecorded(error, &format!("the change of run {id}")))
            }
            _ => committed,
        }
    }

    async fn commit_at_once(&self, view: &mut RunView, next: &mut Next<'_>, actor: &str) -> Tried {
        let Some(now) = self.clock.guess() else { return Tried::default() };
        let (known, after, mut commands) = (view.state.seq, view.head.clone(), Vec::new());
        let mut said = |state: &RunState| {
            let command = next(state)?;
            commands.push(command.clone());
            Some(command)
        };
        let (replies, events) = view.advance(&mut said, &view.env(now, None), actor);
        if events.is_empty() {
            // What others have recorded may make a difference, and is to be told in any case.
            let done = self.stands(&view.state.id, &after, now).await;
            let committed = Committed { replies, ..Committed::default() };
            return Tried { done, commands, known, committed, unanswered: None };
        }
        view.stale = true;
        let events = Arc::new(events);
        let change = Change::of(view, after, Arc::clone(&events), now);
        let written = match failpoint::before_commit(&events) {
            Ok(()) => self.write_together(change, claims(&events)).await,
            Err(error) => Written::Unanswered(error.to_string()),
        };
        let unanswered = match written {
            Written::Done => failpoint::after_commit(&events).err().map(|error| error.to_string()),
            Written::Nothing => None,
            Written::Unanswered(ref error) => Some(error.clone()),
        };
        view.stale = !matches!(written, Written::Done) || unanswered.is_some();
        let news = events.iter().map(|(event, _)| event.recorded.clone()).collect();
        let committed = Committed { replies, news, again: false };
        Tried { done: !view.stale, commands, known, committed, unanswered }
    }

    /// Whether this is the last event of the run, and the time.
    async fn stands(&self, run: &RunId, head: &str, now: i64) -> bool {
        let sql = concat!("SELECT ", now!(), " FROM runs WHERE id = $1 AND head = $2");
        let asked = async {
            let mut loan = self.pool.lend().await?;
            let clock: Option<i64> = sqlx::query_scalar(sql).bind(&run.0).bind(head).fetch_optional(&mut *loan).await?;
            loan.end().await;
            Ok::<_, sqlx::Error>(clock)
        };
        answered(asked).await.is_ok_and(|clock| clock.is_some_and(|clock| clock.abs_diff(now) <= NOW_MS))
    }

    /// With the run locked. Of what was tried before, everything is there, or nothing.
    async fn commit_in_steps(
        &self,
        view: &mut RunView,
        next: &mut Next<'_>,
        tried: Tried,
        actor: &str,
    ) -> Result<Committed, LedgerError> {
        let mut news = Vec::new();
        let (was_stale, asked) = (view.stale, Instant::now());
        let locked = change::lock(&self.pool, view, &mut news).await.map_err(|error| self.error(error))?;
        let mut loan = locked.loan;
        self.clock.heard(locked.now, asked, Instant::now());
        if was_stale && !tried.commands.is_empty() {
            let since = answered(read::events(&mut loan, &view.state.id, tried.known)).await;
            news.extend(since.map_err(|error| self.error(error))?.0.into_iter().map(|event| event.recorded));
            if !tried.committed.news.is_empty() && news.starts_with(&tried.committed.news) {
                loan.roll_back().await;
                return Ok(Committed { news, ..tried.committed });
            }
        }
        view.note_others(!news.is_empty());
        // What was made of a state that is no more is not said again: whoever said it looks, and says something else.
        let (kept, dropped): (Vec<Command>, Vec<Command>) =
            tried.commands.into_iter().partition(|command| news.is_empty() || !command.is_made_of_the_state());
        // From here on the view runs ahead of the ledger until the commit is acknowledged.
        view.stale = true;
        let permit = view.state.permit();
        let (now, after) = (locked.now, view.head.clone());
        let mut commands = kept.into_iter();
        let mut said = |state: &RunState| commands.next().or_else(|| next(state));
        let (replies, events) = view.advance(&mut said, &view.env(now, locked.members), actor);
        let events = Arc::new(events);
        let what = format!("the change of run {}", view.state.id);
        if let (Some(error), true) = (tried.unanswered, events.is_empty()) {
            // With nothing recorded it could still arrive, and be recorded then.
            loan.roll_back().await;
            return Err(self.unrecorded(Unrecorded::Unanswered(sqlx::Error::Protocol(error)), &what));
        }
        if claims(&events) && !loan.admits() {
            loan.roll_back().await;
            let message = format!("nothing starts in run {} until that is known", view.state.id);
            return Err(ServerError { place: self.place.clone(), trouble: Trouble::Promoted, message }.into());
        }
        if events.is_empty() {
            loan.roll_back().await;
        } else {
            let written = answered(async {
                failpoint::before_commit(&events).map_err(sqlx::Error::from)?;
                write::one(&mut loan, Change::of(view, after, Arc::clone(&events), now)).await?;
                ready::pass_on(&mut loan, permit, &view.state).await
            });
            written.await.map_err(|error| self.error(error))?;
            let done = loan.commit().await.and_then(|()| failpoint::after_commit(&events).map_err(NotCommitted::lost));
            done.map_err(|error| self.unrecorded(error.into(), &what))?;
        }
        view.stale = false;
        news.extend(events.iter().map(|(event, _)| event.recorded.clone()));
        Ok(Committed { replies, news, again: !dropped.is_empty() })
    }
}
