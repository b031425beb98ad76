//! `host`: a step that runs on another machine, through the system's ssh.
//!
//! ```text
//! subreaper ── runward __ssh FILE ── ssh HOST ──net── sshd ── far.sh, connect
//!                                                             far.sh, run ── the step and everything it starts
//! ```
//!
//! Here the program that speaks to the host is the step; there `far.sh` keeps a journal and a runner of its own, which
//! outlives the connection. To know before changing anything: the command line is one constant text, and whatever a step is
//! given crosses standard input in [`wire`]; a folder on the far side is made once for each attempt, and whoever finds it never
//! starts that attempt; what cannot be known is said to be unknown.
//!
//! - [`wire`]: the lines that cross; `line`: one connection; `course`: what is done over all connections of an attempt
//! - [`look`]: whether a host could carry out a step
//! - `words`: what went wrong, and what to do; `far`: the report of an attempt

mod course;
pub(super) mod far;
mod line;
pub mod look;
#[cfg(test)]
mod there;
pub mod wire;
mod words;

use std::fs;
use std::io::Write;
use std::path::Path;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use runward_engine::runbook::model::Orphans;
use runward_engine::runbook::secrets::Form;
use serde::{Deserialize, Serialize};

use crate::mask::Mask;
use crate::secrets::Value;
use crate::supervisor::journal::Orphan;

/// After its time is over, and its grace, a host that cannot be reached is given this long before its step is lost.
pub(super) const LOST_AFTER_MS: u64 = 20_000;
/// How much longer than its grace the end of such a step may take: it is asked for and verified over the network.
pub(super) const FAR_MS: u64 = 45_000;

/// The whole of one attempt. Secrets are not in it: they come in the environment.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub host: String,
    /// The name of its folder on the far side.
    pub attempt: String,
    /// Of which step or item it is, whatever part of it runs: two of the same never run at once.
    pub unit: String,
    pub run: String,
    pub argv: Vec<String>,
    /// The last argument is a file with this.
    pub script: Option<Value>,
    pub env: Vec<(String, String)>,
    pub secrets: Vec<(String, Form)>,
    pub cwd: Option<String>,
    pub timeout_ms: u64,
    pub grace_ms: u64,
    pub orphans: Orphans,
    pub hidden: Vec<Value>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub end: End,
    /// What it wrote to `$RUNWARD_OUTPUT`, or why that cannot be read.
    pub outputs: Result<String, String>,
    pub orphans: Vec<Orphan>,
    /// Processes that could not be killed there.
    pub stuck: Vec<Orphan>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    Exited {
        code: i32,
    },
    TimedOut,
    /// Its time was over before anything was started there.
    TooLate(String),
    Killed,
    /// Nothing was started there, and nothing will be.
    NotStarted(String),
    /// It was started, or may have been, and nobody knows what it came to.
    Unknown(String),
}

impl From<End> for Answer {
    fn from(end: End) -> Answer {
        Answer { end, outputs: Ok(String::new()), orphans: Vec::new(), stuck: Vec::new() }
    }
}

/// `runward __ssh FILE`: carries out the order in this file, which it removes. Whoever finds the file later knows that nothing
/// was asked of any host.
pub fn carry_out(path: &Path) -> i32 {
    let _ = nix::sys::prctl::set_name(c"runward-ssh"); // for people only
    let told = signals().and_then(|signals| {
        let order = read(path)?;
        let secrets = secrets(&order)?;
        let mask = Mask::of(secrets.iter().map(|(.., value)| value).chain(&order.hidden).map(Value::bytes));
        let (answer, line) = course::Course::new(&order, &secrets, &signals).run();
        let code = leave(&hidden(answer, mask.as_ref()))?;
        // Only now may the far side forget it.
        line.into_iter().for_each(line::Line::let_go);
        Ok(code)
    });
    told.unwrap_or_else(|why| {
        say(&why);
        1
    })
}

/// What ends a step is heard between two other things; the children inherit that it ends nobody by itself.
fn signals() -> Result<SignalFd, String> {
    let wanted: SigSet = [Signal::SIGTERM, Signal::SIGQUIT].into_iter().collect();
    wanted.thread_block().map_err(|error| format!("signals cannot be blocked: {error}"))?;
    SignalFd::with_flags(&wanted, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .map_err(|error| format!("signals cannot be heard: {error}"))
}

/// Values in it may be sensitive, so it does not outlive its being read.
fn read(path: &Path) -> Result<Order, String> {
    let told = |error: &dyn std::fmt::Display| format!("the order {} cannot be read: {error}", path.display());
    let bytes = fs::read(path).map_err(|error| told(&error))?;
    let order = serde_json::from_slice(&bytes).map_err(|error| told(&error))?;
    fs::remove_file(path).map_err(|error| told(&error))?;
    Ok(order)
}

/// The secrets of the step, as its supervisor laid them out for a step of this machine.
fn secrets(order: &Order) -> Result<Vec<(String, Form, Value)>, String> {
    let found = order.secrets.iter().map(|(name, form)| {
        let laid = std::env::var_os(name).ok_or_else(|| format!("the secret {name} is not there"))?;
        let bytes = match form {
            Form::Variable => std::os::unix::ffi::OsStringExt::into_vec(laid),
            Form::File => fs::read(&laid).map_err(|error| format!("the secret {name} cannot be read: {error}"))?,
        };
        Ok((name.clone(), *form, Value::new(bytes)))
    });
    found.collect()
}

fn hidden(mut answer: Answer, mask: Option<&Mask>) -> Answer {
    let Some(mask) = mask else { return answer };
    answer.outputs = answer.outputs.map(|text| mask.hide(&text));
    answer.orphans.iter_mut().chain(&mut answer.stuck).for_each(|it| it.command = mask.hide(&it.command));
    answer.end = match answer.end {
        End::NotStarted(why) => End::NotStarted(mask.hide(&why)),
        End::TooLate(why) => End::TooLate(mask.hide(&why)),
        End::Unknown(why) => End::Unknown(mask.hide(&why)),
        other => other,
    };
    answer
}

fn leave(answer: &Answer) -> Result<i32, String> {
    let path =
        std::env::var_os("RUNWARD_OUTPUT").ok_or("RUNWARD_OUTPUT is not set: only runward starts this program")?;
    let bytes = serde_json::to_vec(answer).map_err(|error| error.to_string())?;
    fs::write(&path, bytes).map_err(|error| format!("$RUNWARD_OUTPUT cannot be written: {error}"))?;
    Ok(match &answer.end {
        End::Exited { code } => *code,
        End::NotStarted(why) | End::TooLate(why) | End::Unknown(why) => {
            say(why);
            1
        }
        End::TimedOut | End::Killed => 1,
    })
}

/// A line of runward's own in the step's log.
fn say(line: &str) {
    // In one piece, so that nothing of the step comes between.
    let _ = std::io::stderr().write_all(format!("runward: {line}\n").as_bytes()); // nobody there to read it: nothing else to do
}
