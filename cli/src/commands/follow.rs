//! Looking on while a run goes to its end, whoever carries it there: a process of this machine, or the workers of a
//! cluster. What somebody asks for meanwhile is a command on the ledger, like anybody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use runward_engine::run::group::Permit;
use runward_engine::run::todo::{rests, todo};
use runward_engine::run::{Command, Event, Recorded, RunId, RunState, Verdict};
use runward_store::{LedgerError, RunView};
use runward_workers::driver::Ask;

use super::drive::{named, screen};
use crate::actor::actor;
use crate::args::RunFormat;
use crate::away::Away;
use crate::cluster::waits_for_worker;
use crate::failure::{EXIT_LEDGER, Failure};
use crate::fetch::{Fetcher, Missing};
use crate::open::Opened;
use crate::outputs::Outputs;
use crate::view::keys::Keys;
use crate::view::{Screen, Showing, words};

/// How long a run may be without a driver while one hands it over to the next.
const HAND_OVER: Duration = Duration::from_secs(1);
/// How often a follower looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often is looked who is there to do what is ready.
const COUNT_EVERY: Duration = Duration::from_secs(2);

/// What whoever follows a run has to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stake {
    /// They have begun what they follow: Ctrl-C cancels it, as it does where the run is driven.
    Begun,
    /// They look on: Ctrl-C stops looking.
    None,
}

/// How watching somebody else's run ended.
pub enum Followed {
    /// At its end, waiting for a person, or left: the exit code.
    Ended(i32),
    /// Its driver is gone, and the run is not at its end.
    Abandoned,
}

/// Follows a run that the workers of a cluster carry to its end.
pub async fn to_its_end(opened: &Opened, view: RunView, showing: Showing, stake: Stake) -> Result<i32, Failure> {
    match follow(opened, view, showing, stake).await? {
        Followed::Ended(code) => Ok(code),
        Followed::Abandoned => unreachable!("nobody abandons a run of a cluster"),
    }
}

/// Shows a run that others drive, to its end, from where the view has it.
pub async fn follow(opened: &Opened, view: RunView, showing: Showing, stake: Stake) -> Result<Followed, Failure> {
    let outputs = Outputs::of(opened);
    let (format, stays) = (showing.format, showing.stays());
    let mut screen = screen(opened, &outputs, &view.state, showing).await?;
    let asks = opened.home().is_none() && stake == Stake::Begun;
    if !asks {
        screen.only_look(opened.home().is_some());
    }
    let mut hands = Hands { keys: asks.then(|| Keys::new(screen.is_live())), asked: Vec::new() };
    let mut follower = Follower {
        opened,
        view,
        fetcher: Fetcher::new(opened, &outputs),
        family: Family::default(),
        stays,
        cancelled: None,
        away: Away::default(),
        lack: Lack::default(),
    };
    loop {
        let recorded = follower.cancelled.is_some();
        let looked = {
            let looking = follower.look(&mut screen);
            tokio::pin!(looking);
            // A look is never broken off: what it has read has to be shown. It may take long where the database is away.
            loop {
                tokio::select! {
                    looked = &mut looking => break Some(looked),
                    () = hands.hear() => if hands.leaves_at_once(recorded) { break None },
                }
            }
        };
        let going = match looked {
            None => Going::Left,
            Some(Ok(going)) => going,
            Some(Err(error)) => {
                follower.trouble(error, &mut screen)?;
                Going::On
            }
        };
        match going {
            Going::On => {}
            Going::Ended(verdict) => {
                follower.report(&screen).await?;
                screen.end(&follower.view.state, verdict);
                return Ok(Followed::Ended(verdict.exit_code()));
            }
            Going::Abandoned => {
                screen.leave();
                return Ok(Followed::Abandoned);
            }
            Going::Left => {
                screen.leave();
                return Ok(Followed::Ended(follower.left(hands.cancels(), format)));
            }
        }
        // Also for somebody who is about to leave: the cancel they asked for comes first.
        if let Some(force) = hands.cancels() {
            follower.cancel(force, &mut screen).await?;
        }
        if hands.leaves() {
            screen.leave();
            return Ok(Followed::Ended(follower.left(hands.cancels(), format)));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = hands.hear() => {}
        }
    }
}

/// Where it stands after a look.
enum Going {
    On,
    Ended(Verdict),
    Abandoned,
    /// Somebody asked to be left alone with it.
    Left,
}

/// What somebody asked for at the terminal, or with a signal.
struct Hands {
    keys: Option<Keys>,
    asked: Vec<Ask>,
}

impl Hands {
    /// Until something is asked for.
    async fn hear(&mut self) {
        match &mut self.keys {
            Some(keys) => self.asked.push(keys.next().await),
            None => std::future::pending().await,
        }
    }

    /// `d`, or Ctrl-C for the third time: once cancels, twice at once, and after that there is nothing left to ask for.
    fn leaves(&self) -> bool {
        let cancels = self.asked.iter().filter(|ask| matches!(ask, Ask::Cancel { .. })).count();
        cancels > 2 || self.asked.iter().any(|ask| matches!(ask, Ask::Leave))
    }

    /// The same, for whoever does not wait for a look: a cancel is recorded first, unless they insist.
    fn leaves_at_once(&self, recorded: bool) -> bool {
        self.leaves()
            && (recorded || self.cancels().is_none() || !self.asked.iter().any(|ask| matches!(ask, Ask::Leave)))
    }

    /// Whether a cancel was asked for, and at once.
    fn cancels(&self) -> Option<bool> {
        let force = |ask: &Ask| if let Ask::Cancel { force, .. } = ask { Some(*force) } else { None };
        self.asked.iter().filter_map(force).max()
    }
}

struct Follower<'a> {
    opened: &'a Opened,
    view: RunView,
    fetcher: Fetcher,
    family: Family,
    /// Whether it stays while the run waits for people.
    stays: bool,
    /// What was recorded of what somebody asked for: a cancel, and whether at once.
    cancelled: Option<bool>,
    away: Away,
    lack: Lack,
}

impl Follower<'_> {
    /// Shows what is new.
    async fn look(&mut self, screen: &mut Screen) -> Result<Going, LedgerError> {
        let ledger = self.opened.ledger();
        let mut news = ledger.refresh(&mut self.view).await?;
        let id = self.view.state.id.clone();
        let driven = || self.opened.driver(&id).is_there();
        if news.is_empty() && !self.is_over() && !driven() {
            // Its driver may have brought it to an end between the two looks, or hand it over to another one.
            tokio::time::sleep(HAND_OVER).await;
            news = ledger.refresh(&mut self.view).await?;
            if news.is_empty() && !driven() {
                return Ok(Going::Abandoned);
            }
        }
        if let Some(back) = self.away.back() {
            screen.note(&back);
        }
        let state = &self.view.state;
        show(&mut self.fetcher, state, &news, screen).await?;
        if let (Some(group), Some(Permit::Waits)) = (&state.group, state.permit()) {
            screen.waiting(state, &ledger.group(&group.name).await?);
        }
        self.family.look(self.opened, state, &news, &mut self.fetcher, screen).await?;
        self.lack.look(self.opened, state, &self.family, screen).await?;
        screen.tick();
        Ok(if self.is_over() { Going::Ended(Verdict::of(state)) } else { Going::On })
    }

    /// Fetches what its report has.
    async fn report(&mut self, screen: &Screen) -> Result<(), Failure> {
        let state = &self.view.state;
        for (claim, bytes) in screen.reports(state) {
            self.fetcher.end(&state.id, &claim, bytes, false).await?;
        }
        Ok(())
    }

    /// At its end, or nothing goes on in it before somebody does something.
    fn is_over(&self) -> bool {
        let state = &self.view.state;
        match self.opened.home() {
            // The process that drives it knows best when it is done with waiting for its children.
            Some(_) => state.status.is_terminal() || todo(state).is_idle(state),
            None => state.status.is_terminal() || self.family.rests(state, !self.stays),
        }
    }

    /// The cancel of somebody who does not want to see its end any more; said again at each look until it is recorded.
    async fn cancel(&mut self, force: bool, screen: &mut Screen) -> Result<(), Failure> {
        if self.cancelled.is_some_and(|recorded| recorded >= force) {
            return Ok(());
        }
        let mut cancel = Some(Command::Cancel { force, rollback: false, reason: None });
        let committed = self.opened.ledger().commit(&mut self.view, &mut |_| cancel.take(), &actor()).await;
        let mut committed = match committed {
            Ok(committed) => committed,
            Err(error) => {
                if !self.away.is_away() {
                    screen.note("the cancel is not recorded yet: it is tried again, Ctrl-C leaves");
                }
                return self.trouble(error, screen);
            }
        };
        self.cancelled = Some(force);
        self.opened.tell(&self.view.state).await;
        let _ = show(&mut self.fetcher, &self.view.state, &committed.news, screen).await; // the next look says so
        match committed.replies.pop().unwrap_or(Ok(())) {
            Ok(()) if self.view.state.status.is_terminal() => {}
            Ok(()) if force => screen.note("cancelled at once: the workers kill what runs; Ctrl-C leaves"),
            Ok(()) => screen.note("cancelled: the workers end what runs; Ctrl-C again ends it at once"),
            Err(reject) if reject.is_already() => {}
            Err(reject) => screen.refused(&reject),
        }
        Ok(())
    }

    /// Says what becomes of the run, and how it is seen again.
    fn left(&self, asked: Option<bool>, format: RunFormat) -> i32 {
        let id = &self.view.state.id;
        let (follow, show) = (format!("`runward logs -f {}`", words::short(&id.0)), words::short(&id.0));
        if asked.is_none() {
            named(id, format, None);
            if format != RunFormat::Json {
                eprintln!("the run goes on; {follow} follows it");
            }
            return 0;
        }
        if self.cancelled.is_some() {
            eprintln!("the run is cancelled, and the workers are at it; {follow} follows it");
            return Verdict::Cancelled.exit_code();
        }
        eprintln!("the cancel is not recorded, and the run goes on: `runward cancel {show}` when the database is back");
        EXIT_LEDGER
    }

    /// What cannot be read now may be readable at the next look.
    fn trouble(&mut self, error: LedgerError, screen: &mut Screen) -> Result<(), Failure> {
        match self.away.trouble(error) {
            Ok(said) => said.iter().for_each(|said| screen.note(said)),
            Err(error) => {
                screen.leave();
                let help = error.help().map(|help| format!("{help}\n")).unwrap_or_default();
                let short = words::short(&self.view.state.id.0);
                return Err(Failure::from(error)
                    .help(format!("{help}the run goes on without this: `runward logs -f {short}` follows it")));
            }
        }
        Ok(())
    }
}

/// Labels that nobody has who is there, as far as it was said.
#[derive(Default)]
struct Lack {
    looked: Option<Instant>,
    /// Found at the last look: who is about to come, or about to take it, deserves a second one.
    found: BTreeSet<Vec<String>>,
    said: BTreeSet<Vec<String>>,
}

impl Lack {
    /// Says once what a run waits for that no worker has.
    async fn look(
        &mut self,
        opened: &Opened,
        state: &RunState,
        family: &Family,
        screen: &mut Screen,
    ) -> Result<(), LedgerError> {
        let Some(cluster) = opened.cluster() else { return Ok(()) };
        if self.looked.is_some_and(|at| at.elapsed() < COUNT_EVERY) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let waits = |state: &RunState| !todo(state).claims.is_empty();
        let states: Vec<&RunState> =
            family.runs.values().map(|view| &view.state).chain([state]).filter(|state| waits(state)).collect();
        if states.is_empty() {
            self.found.clear();
            return Ok(());
        }
        let members = cluster.members().await?;
        let lacks: BTreeSet<Vec<String>> = states.iter().flat_map(|state| members.lacks(state)).collect();
        for labels in lacks.intersection(&self.found).filter(|labels| !self.said.contains(*labels)) {
            screen.note(&waits_for_worker(labels));
        }
        self.said.extend(lacks.intersection(&self.found).cloned());
        self.found = lacks;
        Ok(())
    }
}

/// Shows what happened, with what was printed before it.
async fn show(
    fetcher: &mut Fetcher,
    state: &RunState,
    news: &[Recorded],
    screen: &mut Screen,
) -> Result<(), LedgerError> {
    let fetched = fetcher.before(state, news, screen.reads()).await;
    // The news are shown in any case: they are read once.
    screen.changed(state, news);
    fetcher.after(news);
    let short = words::short(&state.id.0);
    for Missing { unit, host } in fetched? {
        screen.note(&format!(
            "the output of {unit} has not arrived whole from {host} yet: `runward logs {short} {unit}` shows what is there"
        ));
    }
    Ok(())
}

/// The runs that are steps of a run that somebody else drives.
#[derive(Default)]
struct Family {
    runs: BTreeMap<RunId, RunView>,
    /// Began while they were looked at, and are shown from their first event on.
    begun: BTreeSet<RunId>,
}

impl Family {
    /// Whether nothing goes on in this run, or in those that it waits for, before somebody does something. `people`: before
    /// somebody approves or rejects a step, too.
    fn rests(&self, state: &RunState, people: bool) -> bool {
        let todo = todo(state);
        let idle = todo.is_idle(state) || people && todo.only_people(state);
        // Children are read after those who wait for them: one at its end is what they take note of next.
        let child = |id: &RunId| {
            self.runs.get(id).is_some_and(|view| !view.state.status.is_terminal() && self.rests(&view.state, people))
        };
        idle || rests(state, people, child)
    }

    /// Shows what is new in those that are not at their end, and in their own.
    async fn look(
        &mut self,
        opened: &Opened,
        state: &RunState,
        news: &[Recorded],
        fetcher: &mut Fetcher,
        screen: &mut Screen,
    ) -> Result<(), LedgerError> {
        self.begun.extend(children_of(news));
        let mut ahead: Vec<RunId> = state.children().keys().chain(&self.begun).cloned().collect();
        let under_way = self.runs.iter().filter(|(_, view)| !view.state.status.is_terminal());
        ahead.extend(under_way.map(|(id, _)| id.clone()));
        while let Some(id) = ahead.pop() {
            let known = self.runs.contains_key(&id);
            if !known {
                match opened.ledger().load(&id).await {
                    Ok(view) => _ = self.runs.insert(id.clone(), view),
                    Err(LedgerError::NoSuchRun(_)) => continue, // somebody is about to make it
                    Err(error) => return Err(error),
                }
            }
            let begun = self.begun.remove(&id);
            let Some(view) = self.runs.get_mut(&id) else { continue };
            let news = if known {
                opened.ledger().refresh(view).await?
            } else {
                let events = opened.ledger().events(&id, 0).await?.into_iter().map(|event| event.recorded);
                let (mut before, mut news): (Vec<Recorded>, Vec<Recorded>) = Default::default();
                let shown = if begun { &mut news } else { &mut before };
                shown.extend(events.filter(|it| it.seq <= view.state.seq));
                screen.child(&view.state, &before);
                news
            };
            show(fetcher, &view.state, &news, screen).await?;
            let began: Vec<RunId> = view.state.children().keys().cloned().chain(children_of(&news)).collect();
            self.begun.extend(children_of(&news));
            ahead.extend(began.into_iter().filter(|child| !self.runs.contains_key(child)));
        }
        Ok(())
    }
}

fn children_of(news: &[Recorded]) -> impl Iterator<Item = RunId> + '_ {
    news.iter().filter_map(|it| match &it.event {
        Event::ChildStarted { child, .. } => Some(child.clone()),
        _ => None,
    })
}

/// Shows how a run ended that is over.
pub async fn show_end(opened: &Opened, state: &RunState, showing: Showing) -> Result<i32, Failure> {
    let outputs = Outputs::of(opened);
    let verdict = Verdict::of(state);
    let mut screen = screen(opened, &outputs, state, showing).await?;
    for (claim, bytes) in screen.reports(state) {
        Fetcher::new(opened, &outputs).end(&state.id, &claim, bytes, false).await?;
    }
    screen.end(state, verdict);
    Ok(verdict.exit_code())
}
