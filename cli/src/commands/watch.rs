//! `runward watch`: a full screen that shows runs while they happen. Lines instead: [`attend`].

use std::time::Duration;

use runward_engine::run::{Command, RunId};
use runward_store::command;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::attend;
use super::drive::start_driver;
use crate::actor::actor;
use crate::args::{RunFormat, ShowingArgs, WatchArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{Opened, find_run, open};
use crate::outputs::Outputs;
use crate::refusal::refused;
use crate::text;
use crate::view::Showing;
use crate::view::words::{self, Marks};
use crate::watch::draw::Look;
use crate::watch::feed::Feed;
use crate::watch::keys::{Wish, press};
use crate::watch::model::Watch;
use crate::watch::terminal::{Heard, Terminal};

/// How often the ledger and the logs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub async fn run(config: &Config, args: &WatchArgs) -> Result<i32, Failure> {
    if let Some(run) = args.run.as_ref().filter(|_| args.format.is_some() || !Terminal::is_there()) {
        return attend::run(config, run, showing(args)?).await;
    }
    let opened = open(config).await?;
    let mut watch = Watch::new(args.run.is_some());
    let outputs = Outputs::of(&opened);
    let mut feed = Feed::new(&opened, &outputs);
    if let Some(run) = &args.run {
        feed.open(find_run(opened.ledger(), run).await?, &mut watch).await?;
    }
    let look = Look {
        colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        marks: Marks::of_environment(),
    };
    let mut signals = Signals::new();
    crate::logging::divert(&opened.home().map_or("/dev/null".into(), |home| home.root().join("watch.log")));
    let mut terminal = Terminal::open()?;
    let gone = |error: std::io::Error| Failure::usage(format!("the terminal is gone: {error}"));
    let mut look_at = Instant::now();
    let mut drawn = None;
    loop {
        if Instant::now() >= look_at {
            // What cannot be read now may be readable at the next look.
            match feed.look(&mut watch).await {
                Ok(changed) => {
                    drawn = drawn.filter(|_| !changed && watch.trouble.is_none());
                    watch.trouble = None;
                }
                Err(failure) => {
                    drawn = None;
                    watch.trouble = Some(failure.summary().to_owned());
                }
            }
            look_at = Instant::now() + LOOK_EVERY;
        }
        let second = text::now() / 1000;
        if drawn.is_none_or(|drawn| watch.ticks() && drawn != second) {
            terminal.draw(&mut watch, text::now(), look).map_err(gone)?;
            drawn = Some(second);
        }
        tokio::select! {
            heard = terminal.next() => {
                drawn = None;
                let wish = match heard {
                    Heard::Key(key) => press(&mut watch, key),
                    Heard::Resized => Wish::Nothing,
                    Heard::Gone => Wish::Quit,
                };
                match wish {
                    Wish::Nothing => feed.follow(&mut watch),
                    Wish::Quit => return Ok(0),
                    Wish::Suspend => terminal.suspend().map_err(gone)?,
                    Wish::Open(id) => {
                        let opened = feed.open(id, &mut watch).await;
                        watch.note = opened.err().map(|failure| failure.summary().to_owned());
                    }
                    Wish::Cancel { run, force } => watch.note = Some(cancel(&opened, &run, force).await),
                }
            }
            end = signals.next() => match end {
                Some(code) => return Ok(code),
                None => {
                    terminal.suspend().map_err(gone)?;
                    drawn = None;
                }
            },
            () = tokio::time::sleep_until(look_at) => {}
        }
    }
}

fn showing(args: &WatchArgs) -> Result<Showing, Failure> {
    let (format, quiet) = (args.format.unwrap_or(RunFormat::Text), args.quiet);
    Showing::of(&ShowingArgs { quiet, format, report: args.report.clone(), stay: args.stay })
}

/// Records the cancel; who drives the run carries it out, and where nobody does a driver is started for it.
async fn cancel(opened: &Opened, run: &RunId, force: bool) -> String {
    let recorded = async {
        let mut view = opened.ledger().load(run).await?;
        let cancel = Command::Cancel { force, rollback: false, reason: None };
        let reply = command(opened.ledger(), &mut view, cancel, &actor()).await?;
        opened.tell(&view.state).await;
        let was = match reply {
            Err(reject) if reject.is_already() => Some(refused(reject, run).summary().to_owned()),
            reply => reply.map(|()| None).map_err(|reject| refused(reject, run))?,
        };
        if view.state.status.is_terminal() {
            return Ok(was);
        }
        if let Some(home) = opened.home().filter(|_| !opened.driver(run).is_there()) {
            start_driver(opened, home, run)?;
        }
        Ok::<_, Failure>(was)
    };
    match recorded.await {
        Ok(None) => format!("cancel recorded for {}", words::short(&run.0)),
        Ok(Some(was)) => was,
        Err(failure) => failure.summary().to_owned(),
    }
}

/// Signals that end this program or send it to the background. The terminal is restored first.
struct Signals {
    ends: Vec<(Signal, i32)>,
    stop: Option<Signal>,
}

impl Signals {
    fn new() -> Signals {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
        let ends = kinds.into_iter().filter_map(|kind| Some((signal(kind).ok()?, 128 + kind.as_raw_value())));
        let stop = signal(SignalKind::from_raw(nix::libc::SIGTSTP)).ok();
        Signals { ends: ends.collect(), stop }
    }

    /// The exit code of a signal that ends the program; `None` for one that suspends it.
    async fn next(&mut self) -> Option<i32> {
        std::future::poll_fn(|context| {
            use std::task::Poll;
            for (signal, code) in &mut self.ends {
                if let Poll::Ready(Some(())) = signal.poll_recv(context) {
                    return Poll::Ready(Some(*code));
                }
            }
            match &mut self.stop {
                Some(stop) => stop.poll_recv(context).map(|_| None),
                None => Poll::Pending,
            }
        })
        .await
    }
}
