//! The program of the steps that runward carries out itself: `runward __step FILE`.
//!
//! It is started by a subreaper like the program of any other step, so that its log, its timeout, its end and its
//! survival are those of any other step. It prints what it does, leaves an [`Answer`] at `$RUNWARD_OUTPUT`, and ends
//! with 0 or 1. One thread, no runtime.

use std::fs;
use std::io::{Write, stderr, stdout};
use std::path::Path;

use runward_engine::run::outputs::Outputs;
use runward_engine::run::request::{Answer, Request};

use super::{http, render};

/// Carries out the request in this file, which it removes, and returns the exit code of the process.
pub fn carry_out(path: &Path) -> i32 {
    let _ = nix::sys::prctl::set_name(c"runward-step"); // for people only
    let result = read(path).and_then(|request| match request {
        Request::Http(request) => http::ask(&request),
        Request::Render(request) => render::write(&request),
    });
    let answer = match result {
        Ok(outputs) => Answer::Outputs(outputs),
        Err(why) => {
            let _ = writeln!(stderr(), "error: {why}");
            Answer::Failed(why)
        }
    };
    let told = leave(&answer);
    if let Err(why) = &told {
        let _ = writeln!(stderr(), "error: {why}");
    }
    i32::from(told.is_err() || matches!(answer, Answer::Failed(_)))
}

/// Values in it may be sensitive, so it does not outlive its being read.
fn read(path: &Path) -> Result<Request, String> {
    let told = |error: &dyn std::fmt::Display| format!("the request {} cannot be read: {error}", path.display());
    let bytes = fs::read(path).map_err(|error| told(&error))?;
    let request = serde_json::from_slice(&bytes).map_err(|error| told(&error))?;
    fs::remove_file(path).map_err(|error| told(&error))?;
    Ok(request)
}

fn leave(answer: &Answer) -> Result<(), String> {
    let path =
        std::env::var_os("RUNWARD_OUTPUT").ok_or("RUNWARD_OUTPUT is not set: only runward starts this program")?;
    let bytes = serde_json::to_vec(answer).map_err(|error| error.to_string())?;
    fs::write(&path, bytes).map_err(|error| format!("$RUNWARD_OUTPUT cannot be written: {error}"))
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
