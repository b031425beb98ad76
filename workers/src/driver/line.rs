//! The line to the supervisor of a worker. All drivers of the worker share it: each attempt is one driver's, and what is
//! heard of it goes to that one.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use runward_engine::run::{ClaimId, SessionId};
use tokio::sync::{Notify, mpsc};
use tracing::debug;

use super::course::News;
use super::crew::{CrewEvent, Keeps};
use crate::home::{Home, make_dir};
use crate::supervisor::client::{AskError, Event, Events, Gone, Requests, Supervisor};

/// Hangs up when the last clone of it is dropped.
#[derive(Clone)]
pub struct Line(Arc<Shared>);

struct Shared {
    program: PathBuf,
    dir: PathBuf,
    session: SessionId,
    board: Mutex<Board>,
    over: Notify,
}

/// Who listens, for as long as one connection lasts.
#[derive(Default)]
struct Board {
    requests: Option<Requests>,
    count: u64,
    ears: BTreeMap<u64, mpsc::UnboundedSender<CrewEvent>>,
    /// Whose an attempt is.
    attempts: BTreeMap<String, u64>,
    /// Who asked what lives, and about which attempt: the answers come in this order.
    lists: VecDeque<(u64, ClaimId)>,
}

impl Line {
    /// To the supervisor of this session. Opens no connection yet.
    pub fn new(program: PathBuf, home: &Home, session: SessionId) -> Line {
        let dir = home.supervisor(&session);
        let (board, over) = Default::default();
        Line(Arc::new(Shared { program, dir, session, board, over }))
    }

    pub(super) fn session(&self) -> &SessionId {
        &self.0.session
    }

    fn is_open(&self) -> bool {
        self.0.board().requests.is_some()
    }

    /// Finds or starts the supervisor, unless it is on the line, and waits until it answers.
    pub(crate) async fn open(&self) -> io::Result<()> {
        if !self.is_open() {
            make_dir(&self.0.dir).map_err(io::Error::other)?;
            self.over(Supervisor::find_or_start(&self.0.program, &self.0.dir).await?);
        }
        Ok(())
    }

    /// The same, but starts none.
    pub(super) async fn connect(&self) -> io::Result<()> {
        if !self.is_open() {
            self.over(Supervisor::connect(&self.0.dir).await?);
        }
        Ok(())
    }

    /// Nobody waits for others that connect at the same time; one connection stays.
    fn over(&self, Supervisor { requests, events }: Supervisor) {
        let mut board = self.0.board();
        if board.requests.is_none() {
            board.requests = Some(requests);
            tokio::spawn(relay(Arc::downgrade(&self.0), events));
            debug!(session = %self.0.session, "the supervisor is on the line");
        }
    }

    /// Returns when nobody is at the other end.
    pub(crate) async fn closed(&self) {
        loop {
            let over = self.0.over.notified();
            if !self.is_open() {
                return;
            }
            over.await;
        }
    }

    /// Listens from now on, if somebody is at the other end, and tells of its attempts, and once of the end of the line.
    pub(super) fn listen(&self, news: mpsc::UnboundedSender<CrewEvent>) -> Option<(Ear, Requests)> {
        let mut board = self.0.board();
        let requests = board.requests.clone()?;
        board.count += 1;
        let number = board.count;
        board.ears.insert(number, news);
        Some((Ear { line: self.clone(), number }, requests))
    }
}

/// One driver on the line.
pub(super) struct Ear {
    line: Line,
    number: u64,
}

impl Ear {
    /// What is heard of this attempt is for this driver.
    pub(super) fn follow(&self, attempt: &str) {
        let mut board = self.line.0.board();
        if board.ears.contains_key(&self.number) {
            board.attempts.insert(attempt.to_owned(), self.number);
        }
    }

    /// Asks what lives, because of this attempt. What is heard of it from here on is for this driver, too.
    pub(super) fn list(&self, requests: &Requests, claim: &ClaimId) -> Result<(), AskError> {
        self.follow(&claim.0);
        let mut board = self.line.0.board();
        if !board.ears.contains_key(&self.number) {
            return Err(AskError::Gone);
        }
        requests.list()?;
        board.lists.push_back((self.number, claim.clone()));
        Ok(())
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let mut board = self.line.0.board();
        board.ears.remove(&self.number);
        board.attempts.retain(|_, ear| *ear != self.number);
    }
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    /// To the driver with that number, if it still listens.
    fn tell(&self, ear: Option<u64>, event: CrewEvent) {
        if let Some(news) = ear.and_then(|number| self.ears.get(&number)) {
            let _ = news.send(event); // it is leaving
        }
    }

    /// Of the end. Who wants to hear more listens anew.
    fn close(&mut self, event: impl Fn() -> CrewEvent) {
        let ears = std::mem::take(&mut self.ears);
        *self = Board { count: self.count, ..Board::default() };
        ears.into_values().for_each(|news| drop(news.send(event())));
    }
}

async fn relay(line: Weak<Shared>, mut events: Events) {
    loop {
        let event = events.next_event().await;
        let Some(line) = line.upgrade() else { return };
        let mut board = line.board();
        match event {
            Event::Ended { attempt } => {
                let ear = board.attempts.remove(&attempt);
                board.tell(ear, CrewEvent::News(News::Ended(ClaimId(attempt))));
            }
            Event::Refused { attempt, reason } => {
                let ear = board.attempts.remove(&attempt);
                board.tell(ear, CrewEvent::News(News::Refused(ClaimId(attempt), reason)));
            }
            Event::Live { attempts } => {
                let (ear, claim) = board.lists.pop_front().unzip();
                let keeps = Keeps { session: line.session.clone(), claim, attempts };
                board.tell(ear, CrewEvent::Keeps(keeps));
            }
            Event::Gone { reason } => {
                debug!(session = %line.session, "the supervisor is gone, or hung up: {reason}");
                board.close(|| CrewEvent::gone(&line.session, &reason));
                drop(board);
                return line.over.notify_waiters();
            }
        }
    }
}

impl CrewEvent {
    pub(super) fn gone(session: &SessionId, reason: &Gone) -> CrewEvent {
        match reason {
            Gone::Closed => CrewEvent::News(News::Gone(session.clone())),
            other => CrewEvent::Unusable(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::supervisor::protocol::{PROTOCOL_VERSION, Reply, Request, decode, encode};

    /// The other end.
    struct Far(UnixStream, Vec<u8>);

    impl Far {
        async fn say(&mut self, reply: Reply) {
            self.0.write_all(&encode(&reply).unwrap()).await.unwrap();
        }

        async fn end(&mut self, attempt: &str) {
            self.say(Reply::Ended { attempt: attempt.to_owned() }).await;
        }

        async fn live(&mut self, attempts: &[&str]) {
            self.say(Reply::Live { attempts: attempts.iter().map(|it| (*it).to_owned()).collect() }).await;
        }

        async fn hear(&mut self) -> Request {
            loop {
                if let Some(request) = decode(&mut self.1).unwrap() {
                    return request;
                }
                assert_ne!(self.0.read_buf(&mut self.1).await.unwrap(), 0, "it hung up");
            }
        }
    }

    fn line() -> Line {
        let dir = tempfile::tempdir().unwrap();
        Line::new(Path::new("/nowhere").to_owned(), &Home::open(dir.path()).unwrap(), SessionId::from("s"))
    }

    async fn connect(line: &Line) -> Far {
        let (ours, theirs) = UnixStream::pair().unwrap();
        line.over(Supervisor::over(ours, None).unwrap());
        let mut far = Far(theirs, Vec::new());
        far.say(Reply::Hello { version: PROTOCOL_VERSION, pid: 1, leases: true }).await;
        far
    }

    struct Driver {
        ear: Ear,
        requests: Requests,
        inbox: mpsc::UnboundedReceiver<CrewEvent>,
    }

    impl Driver {
        fn on(line: &Line) -> Driver {
            let (news, inbox) = mpsc::unbounded_channel();
            let (ear, requests) = line.listen(news).expect("somebody is there");
            Driver { ear, requests, inbox }
        }

        async fn hears(&mut self) -> String {
            match self.inbox.recv().await.unwrap() {
                CrewEvent::News(News::Ended(claim)) => format!("{claim} ended"),
                CrewEvent::News(News::Refused(claim, _)) => format!("{claim} refused"),
                CrewEvent::News(News::Gone(session)) => format!("{session} gone"),
                CrewEvent::Keeps(Keeps { claim, attempts, .. }) => {
                    format!("{}: {}", claim.unwrap(), attempts.join(" "))
                }
                CrewEvent::Unusable(why) => why,
            }
        }
    }

    #[tokio::test]
    async fn what_is_heard_of_an_attempt_goes_to_the_driver_whose_it_is() {
        let line = line();
        let mut far = connect(&line).await;
        let (mut one, mut two) = (Driver::on(&line), Driver::on(&line));
        one.ear.follow("a");
        two.ear.follow("b");
        two.ear.follow("c");
        for attempt in ["nobody's", "b", "a", "c"] {
            far.end(attempt).await;
        }
        assert_eq!(one.hears().await, "a ended");
        assert_eq!([two.hears().await, two.hears().await], ["b ended", "c ended"]);
        drop(one);
        two.ear.follow("a"); // another driver has adopted it
        far.end("a").await;
        assert_eq!(two.hears().await, "a ended");
        assert!(two.inbox.try_recv().is_err());
    }

    #[tokio::test]
    async fn each_who_asks_what_lives_gets_the_answer_to_their_own_question() {
        let line = line();
        let mut far = connect(&line).await;
        let (mut one, gone, mut two) = (Driver::on(&line), Driver::on(&line), Driver::on(&line));
        for (driver, of) in [(&one, "x"), (&gone, "y"), (&two, "z")] {
            driver.ear.list(&driver.requests, &ClaimId::from(of)).unwrap();
            assert_eq!(far.hear().await, Request::List);
        }
        drop(gone);
        for answer in ["a", "b", "c"] {
            far.live(&[answer]).await;
        }
        assert_eq!(one.hears().await, "x: a");
        assert_eq!(two.hears().await, "z: c");
        far.end("z").await;
        assert_eq!(two.hears().await, "z ended");
    }

    #[tokio::test]
    async fn the_end_of_the_line_is_told_once_and_what_was_asked_before_it_is_forgotten() {
        let line = line();
        let mut far = connect(&line).await;
        let mut old = Driver::on(&line);
        old.ear.follow("a");
        old.ear.list(&old.requests, &ClaimId::from("a")).unwrap();
        assert_eq!(far.hear().await, Request::List);
        drop(far);
        line.closed().await;
        assert_eq!(old.hears().await, "s gone");
        assert!(line.listen(mpsc::unbounded_channel().0).is_none(), "nobody is there");

        let mut far = connect(&line).await;
        let mut new = Driver::on(&line);
        assert!(
            old.ear.list(&new.requests, &ClaimId::from("a")).is_err(),
            "its answer would be taken for that of somebody else"
        );
        new.ear.list(&new.requests, &ClaimId::from("a")).unwrap();
        drop(old.ear);
        far.live(&["b"]).await;
        far.end("a").await;
        assert_eq!([new.hears().await, new.hears().await], ["a: b", "a ended"]);
        assert!(old.inbox.try_recv().is_err());
    }

    #[tokio::test]
    async fn who_was_the_last_hangs_up() {
        let line = line();
        let mut far = connect(&line).await;
        let driver = Driver::on(&line);
        drop(line);
        driver.requests.list().unwrap();
        assert_eq!(far.hear().await, Request::List);
        drop(driver);
        assert_eq!(far.0.read_buf(&mut far.1).await.unwrap(), 0);
    }
}
