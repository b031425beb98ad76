//! What differs from the last run of the same runbook: its text, the files it is pinned to, its parameters.

use std::collections::{BTreeMap, BTreeSet};

use runward_engine::plan::Definition;
use runward_engine::plan::definition::PinnedRunbook;
use runward_engine::plan::params::HIDDEN;
use runward_engine::runbook::model::Runbook;
use runward_workers::step::diff;
use serde::Serialize;
use serde_json::{Map, Value};

use super::past::Last;
use crate::text;
use crate::view::words;

#[derive(Debug, Serialize)]
pub struct Changes {
    /// A unified diff of the runbook; `None` where the old one cannot be read.
    pub definition: Option<Vec<String>>,
    pub files: Vec<FileChange>,
    pub params: Vec<ParamChange>,
}

#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct FileChange {
    pub path: String,
    pub change: &'static str,
}

/// Sensitive values are [`HIDDEN`] on both sides.
#[derive(Debug, Serialize, PartialEq)]
pub struct ParamChange {
    pub name: String,
    pub was: Option<Value>,
    pub is: Option<Value>,
}

impl Changes {
    pub fn since(last: &Last, definition: &Definition, runbook: &Runbook, params: &Map<String, Value>) -> Changes {
        let old = last.definition.as_ref();
        Changes {
            definition: old.map(|old| match old.source == definition.source {
                true => Vec::new(),
                false => diff::unified(&definition.name, Some(old.source.as_bytes()), &definition.source),
            }),
            files: old.map(|old| files(old, definition)).unwrap_or_default(),
            params: params_since(last, runbook, params),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.definition.as_ref().is_some_and(Vec::is_empty) && self.files.is_empty() && self.params.is_empty()
    }

    pub fn lines(&self) -> Vec<String> {
        let shown = |value: &Option<Value>| value.as_ref().map_or("nothing".to_owned(), ToString::to_string);
        let param = |change: &ParamChange| match change.is.as_ref().or(change.was.as_ref()) {
            Some(Value::String(text)) if text == HIDDEN => format!("{}: changed (sensitive)", change.name),
            _ => format!("{}: {} -> {}", change.name, shown(&change.was), shown(&change.is)),
        };
        let mut lines: Vec<String> = self.params.iter().map(param).collect();
        lines.extend(self.files.iter().map(|file| format!("{}: {}", file.path, file.change)));
        match &self.definition {
            Some(diff) => lines.extend(diff.iter().cloned()),
            None => lines.push("what its runbook was cannot be read".to_owned()),
        }
        lines.iter().map(|line| text::safe(line)).collect()
    }
}

/// `…bad8cbd1b05a, by alice@db1 (terminal) at 2026-11-22 03:10:00: failed`
pub fn last_run(last: &Last) -> String {
    let row = &last.row;
    let status = row.status.replace('_', " ");
    let held = if row.held { ", held" } else { "" };
    format!("{} by {} at {}: {status}{held}", words::short(&row.id.0), row.actor, text::time(row.created_at))
}

/// The files it is pinned to, and the runbooks it calls.
pub fn files(old: &Definition, new: &Definition) -> Vec<FileChange> {
    let by_path = |definition: &Definition| -> BTreeMap<String, (String, bool)> {
        let files = definition.files.iter().map(|file| (file.path.clone(), (file.sha256.clone(), file.executable)));
        let called =
            |called: &PinnedRunbook| (format!("runbook {}", called.runbook), (called.definition.clone(), false));
        files.chain(definition.runbooks.iter().map(called)).collect()
    };
    let (old, new) = (by_path(old), by_path(new));
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |path: &String| match (old.get(path), new.get(path)) {
        (None, _) => Some("added"),
        (_, None) => Some("no longer pinned"),
        (Some(was), Some(is)) if was.0 != is.0 => Some("content changed"),
        (Some(was), Some(is)) if was.1 && !is.1 => Some("no longer executable"),
        (Some(was), Some(is)) if was.1 != is.1 => Some("now executable"),
        _ => None,
    };
    paths.into_iter().filter_map(|path| Some(FileChange { path: path.clone(), change: change(path)? })).collect()
}

fn params_since(last: &Last, runbook: &Runbook, params: &Map<String, Value>) -> Vec<ParamChange> {
    let secret = |name: &str| {
        runbook.params.iter().any(|param| param.sensitive && param.name == name)
            || last.row.params.get(name).is_some_and(|value| value == HIDDEN)
    };
    let names: BTreeSet<&String> = last.params.keys().chain(params.keys()).collect();
    let differ = names.into_iter().filter(|name| last.params.get(*name) != params.get(*name));
    let hide = |name: &str, value: Option<&Value>| {
        value.map(|value| if secret(name) { Value::from(HIDDEN) } else { value.clone() })
    };
    let change = |name: &String| ParamChange {
        name: name.clone(),
        was: hide(name, last.params.get(name)),
        is: hide(name, params.get(name)),
    };
    differ.map(change).collect()
}
