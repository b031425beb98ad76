//! Driving a run in this process, with a person or a pipe watching; or in one of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use runward_engine::run::group::{Member, Permit};
use runward_engine::run::{Offer, Recorded, Reject, RunId, RunState, Verdict};
use runward_store::{Ledger, LedgerError, RunView};
use runward_workers::driver::{Drive, Driver, Observer, Setting};
use runward_workers::home::{DriverLock, DriverLockError};
use runward_workers::supervisor::journal;
use tokio::sync::mpsc;

use super::print_line;
use crate::actor::actor;
use crate::args::RunFormat;
use crate::config::Config;
use crate::failure::{EXIT_LEDGER, Failure};
use crate::logging;
use crate::open::{Opened, new_claim, new_session, open};
use crate::view::keys::Keys;
use crate::view::{Before, Screen, Showing, eta, words};

/// How long a run may be without a driver while one hands it over to the next.
const HAND_OVER: Duration = Duration::from_secs(1);
/// How often a follower looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Drives the run to its end, or until it is detached.
pub async fn drive(opened: &Opened, lock: DriverLock, view: RunView, showing: Showing) -> Result<i32, Failure> {
    let setting = Setting {
        home: &opened.home,
        ledger: &opened.ledger,
        supervisor: PathBuf::from("/proc/self/exe"),
        session: new_session(),
        actor: actor(),
        boot: journal::boot_id().map_err(|error| {
            Failure::new(EXIT_LEDGER, format!("/proc/sys/kernel/random/boot_id cannot be read: {error}"))
                .help("runward needs a mounted /proc")
        })?,
        new_session,
        new_claim,
        log_bytes_max: opened.settings.log_bytes_max,
        place: None,
        offer: Offer::All,
        slots: None,
    };
    let mut driver = Driver::new(setting, lock, view);
    if !showing.stays() {
        driver.leave_to_people();
    }
    driver.warm_up().await?;
    let id = driver.state().id.clone();
    let format = showing.format;
    let screen = RefCell::new(screen(opened, driver.state(), showing).await?);
    if screen.borrow().is_live() {
        logging::divert(&opened.home.run(&id).join(DRIVER_LOG));
    }
    let outcome = watch(&mut driver, &screen).await;
    let end = match outcome {
        Ok(end) => end,
        Err(error) => {
            screen.borrow_mut().leave();
            return Err(error.into());
        }
    };
    if end == Drive::Left {
        screen.borrow_mut().leave();
        drop(driver);
        return detach(opened, &id, format);
    }
    let verdict = Verdict::of(driver.state());
    screen.borrow_mut().end(driver.state(), verdict);
    Ok(verdict.exit_code())
}

/// What the run is shown on, with everything that happened before already on it.
async fn screen(opened: &Opened, state: &RunState, showing: Showing) -> Result<Screen, Failure> {
    let before = match showing.tells_all() {
        false => None,
        true => {
            let definition = opened.ledger.definition(&state.definition).await?;
            let events = opened.ledger.events(&state.id, 0).await?.into_iter().map(|event| event.recorded);
            Some(Before { definition, events: events.filter(|recorded| recorded.seq <= state.seq).collect() })
        }
    };
    let mut screen = Screen::new(&opened.home, showing);
    if screen.is_live() {
        screen.expect(eta::forecast(&opened.ledger, state).await);
    }
    screen.begin(state, before);
    Ok(screen)
}

/// Drives while showing, and while listening to signals and keys.
async fn watch(
    driver: &mut Driver<'_>,
    screen: &RefCell<Screen>,
) -> Result<Drive, runward_workers::driver::DriveError> {
    let (ask, mut asks) = mpsc::unbounded_channel();
    let seen = Seen(screen);
    let driving = driver.drive(&mut asks, &seen);
    tokio::pin!(driving);
    let mut keys = Keys::new(screen.borrow().is_live());
    loop {
        tokio::select! {
            outcome = &mut driving => return outcome,
            key = keys.next() => {
                let _ = ask.send(key);
            }
            () = tokio::time::sleep(Screen::TICK) => screen.borrow_mut().tick(),
        }
    }
}

struct Seen<'a>(&'a RefCell<Screen>);

impl Observer for Seen<'_> {
    fn changed(&self, state: &RunState, news: &[Recorded]) {
        self.0.borrow_mut().changed(state, news);
    }

    fn waiting(&self, state: &RunState, members: &[Member]) {
        self.0.borrow_mut().waiting(state, members);
    }

    fn child(&self, state: &RunState, before: &[Recorded]) {
        self.0.borrow_mut().child(state, before);
    }

    fn refused(&self, reject: &Reject) {
        self.0.borrow_mut().refused(reject);
    }
}

/// Leaves the run to a driver of its own session, and says so.
pub fn detach(opened: &Opened, id: &RunId, format: RunFormat) -> Result<i32, Failure> {
    let pid = start_driver(opened, id)?;
    named(id, format, Some(pid));
    if format != RunFormat::Json {
        eprintln!("running in the background; `runward logs -f {}` follows it", words::short(&id.0));
    }
    Ok(0)
}

/// Starts a driver of its own session for the run, and waits until it owns it. Prints nothing.
pub fn start_driver(opened: &Opened, id: &RunId) -> Result<u32, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(EXIT_LEDGER, format!("no process can be started for the run: {error}"))
            .help(format!("`runward resume {}` carries it on", words::short(&id.0)))
    };
    // The same file, although it was perhaps named by a flag; `/dev/null` where there is none.
    let config = opened.config.as_deref().unwrap_or(Path::new("/dev/null"));
    let mut child = Process::new("/proc/self/exe")
        .arg("--state")
        .arg(opened.home.root())
        .arg("--config")
        .arg(config)
        .args(["--log-level", opened.settings.log.level.as_str()])
        .args(["__drive", &id.0])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(driver_log(opened, id).map_or_else(|_| Stdio::null(), Stdio::from))
        .spawn()
        .map_err(failed)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
    }
    if line.trim() != OWNED && line.trim() != DRIVEN {
        let reason = if line.trim().is_empty() { "it ended at once" } else { line.trim() };
        return Err(Failure::new(
            EXIT_LEDGER,
            format!("the run is recorded, but its driver could not start: {reason}"),
        )
        .help(format!("`runward resume {}` carries it on", words::short(&id.0))));
    }
    Ok(child.id())
}

/// A report is written when a run is over, and nobody waits for one in the background.
pub fn refuse_unseen_report(detached: bool, showing: &Showing) -> Result<(), Failure> {
    match (detached, showing.format) {
        (true, RunFormat::Junit) => Err(Failure::usage("`--format junit` reports how a run ended: not with --detach")
            .help(
                "leave out --detach, or give the run a key: the same call without --detach waits for it and reports",
            )),
        _ => Ok(()),
    }
}

/// Says which run it is that this process does not watch.
pub fn named(id: &RunId, format: RunFormat, driver: Option<u32>) {
    match format {
        RunFormat::Json => crate::view::detached(id, driver),
        RunFormat::Text | RunFormat::Github | RunFormat::Junit => print_line(&id.0),
    }
}

/// Where a driver without a terminal says why it had to stop.
fn driver_log(opened: &Opened, id: &RunId) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(opened.home.run(id).join(DRIVER_LOG))
}

pub const DRIVER_LOG: &str = "driver.log";

const OWNED: &str = "owned";
/// Somebody else was faster: the run has a driver all the same.
const DRIVEN: &str = "driven";

/// The process behind [`detach`].
pub async fn detached(config: &Config, id: &str) -> Result<i32, Failure> {
    let _ = nix::unistd::setsid();
    let opened = open(config).await?;
    let id = RunId(id.to_owned());
    let taken = DriverLock::take(&opened.home, &id, &actor());
    let lock = match taken {
        Ok(lock) => lock,
        Err(DriverLockError::Taken { .. }) => {
            print_line(DRIVEN);
            return Ok(0);
        }
        Err(error) => {
            print_line(&error.to_string());
            return Err(error.into());
        }
    };
    let view = opened.ledger.load(&id).await?;
    print_line(OWNED);
    drive(&opened, lock, view, Showing::silent()).await
}

/// How watching somebody else's run ended.
pub enum Followed {
    /// At its end, or waiting for a person: the exit code.
    Ended(i32),
    /// Its driver is gone, and the run is not at its end.
    Abandoned,
}

/// Shows a run that another process drives, to its end.
pub async fn follow(opened: &Opened, id: &RunId, showing: Showing) -> Result<Followed, Failure> {
    let mut view = opened.ledger.load(id).await?;
    let mut screen = screen(opened, &view.state, showing).await?;
    screen.only_look();
    let mut family = Family::default();
    loop {
        family.look(opened, &view.state, &mut screen).await?;
        let idle = runward_engine::run::todo::todo(&view.state).is_idle(&view.state);
        if view.state.status.is_terminal() || idle {
            let verdict = Verdict::of(&view.state);
            screen.end(&view.state, verdict);
            return Ok(Followed::Ended(verdict.exit_code()));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        let mut news = opened.ledger.refresh(&mut view).await?;
        if news.is_empty() && DriverLock::holder(&opened.home, id).is_none() {
            // Its driver may have brought it to an end between the two looks, or hand it over to another one.
            tokio::time::sleep(HAND_OVER).await;
            news = opened.ledger.refresh(&mut view).await?;
            if news.is_empty() && DriverLock::holder(&opened.home, id).is_none() {
                screen.leave();
                return Ok(Followed::Abandoned);
            }
        }
        screen.changed(&view.state, &news);
        if let (Some(group), Some(Permit::Waits)) = (&view.state.group, view.state.permit()) {
            screen.waiting(&view.state, &opened.ledger.group(&group.name).await?);
        }
        screen.tick();
    }
}

/// The runs that are steps of a run that somebody else drives.
#[derive(Default)]
struct Family(BTreeMap<RunId, RunView>);

impl Family {
    /// Shows what is new in those that are not at their end, and in their own.
    async fn look(&mut self, opened: &Opened, state: &RunState, screen: &mut Screen) -> Result<(), Failure> {
        let mut ahead: Vec<RunId> = state.children().keys().cloned().collect();
        let under_way = self.0.iter().filter(|(_, view)| !view.state.status.is_terminal());
        ahead.extend(under_way.map(|(id, _)| id.clone()));
        while let Some(id) = ahead.pop() {
            let known = self.0.contains_key(&id);
            if !known {
                match opened.ledger.load(&id).await {
                    Ok(view) => _ = self.0.insert(id.clone(), view),
                    Err(LedgerError::NoSuchRun(_)) => continue, // its driver is about to make it
                    Err(error) => return Err(error.into()),
                }
            }
            let Some(view) = self.0.get_mut(&id) else { continue };
            if known {
                let news = opened.ledger.refresh(view).await?;
                screen.changed(&view.state, &news);
                let began: Vec<RunId> = view.state.children().keys().cloned().collect();
                ahead.extend(began.into_iter().filter(|child| !self.0.contains_key(child)));
            } else {
                let events = opened.ledger.events(&id, 0).await?.into_iter().map(|event| event.recorded);
                screen.child(&view.state, &events.filter(|it| it.seq <= view.state.seq).collect::<Vec<_>>());
                ahead.extend(view.state.children().keys().cloned());
            }
        }
        Ok(())
    }
}

/// Shows how a run ended that is over.
pub async fn show_end(opened: &Opened, state: &RunState, showing: Showing) -> Result<i32, Failure> {
    let verdict = Verdict::of(state);
    screen(opened, state, showing).await?.end(state, verdict);
    Ok(verdict.exit_code())
}
