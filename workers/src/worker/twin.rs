//! Who else lives under the name of this state folder: somebody in a copy of it. Each of them would judge the steps of the
//! other by journals that it does not have, and call lost what runs.
//!
//! Nobody of another machine can be asked whether it lives, and a clock says nothing. So whoever beats is there: looked for
//! before a session begins, and as long as it lasts, for copies that are started at the same moment.

use std::collections::BTreeMap;
use std::time::Instant;

use runward_engine::run::SessionId;
use runward_store::fleet::Session;

use super::session::AGAIN;
use super::{Post, Unusable};
use crate::home::is_dying;

/// A beat may still have been under way when its member died. Two were not.
const BEATS: u64 = 2;

/// The beats of those who share a home, as they were seen first.
#[derive(Debug, Default)]
pub struct Twins {
    first: BTreeMap<SessionId, u64>,
}

impl Twins {
    /// Who lives beside `own`, and was there before it: of two the later one has to go.
    pub fn elder<'a>(&mut self, own: &SessionId, sessions: &'a [Session]) -> Option<&'a Session> {
        let age = |session: &Session| (session.joined_at, session.new.id.clone());
        let own = sessions.iter().find(|session| session.new.id == *own)?;
        let others = sessions.iter().filter(|it| it.new.home == own.new.home && it.new.id != own.new.id);
        let mut living = others.filter(|it| it.end.is_none());
        living.find(|it| {
            let first = *self.first.entry(it.new.id.clone()).or_insert(it.beat);
            it.beat >= first + BEATS && age(it) < age(own)
        })
    }
}

/// Waits until it is certain that nobody uses the name of this state folder. Who beat last under another start of the machine
/// may have died with it, and a process of this one that is gone has.
pub(super) async fn be_alone(post: &Post) -> Result<(), Unusable> {
    let (home, boot) = (&post.place.home, &post.member.boot);
    let may_live = |it: &Session| it.new.boot != *boot || is_other(it.new.pid);
    let mut seen: BTreeMap<SessionId, u64> = BTreeMap::new();
    let give_up = Instant::now() + post.pace().beat * 3;
    let mut looked = false;
    while !post.is_stopped() && !(looked && (seen.is_empty() || Instant::now() >= give_up)) {
        match post.ledger().sessions().await {
            Err(error) => post.health.ledger_failed("it is not known yet who is there", &error),
            Ok(sessions) => {
                looked = true;
                for other in sessions.iter().filter(|it| it.new.home == *home && it.end.is_none() && may_live(it)) {
                    if *seen.entry(other.new.id.clone()).or_insert(other.beat) != other.beat {
                        return Err(post.twin(other));
                    }
                }
            }
        }
        if !looked || !seen.is_empty() {
            tokio::time::sleep(AGAIN.min(post.pace().beat)).await;
        }
    }
    Ok(())
}

/// The processes of two containers may have the same number.
fn is_other(pid: u32) -> bool {
    pid != std::process::id() && !is_dying(&pid.to_string())
}

#[cfg(test)]
mod tests {
    use runward_store::fleet::{NewSession, SessionEnd};

    use super::*;

    fn session(id: &str, home: &str, joined_at: i64, beat: u64) -> Session {
        let new = NewSession {
            id: id.into(),
            home: home.into(),
            host: "db1".to_owned(),
            pid: 7,
            boot: "b".to_owned(),
            version: "1".to_owned(),
            labels: Vec::new(),
            concurrency: 1,
        };
        Session { new, beat, joined_at, heard_at: 0, draining: false, end: None }
    }

    /// After how many beats of everybody `own` has to go.
    fn goes_after(own: &str, at: impl Fn(u64) -> Vec<Session>) -> Option<u64> {
        let mut twins = Twins::default();
        (0..10).find(|beat| twins.elder(&own.into(), &at(*beat)).is_some())
    }

    #[test]
    fn of_two_that_share_a_home_the_later_one_goes() {
        let both = |beat| vec![session("a", "h", 1, beat), session("b", "h", 2, beat), session("c", "other", 0, beat)];
        assert_eq!((goes_after("b", both), goes_after("a", both), goes_after("c", both)), (Some(2), None, None));
        let at_once = |beat| vec![session("a", "h", 1, beat), session("b", "h", 1, beat)];
        assert_eq!((goes_after("b", at_once), goes_after("a", at_once)), (Some(2), None));
    }

    #[test]
    fn a_predecessor_whose_last_beat_arrives_late_is_none() {
        let dead = |beat: u64| vec![session("a", "h", 1, beat.min(1)), session("b", "h", 2, beat)];
        assert_eq!(goes_after("b", dead), None);
        let over = |beat| {
            vec![Session { end: Some(SessionEnd::Silent), ..session("a", "h", 1, beat) }, session("b", "h", 2, beat)]
        };
        assert_eq!(goes_after("b", over), None);
    }
}
