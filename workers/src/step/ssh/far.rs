//! What the program that spoke to a host left, as a report for the engine.

use std::path::Path;

use runward_engine::run::command::Report;
use runward_engine::run::{Outcome, RunState, Unit, outputs};

use super::{Answer, End};
use crate::step::launch::request_file;
use crate::step::report::{concluded, outputs_of, read_file, with_unkillable};
use crate::supervisor::journal::{self, AttemptResult};

/// The report of an attempt on another machine.
pub(in crate::step) fn report(dir: &Path, state: &RunState, unit: Unit, result: &AttemptResult) -> Report {
    let timeout = state.timeout_of(unit);
    let Some(answer) = answer(dir) else { return without_answer(dir, state, unit, result) };
    let (end, told) = ended(&answer.end);
    let result = AttemptResult { end, orphans: answer.orphans, ..result.clone() };
    let read = || {
        let text = answer.outputs?;
        outputs::read(state.spec(unit.step), text.as_bytes()).map_err(|error| error.to_string())
    };
    let mut report = concluded(timeout, &result, || outputs_of(unit.part, read));
    report.error = with_unkillable(told.or(report.error), &answer.stuck);
    report
}

fn answer(dir: &Path) -> Option<Answer> {
    serde_json::from_slice(&read_file(dir).ok()?).ok()
}

/// The end there as an end of this machine, and what is to be said of it.
fn ended(end: &End) -> (journal::End, Option<String>) {
    match end {
        End::Exited { code } => (journal::End::Exited { code: *code }, None),
        End::TimedOut => (journal::End::TimedOut { reported: None }, None),
        End::TooLate(why) => (journal::End::TimedOut { reported: None }, Some(why.clone())),
        End::Killed => (journal::End::Killed { reported: None }, None),
        End::NotStarted(why) => {
            (journal::End::NotStarted { error: why.clone(), hint: String::new() }, Some(why.clone()))
        }
        End::Unknown(why) => (journal::End::Interrupted, Some(why.clone())),
    }
}

/// The program died before it could say anything.
fn without_answer(dir: &Path, state: &RunState, unit: Unit, result: &AttemptResult) -> Report {
    // It takes its order away before it connects to anybody.
    if request_file(dir).exists() || matches!(result.end, journal::End::NotStarted { .. }) {
        let end = match &result.end {
            journal::End::Killed { .. } | journal::End::NotStarted { .. } => result.end.clone(),
            other => journal::End::NotStarted {
                error: format!("what was to speak to the host of this step ended before it did: {other}"),
                hint: "nothing was started there".to_owned(),
            },
        };
        return concluded(state.timeout_of(unit), &AttemptResult { end, ..result.clone() }, || {
            Ok(outputs::Outputs::new())
        });
    }
    let end = journal::End::Interrupted;
    let mut report =
        concluded(state.timeout_of(unit), &AttemptResult { end, ..result.clone() }, || Ok(outputs::Outputs::new()));
    debug_assert_eq!(report.outcome, Outcome::Interrupted);
    report.error = Some(format!(
        "what spoke to the host of this step died ({}), so what the step came to is not known: it may still run there, until \
         its time is over",
        result.end
    ));
    report
}
