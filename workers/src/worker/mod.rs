//! A member of a cluster: takes the steps it can do of every run there is, beside others that do the same.
//!
//! A worker is the driver of one machine, restricted to what it offers; a server is a worker that offers nothing, and moves
//! runs on between steps. Nothing is divided up and nobody leads: each looks at the same ledger, and the lock of a run
//! decides who was first. Everything in here can be forgotten at any moment, and everything that fails is tried again.
//!
//! - [`run`]: from start to end of the process; `term`: of one session, as long as the others believe that it lives
//! - `session`: the signs of life; `reaper`: what the silence of others means; `twin`: who lives in a copy of the state folder
//! - `sweep`: finds what is ready; `visits`: drives it; `tend`: looks after children; `tell`: says what has changed
//! - `schedule`: fires schedules, in a server
//! - `strays`: ends what the ledger has given up; `timeline`: compares the journals with a ledger that may have lost something; `tidy`: removes what pruned runs have left; `keeper`: keeps the supervisor
//! - `room`: whether anything can be begun in the state folder; `health`, `http`, `notify`: says how it is

mod announce;
pub(crate) mod health;
pub(crate) mod http;
pub(crate) mod keeper;
pub(crate) mod notify;
pub mod pace;
pub mod reaper;
mod room;
mod schedule;
mod session;
mod strays;
mod sweep;
mod tell;
mod tend;
mod term;
mod tidy;
mod timeline;
mod twin;
mod visits;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use runward_engine::run::{ClaimId, Offer, Place, SessionId};
use runward_store::Fleet;
use runward_store::fleet::Session;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::LocalSet;
use tracing::info;

use crate::care::anchor::{self, Anchoring};
use crate::home::{Holder, Home, HomeError, WorkerLock, WorkerLockError};
use crate::logs::Shipper;
use crate::outbox::Postman;
use crate::queue::{Queue, Slots};
use crate::scheduler::Scheduling;
pub use announce::{PREFIX, announce, queue_of};
use health::Health;
pub use pace::Pace;
use term::{End, Term};

/// How long whoever leaves ships what was printed.
const LAST_WORDS_MAX: Duration = Duration::from_secs(3);

/// What a member of a cluster needs to know of its surroundings.
pub struct Member {
    pub home: Home,
    pub ledger: Arc<dyn Fleet>,
    /// None: it hears of what is ready from its own looks at the ledger alone.
    pub queue: Option<Arc<dyn Queue>>,
    /// None: a server.
    pub hands: Option<Hands>,
    /// The name of the machine, for people.
    pub host: String,
    /// The program that contains the supervisor, see [`crate::driver::Setting`].
    pub supervisor: PathBuf,
    /// For the record.
    pub actor: String,
    pub boot: String,
    pub version: String,
    pub new_session: fn() -> SessionId,
    pub new_claim: fn() -> ClaimId,
    /// Output kept of one attempt, in bytes.
    pub log_bytes_max: u64,
    pub pace: Pace,
    /// How long it waits for its running steps when it is asked to stop. They run on without it, too.
    pub drain_timeout: Duration,
    /// Where it says how it is.
    pub listen: Option<SocketAddr>,
    /// Of a server.
    pub anchoring: Option<Anchoring>,
}

/// The steps that a worker carries out.
#[derive(Debug, Clone)]
pub struct Hands {
    pub labels: BTreeSet<String>,
    /// So many at once.
    pub concurrency: NonZeroUsize,
}

/// What is asked of a member from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    No,
    /// Takes nothing new, waits as long as it is to, and goes.
    Drain,
    /// Goes. What runs goes on in the supervisor.
    Now,
}

/// Why it cannot work here at all.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error("another member of the cluster lives in the state folder {folder}: process {}", .holder.pid)]
    Taken { folder: PathBuf, holder: Holder },
    #[error("the state folder {folder} and that of the member {host} (process {pid}) are copies of one")]
    Twin { folder: PathBuf, host: String, pid: u32 },
    #[error("{address} cannot be listened on: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
}

impl From<WorkerLockError> for Unusable {
    fn from(error: WorkerLockError) -> Unusable {
        match error {
            WorkerLockError::Taken { folder, holder } => Unusable::Taken { folder, holder },
            WorkerLockError::Home(error) => Unusable::Home(error),
        }
    }
}

/// The member as all of its sessions share it.
struct Post {
    member: Member,
    place: Place,
    offer: Offer,
    /// Of a worker.
    slots: Option<Slots>,
    health: Health,
    /// The ledger is not on the timeline on which it was left: no step starts.
    shut: Cell<bool>,
    /// Carries away what the steps of this state folder print.
    shipper: Shipper,
    stop: watch::Receiver<Stop>,
}

impl Post {
    fn new(member: Member, stop: watch::Receiver<Stop>) -> Result<Post, Unusable> {
        let place = Place { home: member.home.id()?, host: member.host.clone() };
        let (offer, slots) = match &member.hands {
            Some(hands) => (Offer::Labels(hands.labels.clone()), Some(Slots::new(hands.concurrency))),
            None => (Offer::Nothing, None),
        };
        let shipper = Shipper::new(member.home.clone(), place.home.clone(), Arc::clone(&member.ledger));
        Ok(Post { member, place, offer, slots, health: Health::default(), shut: Cell::new(false), shipper, stop })
    }

    fn ledger(&self) -> &dyn Fleet {
        &*self.member.ledger
    }

    fn pace(&self) -> &Pace {
        &self.member.pace
    }

    fn twin(&self, other: &Session) -> Unusable {
        let folder = self.member.home.root().to_owned();
        Unusable::Twin { folder, host: other.new.host.clone(), pid: other.new.pid }
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow() > Stop::No
    }

    /// Returns once it is asked for at least this; also when nobody is left who could ask.
    async fn asked(&self, least: Stop) {
        let _ = self.stop.clone().wait_for(|stop| *stop >= least).await;
    }
}

/// Works until it is asked to stop. Nothing that happens outside of this machine is a reason to end before.
/// `scheduling`: of a server, that fires schedules.
/// `scheduling`, `postman`: of a server.
pub async fn run(
    member: Member,
    scheduling: Option<Scheduling>,
    postman: Option<Postman>,
    stop: watch::Receiver<Stop>,
) -> Result<(), Unusable> {
    let kind = if member.hands.is_some() { "worker" } else { "server" };
    let _lock = WorkerLock::take(&member.home, &format!("{kind} of {}", member.actor))?;
    let listener = match member.listen {
        Some(address) => Some(TcpListener::bind(address).await.map_err(|source| Unusable::Listen { address, source })?),
        None => None,
    };
    let post = Rc::new(Post::new(member, stop)?);
    let here = LocalSet::new();
    here.run_until(async {
        tokio::select! {
            () = http::serve(listener, &post) => {}
            done = sessions(&post) => done?,
            () = tidy::now_and_then(&post) => {}
            () = timeline::now_and_then(&post) => {}
            () = anchor::now_and_then(post.member.anchoring.as_ref(), post.ledger()) => {}
            () = schedule::fire(&post, scheduling) => {}
            () = tell_people(postman) => {}
        }
        if tokio::time::timeout(LAST_WORDS_MAX, post.shipper.drained()).await.is_err() {
            info!("what some steps printed is not shipped yet: the next member in this state folder does that");
        }
        info!("the {kind} ends");
        Ok(())
    })
    .await
}

/// For ever. A worker tells nobody anything.
async fn tell_people(postman: Option<Postman>) {
    match postman {
        Some(mut postman) => match postman.run(&Notify::new()).await {},
        None => std::future::pending().await,
    }
}

/// One session after the other: whoever was silent for too long begins anew, and asks what is still its own.
async fn sessions(post: &Rc<Post>) -> Result<(), Unusable> {
    loop {
        twin::be_alone(post).await?;
        let session = (post.member.new_session)();
        let Some(leases) = session::join(post, &session).await else { return Ok(()) };
        notify::ready();
        match Term::new(Rc::clone(post), session, leases).live().await {
            End::Silent => {}
            End::Stopped => return Ok(()),
            End::Twin(other) => return Err(post.twin(&other)),
        }
    }
}

/// The clock of this machine, which may differ from that of the ledger.
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
