//! Whether this member can write down what it would begin. Without room in its state folder each claim is in vain, and takes
//! the step from somebody who has room: it takes nothing new until there is some, and says so.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::session;
use super::term::Term;
use crate::queue::Open;

/// Between two looks while there is none.
const AGAIN: Duration = Duration::from_secs(1);
/// A file system that hangs longer than this is none.
const LOOK_MAX: Duration = Duration::from_secs(5);

pub(super) struct Lookout {
    term: Rc<Term>,
    /// A look that is not over. There is never a second one: on a disk that hangs they would take every thread.
    look: Option<JoinHandle<Option<String>>>,
}

impl Lookout {
    pub(super) fn new(term: &Rc<Term>) -> Lookout {
        Lookout { term: Rc::clone(term), look: None }
    }

    /// For ever: now and then, and whenever something could not be written.
    pub(super) async fn watch(mut self) {
        loop {
            let beat = self.term.post.pace().beat;
            let pause = if self.term.post.health.has_room() { beat } else { AGAIN.min(beat) };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.term.look_for_room.notified() => {}
            }
            self.look().await;
        }
    }

    pub(super) async fn look(&mut self) {
        let home = &self.term.post.member.home;
        let look = self.look.get_or_insert_with(|| {
            let home = home.clone();
            tokio::task::spawn_blocking(move || home.trouble())
        });
        let trouble = match tokio::time::timeout(LOOK_MAX, look).await {
            Ok(found) => {
                self.look = None;
                found.unwrap_or_default()
            }
            Err(_) => Some(format!("the state folder {} does not answer", home.root().display())),
        };
        self.found(trouble);
    }

    fn found(&self, trouble: Option<String>) {
        let term = &self.term;
        let (had, has) = (term.post.health.has_room(), trouble.is_none());
        term.post.health.room(trouble);
        if had && !has {
            let now = Open::Until(Instant::now());
            term.engine.set_open(now);
            term.slots().into_iter().for_each(|slots| slots.set_open(now));
        }
        if !had && has {
            term.engine.set_open(Open::Always);
            session::open(term);
            term.sweep_now.notify_one();
        }
    }
}
