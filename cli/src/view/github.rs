//! A run as GitHub Actions reads it: a group for each attempt when it ends, an annotation at the step's place in the
//! runbook for each failure, a step summary.
//!
//! Commands are lines of the log, so whatever a step prints stands between `stop-commands` and a token nobody can guess.
//! A group goes out in one piece: the output of steps that run side by side is never mixed.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use runward_engine::run::state::Attempt;
use runward_engine::run::{ClaimId, Event, Outcome, Part, Recorded, RunState, Then, Unit, Verdict};
use runward_engine::runbook::position;
use uuid::Uuid;

use super::out::{self, To};
use super::{Before, plain, printed, summary};
use crate::drivers::Drivers;
use crate::outputs::Outputs;
use crate::text;

/// Output shown of one attempt; all of it is kept.
pub const SHOWN_BYTES_MAX: u64 = 256 * 1024;
/// The last lines that stand in an annotation.
const ANNOTATED_LINES: usize = 8;

pub struct Github {
    outputs: Outputs,
    quiet: bool,
    file: Option<PathBuf>,
    /// The file as annotations name it, and the text the run is pinned to.
    runbook: Option<(String, String)>,
    errors: usize,
}

impl Github {
    pub fn new(outputs: Outputs, quiet: bool, file: Option<PathBuf>) -> Github {
        Github { outputs, quiet, file, runbook: None, errors: 0 }
    }

    pub fn begin(&mut self, state: &RunState, before: Option<Before>) {
        line(&plain::beginning(state));
        hand_on(&format!("run={}\n", state.id));
        let Some(before) = before else { return };
        let path = self.file.clone().unwrap_or_else(|| before.definition.path.clone().into());
        self.runbook = Some((in_workspace(&path), before.definition.source));
        // What earlier generations printed was shown when they ran.
        let resumed = before.events.iter().rposition(|recorded| matches!(recorded.event, Event::RunResumed { .. }));
        self.changed(state, &before.events[resumed.unwrap_or(0)..]);
    }

    pub fn changed(&mut self, state: &RunState, news: &[Recorded]) {
        for recorded in news {
            match &recorded.event {
                Event::AttemptSettled { unit, claim, outcome, .. } if outcome.is_fine() => {
                    if !self.quiet {
                        self.group(state, recorded, unit, claim);
                    }
                }
                Event::AttemptSettled { unit, claim, then, outcome, .. } => {
                    let lines = self.group(state, recorded, unit, claim);
                    // Killed because the run was cancelled: the run says so, once.
                    if !matches!((then, outcome), (Then::Retry { .. }, _) | (_, Outcome::Killed)) {
                        self.annotate(state, recorded, unit, &lines);
                    }
                }
                Event::AttemptLost { unit, claim, then, .. } => {
                    let lines = self.group(state, recorded, unit, claim);
                    if !matches!(then, Then::Retry { .. }) {
                        self.annotate(state, recorded, unit, &lines);
                    }
                }
                Event::UnitFailed { unit, .. } => {
                    line(&plain::note(state, recorded).unwrap_or_default());
                    self.annotate(state, recorded, unit, &[]);
                }
                Event::AttemptVoided { .. } => line(&plain::sentence(state, recorded, None)),
                _ => {
                    if let Some(note) = plain::note(state, recorded) {
                        line(&note);
                    }
                }
            }
        }
    }

    /// A run that is a step: its annotations stand at no place, for they would stand in another file.
    pub fn child_changed(&mut self, state: &RunState, news: &[Recorded]) {
        let own = self.runbook.take();
        self.changed(state, news);
        self.runbook = own;
    }

    pub fn end(&mut self, state: &RunState, verdict: Verdict, drivers: &Drivers) {
        let lines = plain::ending(state, verdict, drivers);
        lines.iter().for_each(|text| line(text));
        if verdict != Verdict::Succeeded && self.errors == 0 {
            // Somebody is waited for: nothing is wrong.
            let kind = if verdict == Verdict::Unfinished { "warning" } else { "error" };
            self.command(
                kind,
                &format!("{} {}", state.name, super::words::ended(state, verdict)),
                &lines[1..].join("\n"),
                0,
            );
        }
        if let Some(path) = file_of("GITHUB_STEP_SUMMARY")
            && let Err(error) = summary::append(&path, state, verdict, drivers)
        {
            line(&format!("! the step summary {} cannot be written: {error}", path.display()));
        }
        hand_on(&format!("status={}\nexit-code={}\n", state.status.as_str(), verdict.exit_code()));
    }

    /// Everything of one attempt in one piece. Returns its last lines.
    fn group(&self, state: &RunState, recorded: &Recorded, unit: &str, claim: &ClaimId) -> Vec<String> {
        let attempt = state.unit_named(unit).and_then(|unit| attempt_of(state, unit, claim));
        let lines = printed::last_lines(&self.outputs, state, claim, SHOWN_BYTES_MAX);
        let sentence = plain::sentence(state, recorded, attempt.map(|attempt| attempt.claimed_at));
        let mut group = format!("::group::{}\n", escaped(&title(unit, recorded, attempt)));
        if !lines.is_empty() {
            let token = Uuid::new_v4().simple();
            let _ = writeln!(group, "::stop-commands::{token}");
            lines.iter().for_each(|line| _ = writeln!(group, "{line}"));
            let _ = writeln!(group, "::{token}::");
        }
        let _ = writeln!(group, "::endgroup::");
        sentence.lines().for_each(|text| _ = writeln!(group, "{}", harmless(text)));
        out::show(To::Output, group);
        lines
    }

    fn annotate(&mut self, state: &RunState, recorded: &Recorded, unit: &str, lines: &[String]) {
        let Some(found) = state.unit_named(unit) else { return };
        let spec = state.spec(found.step);
        let kind = if spec.allow_failure && found.part == Part::Step { "warning" } else { "error" };
        let sentence = match &recorded.event {
            Event::UnitFailed { .. } => plain::note(state, recorded).unwrap_or_default(),
            _ => plain::sentence(state, recorded, None),
        };
        let tail = &lines[lines.len().saturating_sub(ANNOTATED_LINES)..];
        let message: Vec<&str> = sentence.lines().chain(tail.iter().map(String::as_str)).collect();
        let title = format!("{} / {unit}", state.name);
        self.command(kind, &title, &message.join("\n"), spec.span.start);
        self.errors += usize::from(kind == "error");
    }

    /// An annotation at what begins at this byte of the runbook.
    fn command(&self, kind: &str, title: &str, message: &str, at: usize) {
        let place = self.runbook.as_ref().map(|(file, source)| {
            let (from, column) = position(source, at);
            let to = last_line(source, from, column);
            format!("file={},line={from},col={column},endLine={to},", escaped_property(file))
        });
        out::show(To::Output, annotation(kind, &place.unwrap_or_default(), title, message));
    }
}

/// A file that the runner reads what a step says from.
fn file_of(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// For the steps after this one, as `steps.ID.outputs.run`; there as soon as the run is, however the job ends.
fn hand_on(lines: &str) {
    let Some(path) = file_of("GITHUB_OUTPUT") else { return };
    let file = OpenOptions::new().append(true).create(true).open(&path);
    if let Err(error) = file.and_then(|mut file| file.write_all(lines.as_bytes())) {
        line(&format!("! the outputs {} cannot be written: {error}", path.display()));
    }
}

/// A problem in a file of the repository, line and column from 1.
pub fn problem(file: &Path, line: u64, column: u64, title: &str, message: &str) -> String {
    let file = escaped_property(&in_workspace(file));
    annotation("error", &format!("file={file},line={line},col={column},"), title, message)
}

/// `place`: properties, each with a comma behind it.
fn annotation(kind: &str, place: &str, title: &str, message: &str) -> String {
    format!("::{kind} {place}title={}::{}\n", escaped_property(title), escaped(message))
}

fn attempt_of<'a>(state: &'a RunState, unit: Unit, claim: &ClaimId) -> Option<&'a Attempt> {
    state.unit(unit)?.attempts.iter().find(|attempt| attempt.claim == *claim)
}

/// `upgrade[3] (failed, attempt 2, 1.2 s)`
fn title(unit: &str, recorded: &Recorded, attempt: Option<&Attempt>) -> String {
    let status = match (&recorded.event, attempt) {
        (Event::AttemptLost { .. }, _) => "lost",
        (_, Some(attempt)) => attempt.status.as_str(),
        _ => "ended",
    };
    let nth = attempt.filter(|attempt| attempt.no > 1).map(|attempt| format!(", attempt {}", attempt.no));
    let took = attempt.map(|attempt| {
        let (from, to) = (attempt.started_at.unwrap_or(attempt.claimed_at), attempt.ended_at.unwrap_or(recorded.at));
        format!(", {}", text::took(Some(from), Some(to)))
    });
    format!("{unit} ({}{}{})", status.replace('_', " "), nth.unwrap_or_default(), took.unwrap_or_default())
}

/// A line of our own, whatever names and messages stand in it.
fn line(text: &str) {
    text.lines().for_each(|text| out::show(To::Output, format!("{}\n", harmless(text))));
}

/// Not a command: those begin a line with `::`, in their older form `##[` may stand anywhere.
fn harmless(line: &str) -> String {
    let line = text::safe(line).replace("##[", "## [");
    if line.trim_start().starts_with("::") { format!("| {}", line.trim_start()) } else { line }
}

/// The message of a command.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a command.
fn escaped_property(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}

/// The last line of the block that begins at this line and column: everything indented as far belongs to it.
fn last_line(source: &str, line: usize, column: usize) -> usize {
    let belongs = |text: &&str| text.trim().is_empty() || text.chars().take_while(|c| *c == ' ').count() + 1 >= column;
    let block: Vec<&str> = source.lines().skip(line).take_while(belongs).collect();
    line + block.iter().rposition(|text| !text.trim().is_empty()).map_or(0, |last| last + 1)
}

/// A path as annotations name files: below `GITHUB_WORKSPACE`, else below the repository it lies in.
fn in_workspace(path: &Path) -> String {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let workspace = std::env::var_os("GITHUB_WORKSPACE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let workspace = workspace.map(|path| std::fs::canonicalize(&path).unwrap_or(path));
    let repository = || path.ancestors().find(|folder| folder.join(".git").exists()).map(Path::to_owned);
    let below = |root: PathBuf| path.strip_prefix(root).ok().map(Path::to_owned);
    workspace.and_then(below).or_else(|| repository().and_then(below)).unwrap_or(path.clone()).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::{escaped, escaped_property, harmless, last_line};

    #[test]
    fn a_step_ends_where_the_next_one_begins() {
        let source = "steps:\n  - id: a\n    run: |\n      one\n\n      two\n\n  # next\n  - id: b\n    run: x\n";
        assert_eq!((last_line(source, 2, 5), last_line(source, 9, 5)), (6, 10));
    }

    #[test]
    fn values_cannot_end_a_command_or_begin_one() {
        assert_eq!(escaped("100%\r\na:b,c"), "100%25%0D%0Aa:b,c");
        assert_eq!(escaped_property("a:b,c%"), "a%3Ab%2Cc%25");
        assert_eq!(harmless("  ::error::x"), "| ::error::x");
        assert_eq!(harmless("a ##[error]x"), "a ## [error]x");
        assert_eq!(harmless("✗ a failed: exit code 1"), "✗ a failed: exit code 1");
    }
}
