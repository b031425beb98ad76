//! A run as a JUnit report: a test case for each step, the items of a `for-each` one each.
//!
//! The common form, as Jenkins and GitLab read it: `testsuites / testsuite / testcase`, each case with at most one of
//! `failure` (it ran and failed), `error` (nobody can know, or it could not run) and `skipped`.

use std::io;

use chrono::DateTime;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event as Xml};
use runward_engine::run::rows::units;
use runward_engine::run::state::UnitState;
use runward_engine::run::{ClaimId, RunState, StepStatus, Unit, Verdict};

use super::{plain, printed, words};
use crate::drivers::Drivers;
use crate::outputs::Outputs;
use crate::text;

/// Output shown of one step, of one that did not succeed, and of all steps together, in bytes.
const PRINTED_BYTES_MAX: u64 = 4 * 1024;
const PRINTED_BYTES_MAX_FAILED: u64 = 64 * 1024;
const PRINTED_BYTES_MAX_ALL: usize = 8 * 1024 * 1024;

enum Ended {
    Well,
    Failure { kind: String, message: String },
    Error { kind: String, message: String },
    Skipped { message: String },
}

struct Case {
    name: String,
    seconds: String,
    ended: Ended,
    printed: Vec<String>,
}

/// The whole report as a document.
pub fn report(outputs: &Outputs, state: &RunState, verdict: Verdict, drivers: &Drivers) -> String {
    let mut cases = cases(outputs, state);
    let none_bad = !cases.iter().any(|case| matches!(case.ended, Ended::Failure { .. } | Ended::Error { .. }));
    if verdict != Verdict::Succeeded && none_bad {
        // Cancelled, or out of time between two steps: a report without a failure would be green.
        let message = plain::ending(state, verdict, drivers).join("\n");
        let ended = Ended::Error { kind: words::verdict(verdict).to_owned(), message };
        cases.push(Case { name: "the run".into(), seconds: seconds(None, None), ended, printed: Vec::new() });
    }
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    let bytes = match document(&mut writer, state, verdict, &cases) {
        Ok(()) => writer.into_inner(),
        Err(error) => unreachable!("memory takes what is written to it: {error}"),
    };
    let mut text = String::from_utf8(bytes).expect("the report is made of text");
    text.push('\n');
    text
}

fn document(writer: &mut Writer<Vec<u8>>, state: &RunState, verdict: Verdict, cases: &[Case]) -> io::Result<()> {
    writer.write_event(Xml::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let count = |wanted: fn(&Ended) -> bool| cases.iter().filter(|case| wanted(&case.ended)).count().to_string();
    let tests = cases.len().to_string();
    let failures = count(|ended| matches!(ended, Ended::Failure { .. }));
    let errors = count(|ended| matches!(ended, Ended::Error { .. }));
    let skipped = count(|ended| matches!(ended, Ended::Skipped { .. }));
    let began = state.started_at.unwrap_or(state.created_at);
    let time = seconds(Some(began), state.finished_at);
    let stamp = DateTime::from_timestamp_millis(began).unwrap_or_default().format("%Y-%m-%dT%H:%M:%S").to_string();
    let host = nix::unistd::gethostname().ok().and_then(|host| host.into_string().ok()).unwrap_or_default();
    let (name, host) = (legal(&state.name), legal(&host));
    let counts = [
        ("tests", tests.as_str()),
        ("failures", failures.as_str()),
        ("errors", errors.as_str()),
        ("skipped", skipped.as_str()),
        ("time", time.as_str()),
    ];
    writer
        .create_element("testsuites")
        .with_attribute(("name", name.as_str()))
        .with_attributes(counts)
        .write_inner_content(|writer| {
            writer
                .create_element("testsuite")
                .with_attribute(("name", name.as_str()))
                .with_attributes(counts)
                .with_attribute(("timestamp", stamp.as_str()))
                .with_attribute(("hostname", host.as_str()))
                .with_attribute(("id", state.id.0.as_str()))
                .write_inner_content(|writer| {
                    properties(writer, state, verdict)?;
                    cases.iter().try_for_each(|one| case(writer, &name, one))
                })?;
            Ok(())
        })?;
    Ok(())
}

fn properties(writer: &mut Writer<Vec<u8>>, state: &RunState, verdict: Verdict) -> io::Result<()> {
    let params = state.shown_params().into_iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (format!("param.{name}"), text)
    });
    let own = [
        ("runward.run", state.id.0.clone()),
        ("runward.definition", state.definition.clone()),
        ("runward.generation", state.generation.to_string()),
        ("runward.actor", state.actor.clone()),
        ("runward.verdict", words::verdict(verdict).to_owned()),
        ("runward.exit_code", verdict.exit_code().to_string()),
    ];
    let all = own.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(params);
    writer.create_element("properties").write_inner_content(|writer| {
        for (name, value) in all {
            let (name, value) = (legal(&name), legal(&value));
            writer
                .create_element("property")
                .with_attribute(("name", name.as_str()))
                .with_attribute(("value", value.as_str()))
                .write_empty()?;
        }
        Ok(())
    })?;
    Ok(())
}

fn case(writer: &mut Writer<Vec<u8>>, suite: &str, case: &Case) -> io::Result<()> {
    let element = writer
        .create_element("testcase")
        .with_attribute(("name", case.name.as_str()))
        .with_attribute(("classname", suite))
        .with_attribute(("time", case.seconds.as_str()));
    if matches!(case.ended, Ended::Well) && case.printed.is_empty() {
        element.write_empty()?;
        return Ok(());
    }
    element.write_inner_content(|writer| {
        match &case.ended {
            Ended::Well => {}
            Ended::Failure { kind, message } => bad(writer, "failure", kind, message)?,
            Ended::Error { kind, message } => bad(writer, "error", kind, message)?,
            Ended::Skipped { message } => {
                let message = legal(message);
                writer.create_element("skipped").with_attribute(("message", message.as_str())).write_empty()?;
            }
        }
        if !case.printed.is_empty() {
            let printed: Vec<String> = case.printed.iter().map(|line| legal(line)).collect();
            writer.create_element("system-out").write_text_content(BytesText::new(&printed.join("\n")))?;
        }
        Ok(())
    })?;
    Ok(())
}

fn bad(writer: &mut Writer<Vec<u8>>, element: &str, kind: &str, message: &str) -> io::Result<()> {
    let first = legal(message.lines().next().unwrap_or_default());
    let whole: Vec<String> = message.lines().map(legal).collect();
    writer
        .create_element(element)
        .with_attribute(("type", kind))
        .with_attribute(("message", first.as_str()))
        .write_text_content(BytesText::new(&whole.join("\n")))?;
    Ok(())
}

/// Attempts whose ends the report has, as long as there is room.
pub fn reads(state: &RunState) -> Vec<(ClaimId, u64)> {
    let mut room = PRINTED_BYTES_MAX_ALL as u64;
    let printed = units(state).filter_map(|unit| {
        let found = state.unit(unit)?;
        let last = found.attempts.last().filter(|last| last.log.bytes > 0)?;
        Some((last.claim.clone(), limit(&ended(state, unit, found))))
    });
    let fits = |(_, bytes): &(ClaimId, u64)| {
        let fits = room > 0;
        room = room.saturating_sub(*bytes);
        fits
    };
    printed.take_while(fits).collect()
}

fn limit(ended: &Ended) -> u64 {
    if matches!(ended, Ended::Well) { PRINTED_BYTES_MAX } else { PRINTED_BYTES_MAX_FAILED }
}

fn cases(outputs: &Outputs, state: &RunState) -> Vec<Case> {
    let mut room = PRINTED_BYTES_MAX_ALL;
    let has_items = |unit: Unit| {
        unit.is_whole() && state.step(unit.step).items.as_ref().is_some_and(|items| !items.units.is_empty())
    };
    units(state)
        .filter(|unit| !has_items(*unit))
        .filter_map(|unit| Some((unit, state.unit(unit)?)))
        .map(|(unit, found)| {
            let ended = ended(state, unit, found);
            let limit = limit(&ended);
            let claim = found.attempts.last().map(|attempt| &attempt.claim).filter(|_| room > 0);
            let printed = claim.map(|claim| printed::last_lines(outputs, state, claim, limit)).unwrap_or_default();
            room = room.saturating_sub(printed.iter().map(String::len).sum());
            Case { name: state.unit_name(unit), seconds: seconds(found.started_at, found.ended_at), ended, printed }
        })
        .collect()
}

fn ended(state: &RunState, unit: Unit, found: &UnitState) -> Ended {
    let why = found.error.as_deref().filter(|error| !error.is_empty());
    let status = found.status.as_str().replace('_', " ");
    let message = why.map_or_else(|| status.clone(), |why| format!("{status}: {why}"));
    if plain::is_allowed(state, unit) {
        return Ended::Skipped { message: format!("{message} {}", words::ALLOWED) };
    }
    match found.status {
        StepStatus::Succeeded => Ended::Well,
        StepStatus::Failed | StepStatus::TimedOut => Ended::Failure { kind: status, message },
        StepStatus::Held if found.is_held_by_undo() => {
            Ended::Error { kind: status, message: "held: its undo did not succeed".into() }
        }
        StepStatus::Lost | StepStatus::Held => Ended::Error { kind: status, message },
        StepStatus::Running | StepStatus::Backoff | StepStatus::Waiting => {
            Ended::Error { kind: status, message: format!("{message}: the run was not at its end") }
        }
        StepStatus::Pending | StepStatus::Ready => Ended::Skipped { message: "not started".into() },
        StepStatus::Undone => Ended::Skipped { message: "it succeeded, and was taken back".into() },
        StepStatus::Skipped | StepStatus::Cancelled => Ended::Skipped { message },
    }
}

fn seconds(from: Option<i64>, to: Option<i64>) -> String {
    let ms = from.zip(to).map_or(0, |(from, to)| to.saturating_sub(from).max(0));
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// Only characters that XML 1.0 has: the others cannot even be written as references.
fn legal(line: &str) -> String {
    let xml = |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}');
    text::safe(line).chars().map(|c| if xml(c) { c } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::{legal, seconds};

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(legal("a\u{0}b\u{b}c\u{ffff}d\u{1b}[31me"), "a␀b␋c\u{fffd}de");
        assert_eq!(seconds(Some(1000), Some(3045)), "2.045");
    }
}
