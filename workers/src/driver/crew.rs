//! The supervisors a driver talks to: its own, and those of earlier drivers whose attempts it adopted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runward_engine::run::{ClaimId, SessionId};
use tokio::sync::mpsc;
use tracing::debug;

use super::DriveError;
use super::course::News;
use crate::home::{Home, make_dir};
use crate::supervisor::client::{Event, Events, Gone, Requests, Supervisor};
use crate::supervisor::journal;
use crate::supervisor::protocol::Launch;

pub(super) enum CrewEvent {
    News(News),
    Unusable(String),
}

pub(super) struct Crew {
    home: Home,
    program: PathBuf,
    own: SessionId,
    members: BTreeMap<SessionId, Requests>,
    news: mpsc::UnboundedSender<CrewEvent>,
    inbox: mpsc::UnboundedReceiver<CrewEvent>,
}

impl Crew {
    pub(super) fn new(home: Home, program: PathBuf, own: SessionId) -> Crew {
        let (news, inbox) = mpsc::unbounded_channel();
        Crew { home, program, own, members: BTreeMap::new(), news, inbox }
    }

    /// The driver's own supervisor, started at the first call. One that hung up on us is asked again first.
    pub(super) async fn own(&mut self) -> Result<&Requests, DriveError> {
        let own = self.own.clone();
        if !self.join(&own).await {
            let dir = self.home.supervisor(&self.own);
            make_dir(&dir)?;
            let supervisor = Supervisor::spawn(&self.program, &dir)
                .map_err(|error| DriveError::Supervisor(format!("it cannot be started: {error}")))?;
            debug!(session = %own, "started a supervisor");
            self.welcome(own, supervisor);
        }
        Ok(&self.members[&self.own])
    }

    /// Connects to the supervisor of an earlier driver; false if it is no longer there.
    pub(super) async fn join(&mut self, session: &SessionId) -> bool {
        if self.members.contains_key(session) {
            return true;
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

    fn welcome(&mut self, session: SessionId, supervisor: Supervisor) {
        let Supervisor { requests, events } = supervisor;
        tokio::spawn(relay(session.clone(), events, self.news.clone()));
        self.members.insert(session, requests);
    }

    pub(super) async fn start(&mut self, launch: Launch) -> Result<(), DriveError> {
        let attempt = launch.attempt.clone();
        if self.own().await?.start(launch).is_err() {
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
        let asked = self.members.get(session).map(|member| member.kill(&claim.0, grace.as_millis() as u64));
        if !matches!(asked, Some(Ok(()))) {
            let _ = self.news.send(CrewEvent::News(News::Ended(claim.clone())));
        }
    }

    pub(super) async fn next(&mut self) -> CrewEvent {
        let event = self.inbox.recv().await.expect("the crew itself holds a sender");
        self.heard(event)
    }

    /// What else has arrived.
    pub(super) fn next_now(&mut self) -> Option<CrewEvent> {
        let event = self.inbox.try_recv().ok()?;
        Some(self.heard(event))
    }

    fn heard(&mut self, event: CrewEvent) -> CrewEvent {
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
            Event::Live { .. } => continue,
            Event::Gone { reason: Gone::Closed } => (CrewEvent::News(News::Gone(session.clone())), true),
            Event::Gone { reason } => (CrewEvent::Unusable(reason.to_string()), true),
        };
        if news.send(event).is_err() || last {
            return;
        }
    }
}
