//! Whether this member can write down what it would begin. Without room in its state folder each claim is in vain, and takes
//! the step from somebody who has room: it takes nothing new until there is some, and says so.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::session;
use super::term::Term;
use crate::queue::Open;

/// Between two looks while there is none.
const AGAIN: Duration = Duration::from_secs(1);
/// A file system that hangs longer than this is none.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Looks, for ever: now and then, and whenever something could not be written.
pub(super) async fn watch(term: &Rc<Term>) {
    loop {
        let beat = term.post.pace().beat;
        let pause = if term.post.health.has_room() { beat } else { AGAIN.min(beat) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = term.look_for_room.notified() => {}
        }
        look(term).await;
    }
}

pub(super) async fn look(term: &Rc<Term>) {
    let home = term.post.member.home.clone();
    let look = tokio::task::spawn_blocking(move || home.trouble());
    let trouble = match tokio::time::timeout(LOOK_MAX, look).await {
        Ok(found) => found.unwrap_or_default(),
        Err(_) => Some(format!("the state folder {} does not answer", term.post.member.home.root().display())),
    };
    let had = term.post.health.has_room();
    let has = trouble.is_none();
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
