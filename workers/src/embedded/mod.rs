//! `runward server` on one machine: fires schedules, and drives the runs that come of it, all in one process.
//!
//! It is what a crontab is elsewhere. It drives the runs that a tick has started and that nobody else drives; those of people
//! stay theirs. What it starts runs under a supervisor, so it may be killed, upgraded or restarted at any moment: the next one
//! adopts what runs. Nothing in here has to survive, either.
//!
//! It delivers notifications beside all that ([`crate::outbox`]).
//!
//! - [`run`]: from start to end of the process; `runs`: which runs there are to drive; `drive`: one of them
//! - `health`: how it is

mod drive;
mod health;
mod runs;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use runward_engine::run::{ClaimId, HomeId, RunId, SessionId};
use runward_store::LedgerError;
use runward_store::timetable::Timetable;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::LocalSet;
use tracing::info;

use crate::care::anchor::{self, Anchoring};
use crate::driver::Line;
use crate::home::{Home, WorkerLock};
use crate::outbox::Postman;
use crate::scheduler::{self, Audience, Scheduling, Standing};
use crate::worker::keeper;
use crate::worker::{Stop, Unusable, http, notify};
use health::Health;
use runs::Runs;

/// What the server of one machine needs to know of its surroundings.
pub struct Server {
    pub home: Home,
    pub ledger: Arc<dyn Timetable>,
    /// The name of the machine, for people.
    pub host: String,
    /// The program that contains the supervisor, see [`crate::driver::Setting`].
    pub supervisor: PathBuf,
    /// For the record.
    pub actor: String,
    pub boot: String,
    pub new_session: fn() -> SessionId,
    pub new_claim: fn() -> ClaimId,
    /// Output kept of one attempt, in bytes.
    pub log_bytes_max: u64,
    /// Where it says how it is.
    pub listen: Option<SocketAddr>,
    pub anchoring: Option<Anchoring>,
}

/// What all of its parts share.
struct Post {
    server: Server,
    id: HomeId,
    session: SessionId,
    /// To its supervisor.
    line: Line,
    health: Health,
    /// Runs that a tick has started just now.
    fired: mpsc::UnboundedSender<RunId>,
    /// A run is over: a tick may have waited for that.
    over: Notify,
    /// People are to be told something.
    tell: Notify,
}

/// How long drivers may take to leave their runs. What they leave undone the next ones find.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// Works until it is asked to stop. A ledger that cannot be used for a while is no reason to end before.
pub async fn run(
    server: Server,
    scheduling: Scheduling,
    postman: Postman,
    stop: watch::Receiver<Stop>,
) -> Result<(), Unusable> {
    let _lock = WorkerLock::take(&server.home, &format!("server of {}", server.actor))?;
    let listener = match server.listen {
        Some(address) => Some(TcpListener::bind(address).await.map_err(|source| Unusable::Listen { address, source })?),
        None => None,
    };
    let (fired, news) = mpsc::unbounded_channel();
    let (id, session) = (server.home.id()?, (server.new_session)());
    let line = Line::new(server.supervisor.clone(), &server.home, session.clone());
    let post = Rc::new(Post {
        server,
        id,
        session,
        line,
        health: Health::default(),
        fired,
        over: Notify::new(),
        tell: Notify::new(),
    });
    let working = work(&post, (scheduling, postman), listener, news, stop);
    LocalSet::new().run_until(working).await;
    info!("the server ends");
    Ok(())
}

async fn work(
    post: &Rc<Post>,
    (scheduling, mut postman): (Scheduling, Postman),
    listener: Option<TcpListener>,
    news: mpsc::UnboundedReceiver<RunId>,
    mut stop: watch::Receiver<Stop>,
) {
    let server = &post.server;
    // It is there before the first step is due.
    keeper::start(&post.line).await;
    let runs = Runs::new(Rc::clone(post));
    info!(state = %server.home.root().display(), session = %post.session, "fires schedules, and drives their runs");
    notify::ready();
    tokio::select! {
        () = http::serve(listener, post) => {}
        () = keeper::keep(&post.line) => {}
        never = scheduler::run(scheduling, &post.id, &server.host, &post.over, &**post) => match never {},
        () = runs.drive(news) => {}
        () = anchor::now_and_then(server.anchoring.as_ref(), &*server.ledger) => {}
        never = postman.run(&post.tell) => match never {},
        _ = stop.wait_for(|stop| *stop > Stop::No) => {}
    }
    notify::stopping();
    post.health.drain();
    tokio::select! {
        () = runs.leave(LEAVE_MAX) => {}
        _ = stop.wait_for(|stop| *stop > Stop::Drain) => {}
    }
}

impl Audience for Post {
    fn fired(&self, run: &RunId) {
        let _ = self.fired.send(run.clone()); // it is ending: the next server drives it
    }

    /// Its driver looks by itself.
    fn changed(&self, _: &RunId) {}

    fn ledger_failed(&self, what: &str, error: &LedgerError) {
        self.health.ledger_failed(what, error);
    }

    fn came_round(&self, standing: &Standing) {
        self.health.came_round(standing);
    }
}
