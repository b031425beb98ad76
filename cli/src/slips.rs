//! What people type who are new here or know another tool, and what they meant. Suggested, never done in their place.

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Words of other tools, and the commands that do it here.
const WORDS: &[(&[&str], &str)] = &[
    (&["stop", "kill", "abort", "terminate"], "runward cancel RUN"),
    (&["status", "ps", "ls", "history", "jobs"], "runward runs"),
    (&["start", "exec", "trigger", "apply", "execute"], "runward run RUNBOOK"),
    (&["check", "lint", "test"], "runward validate RUNBOOK"),
    (&["dry-run", "preview", "explain"], "runward plan RUNBOOK"),
    (&["output", "tail", "log"], "runward logs RUN"),
    (&["rerun", "restart", "continue"], "runward resume RUN"),
    (&["clean", "gc", "prune", "purge"], "runward db prune"),
    (&["verify"], "runward audit verify"),
    (&["version"], "runward --version"),
];

/// The same error, with a better tip where one is known.
pub fn explained(mut error: Error) -> Error {
    let tip = match error.kind() {
        ErrorKind::InvalidSubcommand => word(&said(&error, ContextKind::InvalidSubcommand)),
        ErrorKind::UnknownArgument => parameter(&said(&error, ContextKind::InvalidArg), &usage(&error)),
        _ => None,
    };
    if let Some(tip) = tip {
        for other in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
            error.remove(other);
        }
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

fn said(error: &Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    }
}

fn usage(error: &Error) -> String {
    error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default()
}

fn word(typed: &str) -> Option<String> {
    let (_, command) = WORDS.iter().find(|(words, _)| words.contains(&typed))?;
    Some(format!("here that is `{command}`"))
}

/// A parameter of the runbook that is given as if it were an option or an argument of runward.
fn parameter(typed: &str, usage: &str) -> Option<String> {
    if !["runward run ", "runward plan "].iter().any(|command| usage.contains(command)) {
        return None;
    }
    let bare = typed.trim_start_matches('-');
    let wanted = match bare.split_once('=') {
        Some(_) => bare.to_owned(),
        None if typed.starts_with("--") => format!("{bare}=VALUE"),
        None if typed.starts_with('-') => return None,
        None => "NAME=VALUE".to_owned(),
    };
    Some(format!("parameters of the runbook are written `-p {wanted}`"))
}
