//! On which history of its database a ledger was left, and what has to happen before anything starts on another one (F23).
//!
//! A standby that is promoted, or a backup that is restored, may lack what was acknowledged: a step that has started is
//! ready there once more. Postgres says that it happened, because each promotion begins a new timeline, but not whether
//! anything is missing. The workers know that: what they started is in their journals. So on another timeline nothing
//! is claimed before every worker has compared its journals with the ledger. What is to be done next is decided here.

use runward_engine::run::HomeId;
use serde::Serialize;

use crate::fleet::Session;

/// As the database says, and as the ledger's own record does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// `SYSTEM/TIMELINE`, in the numbers of the server.
    pub current: String,
    /// The last one on which everything that was acknowledged is there, as far as anybody can know. None: nobody has said.
    pub accepted: Option<String>,
    /// Of the journals of each state folder with the ledger on the current one.
    pub compared: Vec<Comparison>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    pub home: HomeId,
    pub host: String,
    /// Steps that were started there and that the ledger does not know.
    pub unknown: u64,
    /// So many of them could not be kept from starting again: there is no run to pause.
    pub unheld: u64,
}

/// What a member has to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<'a> {
    /// It is as it was left.
    Nothing,
    /// Nobody has said yet on which it is; that it is this one is to be recorded.
    Begin,
    /// Its own journals are to be compared.
    Compare,
    /// Everybody has compared, and what could start twice is paused.
    Accept,
    /// For members that have not compared their journals.
    WaitFor(Vec<&'a Session>),
    /// For a person: here steps have started in runs of which the ledger knows nothing.
    AskAbout(Vec<&'a Comparison>),
}

impl Timeline {
    /// Whether steps may be claimed.
    pub fn is_open(&self) -> bool {
        is_open(&self.current, self.accepted.as_deref())
    }

    /// `own`: the state folder of the worker that asks. `settled`: it is long enough ago that every member that lives is in
    /// `sessions` again, should the ledger have forgotten it.
    pub fn next<'a>(&'a self, own: Option<&HomeId>, sessions: &'a [Session], settled: bool) -> Next<'a> {
        if self.accepted.is_none() {
            return Next::Begin;
        }
        if self.is_open() {
            return Next::Nothing;
        }
        let has_compared = |home: &HomeId| self.compared.iter().any(|one| one.home == *home);
        if own.is_some_and(|home| !has_compared(home)) {
            return Next::Compare;
        }
        // Whose end is on the record claimed nothing after it: all that it started is there, too.
        let missing = |it: &&Session| it.new.concurrency > 0 && it.end.is_none() && !has_compared(&it.new.home);
        let missing: Vec<&Session> = sessions.iter().filter(missing).collect();
        let strange: Vec<&Comparison> = self.compared.iter().filter(|one| one.unheld > 0).collect();
        match () {
            () if !strange.is_empty() => Next::AskAbout(strange),
            () if !missing.is_empty() || !settled => Next::WaitFor(missing),
            () => Next::Accept,
        }
    }
}

pub(crate) fn is_open(current: &str, accepted: Option<&str>) -> bool {
    accepted.is_none_or(|accepted| accepted == current)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{NewSession, SessionEnd};

    const HOMES: [&str; 3] = ["h1", "h2", "h3"];

    fn session(home: &str, concurrency: u32, end: Option<SessionEnd>) -> Session {
        let new = NewSession {
            id: format!("s-{home}").as_str().into(),
            home: home.into(),
            host: home.to_owned(),
            pid: 1,
            boot: "b".to_owned(),
            version: "1".to_owned(),
            labels: Vec::new(),
            concurrency,
        };
        Session { new, beat: 1, joined_at: 0, heard_at: 0, draining: false, end }
    }

    fn timeline(accepted: Option<&str>, compared: &[(&str, u64)]) -> Timeline {
        let compared = compared.iter().map(|(home, unheld)| Comparison {
            home: (*home).into(),
            host: (*home).to_owned(),
            unknown: *unheld,
            unheld: *unheld,
        });
        Timeline { current: "7/2".to_owned(), accepted: accepted.map(str::to_owned), compared: compared.collect() }
    }

    #[test]
    fn where_nothing_has_happened_nothing_is_to_be_done() {
        assert_eq!(timeline(None, &[]).next(None, &[], true), Next::Begin);
        assert_eq!(timeline(Some("7/2"), &[]).next(Some(&"h1".into()), &[], true), Next::Nothing);
        assert!(timeline(None, &[]).is_open() && timeline(Some("7/2"), &[]).is_open());
        assert!(!timeline(Some("7/1"), &[]).is_open());
    }

    /// Every combination of three state folders, each without a session, alive, silent, gone, or a server's; each with its
    /// journals compared or not, and with or without something that nobody can pause; asked by each, sooner or later.
    #[test]
    fn nothing_starts_on_another_timeline_before_every_worker_has_compared_its_journals() {
        let ends = [None, Some(SessionEnd::Silent), Some(SessionEnd::Left)];
        let mut accepted = 0;
        for case in 0..15_usize.pow(3) {
            let of = |n: usize| (case / 15_usize.pow(n as u32) % 5, case / 15_usize.pow(n as u32) / 5 % 3);
            let (mut sessions, mut compared) = (Vec::new(), Vec::new());
            for (n, home) in HOMES.iter().enumerate() {
                match of(n).0 {
                    0 => {}
                    4 => sessions.push(session(home, 0, None)),
                    end => sessions.push(session(home, 2, ends[end - 1])),
                }
                match of(n).1 {
                    0 => {}
                    strange => compared.push((*home, strange as u64 - 1)),
                }
            }
            let timeline = timeline(Some("7/1"), &compared);
            let asking = HOMES.iter().map(|home| Some(HomeId::from(*home))).chain([None]);
            for (own, settled) in asking.flat_map(|own| [(own.clone(), false), (own, true)]) {
                let next = timeline.next(own.as_ref(), &sessions, settled);
                let knows = |home: &str| compared.iter().any(|(it, _)| *it == home);
                let safe =
                    sessions.iter().all(|it| it.new.concurrency == 0 || it.end.is_some() || knows(&it.new.home.0))
                        && compared.iter().all(|(_, unheld)| *unheld == 0);
                accepted += u32::from(next == Next::Accept);
                assert!(next != Next::Accept || safe && settled, "{timeline:?} {sessions:?}: {next:?}");
                let asked = own.as_ref().is_none_or(|home| knows(&home.0));
                assert_eq!(next == Next::Compare, !asked, "{timeline:?} {own:?}: {next:?}");
                assert!(!(safe && settled && asked) || next == Next::Accept, "it never goes on: {timeline:?} {next:?}");
            }
        }
        assert!(accepted > 100, "{accepted}");
    }
}
