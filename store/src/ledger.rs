//! The trait, and what goes in and out of it.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use runward_engine::plan::history::PastRun;
use runward_engine::plan::{Definition, Seal, plan_hash};
use runward_engine::run::event::Planned;
use runward_engine::run::group::{Group, Member, Permit, Priority, Standing};
use runward_engine::run::rows::{AttemptRow, RunRow, StepRow};
use runward_engine::run::{
    Command, Env, Event, Parent, Recorded, Reject, RunId, RunState, apply::apply, create, execute,
};
use runward_engine::runbook::model::Runbook;
use runward_engine::schedule::entry::TickRef;
use serde_json::{Map, Value};

use crate::administration::{AdminEntry, AdminEvent};
use crate::anchor::Head;
use crate::chain;
use crate::error::LedgerError;
use runward_engine::mutated;

/// What a run starts from.
#[derive(Debug, Clone)]
pub struct NewRun {
    pub id: RunId,
    pub definition: Definition,
    /// The definitions of the runbooks it calls, directly or through others.
    pub called: Vec<Definition>,
    /// The contents of the pinned files, of all of them, by SHA-256.
    pub blobs: Vec<(String, Vec<u8>)>,
    pub params: Map<String, Value>,
    pub trigger: String,
    /// Runs that it must not overlap with; `None` for a child, which runs under the permit of its parent.
    pub group: Option<Group>,
    pub priority: Priority,
    /// With so many runs waiting for its group already, it is refused.
    pub queued_max: u32,
    /// A second trigger with the same key is the same run.
    pub key: Option<String>,
    /// Whose step it is. Then its id says which run it is, and a second trigger of it is the same run.
    pub parent: Option<Parent>,
    pub seed: u64,
    pub actor: String,
    /// It is started from a saved plan.
    pub planned: Option<Planned>,
    /// Only if no other run of the same runbook happened, nor this one went on, since somebody looked.
    pub only_after: Option<LastRun>,
    /// The system's time zone, where the runbook names times without one.
    pub zone: Option<String>,
    /// Who asked for it, by every name they are known by, where that is more than the actor's login name.
    pub requester: Vec<String>,
    /// The tick that it is the run of, where the ledger decided so ([`crate::Timetable::decide`]).
    pub tick: Option<TickRef>,
}

/// The newest run of a runbook, and its last event, as somebody saw it. `None`: there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun(pub Option<(RunId, u64)>);

impl LastRun {
    pub fn of(row: Option<&RunRow>) -> LastRun {
        LastRun(row.map(|row| (row.id.clone(), row.seq)))
    }

    /// Whether `newest`, the newest run now, is not what was seen then. One that was pruned since has changed nothing.
    pub fn moved_on(&self, newest: Option<&RunRow>) -> Result<(), LedgerError> {
        let Some(newest) = newest else { return Ok(()) };
        let same = match &self.0 {
            Some((id, seq)) => (*id == newest.id && *seq == newest.seq) || newest.id < *id,
            None => false,
        };
        if same { Ok(()) } else { Err(LedgerError::MovedOn { newest: Box::new(newest.clone()) }) }
    }
}

#[derive(Debug)]
pub struct Triggered {
    pub view: RunView,
    /// False when the key named a run that already existed.
    pub created: bool,
}

/// A stored event with its hash.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    pub recorded: Recorded,
    pub hash: String,
}

/// Which runs to list: newest first.
#[derive(Debug, Clone, Default)]
pub struct RunQuery {
    pub name: Option<String>,
    pub key: Option<String>,
    /// Only runs that are not at their end.
    pub unfinished: bool,
    /// Without those that are steps of other runs.
    pub without_children: bool,
    pub limit: Option<u32>,
}

/// Attempts that [`Ledger::past`] reads. Of runs larger than that, the first ones.
pub const PAST_ATTEMPTS_MAX: u32 = 20_000;

/// Somebody's copy of a run: its state as of `state.seq`, and the hash of that event. Changes only through
/// [`Ledger::commit`] and [`Ledger::refresh`].
#[derive(Debug, Clone)]
pub struct RunView {
    pub state: RunState,
    pub head: String,
    /// A commit failed and nobody knows whether it took effect: the next use reads everything again.
    pub stale: bool,
    /// The last event that the ledger is known to have, and its hash: those after it may never have been recorded.
    pub(crate) acknowledged: (u64, String),
    /// Somebody else records in the run as well: so many commits are made with that in mind.
    pub(crate) crowded: u32,
}

/// Says what to do next, given the state as the commands so far have left it.
pub type Next<'a> = dyn FnMut(&RunState) -> Option<Command> + Send + 'a;

/// The answer to one command.
pub type Reply = Result<(), Reject>;

/// Where a run can go on, as a ledger with many members tells them ([`crate::fleet`]): from when, for each call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    pub calls: BTreeMap<String, i64>,
    /// When that was.
    pub at: i64,
}

/// An event with its hash, and its body as it is stored.
pub(crate) type Linked = (StoredEvent, String);

/// What a commit did.
#[derive(Debug, Default)]
pub struct Committed {
    /// One answer a command.
    pub replies: Vec<Reply>,
    /// Everything recorded since the view was last up to date, by others and by this commit.
    pub news: Vec<Recorded>,
    /// Some commands were made of a state that others have changed meanwhile: they were left out, without an answer, and
    /// are to be made anew.
    pub again: bool,
}

/// Carries out one command; a refusal is the inner error.
pub async fn command(
    ledger: &dyn Ledger,
    view: &mut RunView,
    command: Command,
    actor: &str,
) -> Result<Reply, LedgerError> {
    loop {
        let mut once = Some(command.clone());
        let mut committed = ledger.commit(view, &mut |_| once.take(), actor).await?;
        if !committed.again {
            return Ok(committed.replies.pop().unwrap_or(Ok(())));
        }
    }
}

#[async_trait]
pub trait Ledger: Send + Sync {
    /// Records a run, durably, exactly once for its key.
    async fn trigger(&self, new: NewRun) -> Result<Triggered, LedgerError>;

    /// Reads a run by replaying its events; a broken chain is an error.
    async fn load(&self, run: &RunId) -> Result<RunView, LedgerError>;

    /// Reads what others recorded since.
    async fn refresh(&self, view: &mut RunView) -> Result<Vec<Recorded>, LedgerError>;

    /// Carries out commands in one transaction, on top of whatever others recorded meanwhile: `next` is asked, with the
    /// state so far, until it has no more. Each command is accepted or refused by itself; when this returns, everything
    /// accepted is durable. After an error nobody knows; the view is stale and is read again by its next use.
    async fn commit(&self, view: &mut RunView, next: &mut Next<'_>, actor: &str) -> Result<Committed, LedgerError>;

    /// The newest runs of this name that succeeded, newest first, with their succeeded attempts: what a forecast is made
    /// of. At most `runs` runs and [`PAST_ATTEMPTS_MAX`] attempts are read.
    async fn past(&self, name: &str, runs: u32) -> Result<Vec<PastRun>, LedgerError>;

    async fn runs(&self, query: &RunQuery) -> Result<Vec<RunRow>, LedgerError>;

    /// The rows of one run: steps in file order, attempts by time.
    async fn rows(&self, run: &RunId) -> Result<(RunRow, Vec<StepRow>, Vec<AttemptRow>), LedgerError>;

    /// Where the run can go on; `None` where nobody has to be told.
    async fn announced(&self, _run: &RunId) -> Result<Option<Announced>, LedgerError> {
        Ok(None)
    }

    /// The runs that hold a permit of this group, by the time they took it; then those that wait for one, by their turn.
    async fn group(&self, name: &str) -> Result<Vec<Member>, LedgerError>;

    /// Events with `seq > after`, in order.
    async fn events(&self, run: &RunId, after: u64) -> Result<Vec<StoredEvent>, LedgerError>;

    /// The last event of each run.
    async fn heads(&self) -> Result<BTreeMap<RunId, Head>, LedgerError>;

    /// Runs whose id starts or ends with this text.
    async fn find(&self, part: &str) -> Result<Vec<RunId>, LedgerError>;

    async fn definition(&self, hash: &str) -> Result<Definition, LedgerError>;

    /// The content of a pinned file.
    async fn blob(&self, sha256: &str) -> Result<Vec<u8>, LedgerError>;

    /// Under which sensitive values enter the hash of a plan. The same for the life of the ledger; never shown.
    async fn seal(&self) -> Result<Seal, LedgerError>;

    /// Does something to the ledger itself and records it, in one transaction; returns what came of it. Of a pruning
    /// only those runs go, and are recorded, that are at their end and whose last hash is still the one given; with
    /// them what only they used. If none is left, nothing is recorded.
    async fn administer(&self, event: AdminEvent, actor: &str) -> Result<AdminEvent, LedgerError>;

    /// What was done to the ledger, in order; a broken chain is an error.
    async fn administration(&self) -> Result<Vec<AdminEntry>, LedgerError>;
}

/// How what somebody knows of a run stands to what the ledger has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compared {
    Same,
    /// The ledger has more, which has to follow on what is known.
    Behind,
    /// The ledger lacks what it has acknowledged, or has something else in its place.
    Ahead,
}

/// The runbook of a definition that is on the record. `run`: for the error.
pub(crate) fn parsed(run: &RunId, definition: &Definition) -> Result<Arc<Runbook>, LedgerError> {
    definition.runbook().map(Arc::new).map_err(|report| LedgerError::Definition {
        run: run.clone(),
        message: report.findings.first().map(|finding| finding.message.clone()).unwrap_or_default(),
    })
}

impl NewRun {
    /// `members`: of its group.
    pub(crate) fn fits(&self, members: &[Member]) -> Result<(), LedgerError> {
        self.fits_behind(members.iter().filter(|member| member.permit == Permit::Waits).count())
    }

    /// `queued`: runs that wait for its group.
    pub(crate) fn fits_behind(&self, queued: usize) -> Result<(), LedgerError> {
        let Some(group) = self.group.as_ref().filter(|group| group.when_busy.waits()) else { return Ok(()) };
        if queued < self.queued_max as usize {
            return Ok(());
        }
        Err(LedgerError::GroupFull { group: group.name.clone(), queued, max: self.queued_max })
    }
}

impl RunView {
    pub(crate) fn empty(run: &RunId, definition: &Definition) -> Result<RunView, LedgerError> {
        Ok(RunView::of(run, parsed(run, definition)?))
    }

    pub(crate) fn of(run: &RunId, runbook: Arc<Runbook>) -> RunView {
        let state = RunState::new(run.clone(), runbook);
        let head = chain::GENESIS.to_owned();
        RunView { state, head: head.clone(), stale: false, acknowledged: (0, head), crowded: 0 }
    }

    /// Applies events read from the ledger, each checked against the chain.
    pub(crate) fn fold(&mut self, events: Vec<StoredEvent>, bodies: &[String]) -> Result<(), LedgerError> {
        for (event, body) in events.iter().zip(bodies) {
            let recorded = &event.recorded;
            let broken = |message: &str| LedgerError::Tampered {
                run: self.state.id.clone(),
                seq: recorded.seq,
                message: message.to_owned(),
            };
            if recorded.seq != self.state.seq + 1 {
                return Err(broken("an event is missing before it"));
            }
            let hash = chain::link(&self.head, &self.state.id, recorded.seq, recorded.at, &recorded.actor, body);
            if hash != event.hash {
                return Err(broken("it, or an event before it, was changed after it was recorded"));
            }
            apply(&mut self.state, recorded);
            if !mutated!(HeadNotMoved) {
                self.head = hash;
            }
        }
        self.state.take_touched();
        Ok(())
    }

    /// How it stands to a ledger whose last event of the run is this one.
    pub(crate) fn compared_with(&self, seq: u64, head: &str) -> Compared {
        match seq.cmp(&self.state.seq) {
            Ordering::Greater => Compared::Behind,
            Ordering::Equal if head == self.head => Compared::Same,
            Ordering::Equal | Ordering::Less => Compared::Ahead,
        }
    }

    /// What it knows is not believed any more: it is read anew.
    pub(crate) fn ahead_of(&mut self, seq: u64) -> LedgerError {
        self.stale = true;
        LedgerError::GoneBack { run: self.state.id.clone(), known: self.state.seq, seq }
    }

    /// Decides commands one after the other; the events come back with their bodies and hashes, ready to be stored.
    pub(crate) fn advance(&mut self, next: &mut Next<'_>, env: &Env, actor: &str) -> (Vec<Reply>, Vec<Linked>) {
        self.acknowledged = (self.state.seq, self.head.clone());
        let mut stored = Vec::new();
        let mut replies = Vec::new();
        while let Some(command) = next(&self.state) {
            let reply = execute(&mut self.state, &command, env, actor);
            replies.push(reply.map(|recorded| {
                stored.extend(recorded.into_iter().map(|recorded| self.chain(recorded)));
            }));
        }
        (replies, stored)
    }

    /// The group whose others count before the run can execute, while it holds no permit of it.
    pub(crate) fn asks(&self) -> Option<&str> {
        self.state.group.as_ref().filter(|_| self.state.permit_at.is_none()).map(|group| group.name.as_str())
    }

    /// What the ledger knows, beside the run itself. `members`: of the group it asks for.
    pub(crate) fn env(&self, now: i64, members: Option<Vec<Member>>) -> Env {
        let standing = members.map(|members| Standing::new(&members, &self.state.id, self.state.priority));
        Env { now, standing }
    }

    /// The first events of a run.
    pub(crate) fn begin(&mut self, new: &NewRun, seal: &Seal, now: i64) -> Vec<Linked> {
        let (name, definition) = (&new.definition.name, new.definition.hash());
        let plan = plan_hash(name, &definition, &self.state.runbook, &new.params, Some(seal));
        let created = Event::RunCreated {
            name: name.clone(),
            definition,
            params: new.params.clone(),
            trigger: new.trigger.clone(),
            key: new.key.clone(),
            seed: new.seed,
            parent: new.parent.clone(),
            plan: Some(plan),
            planned: new.planned.clone(),
            zone: new.zone.clone(),
            requester: new.requester.clone(),
            group: new.group.clone(),
            priority: new.priority,
            tick: new.tick.clone(),
        };
        let recorded = create(&mut self.state, created, now, &new.actor);
        recorded.into_iter().map(|recorded| self.chain(recorded)).collect()
    }

    fn chain(&mut self, recorded: Recorded) -> Linked {
        let body = serde_json::to_string(&recorded.event).expect("events are plain data: their JSON cannot fail");
        let hash = chain::link(&self.head, &self.state.id, recorded.seq, recorded.at, &recorded.actor, &body);
        self.head.clone_from(&hash);
        (StoredEvent { recorded, hash }, body)
    }
}

/// The ledger's clock where the ledger is this machine, in epoch milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}
