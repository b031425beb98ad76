//! The supervisors a driver talks to: its own, and those of earlier drivers whose attempts it adopted.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use runward_engine::run::{ClaimId, SessionId};
use tokio::sync::mpsc;
use tracing::debug;

use super::DriveError;
use super::course::{Joined, News};
use super::line::{Ear, Line};
use crate::home::{Home, make_dir};
use crate::supervisor::client::{Event, Events, Requests, Supervisor};
use crate::supervisor::journal;
use crate::supervisor::protocol::Launch;

/// How long a supervisor may take to say what it keeps.
const ANSWER_MAX: Duration = Duration::from_secs(10);

pub(super) enum CrewEvent {
    News(News),
    /// What a supervisor keeps, because it was asked.
    Keeps(Keeps),
    Unusable(String),
}

pub(super) struct Keeps {
    pub(super) session: SessionId,
    /// Because of which attempt it was asked. `None`: on a line of this driver alone, that hears of the end of all.
    pub(super) claim: Option<ClaimId>,
    pub(super) attempts: Vec<String>,
}

impl Keeps {
    /// An answer that was not waited for any longer may come after the next question.
    fn answers(&self, session: &SessionId, claim: &ClaimId) -> bool {
        self.session == *session && self.claim.as_ref().is_none_or(|asked| asked == claim)
    }
}

pub(super) struct Crew {
    home: Home,
    program: PathBuf,
    own: SessionId,
    /// To its own supervisor, where other drivers of this process use that, too; and its place on it.
    line: Option<Line>,
    ear: Option<Ear>,
    members: BTreeMap<SessionId, Requests>,
    news: mpsc::UnboundedSender<CrewEvent>,
    inbox: mpsc::UnboundedReceiver<CrewEvent>,
    /// What was heard while an answer was waited for.
    heard: VecDeque<CrewEvent>,
}

impl Crew {
    pub(super) fn new(home: Home, program: PathBuf, own: SessionId, line: Option<Line>) -> Crew {
        let (news, inbox) = mpsc::unbounded_channel();
        let line = line.filter(|line| *line.session() == own);
        Crew { home, program, own, line, ear: None, members: BTreeMap::new(), news, inbox, heard: VecDeque::new() }
    }

    /// The driver's own supervisor, started at the first call. One that hung up on us is asked again first.
    pub(super) async fn own(&mut self) -> Result<(), DriveError> {
        let own = self.own.clone();
        if !self.join(&own).await {
            let failed = |error| DriveError::Supervisor(format!("it cannot be started: {error}"));
            match self.line.clone() {
                Some(line) => {
                    line.open().await.map_err(failed)?;
                    if !self.pick_up(&line) {
                        return Err(DriveError::Supervisor("it ended as soon as it was there".to_owned()));
                    }
                }
                None => {
                    let dir = self.home.supervisor(&own);
                    make_dir(&dir)?;
                    let supervisor = Supervisor::spawn(&self.program, &dir).map_err(failed)?;
                    debug!(session = %own, "started a supervisor");
                    self.welcome(own.clone(), supervisor);
                }
            }
        }
        Ok(())
    }

    /// Connects to the supervisor of an earlier driver, or to its own; false if it is not there.
    pub(super) async fn join(&mut self, session: &SessionId) -> bool {
        if self.members.contains_key(session) {
            return true;
        }
        if let Some(line) = self.line.clone().filter(|line| line.session() == session) {
            return self.pick_up(&line) || line.connect().await.is_ok() && self.pick_up(&line);
        }
        match Supervisor::connect(&self.home.supervisor(session)).await {
            Ok(supervisor) => {
                debug!(%session, "joined the supervisor of an earlier driver");
                self.welcome(session.clone(), supervisor);
                true
            }
            Err(_) => false,
        }
    }

    fn pick_up(&mut self, line: &Line) -> bool {
        let Some((ear, requests)) = line.listen(self.news.clone()) else { return false };
        self.ear = Some(ear);
        self.members.insert(self.own.clone(), requests);
        true
    }

    /// Its place on the line to this supervisor, if there is one.
    fn ear(&self, session: &SessionId) -> Option<&Ear> {
        self.ear.as_ref().filter(|_| *session == self.own)
    }

    /// Connects to the supervisor of an earlier driver and asks it whether it keeps this attempt. It tells of every end
    /// from that question on, so what it keeps when it is asked cannot end unheard.
    pub(super) async fn find_keeper(&mut self, session: &SessionId, claim: &ClaimId) -> Joined {
        let unusable = self.heard.iter().any(|event| matches!(event, CrewEvent::Unusable(_)));
        if unusable || !self.join(session).await {
            return Joined::Nobody;
        }
        let requests = &self.members[session];
        let asked = match self.ear(session) {
            Some(ear) => ear.list(requests, claim),
            None => requests.list(),
        };
        if asked.is_err() {
            return Joined::Nobody;
        }
        // One that has been stopped answers nobody; then the journal is asked.
        tokio::time::timeout(ANSWER_MAX, self.answer(session, claim)).await.unwrap_or(Joined::Nobody)
    }

    /// What else is heard meanwhile is told afterwards.
    async fn answer(&mut self, session: &SessionId, claim: &ClaimId) -> Joined {
        loop {
            let event = self.hear().await;
            let over = match &event {
                CrewEvent::Keeps(keeps) if keeps.answers(session, claim) => {
                    return if keeps.attempts.contains(&claim.0) { Joined::Keeper } else { Joined::Stranger };
                }
                CrewEvent::News(News::Gone(who)) => who == session,
                CrewEvent::Unusable(_) => true,
                CrewEvent::News(_) | CrewEvent::Keeps(..) => false,
            };
            self.heard.push_back(event);
            if over {
                return Joined::Nobody;
            }
        }
    }

    fn welcome(&mut self, session: SessionId, supervisor: Supervisor) {
        let Supervisor { requests, events } = supervisor;
        tokio::spawn(relay(session.clone(), events, self.news.clone()));
        self.members.insert(session, requests);
    }

    /// The supervisor of this session, where this driver is connected to it.
    pub(super) fn member(&self, session: &SessionId) -> Option<&Requests> {
        self.members.get(session)
    }

    pub(super) async fn start(&mut self, launch: Launch) -> Result<(), DriveError> {
        let attempt = launch.attempt.clone();
        self.own().await?;
        if let Some(ear) = &self.ear {
            ear.follow(&attempt);
        }
        if self.members[&self.own].start(launch).is_err() {
            // The journal says whether it started; the end of the connection is told as `Gone` as well.
            let _ = self.news.send(CrewEvent::News(News::Ended(ClaimId(attempt))));
        }
        Ok(())
    }

    /// Lets whoever keeps an attempt go on, if somebody has stopped them.
    pub(super) fn wake_up(&self, session: &SessionId, attempt: &Path) {
        Supervisor::wake_up(&self.home.supervisor(session));
        journal::wake_up(&journal::lock_path(attempt));
    }

    /// Asks for the end of an attempt. One that cannot be asked any more is looked up in the journal.
    pub(super) fn kill(&mut self, session: &SessionId, claim: &ClaimId, grace: Duration) {
        if let Some(ear) = self.ear(session) {
            ear.follow(&claim.0);
        }
        let asked = self.members.get(session).map(|member| member.kill(&claim.0, grace.as_millis() as u64));
        if !matches!(asked, Some(Ok(()))) {
            let _ = self.news.send(CrewEvent::News(News::Ended(claim.clone())));
        }
    }

    pub(super) async fn next(&mut self) -> CrewEvent {
        match self.heard.pop_front() {
            Some(event) => event,
            None => self.hear().await,
        }
    }

    async fn hear(&mut self) -> CrewEvent {
        let event = self.inbox.recv().await.expect("the crew itself holds a sender");
        self.note(event)
    }

    /// What else has arrived.
    pub(super) fn next_now(&mut self) -> Option<CrewEvent> {
        if let Some(event) = self.heard.pop_front() {
            return Some(event);
        }
        let event = self.inbox.try_recv().ok()?;
        Some(self.note(event))
    }

    fn note(&mut self, event: CrewEvent) -> CrewEvent {
        if let CrewEvent::News(News::Gone(session)) = &event {
            self.members.remove(session);
        }
        event
    }
}

async fn relay(session: SessionId, mut events: Events, news: mpsc::UnboundedSender<CrewEvent>) {
    loop {
        let (event, last) = match events.next_event().await {
            Event::Ended { attempt } => (CrewEvent::News(News::Ended(ClaimId(attempt))), false),
            Event::Refused { attempt, reason } => (CrewEvent::News(News::Refused(ClaimId(attempt), reason)), false),
            Event::Live { attempts } => {
                (CrewEvent::Keeps(Keeps { session: session.clone(), claim: None, attempts }), false)
            }
            Event::Gone { reason } => (CrewEvent::gone(&session, &reason), true),
        };
        if news.send(event).is_err() || last {
            return;
        }
    }
}
