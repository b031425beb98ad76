//! Driving a run in this process, with a person or a pipe watching; or in one of its own.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runward_engine::run::group::Member;
use runward_engine::run::notice;
use runward_engine::run::{Offer, Recorded, Reject, RunId, RunState, Verdict};
use runward_store::RunView;
use runward_workers::driver::{Drive, Driver, Observer, Setting};
use runward_workers::home::{DriverLock, DriverLockError, Home};
use runward_workers::outbox::postman::{Postman, Runs, Scope};
use runward_workers::supervisor::outlive_job;
use tokio::sync::{Notify, mpsc};

use super::print_line;
use super::worker::boot;
use crate::actor::actor;
use crate::args::RunFormat;
use crate::config::Config;
use crate::failure::{EXIT_LEDGER, Failure};
use crate::letters;
use crate::logging;
use crate::open::{Opened, Seat, new_claim, new_session, open};
use crate::outputs::Outputs;
use crate::view::keys::Keys;
use crate::view::{Before, Screen, Showing, eta, words};

/// Drives the run to its end, or until it is detached.
pub async fn drive(
    opened: &Opened,
    home: &Home,
    lock: DriverLock,
    view: RunView,
    showing: Showing,
) -> Result<i32, Failure> {
    let setting = Setting {
        home,
        ledger: opened.ledger(),
        supervisor: PathBuf::from("/proc/self/exe"),
        session: new_session(),
        line: None,
        actor: actor(),
        boot: boot()?,
        new_session,
        new_claim,
        log_bytes_max: opened.settings.log_bytes_max,
        place: None,
        offer: Offer::All,
        slots: None,
        leases: None,
    };
    let mut driver = Driver::new(setting, lock, view);
    if !showing.stays() {
        driver.leave_to_people();
    }
    driver.warm_up().await?;
    let id = driver.state().id.clone();
    let format = showing.format;
    let screen = RefCell::new(screen(opened, &Outputs::Here(home.clone()), driver.state(), showing).await?);
    if screen.borrow().is_live() {
        logging::divert(&home.run(&id).join(DRIVER_LOG));
    }
    let family: Runs = Arc::new(Mutex::new(BTreeSet::from([id.clone()])));
    let mut postman = letters::postman(opened.outbox(), &opened.settings, home, Scope::Runs(Arc::clone(&family)));
    let outcome = watch(&mut driver, &screen, &family, &mut postman).await;
    let end = match outcome {
        Ok(end) => end,
        Err(error) => {
            screen.borrow_mut().leave();
            return Err(error.into());
        }
    };
    if end == Drive::Left {
        screen.borrow_mut().leave();
        let cancelled = driver.state().cancel.is_some();
        drop(driver);
        return match cancelled {
            true => hand_over(opened, home, &id),
            false => detach(opened, home, &id, format),
        };
    }
    let verdict = Verdict::of(driver.state());
    screen.borrow_mut().end(driver.state(), verdict);
    let runs = runs_of(&family).iter().cloned().collect();
    letters::finish(opened, home, &mut postman, runs).await;
    Ok(verdict.exit_code())
}

/// What the run is shown on, with everything that happened before already on it.
pub(super) async fn screen(
    opened: &Opened,
    outputs: &Outputs,
    state: &RunState,
    showing: Showing,
) -> Result<Screen, Failure> {
    let before = match showing.tells_all() {
        false => None,
        true => {
            let definition = opened.ledger().definition(&state.definition).await?;
            let events = opened.ledger().events(&state.id, 0).await?.into_iter().map(|event| event.recorded);
            Some(Before { definition, events: events.filter(|recorded| recorded.seq <= state.seq).collect() })
        }
    };
    let mut screen = Screen::new(outputs, opened.drivers(), showing);
    if screen.is_live() {
        screen.expect(eta::forecast(opened.ledger(), state).await);
    }
    screen.begin(state, before);
    Ok(screen)
}

/// Drives while showing, and while listening to signals and keys.
async fn watch(
    driver: &mut Driver<'_>,
    screen: &RefCell<Screen>,
    family: &Runs,
    postman: &mut Postman,
) -> Result<Drive, runward_workers::driver::DriveError> {
    let (ask, mut asks) = mpsc::unbounded_channel();
    let news = Notify::new();
    let seen = Seen { screen, family, news: &news };
    let telling = postman.run(&news);
    tokio::pin!(telling);
    let driving = driver.drive(&mut asks, &seen);
    tokio::pin!(driving);
    let mut keys = Keys::new(screen.borrow().is_live());
    loop {
        tokio::select! {
            outcome = &mut driving => return outcome,
            never = &mut telling => match never {},
            key = keys.next() => {
                let _ = ask.send(key);
            }
            () = tokio::time::sleep(Screen::TICK) => screen.borrow_mut().tick(),
        }
    }
}

/// What happens is shown, and what people are to be told of it is sent beside the run.
struct Seen<'a> {
    screen: &'a RefCell<Screen>,
    family: &'a Runs,
    news: &'a Notify,
}

impl Observer for Seen<'_> {
    fn changed(&self, state: &RunState, news: &[Recorded]) {
        self.screen.borrow_mut().changed(state, news);
        if news.iter().any(|recorded| notice::is_cause(&recorded.event)) {
            self.news.notify_one();
        }
    }

    fn waiting(&self, state: &RunState, members: &[Member]) {
        self.screen.borrow_mut().waiting(state, members);
    }

    fn child(&self, state: &RunState, before: &[Recorded]) {
        runs_of(self.family).insert(state.id.clone());
        self.screen.borrow_mut().child(state, before);
    }

    fn refused(&self, reject: &Reject) {
        self.screen.borrow_mut().refused(reject);
    }
}

fn runs_of(family: &Runs) -> MutexGuard<'_, BTreeSet<RunId>> {
    family.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves the run to a driver of its own session, and says so.
pub fn detach(opened: &Opened, home: &Home, id: &RunId, format: RunFormat) -> Result<i32, Failure> {
    let pid = start_driver(opened, home, id)?;
    named(id, format, Some(pid));
    if format != RunFormat::Json {
        eprintln!("running in the background; `runward logs -f {}` follows it", words::short(&id.0));
    }
    Ok(0)
}

/// Leaves the rest of a cancel to a driver of its own session: whoever ends this process gives it no time.
fn hand_over(opened: &Opened, home: &Home, id: &RunId) -> Result<i32, Failure> {
    start_driver(opened, home, id)?;
    let short = words::short(&id.0);
    eprintln!(
        "the run is cancelled, and brought to its end in the background: `runward watch {short}`; at once: `runward cancel \
         {short} --force`"
    );
    Ok(Verdict::Cancelled.exit_code())
}

/// Starts a driver of its own session for the run, and waits until it owns it. Prints nothing.
pub fn start_driver(opened: &Opened, home: &Home, id: &RunId) -> Result<u32, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(EXIT_LEDGER, format!("no process can be started for the run: {error}"))
            .help(format!("`runward resume {}` carries it on", words::short(&id.0)))
    };
    // The same file, although it was perhaps named by a flag; `/dev/null` where there is none.
    let config = opened.config.as_deref().unwrap_or(Path::new("/dev/null"));
    let mut command = Process::new("/proc/self/exe");
    outlive_job(&mut command);
    let mut child = command
        .arg("--state")
        .arg(home.root())
        .arg("--config")
        .arg(config)
        .args(["--log-level", opened.settings.log.level.as_str()])
        .args(["__drive", &id.0])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(driver_log(home, id).map_or_else(|_| Stdio::null(), Stdio::from))
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
    match detached && (showing.format == RunFormat::Junit || showing.report.is_some()) {
        true => Err(Failure::usage("a report says how a run ended: not with --detach")
            .help("leave out --detach; or `runward watch RUN --format junit`, later, waits for the run and reports")),
        false => Ok(()),
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
fn driver_log(home: &Home, id: &RunId) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(home.run(id).join(DRIVER_LOG))
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
    let (home, lock) = match opened.seat(&id) {
        Ok(Seat::Driver(home, lock)) => (home, lock),
        Ok(Seat::Onlooker) => {
            print_line(DRIVEN);
            return Ok(0);
        }
        Err(DriverLockError::Taken { .. }) => {
            print_line(DRIVEN);
            return Ok(0);
        }
        Err(error) => {
            print_line(&error.to_string());
            return Err(error.into());
        }
    };
    let view = opened.ledger().load(&id).await?;
    print_line(OWNED);
    drive(&opened, home, lock, view, Showing::silent()).await
}
