//! Routes what nobody has routed, sends what is due, and settles what came of it: round after round, beside everything else.
//!
//! Each channel has a lane of its own, so that one that does not answer keeps no other waiting. What a postman knows can be
//! forgotten at any moment: the ledger has all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use runward_engine::run::RunId;
use runward_engine::run::retry::{delay, draw};
use runward_engine::runbook::model::{Jitter, Retry};
use runward_store::LedgerError;
use runward_store::failpoint::{self, Point};
use runward_store::outbox::{Outbox, Route, Settled, Taken};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::directory::Directory;
use super::send::{Failed, Sender, Sent, send};
use crate::worker::Pace;

/// Notices routed in one transaction.
const ROUTED_AT_ONCE: u32 = 200;
/// Deliveries of one channel under way at the same time.
const SENT_AT_ONCE: u32 = 4;
/// Between two tries at a ledger that does not answer.
const AGAIN: Duration = Duration::from_secs(2);

/// A receiver that takes a message gets at once what reached nobody before, but not more often: it may come and go.
const HURRIED_EVERY: Duration = Duration::from_secs(30);

/// Between two looks at what is due of a channel that is not configured here.
const STRANGERS_EVERY: Duration = Duration::from_secs(60);

/// Which notices are routed. (What is routed is delivered by whoever has its channel.)
#[derive(Debug, Clone)]
pub enum Scope {
    /// For whoever speaks for the whole ledger: a server, and whoever is asked to deliver.
    All,
    /// Those of these runs, of which there may come to be more: whoever carries out a run may know other channels, or none,
    /// and must not decide where the others go.
    Runs(Runs),
}

pub type Runs = Arc<Mutex<BTreeSet<RunId>>>;

pub struct Postman {
    post: Arc<Post>,
    scope: Scope,
    busy: BTreeSet<String>,
    lanes: JoinSet<(String, Lane)>,
    /// Channels whose last lane failed, which has been said.
    failing: BTreeSet<String>,
    /// Channels that are not configured here, and when they were looked at.
    strangers: BTreeMap<String, Instant>,
}

/// How a lane ended.
enum Lane {
    Done,
    Failed(LedgerError),
    /// It did nothing for a while, after one that failed.
    Rested,
}

/// What all lanes share.
struct Post {
    outbox: Arc<dyn Outbox>,
    directory: Directory,
    sender: Sender,
    /// Whose the deliveries are while they are sent.
    session: String,
    pace: Pace,
    /// When what waited for a channel was made due, because it answered.
    hurried: Mutex<BTreeMap<String, Instant>>,
    /// Nobody waits for an answer any more.
    over: watch::Sender<bool>,
}

impl Postman {
    /// `session`: a name that no other sender has.
    pub fn new(
        outbox: Arc<dyn Outbox>,
        directory: Directory,
        sender: Sender,
        session: String,
        scope: Scope,
    ) -> Postman {
        let over = watch::Sender::new(false);
        let (pace, hurried) = (Pace::in_force(), Mutex::default());
        let post = Post { outbox, directory, sender, session, pace, hurried, over };
        Postman {
            post: Arc::new(post),
            scope,
            busy: BTreeSet::new(),
            lanes: JoinSet::new(),
            failing: BTreeSet::new(),
            strangers: BTreeMap::new(),
        }
    }

    /// For ever. `wake`: there is something new.
    pub async fn run(&mut self, wake: &Notify) -> Infallible {
        let mut told = false;
        loop {
            if self.post.directory.is_empty() {
                std::future::pending::<()>().await;
            }
            let pause = match self.look().await {
                Ok(pause) => {
                    told = false;
                    pause
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        warn!("notifications wait: {error}; it is tried again until it works");
                    }
                    AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = wake.notified() => {}
                Some(ended) = self.lanes.join_next() => {
                    if let Some((channel, error)) = self.free(ended) {
                        self.rest(channel, &error);
                    }
                }
            }
        }
    }

    /// Delivers what is due, each once, for at most so long; what fails, or is not answered by then, comes due again for
    /// whoever comes next. The last thing that is asked of a postman. What the ledger does not take of one channel, or
    /// suddenly does not answer, is told when the others are done.
    pub async fn finish(&mut self, patience: Duration) -> Result<(), LedgerError> {
        let end = Instant::now() + patience;
        let mut failed = None;
        loop {
            if let Err(error) = self.look().await {
                failed.get_or_insert(error);
            }
            if self.lanes.is_empty() {
                return failed.map_or(Ok(()), Err);
            }
            // What came up for a channel while it was busy is found by the next look.
            while !self.lanes.is_empty() {
                tokio::select! {
                    Some(ended) = self.lanes.join_next() => {
                        if let Some((_, error)) = self.free(ended) {
                            failed.get_or_insert(error);
                        }
                    }
                    () = tokio::time::sleep_until(end) => {
                        let given_back = self.give_back().await;
                        return failed.map_or(given_back, Err);
                    }
                }
            }
        }
    }

    /// What is under way counts as a try that failed, so that nobody tries it again at once.
    async fn give_back(&mut self) -> Result<(), LedgerError> {
        self.post.over.send_replace(true);
        let all = async {
            let mut failed = None;
            while let Some(ended) = self.lanes.join_next().await {
                if let Some((_, error)) = self.free(ended) {
                    failed.get_or_insert(error);
                }
            }
            failed.map_or(Ok(()), Err)
        };
        // A ledger that does not answer now: its leases end by themselves.
        tokio::time::timeout(AGAIN, all).await.unwrap_or(Ok(()))
    }

    /// Begins with everything that can be done now, and says when to look again.
    async fn look(&mut self) -> Result<Duration, LedgerError> {
        let mut work = self.post.outbox.work().await?;
        if work.unrouted && self.route_all().await? {
            work = self.post.outbox.work().await?;
        }
        let (known, strange): (Vec<String>, Vec<String>) =
            work.channels.into_iter().partition(|channel| self.post.directory.channels.contains_key(channel));
        self.leave(strange).await?;
        for channel in known {
            if self.busy.insert(channel.clone()) {
                let post = Arc::clone(&self.post);
                self.lanes.spawn(async move {
                    let ended = post.lane(&channel).await;
                    (channel, ended.map_or_else(Lane::Failed, |()| Lane::Done))
                });
            }
        }
        let next = work.next_ms.map(Duration::from_millis).unwrap_or(self.post.pace.outbox);
        Ok(next.clamp(Duration::from_millis(10), self.post.pace.outbox))
    }

    /// What is due of channels that are not configured here waits for somebody who has them, until its time is over.
    async fn leave(&mut self, channels: Vec<String>) -> Result<(), LedgerError> {
        for channel in channels {
            let before = self.strangers.get(&channel);
            if before.is_some_and(|before| before.elapsed() < STRANGERS_EVERY) {
                continue;
            }
            if before.is_none() && matches!(self.scope, Scope::All) {
                warn!(channel, "notifications wait for a channel that is not configured here");
            }
            self.post.outbox.take(&channel, &self.post.session, 0, Duration::ZERO).await?;
            self.strangers.insert(channel, Instant::now());
        }
        Ok(())
    }

    /// Returns what failed, and leaves that channel busy.
    fn free(&mut self, ended: Result<(String, Lane), tokio::task::JoinError>) -> Option<(String, LedgerError)> {
        match ended {
            Ok((channel, Lane::Failed(error))) => {
                debug!(channel, "the ledger does not take what came of its messages: {error}");
                return Some((channel, error));
            }
            Ok((channel, lane)) => {
                self.busy.remove(&channel);
                if matches!(lane, Lane::Done) {
                    self.failing.remove(&channel);
                }
            }
            Err(error) => warn!("a notification: {error}"),
        }
        None
    }

    /// A ledger that cannot be written is not asked without a pause.
    fn rest(&mut self, channel: String, error: &LedgerError) {
        if self.failing.insert(channel.clone()) {
            warn!(
                channel,
                "notifications wait: {error}; it is tried again until it works, and what was sent meanwhile comes again"
            );
        }
        self.lanes.spawn(rested(channel));
    }

    /// Whether anything was routed. What is a day old by the ledger's clock is not.
    async fn route_all(&self) -> Result<bool, LedgerError> {
        let of: Option<Vec<RunId>> = match &self.scope {
            Scope::All => None,
            Scope::Runs(runs) => Some(runs.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()),
        };
        // It may all be of others, who know where it goes.
        if self.post.outbox.unrouted(of.as_deref(), 1).await?.is_empty() {
            return Ok(false);
        }
        let late = self.post.outbox.expire(of.as_deref()).await?;
        if late > 0 {
            warn!("nobody was told of {late} notifications: nobody came to send them for a day");
        }
        let mut all = 0;
        loop {
            let routed = self.route(of.as_deref()).await?;
            all += routed;
            if routed < ROUTED_AT_ONCE as usize {
                return Ok(all > 0);
            }
        }
    }

    /// How many were routed.
    async fn route(&self, of: Option<&[RunId]>) -> Result<usize, LedgerError> {
        let open = self.post.outbox.unrouted(of, ROUTED_AT_ONCE).await?;
        let route = |notice: &runward_engine::run::Notice| {
            let route = self.post.directory.route(notice);
            if let Route::Nowhere(why) = &route {
                debug!(id = notice.id, ?why, "nobody is told");
            }
            (notice.id.clone(), route)
        };
        let routes: Vec<(String, Route)> = open.iter().map(route).collect();
        if !routes.is_empty() {
            self.post.outbox.route(&routes).await?;
        }
        Ok(routes.len())
    }
}

async fn rested(channel: String) -> (String, Lane) {
    tokio::time::sleep(AGAIN).await;
    (channel, Lane::Rested)
}

impl Post {
    /// Sends what is due of one channel, until nothing is.
    async fn lane(self: &Arc<Post>, channel: &str) -> Result<(), LedgerError> {
        let slowness = self.directory.channels.get(channel).map_or(1, |channel| channel.way.slowness());
        let lease = self.pace.letter_lease * slowness;
        while !*self.over.borrow() {
            let taken = self.outbox.take(channel, &self.session, SENT_AT_ONCE, lease).await?;
            if taken.is_empty() {
                return Ok(());
            }
            failpoint::reach(Point::LetterTaken);
            let mut sends = JoinSet::new();
            for taken in taken {
                let post = Arc::clone(self);
                sends.spawn(async move { post.deliver(taken).await });
            }
            let mut failed = None;
            while let Some(sent) = sends.join_next().await {
                // Each of them may arrive, and be written down, although another one could not be.
                match sent {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => _ = failed.get_or_insert(error),
                    Err(error) => warn!(channel, "a notification: {error}; it comes due again"),
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn deliver(&self, taken: Taken) -> Result<(), LedgerError> {
        let settled = match self.send(&taken).await {
            Ok(Sent { answer, missed }) => {
                failpoint::reach(Point::LetterSent);
                info!(id = taken.notice.id, channel = taken.channel, answer, "delivered");
                if let Some(missed) = &missed {
                    warn!(
                        id = taken.notice.id,
                        channel = taken.channel,
                        missed,
                        "a notification did not reach all of its receivers"
                    );
                }
                Settled::Delivered { missed }
            }
            Err(Failed::Away(error)) => self.later(&taken, error, true),
            Err(Failed::Later(error)) => self.later(&taken, error, false),
            Err(Failed::Never(error)) => {
                warn!(id = taken.notice.id, channel = taken.channel, error, "a notification is a dead letter");
                Settled::Dead { error }
            }
        };
        self.outbox.settle(&taken, &self.session, &settled).await?;
        if matches!(settled, Settled::Delivered { .. }) && self.may_hurry(&taken.channel) {
            match self.outbox.hurry(&taken.channel).await {
                Ok(hurried) => {
                    debug!(channel = taken.channel, hurried, "its receiver is there: what waited for it is due")
                }
                // What was to be written down is: this message has arrived, and the others come at their own time.
                Err(error) => {
                    warn!(channel = taken.channel, "what waits for a receiver that is back keeps waiting: {error}")
                }
            }
        }
        Ok(())
    }

    fn later(&self, taken: &Taken, error: String, away: bool) -> Settled {
        let after = self.again(taken);
        debug!(id = taken.notice.id, channel = taken.channel, error, away, ?after, "not delivered yet");
        Settled::Later { after, error, away }
    }

    fn may_hurry(&self, channel: &str) -> bool {
        let mut hurried = self.hurried.lock().unwrap_or_else(PoisonError::into_inner);
        let may = hurried.get(channel).is_none_or(|at| at.elapsed() >= HURRIED_EVERY);
        if may {
            hurried.insert(channel.to_owned(), Instant::now());
        }
        may
    }

    async fn send(&self, taken: &Taken) -> Result<Sent, Failed> {
        let Some(channel) = self.directory.channels.get(&taken.channel).cloned() else {
            return Err(Failed::Later(format!("no channel `{}` is configured on {}", taken.channel, self.sender.host)));
        };
        let mut over = self.over.subscribe();
        tokio::select! {
            sent = send(taken.clone(), channel, self.sender.clone()) => sent,
            _ = over.wait_for(|over| *over) => {
                Err(Failed::Away("no answer as long as the command that sent it waited".to_owned()))
            }
        }
    }

    /// How long to wait after this try.
    fn again(&self, taken: &Taken) -> Duration {
        let policy = Retry {
            attempts: std::num::NonZeroU32::MAX,
            delay: self.pace.letter_again,
            backoff: 2.0,
            max_delay: self.pace.letter_again_max,
            jitter: Jitter::Full,
            on_exit: Vec::new(),
        };
        let name = format!("{}/{}", taken.notice.id, taken.channel);
        delay(&policy, taken.tries, draw(0, &name, taken.tries)).max(self.pace.letter_again / 10)
    }
}
