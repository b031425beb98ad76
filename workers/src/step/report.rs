//! What an attempt left in its journal, as a report for the engine.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::OFlag;
use runward_engine::run::command::Report;
use runward_engine::run::event::LogDigest;
use runward_engine::run::outputs::{self, OutputError, Outputs};
use runward_engine::run::request::Answer;
use runward_engine::run::{Outcome, Part, RunState, Unit};
use runward_engine::runbook::model::{Action, Step};
use runward_engine::units::format_duration;

use super::ssh::far;
use crate::supervisor::journal::{AttemptResult, End, Orphan};
use crate::supervisor::secrets::output_file;

/// The report of an attempt that ended; reads the outputs it wrote.
pub fn report(dir: &Path, state: &RunState, unit: Unit, result: &AttemptResult) -> Report {
    let step = state.spec(unit.step);
    if step.host.is_some() {
        return far::report(dir, state, unit, result);
    }
    let own = unit.part == Part::Step && matches!(step.action, Action::Http(_) | Action::Sql(_) | Action::Render(_));
    let mut report = concluded(state.timeout_of(unit), result, || match unit.part {
        Part::Step if own => own_outputs(dir),
        part => outputs_of(part, || read_outputs(dir, step)),
    });
    if own {
        say_more(&mut report, own_answer(dir), matches!(step.action, Action::Sql(_)));
    }
    report.error = with_unkillable(report.error, &result.unkillable);
    report
}

/// What runward's own program says of its end, however it came to that. `commits`: an answer comes after its effect stands.
fn say_more(report: &mut Report, answer: Result<Answer, String>, commits: bool) {
    match (&report.outcome, answer) {
        (Outcome::Killed | Outcome::TimedOut, Ok(Answer::Outputs(outputs))) if commits => {
            // Whoever would try it again would do it twice.
            report.outcome = Outcome::Succeeded;
            report.error = None;
            report.outputs = outputs;
        }
        (Outcome::Failed { .. }, Ok(Answer::Failed(why))) => report.error = Some(why),
        (Outcome::TimedOut, Ok(Answer::Failed(why))) => {
            report.error = Some(report.error.take().map_or(why.clone(), |error| format!("{error}: {why}")));
        }
        (Outcome::Failed { .. } | Outcome::Killed | Outcome::TimedOut, Ok(Answer::Unknown(why))) => {
            report.outcome = Outcome::Interrupted;
            report.error = Some(why);
        }
        (Outcome::Killed | Outcome::TimedOut, Ok(Answer::Outputs(_))) => {
            let why = "it had done its work before it could be ended";
            report.error = Some(report.error.take().map_or(why.to_owned(), |error| format!("{error}; {why}")));
        }
        _ => {}
    }
}

/// The outputs of a part that succeeded.
pub(super) fn outputs_of(part: Part, read: impl FnOnce() -> Result<Outputs, String>) -> Result<Outputs, String> {
    match part {
        Part::Step => read(),
        // Where it is in place the probe speaks for the step.
        Part::Check => read()
            .map_err(|error| format!("{error}: where the effect is in place, the probe writes what the step would")),
        // Nobody could read what an undo writes.
        Part::Undo => Ok(Outputs::new()),
    }
}

/// What the result of an attempt means; `outputs` is asked only of one that succeeded.
pub fn concluded(
    timeout: Duration,
    result: &AttemptResult,
    outputs: impl FnOnce() -> Result<Outputs, String>,
) -> Report {
    let (outcome, error) = outcome(timeout, &result.end);
    let mut report = Report {
        outcome,
        outputs: Outputs::new(),
        error,
        log: LogDigest { bytes: result.log.bytes, dropped: result.log.dropped, sha256: result.log.sha256.clone() },
        started_at: Some(result.started_at_ms as i64),
        ended_at: Some(result.ended_at_ms as i64),
        orphans: result.orphans.iter().map(|orphan| format!("{} {}", orphan.pid, orphan.command)).collect(),
    };
    if report.outcome == Outcome::Succeeded {
        match outputs() {
            Ok(outputs) => report.outputs = outputs,
            Err(message) => {
                report.outcome = Outcome::Failed { code: Some(0), signal: None };
                report.error = Some(message);
            }
        }
    }
    report
}

/// Whoever repeats the step has to know that a part of it still runs.
pub(super) fn with_unkillable(error: Option<String>, unkillable: &[Orphan]) -> Option<String> {
    if unkillable.is_empty() {
        return error;
    }
    let named: Vec<String> = unkillable.iter().map(|orphan| format!("{} {}", orphan.pid, orphan.command)).collect();
    let still = format!("KILL did not end process {}: see to it before the step runs again", named.join(", "));
    Some(error.map_or(still.clone(), |error| format!("{error}; {still}")))
}

/// The report of an attempt that provably never started, because this machine could not start it.
pub fn not_started(error: String) -> Report {
    Report {
        outcome: Outcome::NotStarted,
        outputs: Outputs::new(),
        error: Some(error),
        log: LogDigest::default(),
        started_at: None,
        ended_at: None,
        orphans: Vec::new(),
    }
}

fn outcome(timeout: Duration, end: &End) -> (Outcome, Option<String>) {
    match end {
        End::Exited { code: 0 } => (Outcome::Succeeded, None),
        End::Exited { code } => (Outcome::Failed { code: Some(*code), signal: None }, Some(exit_text(*code))),
        End::Signaled { signal } => (
            Outcome::Failed { code: None, signal: Some(*signal) },
            Some(format!("killed by signal {signal}{}", name_of(*signal))),
        ),
        End::TimedOut { .. } => (Outcome::TimedOut, Some(format!("timed out after {}", format_duration(timeout)))),
        End::Killed { .. } => (Outcome::Killed, None),
        End::LeaseOver { .. } => (
            Outcome::Interrupted,
            Some("its worker was silent for too long, so it was ended (`lease: strict`)".to_owned()),
        ),
        End::NotStarted { error, hint } => (Outcome::NotStarted, Some(format!("{error}: {hint}"))),
        End::Interrupted => {
            (Outcome::Interrupted, Some("its supervisor died, and the step was killed with it".to_owned()))
        }
    }
}

/// 126 and 127 come from shells, 128+n from shells whose last command died of a signal.
fn exit_text(code: i32) -> String {
    match code {
        126 => "exit code 126 (a command was found but may not be executed)".to_owned(),
        127 => "exit code 127 (a command was not found)".to_owned(),
        129..=192 => format!("exit code {code} (a command died of signal {}{})", code - 128, name_of(code - 128)),
        _ => format!("exit code {code}"),
    }
}

fn name_of(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal).map(|signal| format!(", {signal}")).unwrap_or_default()
}

fn read_outputs(dir: &Path, step: &Step) -> Result<Outputs, String> {
    outputs::read(step, &read_file(dir)?).map_err(|error| error.to_string())
}

/// What runward's own program left.
fn own_answer(dir: &Path) -> Result<Answer, String> {
    let bytes = read_file(dir)?;
    serde_json::from_slice(&bytes).map_err(|error| format!("the answer of this step is not understood: {error}"))
}

fn own_outputs(dir: &Path) -> Result<Outputs, String> {
    match own_answer(dir)? {
        Answer::Outputs(outputs) => outputs::check(&outputs).map(|()| outputs).map_err(|error| error.to_string()),
        Answer::Failed(why) | Answer::Unknown(why) => Err(why),
    }
}

pub(super) fn read_file(dir: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("$RUNWARD_OUTPUT cannot be read: {error}");
    let max = runward_engine::limits::OUTPUTS_BYTES_MAX;
    // Whatever a step put there: never wait for it, never follow it, never read more than may be in it.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW).bits())
        .open(output_file(dir));
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err("$RUNWARD_OUTPUT is no longer a regular file: write lines to it, do not replace it".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > max {
        return Err(OutputError::TooLarge { bytes: meta.len() as usize, max }.to_string());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_knows_is_lost_however_its_program_ended() {
        let told = |end: End, answer: Answer| {
            let (outcome, error) = outcome(Duration::from_secs(2), &end);
            let mut report = Report { outcome, error, ..not_started(String::new()) };
            say_more(&mut report, Ok(answer), false);
            (report.outcome, report.error)
        };
        let unknown = || Answer::Unknown("it died".into());
        for end in [End::Exited { code: 1 }, End::Signaled { signal: 9 }] {
            assert_eq!(told(end, unknown()), (Outcome::Interrupted, Some("it died".into())));
        }
        let (outcome, error) = told(End::Signaled { signal: 9 }, Answer::Failed("refused".into()));
        assert!(matches!(outcome, Outcome::Failed { .. }) && error == Some("refused".into()));
    }

    #[test]
    fn what_is_committed_has_succeeded_however_late() {
        let late = |commits| {
            let mut report = Report { outcome: Outcome::TimedOut, ..not_started(String::new()) };
            say_more(&mut report, Ok(Answer::Outputs(Outputs::new())), commits);
            report.outcome
        };
        assert_eq!((late(true), late(false)), (Outcome::Succeeded, Outcome::TimedOut));
    }

    #[test]
    fn what_could_not_be_killed_is_said_whatever_became_of_the_step() {
        let stuck = [Orphan { pid: 7, command: "cat /mnt/nfs".into() }, Orphan { pid: 8, command: "sudo dd".into() }];
        let told = with_unkillable(Some("timed out after 2.0 s".into()), &stuck).unwrap();
        assert!(told.starts_with("timed out after 2.0 s; ") && told.contains("7 cat /mnt/nfs, 8 sudo dd"), "{told}");
        assert!(with_unkillable(None, &stuck).unwrap().contains("before the step runs again"));
        assert_eq!(with_unkillable(None, &[]), None);
    }
}
