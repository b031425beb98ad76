//! A file of parameters: a YAML (or JSON) map from name to value.

use serde_json::Value;

use super::check::visible;
use super::node::{self, Data};
use super::report::{Finding, Report};
use crate::limits;
use crate::units::format_size;

/// The names and values of the file, in its order. All problems of the file in one report.
pub fn parse_values(source: &[u8]) -> Result<Vec<(String, Value)>, Report> {
    if source.len() > limits::RUNBOOK_BYTES_MAX {
        let max = format_size(limits::RUNBOOK_BYTES_MAX as u64);
        let message = format!("this file is larger than {max}, the most that a file of parameters may have");
        let finding = Finding::new(&(0..0), "too large", message);
        return Err(Report::one(finding.help("pass large data in a file of its own, whose path is a parameter")));
    }
    let document = node::read(source)?;
    if !document.findings.is_empty() {
        return Err(Report::new(document.findings));
    }
    match &document.root.data {
        Data::Null => Ok(Vec::new()),
        Data::Map(entries) => Ok(entries.iter().map(|(key, node)| (key.text.clone(), node.json())).collect()),
        _ => {
            let message = "a file of parameters is a map from name to value";
            let finding =
                Finding::new(&visible(&document.root), "not a map", message).help("write `name: value` lines");
            Err(Report::one(finding))
        }
    }
}
