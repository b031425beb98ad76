//! What a run looks like while it happens: a live picture on a terminal, plain lines elsewhere, events for programs.

pub mod keys;
mod live;
pub mod out;
mod plain;
mod tail;
pub mod words;

use std::io::IsTerminal;
use std::time::Duration;

use runward_engine::run::{Recorded, Reject, RunState, Verdict};
use runward_workers::home::Home;

use crate::args::Format;
use live::Live;
use plain::Plain;
use tail::Tails;

/// How a run is shown.
#[derive(Debug, Clone, Copy)]
pub struct Showing {
    pub format: Format,
    /// Without what the steps print.
    pub quiet: bool,
    /// Not at all.
    pub silent: bool,
}

/// One of the ways to show a run.
pub struct Screen {
    kind: Kind,
    tails: Tails,
}

enum Kind {
    Live(Box<Live>),
    Plain(Plain),
    Json,
    Silent,
}

impl Screen {
    pub const TICK: Duration = Duration::from_millis(80);

    pub fn new(home: &Home, showing: Showing) -> Screen {
        let terminal = std::io::stdout().is_terminal();
        let kind = match showing {
            Showing { silent: true, .. } => Kind::Silent,
            Showing { format: Format::Json, .. } => Kind::Json,
            _ if terminal && !showing.quiet && std::env::var("TERM").is_ok_and(|term| term != "dumb") => {
                Kind::Live(Box::new(Live::new()))
            }
            Showing { quiet, .. } => Kind::Plain(Plain::new(quiet)),
        };
        Screen { kind, tails: Tails::new(home.clone()) }
    }

    pub fn is_live(&self) -> bool {
        matches!(self.kind, Kind::Live(_))
    }

    pub fn begin(&mut self, state: &RunState) {
        self.tails.begin(state);
        match &mut self.kind {
            Kind::Live(live) => live.begin(state),
            Kind::Plain(plain) => plain.begin(state),
            Kind::Json | Kind::Silent => {}
        }
    }

    pub fn changed(&mut self, state: &RunState, news: &[Recorded]) {
        match &mut self.kind {
            Kind::Live(live) => live.changed(state, news, &mut self.tails),
            Kind::Plain(plain) => plain.changed(state, news, &mut self.tails),
            Kind::Json => news.iter().for_each(|recorded| json_line(state, recorded)),
            Kind::Silent => {}
        }
    }

    /// What a person asked for was refused.
    pub fn refused(&mut self, reject: &Reject) {
        match &mut self.kind {
            Kind::Live(live) => live.note(&format!("! {reject}")),
            Kind::Plain(_) => say(&format!("! {reject}")),
            Kind::Json | Kind::Silent => {}
        }
    }

    /// Somebody else drives: what can be done here is only to look.
    pub fn only_look(&mut self) {
        if let Kind::Live(live) = &mut self.kind {
            live.footer = "another process drives this run; Ctrl-C stops looking";
        }
    }

    pub fn tick(&mut self) {
        match &mut self.kind {
            Kind::Live(live) => live.tick(&mut self.tails),
            Kind::Plain(plain) => plain.tick(&mut self.tails),
            Kind::Json | Kind::Silent => {}
        }
    }

    pub fn end(&mut self, state: &RunState, verdict: Verdict) {
        match &mut self.kind {
            Kind::Live(live) => live.end(state, verdict),
            Kind::Plain(plain) => plain.end(state, verdict),
            Kind::Json => {
                let line = serde_json::json!({"run": state.id, "verdict": verdict, "exit_code": verdict.exit_code()});
                out::tell(format!("{line}\n"));
            }
            Kind::Silent => {}
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

fn json_line(state: &RunState, recorded: &Recorded) {
    let line = serde_json::json!({
        "run": state.id, "seq": recorded.seq, "at": recorded.at, "actor": recorded.actor, "event": recorded.event,
    });
    out::tell(format!("{line}\n"));
}

/// Prints lines for people. A run is never stopped by a terminal or a pipe that went away.
fn say(lines: &str) {
    for line in lines.split('\n') {
        out::show(format!("{}\n", crate::text::safe(line)));
    }
}
