//! Ships what the attempts of this home print to the ledger.
//!
//! One task for each attempt that is not shipped to its end. It asks the ledger how far it is, sends what comes after, and
//! begins anew after any error; so it makes no difference whether the last part, its answer or the whole process was
//! lost. What is to be shipped the ledger knows, too: nobody has to be told, it is only faster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runward_engine::run::{ClaimId, HomeId, RunId};
use runward_store::fleet::{LogPart, Unshipped};
use runward_store::{Fleet, LedgerError};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{info, warn};

use super::spooled::Spooled;
use crate::home::Home;
use crate::supervisor::journal;

/// How often a spool that grows is looked at.
const PACE: Duration = Duration::from_millis(300);
/// Parts of one attempt in one go. What prints faster is shipped when it has ended, as far as its spool keeps it.
const PARTS_AT_ONCE: usize = 4;
/// Parts on their way at once: the other connections to the ledger are for the runs.
const LINES: usize = 2;
/// Attempts that have ended already, shipped at once.
const ENDED_AT_ONCE: usize = 4;
/// How often the ledger is asked what there is to ship.
const LOOK: Duration = Duration::from_secs(30);
/// After an error, and twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// Ships until it is dropped.
#[derive(Debug, Clone)]
pub struct Shipper {
    orders: mpsc::UnboundedSender<Order>,
}

#[derive(Debug)]
enum Order {
    Watch(RunId, ClaimId, Ended),
    Drained(oneshot::Sender<()>),
}

/// What the record says of the end of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    NotYet,
    /// With what it has printed: if that is nothing, its output is complete, and the ledger need not be asked.
    Told,
    /// Of an attempt that was given up nobody knows what it printed.
    Untold,
}

impl Shipper {
    /// `id`: of this home. To be called within a runtime.
    pub fn new(home: Home, id: HomeId, fleet: Arc<dyn Fleet>) -> Shipper {
        let (orders, taken) = mpsc::unbounded_channel();
        let line = Line {
            fleet,
            line: Semaphore::new(LINES),
            ended: Semaphore::new(ENDED_AT_ONCE),
            broken: AtomicBool::new(false),
        };
        tokio::spawn(
            Office { home, id, line: Arc::new(line), tasks: JoinSet::new(), known: BTreeMap::new() }.work(taken),
        );
        Shipper { orders }
    }

    /// An attempt of this home has started, or was adopted.
    pub fn watch(&self, run: &RunId, claim: &ClaimId) {
        self.order(Order::Watch(run.clone(), claim.clone(), Ended::NotYet));
    }

    /// The end of an attempt is on the record: what is left of its output is all there is. `told`: with what it printed.
    pub fn settled(&self, run: &RunId, claim: &ClaimId, told: bool) {
        let ended = if told { Ended::Told } else { Ended::Untold };
        self.order(Order::Watch(run.clone(), claim.clone(), ended));
    }

    /// Waits until the ledger has everything of the attempts that have ended; for as long as there is no ledger.
    pub async fn drained(&self) {
        let (done, wait) = oneshot::channel();
        self.order(Order::Drained(done));
        let _ = wait.await; // without anybody at work there is nothing to wait for
    }

    /// Nobody at work: the runtime is going down, and the next start of the worker ships the rest.
    fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }
}

/// Knows which attempt has its task.
struct Office {
    home: Home,
    id: HomeId,
    line: Arc<Line>,
    tasks: JoinSet<Done>,
    known: BTreeMap<ClaimId, watch::Sender<Ended>>,
}

enum Done {
    Shipped(ClaimId),
    Looked(Result<Vec<Unshipped>, LedgerError>),
}

impl Office {
    async fn work(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut drains = Vec::new();
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Watch(run, claim, ended)) => self.ship(run, claim, ended),
                    Some(Order::Drained(done)) => drains.push(done),
                    None => return,
                },
                Some(done) = self.tasks.join_next() => match done {
                    Ok(Done::Shipped(claim)) => self.known.retain(|known, ended| *known != claim || !ended.is_closed()),
                    Ok(Done::Looked(found)) => self.found(found),
                    Err(error) => warn!(%error, "a task that ships output died; it begins anew with the next look"),
                },
                _ = look.tick() => {
                    let (line, id) = (Arc::clone(&self.line), self.id.clone());
                    self.tasks.spawn(async move { Done::Looked(line.fleet.unshipped(&id).await) });
                }
            }
            if !self.known.values().any(|ended| *ended.borrow() != Ended::NotYet && !ended.is_closed()) {
                drains.drain(..).for_each(|done: oneshot::Sender<()>| _ = done.send(()));
            }
        }
    }

    fn found(&mut self, found: Result<Vec<Unshipped>, LedgerError>) {
        match found {
            Ok(unshipped) => {
                for Unshipped { run, claim, running } in unshipped {
                    self.ship(run, claim, if running { Ended::NotYet } else { Ended::Untold });
                }
            }
            Err(error) => self.line.breaks(&error),
        }
    }

    fn ship(&mut self, run: RunId, claim: ClaimId, ended: Ended) {
        if let Some(known) = self.known.get(&claim).filter(|known| !known.is_closed()) {
            known.send_if_modified(|known| {
                let news = ended != Ended::NotYet && *known == Ended::NotYet;
                if news {
                    *known = ended;
                }
                news
            });
            return;
        }
        let (tell, told) = watch::channel(ended);
        self.known.insert(claim.clone(), tell);
        let dir = self.home.attempt(&run, &claim);
        let attempt = Attempt { line: Arc::clone(&self.line), run, claim, dir, ended: told };
        self.tasks.spawn(attempt.go());
    }
}

/// The way to the ledger, which all share.
struct Line {
    fleet: Arc<dyn Fleet>,
    line: Semaphore,
    ended: Semaphore,
    broken: AtomicBool,
}

impl Line {
    /// Said once, however many have something to send.
    fn breaks(&self, error: &LedgerError) {
        if !self.broken.swap(true, Ordering::Relaxed) {
            warn!(%error, "the output of steps cannot be shipped; it stays here and goes on when the ledger is back");
        }
    }

    fn holds(&self) {
        if self.broken.swap(false, Ordering::Relaxed) {
            info!("the output of steps is shipped again");
        }
    }
}

struct Attempt {
    line: Arc<Line>,
    run: RunId,
    claim: ClaimId,
    dir: PathBuf,
    ended: watch::Receiver<Ended>,
}

#[derive(Debug, thiserror::Error)]
enum Stuck {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Spool(#[from] std::io::Error),
}

impl Attempt {
    async fn go(mut self) -> Done {
        let mut pause = FIRST_PAUSE;
        while let Err(error) = self.carry(&mut pause).await {
            match error {
                Stuck::Ledger(error) => self.line.breaks(&error),
                Stuck::Spool(error) => warn!(run = %self.run, claim = %self.claim, %error, "its output cannot be read"),
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Done::Shipped(self.claim)
    }

    /// Waits for something to ship. False: it has ended without a word, and the ledger knows.
    async fn has_said_something(&mut self) -> Result<bool, Stuck> {
        loop {
            let over = self.is_over();
            if *self.ended.borrow() == Ended::Untold || Spooled::open(&self.dir, 0)?.next()?.is_some() {
                return Ok(true);
            }
            if over {
                return Ok(false);
            }
            self.wait().await;
        }
    }

    /// Ships from where the ledger is to the end.
    async fn carry(&mut self, pause: &mut Duration) -> Result<(), Stuck> {
        if !self.has_said_something().await? {
            return Ok(());
        }
        let line = Arc::clone(&self.line);
        let ended = *self.ended.borrow();
        let _turn = match ended {
            Ended::Told | Ended::Untold => line.ended.acquire().await.ok(),
            Ended::NotYet => None,
        };
        let shipped = self.line.fleet.shipped(&self.run, &self.claim).await?;
        self.line.holds();
        if shipped.complete {
            return Ok(());
        }
        let mut spooled = Spooled::open(&self.dir, shipped.to)?;
        loop {
            // Before the last look at the spool, so that it was the last.
            let over = self.is_over();
            let drained = self.send(&mut spooled).await?;
            *pause = FIRST_PAUSE;
            match (over, drained) {
                (true, true) => break,
                (true, false) => {}
                (false, _) => self.wait().await,
            }
        }
        let end = LogPart { from: spooled.at, to: spooled.at, frames: Vec::new() };
        Ok(self.part(&end, true).await?)
    }

    /// Nothing more is printed: its end is on the record, and nobody is left who could print.
    fn is_over(&mut self) -> bool {
        *self.ended.borrow_and_update() != Ended::NotYet && !is_alive(&self.dir)
    }

    /// Some parts; true if that was all there is.
    async fn send(&self, spooled: &mut Spooled) -> Result<bool, Stuck> {
        for _ in 0..PARTS_AT_ONCE {
            let Some(part) = spooled.next()? else { return Ok(true) };
            self.part(&part, false).await?;
            spooled.at = part.to;
            if let Some(hole) = spooled.thinner()? {
                self.line.fleet.thin(&self.run, &self.claim, hole.start, hole.end).await?;
            }
        }
        Ok(false)
    }

    async fn part(&self, part: &LogPart, complete: bool) -> Result<(), LedgerError> {
        let _line = self.line.line.acquire().await;
        self.line.fleet.ship(&self.run, &self.claim, part, complete).await?;
        self.line.holds();
        Ok(())
    }

    async fn wait(&mut self) {
        if *self.ended.borrow() != Ended::NotYet {
            return sleep(PACE).await;
        }
        tokio::select! {
            () = sleep(PACE) => {}
            Ok(()) = self.ended.changed() => {}
        }
    }
}

/// One whose journal cannot be read is not waited for: its end is on the record.
fn is_alive(dir: &Path) -> bool {
    journal::is_alive(dir).unwrap_or(false)
}
