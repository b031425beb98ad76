//! What a driver does next, decided without doing anything.
//!
//! The state of the run, the news of supervisors and the answers of the journal go in; one [`Do`] after the other comes
//! out. The driver carries them out with real processes and files, the simulator in `tests/sim` with invented ones that
//! die at every point. To know before changing anything: nothing is started that was not claimed by an acknowledged
//! commit, and after an error nothing is done any more, because the next driver can find out everything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use runward_engine::run::child::{ChildEnd, ChildStop};
use runward_engine::run::prepare::{Prepared, prepare};
use runward_engine::run::state::Attempt;
use runward_engine::run::todo::{Todo, todo, todo_for};
use runward_engine::run::{ClaimId, Command, Offer, Part, Place, RunId, RunState, SessionId, Unit};
use runward_engine::runbook::model::Action;
use runward_engine::runbook::templates::Templates;

use super::Drive;
use super::children::{Callees, Wish};
use super::inquiry::{Found, Inquiry, Next};
use super::member::Member;
use crate::step::report;
use crate::supervisor::protocol::Refusal;
use runward_engine::mutated;

/// One thing to do. It is done before the next one is asked for.
#[derive(Debug)]
pub enum Do {
    /// Commit one command of a person, in their name.
    Say { command: Command, actor: String },
    /// Commit what is known, and claim what can start: [`Course::command`] names the commands one by one.
    Commit,
    /// Start what a commit has claimed.
    Start(Start),
    /// Let whoever keeps the attempt go on, if somebody has stopped them.
    WakeUp { session: SessionId, claim: ClaimId },
    /// Ask for the end of an attempt.
    Kill { session: SessionId, claim: ClaimId, grace: Duration },
    /// Connect to the supervisor of the attempt, and ask whether it keeps it: [`Course::joined`].
    Join { session: SessionId, claim: ClaimId },
    /// Declare in the journal that it never started, if that is so: [`Course::voided`].
    Void(ClaimId),
    /// Ask the journal how it ended: [`Course::found`].
    Look(ClaimId),
    /// Wait for news, for a person, for this moment (epoch milliseconds), or for what others record.
    Wait { wake_at: Option<i64> },
    /// Driving is over.
    End(Drive),
    /// Something could not be done, and driving is over for that.
    GiveUp,
}

/// A claimed unit with its values bound.
#[derive(Debug)]
pub struct Start {
    pub claim: ClaimId,
    pub unit: Unit,
    pub prepared: Prepared,
}

/// What supervisors tell.
#[derive(Debug)]
pub enum News {
    Ended(ClaimId),
    Refused(ClaimId, Refusal),
    /// No more news from this supervisor: it is dead, or hung up.
    Gone(SessionId),
}

/// Who answered where the supervisor of an attempt was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    Nobody,
    /// A supervisor that does not keep the attempt: it has ended meanwhile, or its own supervisor is dead.
    Stranger,
    /// It keeps the attempt, and will tell of its end.
    Keeper,
}

/// Everything a driver has in mind. None of it is needed by the next one.
#[derive(Debug)]
pub struct Course {
    session: SessionId,
    boot: String,
    /// In a cluster; `None`: everything of the run is its own.
    member: Option<Member>,
    /// Of the run's `render` steps.
    templates: Templates,
    /// Of the run's `runbook` steps.
    callees: Callees,
    /// Nothing new is claimed: the parent of this run is paused.
    held: bool,
    /// What the parent of this run has asked for already.
    stopped: Option<ChildStop>,
    /// What goes into the next commit, with who asked.
    queue: VecDeque<(Command, Option<String>)>,
    /// Whether there may be something to commit that is not in the queue.
    due: bool,
    /// Ask the group of the run for a permit, and do not wait for these runs: nobody drives them.
    knock: Option<BTreeSet<RunId>>,
    /// Units this commit has tried to claim.
    tried: BTreeSet<Unit>,
    /// Claims of the commit that is being made; startable once it is acknowledged.
    planned: Vec<Start>,
    starts: VecDeque<Start>,
    inquiries: VecDeque<Inquiry>,
    /// Attempts that were told to end, with the shortest grace told.
    killing: BTreeMap<ClaimId, Duration>,
    kills: VecDeque<Do>,
    /// Attempts whose end is queued or recorded, so that no second look at them is taken.
    ended: BTreeSet<ClaimId>,
    leaving: bool,
    /// Whether driving is over while the run waits for people alone.
    leaves_to_people: bool,
    failed: bool,
}

impl Course {
    /// `session`: of the driver's own supervisor. `boot`: of the machine, now.
    pub fn new(session: SessionId, boot: String) -> Course {
        Course {
            session,
            boot,
            member: None,
            templates: Templates::new(),
            callees: Callees::default(),
            held: false,
            stopped: None,
            queue: VecDeque::new(),
            due: true,
            knock: None,
            tried: BTreeSet::new(),
            planned: Vec::new(),
            starts: VecDeque::new(),
            inquiries: VecDeque::new(),
            killing: BTreeMap::new(),
            kills: VecDeque::new(),
            ended: BTreeSet::new(),
            leaving: false,
            leaves_to_people: false,
            failed: false,
        }
    }

    /// Others drive the run at the same time: only what was claimed in this place is its own.
    pub fn for_member(self, place: Place, offer: Offer) -> Course {
        Course { member: Some(Member::new(place, offer)), ..self }
    }

    /// Takes the run over: whatever an earlier driver claimed is adopted, or settled if it ended while nobody watched.
    pub fn begin(&mut self, state: &RunState, templates: Templates, callees: Callees) {
        (self.templates, self.callees) = (templates, callees);
        // What has come due while nobody drove: a driver that does not stay for people would not hear of it.
        self.queue.push_back((Command::Wake, None));
        if mutated!(ForgetUnknownClaim) {
            return;
        }
        let inquiries = self.own(state).map(|attempt| Inquiry::adopt(attempt, &self.boot));
        let inquiries: Vec<Inquiry> = inquiries.collect();
        self.inquiries.extend(inquiries);
    }

    /// Running attempts that are this driver's business.
    pub fn own<'s>(&self, state: &'s RunState) -> impl Iterator<Item = &'s Attempt> {
        let live = state.live().keys().filter_map(|claim| state.live_attempt(claim));
        live.map(|(_, attempt)| attempt).filter(|attempt| self.owns(attempt))
    }

    /// Those of them that this driver's session watches on the record: others may be given up at any moment.
    pub fn watched<'s>(&self, state: &'s RunState) -> impl Iterator<Item = &'s Attempt> {
        self.own(state).filter(|attempt| attempt.watched_by == self.session || mutated!(LeaseOfOthers))
    }

    fn owns(&self, attempt: &Attempt) -> bool {
        self.member.as_ref().is_none_or(|member| member.owns(attempt))
    }

    fn todo(&self, state: &RunState) -> Todo {
        self.member.as_ref().map_or_else(|| todo(state), |member| todo_for(state, &member.offer))
    }

    /// Nobody stays for an approval that may take days: whoever gives it says how to go on.
    pub fn leave_to_people(&mut self) {
        self.leaves_to_people = true;
    }

    pub fn leaves_to_people(&self) -> bool {
        self.leaves_to_people
    }

    /// What to do now.
    pub fn next(&mut self, state: &RunState) -> Do {
        if self.failed && (self.starts.is_empty() || !mutated!(StartOnUnknownCommit)) {
            return Do::GiveUp;
        }
        if let Some(ask) = self.inquire(state) {
            return ask;
        }
        if let Some(start) = self.starts.pop_front() {
            return Do::Start(start);
        }
        // What somebody asked for before is recorded first: who takes over carries it out.
        if self.leaving && !self.queue.iter().any(|(_, actor)| actor.is_some()) {
            return Do::End(Drive::Left);
        }
        if let Some(kill) = self.kills.pop_front() {
            return kill;
        }
        if let Some(say) = self.say() {
            return say;
        }
        if self.due || !self.queue.is_empty() {
            return Do::Commit;
        }
        let todo = self.todo(state);
        if state.status.is_terminal() {
            return Do::End(Drive::Finished);
        }
        if let Some(member) = &mut self.member {
            return match () {
                () if member.asks(&todo) => Do::Commit,
                () if member.is_through(state, &todo) => Do::End(Drive::Idle),
                () => Do::Wait { wake_at: todo.wake_at },
            };
        }
        if todo.is_idle(state) || self.leaves_to_people && todo.only_people(state) {
            return Do::End(Drive::Waiting);
        }
        Do::Wait { wake_at: todo.wake_at }
    }

    /// Commands of other people carry their own name, so they get a commit of their own.
    fn say(&mut self) -> Option<Do> {
        let at = self.queue.iter().position(|(_, actor)| actor.is_some())?;
        let (command, actor) = self.queue.remove(at)?;
        self.due = true;
        Some(Do::Say { command, actor: actor? })
    }

    /// Whether to ask for a permit in the next commit, where the run needs one, and which runs are not waited for.
    pub fn knock(&mut self, passing: Option<BTreeSet<RunId>>) {
        self.knock = passing;
    }

    /// The next command of the commit that is being made. `claim` makes a claim whose journal is open: it is there before
    /// the claim is recorded, because a claimed attempt without one has lost it. `None` of it ends the commit.
    pub fn command(&mut self, state: &RunState, claim: impl FnOnce() -> Option<ClaimId>) -> Option<Command> {
        if let Some((command, _)) = self.queue.pop_front() {
            return Some(command);
        }
        let todo = self.todo(state);
        if todo.enter {
            return self.knock.take().map(|passing| Command::Enter { passing });
        }
        let claims = if self.held { Vec::new() } else { todo.claims };
        let unit = claims.into_iter().find(|unit| !self.tried.contains(unit))?;
        self.tried.insert(unit);
        if let (Action::Runbook(call), Part::Step) = (&state.spec(unit.step).action, unit.part) {
            return Some(self.callees.command(state, unit, call));
        }
        match prepare(state, unit, &self.templates) {
            Ok(prepared) => {
                let claim = claim()?;
                self.planned.push(Start { claim: claim.clone(), unit, prepared });
                let (session, boot) = (self.session.clone(), self.boot.clone());
                let place = self.member.as_ref().map(|member| member.place.clone());
                Some(Command::Claim { unit, claim, session, boot, place })
            }
            Err(error) => Some(Command::Refuse { unit, error: error.to_string() }),
        }
    }

    /// The commit is acknowledged; `state` is what came of it.
    pub fn committed(&mut self, state: &RunState) {
        self.due = false;
        self.tried.clear();
        let claimed = self.planned.drain(..).filter(|start| state.live().contains_key(&start.claim));
        self.starts.extend(claimed);
        // Of an attempt that is over nothing has to be kept in mind: a run may have very many.
        self.ended.retain(|claim| state.live().contains_key(claim));
        self.end_what_must_end(state);
        self.end_what_was_given_up(state);
    }

    /// Something could not be done. Of a commit nobody knows whether it took effect: nothing of it may be started.
    pub fn failed(&mut self) {
        self.failed = true;
        if mutated!(StartOnUnknownCommit) {
            self.starts.extend(self.planned.drain(..));
        }
    }

    fn end_what_must_end(&mut self, state: &RunState) {
        for (claim, grace) in todo(state).kills {
            let told = self.killing.get(&claim);
            if self.ended.contains(&claim) || told.is_some_and(|told| *told <= grace) {
                continue;
            }
            let Some((_, attempt)) = state.live_attempt(&claim).filter(|(_, attempt)| self.owns(attempt)) else {
                continue;
            };
            self.kill(attempt.session.clone(), claim.clone(), grace);
            self.killing.insert(claim, grace);
        }
    }

    fn end_what_was_given_up(&mut self, state: &RunState) {
        let given_up = self.member.as_mut().map(|member| member.given_up(state, &self.ended)).unwrap_or_default();
        for (claim, session) in given_up {
            self.kill(session, claim, Duration::ZERO);
        }
    }

    fn kill(&mut self, session: SessionId, claim: ClaimId, grace: Duration) {
        self.kills.push_back(Do::WakeUp { session: session.clone(), claim: claim.clone() });
        self.kills.push_back(Do::Kill { session, claim, grace });
    }

    /// A supervisor has told something.
    pub fn heard(&mut self, state: &RunState, news: News) {
        // A supervisor that was asked about one attempt tells of the end of every one.
        if let News::Ended(claim) | News::Refused(claim, _) = &news
            && !state.live().contains_key(claim)
        {
            return;
        }
        self.due = true;
        match news {
            News::Ended(claim) => self.inquiries.push_back(Inquiry::look(claim)),
            News::Refused(claim, reason @ (Refusal::Directory(_) | Refusal::Fork(_))) => {
                self.inquiries.push_back(Inquiry::could_not_start(claim, reason.to_string()));
            }
            // It started before, or must not: the journal knows.
            News::Refused(claim, _) => self.inquiries.push_back(Inquiry::look(claim)),
            News::Gone(session) => {
                let lost: Vec<Inquiry> =
                    self.own(state).filter(|attempt| attempt.session == session).map(Inquiry::look_after).collect();
                self.inquiries.extend(lost);
            }
        }
    }

    /// A person asks for something.
    pub fn asked(&mut self, command: Command, actor: String) {
        self.queue.push_back((command, Some(actor)));
    }

    /// A child has come to its end.
    pub fn child_ended(&mut self, child: RunId, end: ChildEnd) {
        self.queue.push_back((Command::SettleChild { child, end: Box::new(end) }, None));
    }

    /// What the parent of this run wants of it now. `actor`: in whose name, where no person asked for it.
    pub fn heed(&mut self, state: &RunState, wish: &Wish, actor: &str) {
        self.due |= self.held && !wish.held;
        self.held = wish.held && !mutated!(HeldChildClaims);
        let asked = self.stopped == wish.stop;
        for (order, by) in wish.orders(state) {
            if !(asked && matches!(order, Command::Cancel { .. })) {
                self.asked(order, by.unwrap_or_else(|| actor.to_owned()));
            }
        }
        self.stopped = wish.stop.clone().or(self.stopped.take());
    }

    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Driving is to end; what runs goes on.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// Whether the end of this attempt is known, though perhaps not on the record.
    pub fn is_over(&self, claim: &ClaimId) -> bool {
        self.ended.contains(claim)
    }

    /// The moment has come that [`Do::Wait`] named.
    pub fn woken(&mut self) {
        self.queue.push_back((Command::Wake, None));
    }

    /// The state was read again.
    pub fn looked(&mut self) {
        self.due = true;
    }

    /// A claimed attempt cannot be launched: it provably never started.
    pub fn not_launched(&mut self, claim: ClaimId, error: String) {
        self.settle(Command::Settle { claim, report: Box::new(report::not_started(error)) });
    }

    /// What the first inquiry has to know, or what is already clear without asking.
    fn inquire(&mut self, state: &RunState) -> Option<Do> {
        while let Some(inquiry) = self.inquiries.front_mut() {
            if self.ended.contains(inquiry.claim()) {
                self.inquiries.pop_front();
                continue;
            }
            match inquiry.next(state, &self.boot) {
                Next::Ask(ask) => return Some(ask),
                Next::Is(command) => self.answer(Some(command)),
                Next::Nothing => self.answer(None),
            }
        }
        None
    }

    /// The answer to [`Do::Join`].
    pub fn joined(&mut self, joined: Joined) {
        let Some(inquiry) = self.inquiries.front_mut() else { return };
        let watched = joined == Joined::Keeper || joined == Joined::Stranger && mutated!(AdoptWithoutSecondLook);
        if !watched {
            return inquiry.not_joined();
        }
        if let Some(claim) = inquiry.adopted() {
            self.queue.push_back((Command::Adopt { claim, session: self.session.clone() }, None));
        }
        self.inquiries.pop_front();
    }

    /// The answer to [`Do::Void`].
    pub fn voided(&mut self, never_started: bool) {
        let settled = self.inquiries.front_mut().and_then(|inquiry| inquiry.voided(never_started));
        if settled.is_some() {
            self.answer(settled);
        }
    }

    /// The answer to [`Do::Look`].
    pub fn found(&mut self, found: Found) {
        let command = self.inquiries.front().map(|inquiry| inquiry.found(found));
        self.answer(command);
    }

    /// The first inquiry is over.
    fn answer(&mut self, command: Option<Command>) {
        self.inquiries.pop_front();
        if let Some(command) = command {
            self.settle(command);
        }
    }

    /// Queues the end of an attempt, once.
    fn settle(&mut self, command: Command) {
        if let Command::Settle { claim, .. } | Command::Lose { claim, .. } | Command::Void { claim } = &command {
            if !self.ended.insert(claim.clone()) {
                return;
            }
            self.killing.remove(claim);
            self.member.iter_mut().for_each(|member| member.is_over(claim));
        }
        self.queue.push_back((command, None));
    }
}
