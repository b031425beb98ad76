//! After a failover of the database: compares what has started here with what the ledger knows, and pauses the runs in which
//! something would start twice. What is to be done, and when steps start again, is decided in [`runward_store::timeline`].

use std::time::Instant;

use runward_engine::run::{ClaimId, Command, RunId};
use runward_store::timeline::{Next, Timeline};
use runward_store::{AdminEvent, LedgerError, UnknownStart, command};
use tokio::time::sleep;
use tracing::{info, warn};

use super::Post;
use crate::care::tidy::run_folders;
use crate::home::Home;
use crate::queue::Open;

/// So many beats every member that lives has joined again that the ledger had forgotten.
const SETTLED_BEATS: u32 = 3;
/// How the name of the mark ends ([`crate::supervisor::journal`]).
const STARTED: &str = ".started";

/// For as long as the member is there.
pub(super) async fn now_and_then(post: &Post) {
    let mut closed: Option<Instant> = None;
    loop {
        match look(post, &mut closed).await {
            Ok(()) => {}
            Err(error) => post.health.ledger_failed("on which timeline the ledger is nobody can tell", &error),
        }
        sleep(post.pace().beat).await;
    }
}

async fn look(post: &Post, closed: &mut Option<Instant>) -> Result<(), LedgerError> {
    let Some(timeline) = post.ledger().timeline().await? else { return Ok(()) };
    if timeline.is_open() && closed.take().is_some() {
        info!(
            timeline = timeline.current,
            "the ledger is whole on its new timeline, as far as anybody knows: steps start again"
        );
    }
    post.shut.set(!timeline.is_open());
    if let Some(slots) = post.slots.as_ref().filter(|_| post.shut.get()) {
        slots.set_open(Open::Closed);
    }
    if !timeline.is_open() && closed.is_none() {
        warn!(
            timeline = timeline.current,
            "the database was promoted or restored: no step starts before the journals are compared"
        );
        *closed = Some(Instant::now());
    }
    let settled = closed.is_some_and(|since| since.elapsed() >= post.pace().beat * SETTLED_BEATS);
    let sessions = if timeline.is_open() { Vec::new() } else { post.ledger().sessions().await? };
    let own = post.member.hands.as_ref().map(|_| &post.place.home);
    let event = match timeline.next(own, &sessions, settled) {
        Next::Begin | Next::Accept => AdminEvent::TimelineAccepted { timeline: timeline.current, reason: None },
        Next::Compare => compare(post, timeline).await?,
        Next::Nothing | Next::WaitFor(_) | Next::AskAbout(_) => return Ok(()),
    };
    post.ledger().administer(event, &post.member.actor).await.map(drop)
}

async fn compare(post: &Post, timeline: Timeline) -> Result<AdminEvent, LedgerError> {
    let home = post.member.home.clone();
    // Reads many folders: whoever waits for this has other things to do.
    let started = tokio::task::spawn_blocking(move || started(&home)).await;
    let started = started.map_err(|error| LedgerError::Other(error.to_string()))?;
    let mut unknown = Vec::new();
    for (run, claim) in post.ledger().unknown(&started).await? {
        let held = pause(post, &run, &claim).await?;
        warn!(%run, %claim, held, "it has started here, and the ledger does not know it");
        unknown.push(UnknownStart { run, claim, held });
    }
    info!(started = started.len(), unknown = unknown.len(), "the journals are compared with the ledger");
    let (home, host) = (post.place.home.clone(), post.place.host.clone());
    Ok(AdminEvent::JournalsCompared { timeline: timeline.current, home, host, unknown })
}

/// Every attempt that has started in this state folder, by the mark that its journal has then.
fn started(home: &Home) -> Vec<(RunId, ClaimId)> {
    let mut started = Vec::new();
    for run in run_folders(home) {
        let names = std::fs::read_dir(home.attempts(&run)).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let claims = names.filter_map(|name| Some(ClaimId(name.strip_suffix(STARTED)?.to_owned())));
        started.extend(claims.map(|claim| (run.clone(), claim)));
    }
    started
}

/// A person says whether it goes on. False: there is no such run, or it is over, and only a person can know what that means.
async fn pause(post: &Post, run: &RunId, claim: &ClaimId) -> Result<bool, LedgerError> {
    let mut view = match post.ledger().load(run).await {
        Ok(view) => view,
        Err(LedgerError::NoSuchRun(_)) => return Ok(false),
        Err(error) => return Err(error),
    };
    let reason = format!(
        "the database has lost what it acknowledged: on {} attempt {claim} of a step has started that is not on the record. \
         `runward unpause` starts that step once more",
        post.place.host
    );
    let pause = Command::Pause { reason: Some(reason) };
    let said = command(post.ledger(), &mut view, pause, &post.member.actor).await?;
    Ok(said.is_ok() || view.state.paused.is_some() || view.state.cancelled().is_some())
}
