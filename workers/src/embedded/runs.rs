//! The runs that this server drives: those that it hears of at once, and those that nobody drives.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use runward_engine::run::RunId;
use runward_store::{LedgerError, RunQuery};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{Id, JoinSet};
use tracing::{info, warn};

use super::Post;
use super::drive::{End, drive};
use crate::driver::Ask;
use crate::home::DriverLock;

/// Between two looks for runs that nobody drives.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Runs that are being taken up at once: the others wait until the first steps of these have started.
const STARTING_MAX: usize = 8;
/// Before a run that rests is looked at all the same: somebody may have done something in one that it has called.
const RESTS_MAX: Duration = Duration::from_secs(30);
/// Before a run is tried again that could not be carried on; doubled each time.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

pub(super) struct Runs {
    post: Rc<Post>,
    driven: RefCell<BTreeMap<RunId, Driven>>,
    tasks: RefCell<JoinSet<End>>,
    starting: Arc<Semaphore>,
    resting: RefCell<BTreeMap<RunId, Resting>>,
    failed: RefCell<BTreeMap<RunId, Failed>>,
}

/// What is driven now, and how to reach who does.
struct Driven {
    ask: mpsc::UnboundedSender<Ask>,
    task: Id,
}

/// What cannot go on without a person, as of this event: once there is another one, somebody has done something.
struct Resting {
    seq: u64,
    since: Instant,
}

/// A run that could not be carried on.
struct Failed {
    again: Instant,
    pause: Duration,
}

impl Runs {
    pub(super) fn new(post: Rc<Post>) -> Runs {
        Runs {
            post,
            driven: RefCell::default(),
            tasks: RefCell::default(),
            starting: Arc::new(Semaphore::new(STARTING_MAX)),
            resting: RefCell::default(),
            failed: RefCell::default(),
        }
    }

    /// Drives, for ever. `news`: runs that have just been recorded.
    pub(super) async fn drive(&self, mut news: mpsc::UnboundedReceiver<RunId>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                run = news.recv() => match run {
                    Some(run) => self.begin(&run),
                    None => return,
                },
                () = self.one_ends() => {}
                _ = look.tick() => {
                    if let Err(error) = self.look().await {
                        self.post.health.ledger_failed("it is not known which runs there are to drive", &error);
                    }
                    self.post.health.swept(self.driven.borrow().len());
                }
            }
        }
    }

    /// Leaves every run. What runs goes on.
    pub(super) async fn leave(&self, patience: Duration) {
        let left: Vec<RunId> = self.driven.borrow().keys().cloned().collect();
        for driven in self.driven.borrow().values() {
            let _ = driven.ask.send(Ask::Leave); // it is leaving already
        }
        let all = async {
            while !self.driven.borrow().is_empty() {
                self.one_ends().await;
            }
        };
        if tokio::time::timeout(patience, all).await.is_err() {
            warn!(runs = self.driven.borrow().len(), "some drivers did not leave in time: they are given up");
        }
        if !left.is_empty() {
            let runs: Vec<&str> = left.iter().map(|run| run.0.as_str()).collect();
            info!(runs = runs.join(" "), "left: what runs there runs on, and the next server carries them on");
        }
    }

    /// Runs that nobody drives, of those that are a server's business.
    async fn look(&self) -> Result<(), LedgerError> {
        let unfinished: BTreeSet<RunId> = self.post.server.ledger.unfinished().await?.into_iter().collect();
        self.resting.borrow_mut().retain(|run, _| unfinished.contains(run));
        self.failed.borrow_mut().retain(|run, _| unfinished.contains(run));
        let stirred = self.stirred().await?;
        for run in unfinished {
            let rests = self.resting.borrow().contains_key(&run) && !stirred.contains(&run);
            let failed = self.failed.borrow().get(&run).is_some_and(|failed| Instant::now() < failed.again);
            if !rests && !failed && !self.driven.borrow().contains_key(&run) {
                self.begin(&run);
            }
        }
        Ok(())
    }

    /// Of those that rested, in which something was recorded since.
    async fn stirred(&self) -> Result<BTreeSet<RunId>, LedgerError> {
        if self.resting.borrow().is_empty() {
            return Ok(BTreeSet::new());
        }
        let rows = self.post.server.ledger.runs(&RunQuery { unfinished: true, ..RunQuery::default() }).await?;
        let resting = self.resting.borrow();
        let is_stirred = |rests: &Resting, seq| rests.seq < seq || rests.since.elapsed() > RESTS_MAX;
        let stirred =
            rows.into_iter().filter(|row| resting.get(&row.id).is_some_and(|rests| is_stirred(rests, row.seq)));
        Ok(stirred.map(|row| row.id).collect())
    }

    /// Unless somebody drives it. A person who has taken a run keeps it as long as they like.
    fn begin(&self, run: &RunId) {
        if self.driven.borrow().contains_key(run) || DriverLock::holder(&self.post.server.home, run).is_some() {
            return;
        }
        self.resting.borrow_mut().remove(run);
        let (ask, asks) = mpsc::unbounded_channel();
        let (post, starting, id) = (Rc::clone(&self.post), Arc::clone(&self.starting), run.clone());
        let task = self.tasks.borrow_mut().spawn_local(async move { drive(&post, &id, &starting, asks).await }).id();
        self.driven.borrow_mut().insert(run.clone(), Driven { ask, task });
    }

    /// Waits for the next driver that ends. A panic is that of one run.
    async fn one_ends(&self) {
        let joined = poll_fn(|context| match self.tasks.borrow_mut().poll_join_next_with_id(context) {
            Poll::Ready(Some(joined)) => Poll::Ready(joined),
            Poll::Ready(None) | Poll::Pending => Poll::Pending, // whoever begins a run polls again
        });
        let (task, end) = match joined.await {
            Ok(ended) => ended,
            Err(error) => {
                (error.id(), End::Failed("its driver ended in a panic: this is a mistake in runward".to_owned()))
            }
        };
        let run = self.driven.borrow().iter().find(|(_, driven)| driven.task == task).map(|(run, _)| run.clone());
        let Some(run) = run else { return };
        self.driven.borrow_mut().remove(&run);
        self.ended(run, end);
    }

    fn ended(&self, run: RunId, end: End) {
        if let End::Failed(why) = end {
            return self.note(run, &why);
        }
        self.failed.borrow_mut().remove(&run);
        match end {
            End::Finished => self.post.over.notify_one(),
            End::Rests(seq) => _ = self.resting.borrow_mut().insert(run, Resting { seq, since: Instant::now() }),
            End::Left | End::Failed(_) => {}
        }
    }

    fn note(&self, run: RunId, why: &str) {
        let mut failed = self.failed.borrow_mut();
        let pause = failed.get(&run).map_or(AGAIN, |before| (before.pause * 2).min(AGAIN_MAX));
        let seconds = pause.as_secs();
        warn!(%run, "it cannot be carried on: {why}; it is tried again in {seconds} s, and what runs there runs on");
        failed.insert(run, Failed { again: Instant::now() + pause, pause });
    }
}
