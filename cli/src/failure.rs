//! Errors as people see them: what happened, where, what to do next, and the exit code (docs/running.md).

use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, Severity,
    SourceCode, SourceSpan, SpanContents,
};
use runward_engine::runbook::{Finding, Report};
use runward_store::LedgerError;
use runward_workers::care::prune::PruneError;
use runward_workers::driver::DriveError;
use runward_workers::home::{DriverLockError, HomeError};

use crate::text;

pub const EXIT_FAILED: i32 = 1;
pub const EXIT_USAGE: i32 = 2;
pub const EXIT_BUSY: i32 = 5;
pub const EXIT_LEDGER: i32 = 9;

/// A command that ends without having done what it was asked.
#[derive(Debug)]
pub struct Failure {
    code: i32,
    message: String,
    help: Option<String>,
    related: Vec<Problem>,
}

/// One place in a file.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    message: String,
    help: Option<String>,
    label: LabeledSpan,
    file: Arc<NamedText>,
    /// Whether the line is short enough to be shown.
    shown: bool,
}

/// Places shown of one file; the rest is counted.
const PLACES_SHOWN: usize = 50;
/// A longer line is not shown with its problem, in bytes.
const LINE_SHOWN_MAX: usize = 1000;

/// A file as reports quote it. miette counts columns in bytes; people and editors count characters.
#[derive(Debug)]
struct NamedText {
    name: String,
    text: String,
}

impl SourceCode for NamedText {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let found = self.text.read_span(span, before, after)?;
        let at = *found.span();
        let column = match found.column() {
            0 => 0,
            _ => runward_engine::runbook::position(&self.text, at.offset()).1.saturating_sub(1),
        };
        let (name, data, lines) = (self.name.clone(), found.data(), found.line_count());
        Ok(Box::new(MietteSpanContents::new_named(name, data, at, found.line(), column, lines)))
    }
}

impl Diagnostic for Problem {
    fn severity(&self) -> Option<Severity> {
        Some(Severity::Error)
    }
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.shown.then_some(&*self.file as _)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.shown.then(|| Box::new(std::iter::once(self.label.clone())) as _)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Plain(String, Option<String>);

impl Diagnostic for Plain {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.1.as_ref().map(|help| Box::new(help) as _)
    }
}

impl Failure {
    pub fn new(code: i32, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), help: None, related: Vec::new() }
    }

    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(EXIT_USAGE, message)
    }

    pub fn help(mut self, help: impl Into<String>) -> Failure {
        self.help = Some(help.into());
        self
    }

    /// More problems that have no place in a file.
    pub fn also(mut self, problems: &[String]) -> Failure {
        problems.iter().for_each(|problem| self.message += &format!("\n{problem}"));
        self
    }

    /// Every finding of a runbook, each with its place.
    pub fn runbook(path: &str, source: &str, report: &Report) -> Failure {
        let path = text::safe(path);
        let file = Arc::new(NamedText { name: path.clone(), text: text::safe_source(source) });
        let place = |finding: &Finding| {
            let start = finding.span.start.min(source.len());
            let len = finding.span.len().min(source.len() - start);
            let before = source.as_bytes()[..start].iter().rev().take_while(|byte| **byte != b'\n').count();
            let after = source.as_bytes()[start..].iter().take_while(|byte| **byte != b'\n').count();
            let shown = before + after <= LINE_SHOWN_MAX;
            let (line, column) = runward_engine::runbook::position(source, start);
            let message = text::safe(&finding.message);
            Problem {
                message: if shown { message } else { format!("{path}:{line}:{column}: {message}") },
                help: finding.help.as_deref().map(text::safe),
                label: LabeledSpan::new_with_span(Some(text::safe(&finding.label)), (start, len)),
                file: Arc::clone(&file),
                shown,
            }
        };
        let related: Vec<Problem> = report.findings.iter().map(place).collect();
        let message = match related.len() {
            1 => format!("{path}: 1 problem"),
            n => format!("{path}: {n} problems"),
        };
        Failure { code: EXIT_USAGE, message, help: None, related }
    }

    /// Both, where more than one file is wrong.
    pub fn and(mut self, other: Failure) -> Failure {
        self.message = format!("{}\n{}", self.message, other.message);
        self.help = self.help.or(other.help);
        self.related.extend(other.related);
        self
    }

    /// Prints the report to standard error and returns the exit code.
    pub fn print(self) -> i32 {
        let colour = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_context_lines(1);
        let mut out = String::new();
        for problem in self.related.iter().take(PLACES_SHOWN) {
            let _ = handler.render_report(&mut out, problem);
        }
        let rest = self.related.len().saturating_sub(PLACES_SHOWN);
        let more = if rest > 0 { format!(", {rest} of them not shown") } else { String::new() };
        let lines: Vec<String> = self.message.lines().map(text::safe).collect();
        let message = format!("{}{more}", lines.join("\n"));
        let _ = handler.render_report(&mut out, &Plain(message, self.help.as_deref().map(text::safe)));
        eprint!("{out}");
        self.code
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        let code = match error {
            LedgerError::GroupFull { .. } => EXIT_BUSY,
            LedgerError::NoSuchRun(_) | LedgerError::KeyOfPruned { .. } | LedgerError::MovedOn { .. } => EXIT_USAGE,
            _ => EXIT_LEDGER,
        };
        Failure { code, message: error.to_string(), help: error.help().map(str::to_owned), related: Vec::new() }
    }
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        let help = Some(error.help().to_owned());
        Failure { code: EXIT_LEDGER, message: error.to_string(), help, related: Vec::new() }
    }
}

impl From<PruneError> for Failure {
    fn from(error: PruneError) -> Self {
        match error {
            PruneError::Ledger(error) => error.into(),
            PruneError::Home(error) => error.into(),
        }
    }
}

impl From<DriveError> for Failure {
    fn from(error: DriveError) -> Self {
        match error {
            DriveError::Ledger(error) => error.into(),
            DriveError::Home(error) => error.into(),
            DriveError::Supervisor(_) => {
                Failure::new(EXIT_LEDGER, error.to_string()).help("what runs goes on; `runward resume RUN` picks it up")
            }
        }
    }
}

impl From<DriverLockError> for Failure {
    fn from(error: DriverLockError) -> Self {
        match error {
            DriverLockError::Home(error) => error.into(),
            DriverLockError::Taken { run, holder } => crate::refusal::driven(&run, &holder),
        }
    }
}

impl Failure {
    /// The places as data: line and column from 1, columns in characters.
    pub fn findings(&self) -> Vec<serde_json::Value> {
        if self.related.is_empty() {
            return vec![serde_json::json!({"message": self.message, "help": self.help})];
        }
        self.related.iter().map(Problem::to_json).collect()
    }
}

impl Problem {
    fn to_json(&self) -> serde_json::Value {
        let (line, column) = runward_engine::runbook::position(&self.file.text, self.label.offset());
        serde_json::json!({
            "message": self.message,
            "help": self.help,
            "label": self.label.label(),
            "line": line,
            "column": column,
            "offset": self.label.offset(),
            "length": self.label.len(),
        })
    }
}

impl Failure {
    /// All of it as lines of text, each problem with its place.
    pub fn in_words(&self) -> String {
        let places = self.related.iter().map(|problem| {
            let (line, column) = runward_engine::runbook::position(&problem.file.text, problem.label.offset());
            format!("\nline {line}, column {column}: {}", problem.message)
        });
        format!("{}{}", self.message, places.collect::<String>())
    }

    pub fn summary(&self) -> &str {
        &self.message
    }
}
