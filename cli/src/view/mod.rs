//! What a run looks like while it happens: a live picture on a terminal, plain lines elsewhere, events for programs,
//! what CI systems read.
//!
//! Whoever builds a [`Screen`] gives it the whole record so far, so that a run looks the same from whatever moment it is
//! watched, and whoever drives it.

pub mod eta;
mod events;
pub mod github;
pub mod group;
mod junit;
pub mod keys;
mod live;
pub mod objectives;
pub mod out;
mod paint;
pub mod plain;
mod printed;
mod summary;
pub mod tail;
pub mod waits;
pub mod words;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::AccessFlags;
use runward_engine::plan::Definition;
use runward_engine::plan::forecast::Forecast;
use runward_engine::run::group::{Member, Permit};
use runward_engine::run::{ClaimId, Recorded, Reject, RunId, RunState, Verdict};

use crate::args::{RunFormat, ShowingArgs};
use crate::drivers::Drivers;
use crate::failure::Failure;
use crate::fetch::Reads;
use crate::outputs::Outputs;
use github::Github;
use live::Live;
use out::To;
use plain::Plain;
use tail::Tails;

/// How a run is shown.
#[derive(Debug, Clone)]
pub struct Showing {
    pub format: RunFormat,
    /// Without what the steps print.
    pub quiet: bool,
    /// Not at all.
    pub silent: bool,
    /// Not even a run that waits for people is left.
    pub stay: bool,
    /// Where a JUnit report goes when it is over.
    pub report: Option<PathBuf>,
    /// The runbook's file, where it is known better than from the record.
    pub file: Option<PathBuf>,
}

/// What was known of a run before somebody looks at it.
pub struct Before {
    pub definition: Definition,
    /// Every event up to the state it begins with.
    pub events: Vec<Recorded>,
}

impl Showing {
    /// As somebody asked for it. A report that cannot be written is found out before anything starts.
    pub fn of(args: &ShowingArgs) -> Result<Showing, Failure> {
        if let Some(report) = &args.report {
            let folder = report.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if report.is_dir() || !folder.is_dir() || nix::unistd::access(folder, AccessFlags::W_OK).is_err() {
                let message = format!("the report cannot be written to {}", report.display());
                return Err(
                    Failure::usage(message).help("give a file in a folder that is there, and may be written to")
                );
            }
        }
        let (format, quiet, report) = (args.format, args.quiet, args.report.clone());
        Ok(Showing { format, quiet, silent: false, stay: args.stay, report, file: None })
    }

    pub fn silent() -> Showing {
        Showing { format: RunFormat::Text, quiet: true, silent: true, stay: true, report: None, file: None }
    }

    /// Whether somebody may be there who sees what a run waits for, or it runs in the background for as long as it takes.
    pub fn stays(&self) -> bool {
        self.stay || std::io::stdout().is_terminal()
    }

    /// Whether [`Screen::begin`] has to be told what happened before.
    pub fn tells_all(&self) -> bool {
        !self.silent && matches!(self.format, RunFormat::Json | RunFormat::Github)
    }
}

/// One of the ways to show a run.
pub struct Screen {
    kind: Kind,
    outputs: Outputs,
    drivers: Drivers,
    tails: Tails,
    /// The run that is shown, and what holds those that are its steps.
    root: Option<RunId>,
    held: BTreeMap<RunId, String>,
    report: Option<PathBuf>,
    /// Whom the run waited for when that was said last.
    waited_for: Vec<RunId>,
}

enum Kind {
    Live(Box<Live>),
    Plain(Plain),
    Json,
    Github(Box<Github>),
    /// What happens is said to people on standard error; the report comes at the end.
    Junit(Plain),
    Silent,
}

impl Screen {
    pub const TICK: Duration = Duration::from_millis(80);

    pub fn new(outputs: &Outputs, drivers: Drivers, showing: Showing) -> Screen {
        let terminal = std::io::stdout().is_terminal();
        let kind = match &showing {
            Showing { silent: true, .. } => Kind::Silent,
            Showing { format: RunFormat::Json, .. } => Kind::Json,
            Showing { format: RunFormat::Github, quiet, file, .. } => {
                Kind::Github(Box::new(Github::new(outputs.clone(), *quiet, file.clone())))
            }
            Showing { format: RunFormat::Junit, quiet, .. } => Kind::Junit(Plain::new(*quiet, To::Error)),
            _ if terminal && !showing.quiet && std::env::var("TERM").is_ok_and(|term| term != "dumb") => {
                Kind::Live(Box::new(Live::new()))
            }
            Showing { quiet, .. } => Kind::Plain(Plain::new(*quiet, To::Output)),
        };
        Screen {
            kind,
            outputs: outputs.clone(),
            drivers,
            tails: Tails::new(outputs.clone()),
            root: None,
            held: BTreeMap::new(),
            report: showing.report,
            waited_for: Vec::new(),
        }
    }

    /// What has to be there before it is told what happened.
    pub fn reads(&self) -> Reads {
        match &self.kind {
            Kind::Live(_) => Reads { live: true, lines: Some(tail::LAG_BYTES_KEPT), ends: None },
            Kind::Plain(plain) | Kind::Junit(plain) => {
                Reads { live: !plain.is_quiet(), lines: Some(tail::LAG_BYTES_KEPT), ends: None }
            }
            Kind::Github(_) => Reads { live: false, lines: None, ends: Some(github::SHOWN_BYTES_MAX) },
            Kind::Json | Kind::Silent => Reads::default(),
        }
    }

    /// Attempts whose ends a report has, and how much of each.
    pub fn reports(&self, state: &RunState) -> Vec<(ClaimId, u64)> {
        match matches!(self.kind, Kind::Junit(_)) || self.report.is_some() {
            true => junit::reads(state),
            false => Vec::new(),
        }
    }

    pub fn is_live(&self) -> bool {
        matches!(self.kind, Kind::Live(_))
    }

    /// `before` is there where [`Showing::tells_all`] asks for it.
    pub fn begin(&mut self, state: &RunState, before: Option<Before>) {
        self.tails.begin(state);
        self.root = Some(state.id.clone());
        match (&mut self.kind, before) {
            (Kind::Live(live), _) => live.begin(state),
            (Kind::Plain(plain) | Kind::Junit(plain), _) => plain.begin(state),
            (Kind::Json, before) => {
                events::begin(state);
                events::changed(state, &before.map(|before| before.events).unwrap_or_default());
            }
            (Kind::Github(github), before) => github.begin(state, before),
            (Kind::Silent, _) => {}
        }
    }

    /// How long it is likely to take, where somebody watches.
    pub fn expect(&mut self, forecast: Option<Forecast>) {
        if let Kind::Live(live) = &mut self.kind {
            live.forecast = forecast;
        }
    }

    pub fn changed(&mut self, state: &RunState, news: &[Recorded]) {
        if self.root.as_ref().is_some_and(|root| *root != state.id) {
            return self.child_changed(state, news);
        }
        match &mut self.kind {
            Kind::Live(live) => live.changed(state, news, &mut self.tails),
            Kind::Plain(plain) | Kind::Junit(plain) => plain.changed(state, news, &mut self.tails),
            Kind::Json => events::changed(state, news),
            Kind::Github(github) => github.changed(state, news),
            Kind::Silent => {}
        }
    }

    /// A run that is a step of the one that is shown is looked after from here on.
    pub fn child(&mut self, state: &RunState, before: &[Recorded]) {
        self.tails.begin_child(state);
        match &mut self.kind {
            Kind::Live(live) => live.child_changed(state, &[], &mut self.tails),
            Kind::Json => events::changed(state, before),
            Kind::Plain(_) | Kind::Junit(_) | Kind::Github(_) | Kind::Silent => {}
        }
        self.remember(state);
    }

    fn child_changed(&mut self, state: &RunState, news: &[Recorded]) {
        match &mut self.kind {
            Kind::Live(live) => live.child_changed(state, news, &mut self.tails),
            Kind::Plain(plain) | Kind::Junit(plain) => plain.changed(state, news, &mut self.tails),
            Kind::Json => events::changed(state, news),
            Kind::Github(github) => github.child_changed(state, news),
            Kind::Silent => {}
        }
        self.remember(state);
    }

    /// Runs that are steps and in which somebody has to do something.
    fn remember(&mut self, state: &RunState) {
        let (place, short) = (self.tails.place(state), words::short(&state.id.0));
        let line = match (state.held().first(), state.asked().next()) {
            (Some(unit), _) => {
                let unit = state.unit_name(*unit);
                format!("  {place}{unit} is held: runward resolve {short} {unit} --as succeeded|failed|retry")
            }
            (None, Some(unit)) => {
                let (step, who) = (state.unit_name(unit), state.who_is_asked(unit).unwrap_or_default());
                let who = crate::text::safe(&who);
                format!("  {place}{step} waits for approval: {who}: runward approve {short} {step} (or reject)")
            }
            (None, None) => {
                self.held.remove(&state.id);
                return;
            }
        };
        self.held.insert(state.id.clone(), line);
    }

    /// The run waits for a permit of its group. On a page of lines it is said again only when others hold one.
    pub fn waiting(&mut self, state: &RunState, members: &[Member]) {
        let holders = members.iter().filter(|member| member.permit == Permit::Holds);
        let holders: Vec<RunId> = holders.map(|member| member.run.clone()).collect();
        let again = !self.waited_for.is_empty() && self.waited_for == holders;
        if again && !self.is_live() {
            return;
        }
        let lines = group::lines(&self.drivers, state, members);
        self.waited_for = holders;
        match &mut self.kind {
            Kind::Live(live) => live.waiting = lines,
            Kind::Plain(plain) | Kind::Junit(plain) => plain.say(&lines.join("\n")),
            Kind::Github(_) => say(To::Output, &lines.join("\n")),
            Kind::Json | Kind::Silent => {}
        }
    }

    /// What a person asked for was refused.
    pub fn refused(&mut self, reject: &Reject) {
        match &mut self.kind {
            Kind::Live(live) => live.note(&format!("! {reject}")),
            Kind::Plain(plain) | Kind::Junit(plain) => plain.say(&format!("! {reject}")),
            Kind::Github(_) => say(To::Output, &format!("! {reject}")),
            Kind::Json | Kind::Silent => {}
        }
    }

    /// Somebody else drives, a process or the workers of a cluster: what can be done here is only to look.
    pub fn only_look(&mut self, process: bool) {
        if let Kind::Live(live) = &mut self.kind {
            live.footer = match process {
                true => "another process drives this run; Ctrl-C stops looking",
                false => "the workers carry this run on; Ctrl-C stops looking",
            };
        }
    }

    /// Something about the looking itself.
    pub fn note(&mut self, line: &str) {
        match &mut self.kind {
            Kind::Live(live) => live.note(&format!("! {line}")),
            Kind::Plain(_) | Kind::Junit(_) | Kind::Github(_) | Kind::Json => say(To::Error, &format!("! {line}")),
            Kind::Silent => {}
        }
    }

    pub fn tick(&mut self) {
        match &mut self.kind {
            Kind::Live(live) => live.tick(&mut self.tails),
            Kind::Plain(plain) | Kind::Junit(plain) => plain.tick(&mut self.tails),
            Kind::Json | Kind::Github(_) | Kind::Silent => {}
        }
    }

    pub fn end(&mut self, state: &RunState, verdict: Verdict) {
        if verdict == Verdict::Unfinished {
            let held: Vec<String> = self.held.values().cloned().collect();
            match &mut self.kind {
                Kind::Live(live) => held.iter().for_each(|line| live.note(line)),
                Kind::Plain(plain) | Kind::Junit(plain) => held.iter().for_each(|line| plain.say(line)),
                Kind::Github(_) => held.iter().for_each(|line| say(To::Output, line)),
                Kind::Json | Kind::Silent => {}
            }
        }
        match &mut self.kind {
            Kind::Live(live) => live.end(state, verdict, &self.drivers),
            Kind::Plain(plain) => plain.end(state, verdict, &self.drivers),
            Kind::Json => events::end(state, verdict),
            Kind::Github(github) => github.end(state, verdict, &self.drivers),
            Kind::Junit(plain) => {
                plain.end(state, verdict, &self.drivers);
                out::tell(junit::report(&self.outputs, state, verdict, &self.drivers));
            }
            Kind::Silent => {}
        }
        if let Some(path) = &self.report
            && let Err(error) =
                crate::write::atomically(path, junit::report(&self.outputs, state, verdict, &self.drivers).as_bytes())
        {
            // The run is what counts: its exit code says how it ended.
            say(To::Error, &format!("! the report {} cannot be written: {error}", path.display()));
        }
    }

    /// The run goes on without this process.
    pub fn leave(&mut self) {
        if let Kind::Live(live) = &mut self.kind {
            live.leave();
        }
        out::finish();
    }
}

/// The run goes on in the background, and this process does not watch it.
pub fn detached(id: &runward_engine::run::RunId, driver: Option<u32>) {
    events::detached(id, driver);
}

/// Prints lines for people. A run is never stopped by a terminal or a pipe that went away.
fn say(to: To, lines: &str) {
    for line in lines.split('\n') {
        out::show(to, format!("{}\n", crate::text::safe(line)));
    }
}
