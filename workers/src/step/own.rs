//! The program of the steps that runward carries out itself: `runward __step FILE`.
//!
//! It is started by a subreaper like the program of any other step, so that its log, its timeout, its end and its
//! survival are those of any other step. It prints what it does, leaves an [`Answer`] at `$RUNWARD_OUTPUT`, and ends
//! with 0 or 1.

use std::fs;
use std::io::{Write, stderr, stdout};
use std::path::Path;

use runward_engine::run::outputs::Outputs;
use runward_engine::run::request::{Answer, Request};
use serde::{Deserialize, Serialize};

use super::{http, render, sql};
use crate::reach::Http;
use crate::reach::connections::Target;

/// What the program is handed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub request: Request,
    /// Of an `sql` step: where to connect.
    pub target: Option<Target>,
    /// Of an `http` step: what this machine says about requests.
    pub http: Option<Http>,
}

/// Carries out the request in this file, which it removes, and returns the exit code of the process.
pub fn carry_out(path: &Path) -> i32 {
    let _ = nix::sys::prctl::set_name(c"runward-step"); // for people only
    let answer = read(path).map_or_else(Answer::Failed, |order| match order.request {
        Request::Http(request) => answered(http::ask(&request, order.http.unwrap_or_default())),
        Request::Sql(request) => sql::run(&request, order.target.as_ref()),
        Request::Render(request) => answered(render::write(&request)),
    });
    if let Answer::Failed(why) | Answer::Unknown(why) = &answer {
        let _ = writeln!(stderr(), "error: {why}");
    }
    let told = leave(&answer);
    if let Err(why) = &told {
        let _ = writeln!(stderr(), "error: {why}");
    }
    i32::from(told.is_err() || !matches!(answer, Answer::Outputs(_)))
}

/// Values in it may be sensitive, so it does not outlive its being read.
fn read(path: &Path) -> Result<Order, String> {
    let told = |error: &dyn std::fmt::Display| format!("the request {} cannot be read: {error}", path.display());
    let bytes = fs::read(path).map_err(|error| told(&error))?;
    let order = serde_json::from_slice(&bytes).map_err(|error| told(&error))?;
    fs::remove_file(path).map_err(|error| told(&error))?;
    Ok(order)
}

fn answered(result: Result<Outputs, String>) -> Answer {
    result.map_or_else(Answer::Failed, Answer::Outputs)
}

/// Writes the answer down, in one piece. The last one counts.
pub(super) fn leave(answer: &Answer) -> Result<(), String> {
    let path =
        std::env::var_os("RUNWARD_OUTPUT").ok_or("RUNWARD_OUTPUT is not set: only runward starts this program")?;
    let bytes = serde_json::to_vec(answer).map_err(|error| error.to_string())?;
    let draft = Path::new(&path).with_extension("draft");
    let written = fs::write(&draft, bytes).and_then(|()| fs::rename(&draft, &path));
    written.map_err(|error| format!("$RUNWARD_OUTPUT cannot be written: {error}"))
}

/// One line of the step's log. Nobody there to read it: nothing else to do.
pub(super) fn say(line: &str) {
    let mut out = stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Outputs by their names.
pub(super) fn outputs<const N: usize>(values: [(&str, serde_json::Value); N]) -> Outputs {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
