//! A server fires schedules, whether the others believe that it lives or not: the ledger has each tick decided once.

use std::rc::Rc;

use runward_engine::run::RunId;
use runward_store::LedgerError;
use tokio::sync::{Notify, mpsc};
use tracing::debug;

use super::{Post, announce};
use crate::scheduler::{self, Audience, Scheduling, Standing};

/// For ever. A worker fires none.
pub(super) async fn fire(post: &Rc<Post>, scheduling: Option<Scheduling>) {
    let Some(scheduling) = scheduling else { return std::future::pending().await };
    let (tell, runs) = mpsc::unbounded_channel();
    let (heard, nobody) = (Heard { post: Rc::clone(post), tell }, Notify::new());
    let (home, host) = (&post.place.home, &post.place.host);
    tokio::select! {
        never = scheduler::run(scheduling, home, host, &nobody, &heard) => match never {},
        () = announce_all(post, runs) => {}
    }
}

struct Heard {
    post: Rc<Post>,
    tell: mpsc::UnboundedSender<RunId>,
}

impl Audience for Heard {
    fn fired(&self, run: &RunId) {
        let _ = self.tell.send(run.clone()); // this process ends: a sweep finds it
    }

    fn changed(&self, run: &RunId) {
        self.fired(run);
    }

    fn ledger_failed(&self, what: &str, error: &LedgerError) {
        self.post.health.ledger_failed(what, error);
    }

    fn came_round(&self, standing: &Standing) {
        self.post.health.fires(standing);
    }
}

/// Tells workers of runs in which there is something to do now. Best effort: they find them by themselves seconds later.
async fn announce_all(post: &Rc<Post>, mut runs: mpsc::UnboundedReceiver<RunId>) {
    while let Some(run) = runs.recv().await {
        let Some(queue) = &post.member.queue else { continue };
        match post.ledger().load(&run).await {
            Ok(view) => announce::announce(&**queue, &view.state).await,
            Err(error) => debug!(%run, "nobody is told of it: {error}"),
        }
    }
}
