//! Carries one run to its end.
//!
//! The driver decides nothing: its [`course`] asks the state what should be happening (`engine::run::todo`) and says one
//! thing after the other to do, and the driver does it: through a supervisor, the journal and the ledger. Each round is
//! one commit: what ended is settled and what can start is claimed in the same transaction, so a chain of steps costs one
//! commit a step. Nothing is started before its claim is acknowledged, and everything a driver knows can be found again
//! by the next one: in the ledger and in the journal.

pub mod children;
mod clock;
pub mod course;
mod crew;
mod hands;
pub mod inquiry;
mod leases;
mod line;
mod log;
mod member;
pub mod permit;
mod recover;
mod vault;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use runward_engine::run::group::Member;
use runward_engine::run::todo::rests;
use runward_engine::run::{ClaimId, Command, Offer, Place, Recorded, Reject, RunState, SessionId};
use runward_engine::runbook::templates::Templates;
use runward_store::failpoint::{self, Point};
use runward_store::{Ledger, LedgerError, RunView};
use tokio::sync::{mpsc, watch};

use crate::home::{DriverLock, Home, HomeError};
use crate::queue::Slots;
use crate::step::files::{FilesError, materialise, templates};
use crate::step::launch::{LaunchError, Received, launch};
use crate::supervisor::journal;
use crate::supervisor::lease::{Kept, Leases};
use crate::supervisor::protocol::Launch;
pub use children::Callees;
use children::{ChildNews, Children, Wish};
use clock::Clock;
use course::{Course, Do, Start};
use crew::{Crew, CrewEvent};
use hands::Hands;
pub use line::Line;
use permit::Door;
use vault::{Found, Vault};

/// How often a driver looks whether somebody else changed its run (a cancel from another terminal).
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The same where it asks a server, and those who change a run say so.
const MEMBER_LOOKS_EVERY: Duration = Duration::from_secs(1);

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
    /// Somebody changed the run: look now.
    Look,
}

/// Told of every change, as it becomes durable, and now and then that there was none.
///
/// It is told of children, too, in between: `state.parent` says whose step a run is.
pub trait Observer {
    fn changed(&self, state: &RunState, news: &[Recorded]);

    /// A child is looked after from here on; `before` is its whole record so far.
    fn child(&self, state: &RunState, before: &[Recorded]);

    /// The run waits for a permit of its group, and these hold one or wait, too.
    fn waiting(&self, state: &RunState, members: &[Member]);

    /// What somebody asked of the driver was refused.
    fn refused(&self, reject: &Reject);
}

/// How driving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// The run is at its end.
    Finished,
    /// Nothing more can happen without a person: a step is held, or to be approved.
    Waiting,
    /// Asked to leave.
    Left,
    /// For a member of a cluster: nothing is there for it now. Others, or a later visit, go on with the run.
    Idle,
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
#[derive(Clone)]
pub struct Setting<'a> {
    pub home: &'a Home,
    pub ledger: &'a dyn Ledger,
    /// The program that contains the supervisor: normally `/proc/self/exe`, which survives its own replacement.
    pub supervisor: PathBuf,
    pub session: SessionId,
    /// To the supervisor of this session, where other drivers of this process use it, too.
    pub line: Option<Line>,
    /// Who drives, for the record.
    pub actor: String,
    pub boot: String,
    /// Makes the sessions of the drivers of children.
    pub new_session: fn() -> SessionId,
    /// Makes claim ids.
    pub new_claim: fn() -> ClaimId,
    /// Output kept of one attempt, in bytes.
    pub log_bytes_max: u64,
    /// Whose attempts are this driver's business, and what it claims in their name: in a cluster. `None`: this machine is
    /// the only one, and everything is its own.
    pub place: Option<Place>,
    /// What it claims.
    pub offer: Offer,
    /// Room for what runs, shared by all drivers of a worker; `None`: as much as the run allows.
    pub slots: Option<Slots>,
    /// Keeps alive what may start elsewhere when this worker falls silent; `None`: nothing can.
    pub leases: Option<Leases>,
}

pub struct Driver<'a> {
    setting: Setting<'a>,
    _lock: DriverLock,
    view: RunView,
    crew: Crew,
    course: Course,
    hands: Hands,
    /// Strict attempts of its own that this session watches on the record.
    kept: BTreeMap<ClaimId, Kept>,
    clock: Clock,
    door: Door,
    vault: Vault,
    callees: Callees,
    /// Of a child: what its parent wants of it.
    wish: Option<watch::Receiver<Wish>>,
}

impl<'a> Driver<'a> {
    pub fn new(setting: Setting<'a>, lock: DriverLock, view: RunView) -> Driver<'a> {
        let crew =
            Crew::new(setting.home.clone(), setting.supervisor.clone(), setting.session.clone(), setting.line.clone());
        let mut course = Course::new(setting.session.clone(), setting.boot.clone());
        if let Some(place) = &setting.place {
            course = course.for_member(place.clone(), setting.offer.clone());
        }
        let (callees, hands, kept) = (Callees::default(), Hands::new(setting.slots.clone()), BTreeMap::new());
        Driver {
            setting,
            _lock: lock,
            view,
            crew,
            course,
            hands,
            kept,
            callees,
            wish: None,
            clock: Clock::default(),
            door: Door::default(),
            vault: Vault::new(),
        }
    }

    /// The driver of a child does what its parent wants.
    fn under(self, wish: watch::Receiver<Wish>) -> Driver<'a> {
        Driver { wish: Some(wish), ..self }
    }

    fn into_view(self) -> RunView {
        self.view
    }

    /// Starts the supervisor before it is needed: it gets ready while the ledger is being written.
    pub async fn warm_up(&mut self) -> Result<(), DriveError> {
        self.crew.own().await
    }

    /// Does not stay while the run waits for people alone.
    pub fn leave_to_people(&mut self) {
        self.course.leave_to_people();
    }

    pub fn state(&self) -> &RunState {
        &self.view.state
    }

    /// Drives until the run is at its end, waits for a person, or `asks` says to leave.
    pub async fn drive(
        &mut self,
        asks: &mut mpsc::UnboundedReceiver<Ask>,
        observer: &dyn Observer,
    ) -> Result<Drive, DriveError> {
        let (children, nursery) = children::open();
        if self.is_member() {
            return self.drive_beside(children, asks, observer).await;
        }
        let (setting, people) = (self.setting.clone(), self.course.leaves_to_people());
        // When this run is done with its children it drops its end, and each of them is left as it is.
        let (driven, ()) =
            tokio::join!(self.drive_beside(children, asks, observer), nursery.run(&setting, observer, people));
        driven
    }

    /// In a cluster a child is a run like others: whoever is called for it drives it.
    fn is_member(&self) -> bool {
        self.setting.place.is_some()
    }

    async fn drive_beside(
        &mut self,
        mut children: Children,
        asks: &mut mpsc::UnboundedReceiver<Ask>,
        observer: &dyn Observer,
    ) -> Result<Drive, DriveError> {
        let run = self.view.state.id.clone();
        let mut documents = Templates::new();
        if self.setting.offer != Offer::Nothing {
            materialise(self.setting.home, self.setting.ledger, &run, &self.view.state.definition.clone()).await?;
            documents = templates(self.setting.ledger, &self.view.state).await?;
            vault::clear(self.setting.home, &self.view.state);
        }
        self.callees = Callees::of(self.setting.ledger, &self.view.state).await?;
        self.course.begin(&self.view.state, documents, self.callees.clone());
        self.hold();
        let mut trouble = None;
        loop {
            self.heed();
            if !self.is_member() {
                children.tend(&self.setting, &self.callees, &self.view.state, self.course.is_held());
            }
            let next = self.course.next(&self.view.state);
            let done = match next {
                Do::End(end) => return Ok(end),
                Do::Wait { .. } if self.hands.are_bound() && self.course.own(&self.view.state).next().is_none() => {
                    return Ok(Drive::Idle);
                }
                Do::Wait { .. } if !self.is_member() && self.rests(&children) => return Ok(Drive::Waiting),
                Do::GiveUp => return Err(trouble.unwrap_or_else(|| DriveError::Supervisor("it failed".to_owned()))),
                next => self.carry_out(next, &mut children, asks, observer).await,
            };
            if let Err(error) = done {
                // It knows of what is not on the record any more: whoever comes next begins with what is.
                if matches!(error, DriveError::Ledger(LedgerError::GoneBack { .. })) {
                    return Err(error);
                }
                self.course.failed();
                trouble = Some(error);
            }
        }
    }

    async fn carry_out(
        &mut self,
        next: Do,
        children: &mut Children,
        asks: &mut mpsc::UnboundedReceiver<Ask>,
        observer: &dyn Observer,
    ) -> Result<(), DriveError> {
        match next {
            Do::Say { command, actor } => self.say(command, &actor, observer).await,
            Do::Commit => self.commit(observer).await,
            Do::Start(start) => self.start(start).await,
            Do::WakeUp { session, claim } => {
                self.crew.wake_up(&session, &self.setting.home.attempt(&self.view.state.id, &claim));
                Ok(())
            }
            Do::Kill { session, claim, grace } => {
                self.crew.kill(&session, &claim, grace);
                Ok(())
            }
            Do::Wait { wake_at } => self.wait(wake_at, children, asks, observer).await,
            Do::Join { .. } | Do::Void(_) | Do::Look(_) => self.ask(next).await,
            Do::End(_) | Do::GiveUp => Ok(()),
        }
    }

    fn rests(&self, children: &Children) -> bool {
        rests(&self.view.state, self.course.leaves_to_people(), |child| children.rests(child))
    }

    /// What the parent wants now.
    fn heed(&mut self) {
        let Some(wish) = self.wish.as_ref().map(|wish| wish.borrow().clone()) else { return };
        self.course.heed(&self.view.state, &wish, &self.setting.actor);
    }

    /// Commits what a person asked for.
    async fn say(&mut self, command: Command, actor: &str, observer: &dyn Observer) -> Result<(), DriveError> {
        let mut once = Some(command);
        let committed = self.setting.ledger.commit(&mut self.view, &mut |_| once.take(), actor).await?;
        self.tell(&committed.news, observer);
        committed.replies.iter().filter_map(|reply| reply.as_ref().err()).for_each(|no| observer.refused(no));
        Ok(())
    }

    async fn commit(&mut self, observer: &dyn Observer) -> Result<(), DriveError> {
        let passing = self.knock(observer).await?;
        self.course.knock(passing);
        let (setting, course, hands, crew) = (&self.setting, &mut self.course, &mut self.hands, &mut self.crew);
        hands.let_go(|claim| course.is_over(claim));
        let mut trouble = None;
        let next = &mut |state: &RunState| {
            course.command(state, || {
                let claim = (setting.new_claim)();
                if !hands.take(&claim) {
                    return None;
                }
                let dir = setting.home.attempt(&state.id, &claim);
                let opened = journal::open(&dir);
                trouble = opened.err().map(|error| HomeError::new("cannot open the journal of", &dir, error));
                trouble.is_none().then_some(claim)
            })
        };
        // A worker's supervisor is there already: whoever claims a step is connected by the time it may start.
        let starts = setting.line.is_some() && setting.offer != Offer::Nothing;
        let committing = setting.ledger.commit(&mut self.view, next, &setting.actor);
        let connecting = async {
            if starts {
                crew.join(&setting.session).await;
            }
        };
        let (committed, ()) = tokio::join!(biased; committing, connecting);
        let committed = committed?;
        let last = committed.news.last().filter(|last| last.actor == setting.actor);
        last.iter().for_each(|last| self.clock.heard(last.at));
        self.tell(&committed.news, observer);
        if let Some(error) = trouble {
            return Err(error.into());
        }
        self.course.committed(&self.view.state);
        if committed.again {
            self.course.looked();
        }
        self.hold();
        Ok(())
    }

    fn hold(&mut self) {
        let own = self.course.own(&self.view.state).map(|attempt| attempt.claim.clone());
        self.hands.hold(&own.collect());
        self.keep_alive();
    }

    fn tell(&self, news: &[Recorded], observer: &dyn Observer) {
        log::tell(&self.view.state, news);
        if !news.is_empty() {
            observer.changed(&self.view.state, news);
        }
    }

    async fn start(&mut self, start: Start) -> Result<(), DriveError> {
        if !vault::is_asked(&self.view.state, start.unit) {
            return self.launch(start, Received::default()).await;
        }
        self.vault.ask(self.setting.home, &self.view.state, start);
        Ok(())
    }

    /// The secrets of a step that was claimed are there, or they are not.
    async fn found(&mut self, found: Found) -> Result<(), DriveError> {
        match found.received {
            // It may have been given up meanwhile, and then its journal says that it never starts.
            Ok(received) => self.launch(found.start, received).await,
            Err(error) => {
                if self.view.state.live_attempt(&found.start.claim).is_some() {
                    self.course.not_launched(found.start.claim, error);
                }
                Ok(())
            }
        }
    }

    async fn launch(&mut self, start: Start, received: Received) -> Result<(), DriveError> {
        let Start { claim, unit, prepared } = start;
        let Some((_, attempt)) = self.view.state.live_attempt(&claim) else { return Ok(()) };
        match launch(self.setting.home, &self.view.state, unit, attempt, prepared, received) {
            Ok(launch) => {
                let lease = self.lease_of(unit);
                let log_bytes_max = self.setting.log_bytes_max;
                let dir = &launch.dir;
                failpoint::fails_at(Point::BeforeLaunch)
                    .map_err(|error| HomeError::new("cannot start what is in", dir, error))?;
                self.crew.start(Launch { log_bytes_max, lease, ..launch }).await?;
                failpoint::reach(Point::AfterLaunch);
                self.keep_alive();
                Ok(())
            }
            // A full disk is no failure of the step: it never started, and whoever resumes starts it.
            Err(LaunchError::Home(error)) => Err(error.into()),
            Err(error) => {
                self.course.not_launched(claim, error.to_string());
                Ok(())
            }
        }
    }

    async fn wait(
        &mut self,
        wake_at: Option<i64>,
        children: &mut Children,
        asks: &mut mpsc::UnboundedReceiver<Ask>,
        observer: &dyn Observer,
    ) -> Result<(), DriveError> {
        let look_every = if self.is_member() { MEMBER_LOOKS_EVERY } else { LOOK_EVERY };
        tokio::select! {
            event = self.crew.next() => {
                self.notice(event)?;
                // What ended meanwhile goes into the same commit.
                while let Some(event) = self.crew.next_now() {
                    self.notice(event)?;
                }
            }
            found = self.vault.next() => self.found(found).await?,
            ask = asks.recv() => match ask {
                Some(Ask::Cancel { force, actor, reason }) => {
                    self.course.asked(Command::Cancel { force, rollback: false, reason }, actor);
                }
                Some(Ask::Look) => {
                    self.catch_up(observer).await?;
                    self.course.woken();
                }
                Some(Ask::Leave) | None => self.course.leave(),
            },
            news = children.next() => match news {
                ChildNews::Ended(child, end) => self.course.child_ended(child, end),
                ChildNews::Rests(..) => {}
                ChildNews::Trouble(error) => return Err(error),
            },
            () = changed(&mut self.wish) => {}
            () = self.clock.reaches(wake_at) => self.course.woken(),
            () = self.hands.room() => self.course.looked(),
            () = tokio::time::sleep(look_every) => self.catch_up(observer).await?,
        }
        Ok(())
    }

    /// Reads what others recorded.
    async fn catch_up(&mut self, observer: &dyn Observer) -> Result<(), DriveError> {
        let news = self.setting.ledger.refresh(&mut self.view).await?;
        log::tell(&self.view.state, &news);
        observer.changed(&self.view.state, &news);
        // A member is told the time by `Clock`, and asks its group when it comes: there is nothing else to look for.
        if !self.is_member() || !news.is_empty() {
            self.course.looked();
        }
        self.hold();
        Ok(())
    }

    fn notice(&mut self, event: CrewEvent) -> Result<(), DriveError> {
        match event {
            CrewEvent::News(news) => {
                log::heard(&self.view.state, &news);
                self.course.heard(&self.view.state, news);
            }
            CrewEvent::Keeps(..) => {} // an answer that nobody waits for any more
            CrewEvent::Unusable(reason) => return Err(DriveError::Supervisor(reason)),
        }
        Ok(())
    }
}

/// Something else is wanted of a child.
async fn changed(wish: &mut Option<watch::Receiver<Wish>>) {
    let told = match wish {
        Some(wish) => wish.changed().await.is_ok(),
        None => false,
    };
    if !told {
        std::future::pending().await
    }
}
