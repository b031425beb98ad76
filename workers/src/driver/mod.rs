//! Carries one run to its end.
//!
//! The driver decides nothing: it asks the state what should be happening (`engine::run::todo`), makes it happen through
//! a supervisor, and tells the ledger. Each round is one commit: what ended is settled and what can start is claimed in
//! the same transaction, so a chain of steps costs one commit a step. Nothing is started before its claim is
//! acknowledged, and everything a driver knows can be found again by the next one: in the ledger and in the journal.

mod crew;
mod log;
mod recover;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use runward_engine::run::prepare::{Prepared, prepare};
use runward_engine::run::todo::todo;
use runward_engine::run::{ClaimId, Command, Recorded, Reject, RunState, SessionId, Unit};
use runward_engine::runbook::templates::Templates;
use runward_store::{Ledger, LedgerError, RunView};
use tokio::sync::mpsc;

use crate::home::{DriverLock, Home, HomeError};
use crate::step::files::{FilesError, materialise, templates};
use crate::step::launch::{LaunchError, launch};
use crate::step::report;
use crate::supervisor::journal;
use crate::supervisor::protocol::{Launch, Refusal};
use crew::{Crew, CrewEvent};

/// How often a driver looks whether somebody else changed its run (a cancel from another terminal).
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What whoever watches a run can ask of its driver.
#[derive(Debug, Clone)]
pub enum Ask {
    Cancel {
        force: bool,
        actor: String,
        reason: Option<String>,
    },
    /// Stop driving; running steps go on.
    Leave,
}

/// Told of every change, as it becomes durable, and now and then that there was none.
pub trait Observer {
    fn changed(&mut self, state: &RunState, news: &[Recorded]);

    /// What somebody asked of the driver was refused.
    fn refused(&mut self, reject: &Reject);
}

/// How driving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// The run is at its end.
    Finished,
    /// Nothing more can happen without a person: a step is held.
    Waiting,
    /// Asked to leave.
    Left,
}

/// Why a run cannot be driven any further by this process. Running steps go on; their results wait in the journal.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error("the supervisor of this run cannot be used: {0}")]
    Supervisor(String),
}

impl From<FilesError> for DriveError {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Home(error) => DriveError::Home(error),
            FilesError::Ledger(error) => DriveError::Ledger(error),
        }
    }
}

/// What a driver needs to know of its surroundings.
pub struct Setting<'a> {
    pub home: &'a Home,
    pub ledger: &'a dyn Ledger,
    /// The program that contains the supervisor: normally `/proc/self/exe`, which survives its own replacement.
    pub supervisor: PathBuf,
    pub session: SessionId,
    /// Who drives, for the record.
    pub actor: String,
    pub boot: String,
    /// Makes claim ids.
    pub new_claim: fn() -> ClaimId,
    /// Output kept of one attempt, in bytes.
    pub log_bytes_max: u64,
}

pub struct Driver<'a> {
    setting: Setting<'a>,
    _lock: DriverLock,
    view: RunView,
    /// Of the run's `render` steps, from its definition.
    templates: Templates,
    crew: Crew,
    /// What goes into the next commit, with who asked.
    queue: VecDeque<(Command, Option<String>)>,
    /// Attempts that were told to end, with the shortest grace told.
    killing: BTreeMap<ClaimId, Duration>,
    /// Attempts whose end is queued or recorded, so that no second look at them is taken.
    ended: BTreeSet<ClaimId>,
}

impl<'a> Driver<'a> {
    pub fn new(setting: Setting<'a>, lock: DriverLock, view: RunView) -> Driver<'a> {
        let crew = Crew::new(setting.home.clone(), setting.supervisor.clone(), setting.session.clone());
        Driver {
            setting,
            _lock: lock,
            view,
            templates: Templates::new(),
            crew,
            queue: VecDeque::new(),
            killing: BTreeMap::new(),
            ended: BTreeSet::new(),
        }
    }

    /// Starts the supervisor before it is needed: it gets ready while the ledger is being written.
    pub async fn warm_up(&mut self) -> Result<(), DriveError> {
        self.crew.own().await.map(|_| ())
    }

    pub fn state(&self) -> &RunState {
        &self.view.state
    }

    /// Drives until the run is at its end, waits for a person, or `asks` says to leave.
    pub async fn drive(
        &mut self,
        asks: &mut mpsc::UnboundedReceiver<Ask>,
        observer: &mut dyn Observer,
    ) -> Result<Drive, DriveError> {
        let run = self.view.state.id.clone();
        materialise(self.setting.home, self.setting.ledger, &run, &self.view.state.definition.clone()).await?;
        self.templates = templates(self.setting.ledger, &self.view.state).await?;
        self.take_over().await?;
        loop {
            self.round(observer).await?;
            let todo = todo(&self.view.state);
            if self.view.state.status.is_terminal() {
                return Ok(Drive::Finished);
            }
            if todo.is_idle(&self.view.state) && self.queue.is_empty() {
                return Ok(Drive::Waiting);
            }
            if !self.queue.is_empty() {
                continue;
            }
            tokio::select! {
                event = self.crew.next() => {
                    self.notice(event).await?;
                    // What ended meanwhile goes into the same commit.
                    while let Some(event) = self.crew.next_now() {
                        self.notice(event).await?;
                    }
                }
                ask = asks.recv() => match ask {
                    Some(Ask::Cancel { force, actor, reason }) => {
                        self.queue.push_back((Command::Cancel { force, reason }, Some(actor)));
                    }
                    Some(Ask::Leave) | None => return Ok(Drive::Left),
                },
                () = sleep_until(todo.wake_at) => self.queue.push_back((Command::Wake, None)),
                () = tokio::time::sleep(LOOK_EVERY) => {
                    let news = self.setting.ledger.refresh(&mut self.view).await?;
                    log::tell(&self.view.state, &news);
                    observer.changed(&self.view.state, &news);
                }
            }
        }
    }

    /// Commits what is known and claims what can start, then starts and ends what follows from it.
    async fn round(&mut self, observer: &mut dyn Observer) -> Result<(), DriveError> {
        loop {
            let claimed = self.commit(observer).await?;
            for (claim, unit, prepared) in claimed {
                self.start(&claim, unit, prepared).await?;
            }
            self.end_what_must_end();
            if self.queue.is_empty() {
                return Ok(());
            }
        }
    }

    async fn commit(&mut self, observer: &mut dyn Observer) -> Result<Vec<(ClaimId, Unit, Prepared)>, DriveError> {
        // Commands of other people carry their own name, so they get a commit of their own.
        let mut news = Vec::new();
        while let Some(at) = self.queue.iter().position(|(_, actor)| actor.is_some()) {
            if let Some((command, actor)) = self.queue.remove(at) {
                let actor = actor.unwrap_or_default();
                let mut once = Some(command);
                let committed = self.setting.ledger.commit(&mut self.view, &mut |_| once.take(), &actor).await?;
                news.extend(committed.news);
                committed.replies.iter().filter_map(|reply| reply.as_ref().err()).for_each(|no| observer.refused(no));
            }
        }
        let mut planned: Vec<(ClaimId, Unit, Prepared)> = Vec::new();
        let mut tried: BTreeSet<Unit> = BTreeSet::new();
        let mut queue = std::mem::take(&mut self.queue);
        let mut trouble = None;
        let (setting, templates) = (&self.setting, &self.templates);
        let next = &mut |state: &RunState| {
            if let Some((command, _)) = queue.pop_front() {
                return Some(command);
            }
            let unit = todo(state).claims.into_iter().find(|unit| !tried.contains(unit))?;
            tried.insert(unit);
            let claim = (setting.new_claim)();
            Some(match prepare(state, unit, templates) {
                Ok(prepared) => {
                    // The journal is there before the claim is: a claimed attempt without one has lost it.
                    let dir = setting.home.attempt(&state.id, &claim);
                    if let Err(error) = journal::open(&dir) {
                        trouble = Some(HomeError::new("cannot open the journal of", &dir, error));
                        return None;
                    }
                    planned.push((claim.clone(), unit, prepared));
                    let (session, boot) = (setting.session.clone(), setting.boot.clone());
                    Command::Claim { unit, claim, session, boot }
                }
                Err(error) => Command::Refuse { unit, error: error.to_string() },
            })
        };
        let committed = setting.ledger.commit(&mut self.view, next, &setting.actor).await?;
        news.extend(committed.news);
        log::tell(&self.view.state, &news);
        if !news.is_empty() {
            observer.changed(&self.view.state, &news);
        }
        if let Some(error) = trouble {
            return Err(error.into());
        }
        planned.retain(|(claim, _, _)| self.view.state.live().contains_key(claim));
        Ok(planned)
    }

    async fn start(&mut self, claim: &ClaimId, unit: Unit, prepared: Prepared) -> Result<(), DriveError> {
        let Some((_, attempt)) = self.view.state.live_attempt(claim) else { return Ok(()) };
        match launch(self.setting.home, &self.view.state, unit, attempt, prepared) {
            Ok(launch) => self.crew.start(Launch { log_bytes_max: self.setting.log_bytes_max, ..launch }).await,
            // A full disk is no failure of the step: it never started, and whoever resumes starts it.
            Err(LaunchError::Home(error)) => Err(error.into()),
            Err(error) => {
                let report = Box::new(report::not_started(error.to_string()));
                self.settle(Command::Settle { claim: claim.clone(), report });
                Ok(())
            }
        }
    }

    fn end_what_must_end(&mut self) {
        for (claim, grace) in todo(&self.view.state).kills {
            let told = self.killing.get(&claim);
            if self.ended.contains(&claim) || told.is_some_and(|told| *told <= grace) {
                continue;
            }
            let Some((_, attempt)) = self.view.state.live_attempt(&claim) else { continue };
            let session = attempt.session.clone();
            self.crew.wake_up(&session, &self.setting.home.attempt(&self.view.state.id, &claim));
            self.crew.kill(&session, &claim, grace);
            self.killing.insert(claim, grace);
        }
    }

    async fn notice(&mut self, event: CrewEvent) -> Result<(), DriveError> {
        match event {
            CrewEvent::Ended(claim) => self.conclude(&claim).await,
            CrewEvent::Refused(claim, reason @ (Refusal::Directory(_) | Refusal::Fork(_))) => {
                self.could_not_start(&claim, &reason).await
            }
            // It started before, or must not: the journal knows.
            CrewEvent::Refused(claim, _) => self.conclude(&claim).await,
            CrewEvent::Gone(session) => {
                let live = self.view.state.live().keys().filter_map(|claim| self.view.state.live_attempt(claim));
                let lost: Vec<ClaimId> =
                    live.filter(|(_, attempt)| attempt.session == session).map(|(_, a)| a.claim.clone()).collect();
                if !lost.is_empty() {
                    let run = &self.view.state.id;
                    tracing::warn!(%run, %session, attempts = lost.len(), "a supervisor is gone: asking the journal");
                }
                for claim in lost {
                    self.look_after(&claim, &session).await?;
                }
                Ok(())
            }
            CrewEvent::Unusable(reason) => Err(DriveError::Supervisor(reason)),
        }
    }

    /// Queues the end of an attempt.
    fn settle(&mut self, command: Command) {
        if let Command::Settle { claim, .. } | Command::Lose { claim, .. } | Command::Void { claim } = &command {
            if !self.ended.insert(claim.clone()) {
                return;
            }
            self.killing.remove(claim);
        }
        self.queue.push_back((command, None));
    }
}

async fn sleep_until(at: Option<i64>) {
    match at {
        None => std::future::pending().await,
        Some(at) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let left = at.saturating_sub(now.as_millis() as i64);
            tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or(0))).await;
        }
    }
}
