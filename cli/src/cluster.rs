//! A cluster, as those see it who give it commands: its ledger, its queue, and who is there to carry them out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use runward_engine::run::place::Offer;
use runward_engine::run::todo::todo;
use runward_engine::run::{RunId, RunState};
use runward_store::fleet::{Attended, Fleet, Session};
use runward_store::{LedgerError, PostgresLedger};
use runward_workers::queue::Queue;
use runward_workers::worker::{Pace, announce, queue_of};

use crate::config::Settings;
use crate::failure::Failure;

/// Nobody waits longer for workers to be told: they find by themselves what there is to do.
const TELLING_MAX: Duration = Duration::from_secs(1);

pub struct Cluster {
    pub ledger: Arc<PostgresLedger>,
    queue: Option<Arc<dyn Queue>>,
}

/// The hosts on which attempts of a run are running.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places<'a> {
    pub heard: BTreeSet<&'a str>,
    pub unreachable: BTreeSet<&'a str>,
}

/// Who is there, as of one moment of the ledger's clock.
#[derive(Debug, Clone)]
pub struct Members {
    pub now: i64,
    pub sessions: Vec<Session>,
    /// After so much silence a member is taken for gone.
    silent: Duration,
}

impl Cluster {
    /// `url`: of the database.
    pub async fn open(url: &str, settings: &Settings) -> Result<Cluster, Failure> {
        let queue = match &settings.redis {
            Some(redis) => Some(queue_of(redis.address().map_err(|error| {
                Failure::usage(error.to_string()).help("correct `redis.url` or RUNWARD_REDIS_URL, or take it out")
            })?)),
            None => None,
        };
        Ok(Cluster { ledger: Arc::new(PostgresLedger::open(url).await?), queue })
    }

    pub fn fleet(&self) -> Arc<dyn Fleet> {
        Arc::clone(&self.ledger) as Arc<dyn Fleet>
    }

    /// Something was recorded in this run: whoever can go on with it is told. Best effort, and never for long.
    pub async fn tell(&self, state: &RunState) {
        let telling = async {
            if let Some(parent) = state.parent.as_ref().filter(|_| state.status.is_terminal())
                && let Err(error) = self.ledger.stir(&parent.run).await
            {
                tracing::debug!(%error, run = %parent.run, "the run above was not told");
            }
            if let Some(queue) = &self.queue {
                announce(&**queue, state).await;
            }
        };
        let _ = tokio::time::timeout(TELLING_MAX, telling).await;
    }

    pub async fn members(&self) -> Result<Members, LedgerError> {
        let (now, sessions) = (self.ledger.now().await?, self.ledger.sessions().await?);
        Ok(Members { now, sessions, silent: Pace::in_force().silent })
    }
}

impl Members {
    #[cfg(test)]
    pub fn none() -> Members {
        Members { now: 0, sessions: Vec::new(), silent: Duration::from_secs(30) }
    }

    /// How long it was not heard of.
    pub fn silence(&self, session: &Session) -> Duration {
        Duration::from_millis(u64::try_from(self.now - session.heard_at).unwrap_or(0))
    }

    /// Neither at its end nor silent.
    pub fn is_there(&self, session: &Session) -> bool {
        session.end.is_none() && self.silence(session) < self.silent
    }

    /// Where each run has running attempts, by these.
    pub fn places<'a>(&'a self, attended: &'a [Attended]) -> BTreeMap<&'a RunId, Places<'a>> {
        let mut places: BTreeMap<&RunId, Places<'_>> = BTreeMap::new();
        for attempt in attended {
            let host = self.sessions.iter().rev().find(|it| Some(&it.new.home) == attempt.home.as_ref());
            let host = host.map_or("?", |session| session.new.host.as_str());
            let place = places.entry(&attempt.run).or_default();
            match self.unheard(&attempt.watched_by.0) {
                true => place.unreachable.insert(host),
                false => place.heard.insert(host),
            };
        }
        places
    }

    /// Whether nothing is heard of whoever waits for the end of an attempt.
    pub fn unheard(&self, session: &str) -> bool {
        !self.sessions.iter().any(|it| it.new.id.0 == session && self.is_there(it))
    }

    /// Whether somebody is there who works in this state folder.
    pub fn hears(&self, home: &str) -> bool {
        self.sessions.iter().any(|it| it.new.home.0 == home && self.is_there(it))
    }

    /// Whether somebody else works in its state folder since, and has taken over what was left.
    pub fn is_replaced(&self, session: &Session) -> bool {
        let later = |it: &&Session| it.new.home == session.new.home && it.joined_at > session.joined_at;
        let there = self.is_there(session);
        self.sessions.iter().filter(later).any(|it| !there || self.is_there(it))
    }

    fn takes_steps(&self, session: &Session) -> bool {
        self.is_there(session) && !session.draining && session.new.concurrency > 0 && !self.is_replaced(session)
    }

    /// Workers that take steps now.
    pub fn workers(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter(|it| self.takes_steps(it))
    }

    fn has(&self, runs_on: &[String]) -> bool {
        self.workers().any(|worker| offer(worker).fits(runs_on))
    }

    /// What steps of this run that could start now ask for, and no worker has. Each set of labels once.
    pub fn lacks(&self, state: &RunState) -> BTreeSet<Vec<String>> {
        let wanted = todo(state).claims.into_iter().map(|unit| &state.spec(unit.step).runs_on);
        wanted.filter(|runs_on| !self.has(runs_on)).map(|runs_on| sorted(runs_on)).collect()
    }
}

fn offer(worker: &Session) -> Offer {
    Offer::Labels(worker.new.labels.iter().cloned().collect())
}

fn sorted(labels: &[String]) -> Vec<String> {
    labels.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whom a run waits for, and what helps.
pub fn waits_for_worker(labels: &[String]) -> String {
    match labels {
        [] => "waits for a worker: none is there; `runward worker`, on any host of the cluster, is one".to_owned(),
        labels => format!(
            "waits for a worker with the label{} {}: none is there; `runward worker --labels {}`",
            if labels.len() == 1 { "" } else { "s" },
            labels.join(", "),
            labels.join(",")
        ),
    }
}

#[cfg(test)]
mod tests {
    use runward_engine::run::{HomeId, SessionId};
    use runward_store::fleet::{NewSession, SessionEnd};

    use super::*;

    fn worker(labels: &[&str], heard_at: i64) -> Session {
        let new = NewSession {
            id: SessionId("s".into()),
            home: HomeId("h".into()),
            host: "db1".into(),
            pid: 1,
            boot: "b".into(),
            version: "1".into(),
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            concurrency: 4,
        };
        Session { new, beat: 1, joined_at: 0, heard_at, draining: false, end: None }
    }

    fn members(sessions: Vec<Session>) -> Members {
        Members { now: 100_000, sessions, silent: Duration::from_secs(30) }
    }

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_worker_counts_that_lives_takes_steps_and_has_all_labels() {
        let there = worker(&["db", "linux"], 99_000);
        assert!(members(vec![there.clone()]).has(&labels(&["linux"])));
        assert!(members(vec![there.clone()]).has(&[]));
        assert!(!members(vec![there.clone()]).has(&labels(&["linux", "gpu"])));
        let silent = worker(&["db"], 69_999);
        let ended = Session { end: Some(SessionEnd::Left), ..there.clone() };
        let draining = Session { draining: true, ..there.clone() };
        let server = Session { new: NewSession { concurrency: 0, ..there.new.clone() }, ..there };
        assert!(!members(vec![silent, ended, draining, server]).has(&labels(&["db"])));
    }

    #[test]
    fn what_helps_is_said_with_the_command() {
        let said = waits_for_worker(&labels(&["db", "linux"]));
        assert_eq!(
            said,
            "waits for a worker with the labels db, linux: none is there; `runward worker --labels db,linux`"
        );
        assert!(waits_for_worker(&[]).contains("`runward worker`"));
    }
}
