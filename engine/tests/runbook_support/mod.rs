//! Runbooks for tests, and what is said about them.
#![allow(dead_code)]

use runward_engine::runbook::model::Runbook;
use runward_engine::runbook::{Report, parse, position};

/// `line:col message (help)`, a line each.
pub fn render(source: &str, report: &Report) -> String {
    let line = |finding: &runward_engine::runbook::Finding| {
        let (line, column) = position(source, finding.span.start);
        let help = finding.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        format!("{line}:{column} {}{help}\n", finding.message)
    };
    report.findings.iter().map(line).collect()
}

pub fn complaints(source: &str) -> String {
    match parse(source.as_bytes()) {
        Ok(_) => "no findings\n".into(),
        Err(report) => render(source, &report),
    }
}

pub fn accepted(source: &str) -> Runbook {
    parse(source.as_bytes()).unwrap_or_else(|report| panic!("{}", render(source, &report)))
}

/// A file of these steps.
pub fn with_steps(steps: &str) -> String {
    format!("steps:\n{steps}")
}
