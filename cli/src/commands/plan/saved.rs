//! A plan in a file: `plan --out FILE` writes it, `run --plan FILE` runs exactly that, or says what has moved on.
//!
//! It holds no sensitive value and no file that the definition is pinned to, only their hashes: what lies on disk has to be
//! the same again. Nothing in it is trusted: parameters are checked like any others, and its hash against what would run.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runward_engine::plan::definition::PinnedRunbook;
use runward_engine::plan::params::{HIDDEN, verify};
use runward_engine::plan::{Definition, PinnedFile, Seal, plan_hash};
use runward_engine::run::RunId;
use runward_engine::run::event::Planned;
use runward_engine::run::rows::RunRow;
use runward_engine::runbook::drill::SUFFIX;
use runward_engine::units::format_size;
use runward_store::{LastRun, Ledger, LedgerError, RunQuery};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::past::Known;
use super::{Plan, changes};
use crate::actor::actor;
use crate::args::ParamArgs;
use crate::commands::{params, preview};
use crate::failure::Failure;
use crate::runbook_file::RunbookFile;
use crate::text;

pub const VERSION: u32 = 1;
/// A plan of twenty thousand steps is smaller.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Clocks of two machines may differ by this, in milliseconds.
const SKEW_MS: i64 = 5 * 60 * 1000;

/// What is read of the file; the rest of it is for people and programs.
#[derive(Debug, Deserialize)]
struct Document {
    plan: String,
    runbook: String,
    definition: String,
    files: Vec<PinnedFile>,
    #[serde(default)]
    runbooks: Vec<PinnedRunbook>,
    params: Map<String, Value>,
    saved: Saved,
}

/// What a file has more than `plan --format json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Saved {
    /// Epoch milliseconds.
    at: i64,
    by: String,
    valid_until: i64,
    /// Where the runbook was.
    path: PathBuf,
    /// Parameters that have a value which is not in the file.
    sensitive: Vec<String>,
    /// The hash of the plan without their values: whether somebody edited the file.
    open: String,
    /// What lay where `render` steps will write.
    targets: Vec<preview::Target>,
    last_run: Option<Seen>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    id: RunId,
    seq: u64,
}

impl Saved {
    pub fn of(plan: &Plan<'_>, known: &Known, valid_for: Duration) -> Saved {
        let (file, at) = (plan.file, text::now());
        let hidden = |name: &&String| file.runbook.params.iter().any(|param| param.sensitive && param.name == **name);
        Saved {
            at,
            by: actor(),
            valid_until: at.saturating_add(i64::try_from(valid_for.as_millis()).unwrap_or(i64::MAX)),
            path: PathBuf::from(&plan.definition.path),
            sensitive: plan.params.keys().filter(hidden).cloned().collect(),
            open: plan_hash(&file.name, &plan.definition.hash(), &file.runbook, &plan.params, None),
            targets: preview::targets(&plan.previews, &known.seal),
            last_run: known.last.as_ref().map(|last| Seen { id: last.row.id.clone(), seq: last.row.seq }),
        }
    }
}

/// A place where no plan can be written is told before anything is asked or read.
pub fn refuse_place(out: &Path) -> Result<(), Failure> {
    match std::fs::symlink_metadata(out) {
        Ok(found) if !found.is_file() => {
            let what = if found.is_symlink() { "a link" } else { "no regular file" };
            Err(Failure::usage(format!("{} is {what}: a plan is not written to it", out.display()))
                .help("name a file, or print the plan with --format json"))
        }
        _ => Ok(()),
    }
}

pub fn write(out: &Path, document: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(document).expect("a plan is plain data: its JSON cannot fail");
    crate::write::privately(out, format!("{text}\n").as_bytes())
        .map_err(|error| Failure::usage(format!("the plan cannot be written to {}: {error}", out.display())))
}

/// A plan that somebody saved.
pub struct SavedPlan {
    shown: String,
    document: Document,
}

impl SavedPlan {
    pub fn read(path: &Path) -> Result<SavedPlan, Failure> {
        let shown = path.display().to_string();
        let no_plan = |why: String| Failure::usage(format!("{shown} {why}")).help(PLAN_AGAIN);
        let unreadable = |error: std::io::Error| no_plan(format!("cannot be read: {error}"));
        let meta = std::fs::metadata(path).map_err(unreadable)?;
        if !meta.is_file() {
            return Err(no_plan("is no regular file".to_owned()));
        }
        if meta.len() > BYTES_MAX {
            let (size, max) = (format_size(meta.len()), format_size(BYTES_MAX));
            return Err(no_plan(format!("has {size}; a plan has at most {max}")));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes)).map_err(unreadable)?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|error| no_plan(format!("is no plan, or not all of it: {error}")))?;
        if value["runward"] != "plan" {
            return Err(no_plan("is no plan of runward".to_owned()));
        }
        match value["version"].as_u64() {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => {
                let message = format!("{shown} is a plan of version {version}; this runward knows version {VERSION}");
                return Err(
                    Failure::usage(message).help("run it with the version of runward that saved it, or plan again")
                );
            }
            None => return Err(no_plan("says no version".to_owned())),
        }
        if value["saved"].is_null() {
            return Err(no_plan("was printed, not saved".to_owned()));
        }
        let document = serde_json::from_value(value).map_err(|error| no_plan(format!("is no whole plan: {error}")))?;
        Ok(SavedPlan { shown, document })
    }

    /// Where the runbook was when it was planned.
    pub fn runbook(&self) -> String {
        self.document.saved.path.display().to_string()
    }

    pub fn is_drill(&self) -> bool {
        self.document.runbook.ends_with(SUFFIX)
    }

    pub fn planned(&self) -> Planned {
        Planned { at: self.document.saved.at, by: self.document.saved.by.clone() }
    }

    pub fn last_run(&self) -> LastRun {
        LastRun(self.document.saved.last_run.as_ref().map(|seen| (seen.id.clone(), seen.seq)))
    }

    /// Those of the plan, and those that are given again because they are sensitive.
    pub fn params(&self, file: &RunbookFile, args: &ParamArgs) -> Result<Map<String, Value>, Failure> {
        let (runbook, planned) = (&file.runbook, &self.document.runbook);
        if *planned != file.name {
            let (path, name) = (file.path.display(), &file.name);
            return Err(Failure::usage(format!(
                "{} plans the runbook `{planned}`, and {path} is `{name}`",
                self.shown
            ))
            .help("name the runbook that was planned, or leave it out"));
        }
        let sensitive = &self.document.saved.sensitive;
        let mut all = self.document.params.clone();
        all.retain(|name, value| !(sensitive.contains(name) && value == HIDDEN));
        all.extend(params::resolve_again(runbook, args, sensitive)?);
        verify(runbook, &all).map_err(|errors| {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Failure::usage(format!("{}: {}", self.shown, all.join("\n"))).help(PLAN_AGAIN)
        })?;
        Ok(all)
    }

    /// Everything that moved on since. Whether another run happened is looked at once more when the run is recorded.
    pub async fn check(
        &self,
        file: &RunbookFile,
        definition: &Definition,
        params: &Map<String, Value>,
        ledger: &dyn Ledger,
    ) -> Result<(), Failure> {
        let seal = &ledger.seal().await?;
        let Document { saved, .. } = &self.document;
        let mut moved = Vec::new();
        let now = text::now();
        if now > saved.valid_until {
            let (made, until) = (text::time(saved.at), text::time(saved.valid_until));
            moved.push(format!("it was saved at {made}, to be run until {until}"));
        }
        if saved.at > now.saturating_add(SKEW_MS) {
            moved.push(format!("it says that it was saved at {}, which is yet to come", text::time(saved.at)));
        }
        match self.definition_moved(definition) {
            moves if moves.is_empty() => moved.extend(self.hash_moved(file, definition, params, seal)),
            moves => moved.extend(moves),
        }
        let query = RunQuery { name: Some(file.name.clone()), limit: Some(1), ..RunQuery::default() };
        let newest = ledger.runs(&query).await?.pop();
        if let Err(LedgerError::MovedOn { newest }) = self.last_run().moved_on(newest.as_ref()) {
            moved.push(another_run(&newest));
        }
        moved.extend(preview::targets_moved(&saved.targets, &preview::of(file, params), seal));
        if moved.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = moved.iter().map(|line| format!("- {line}")).collect();
        Err(Failure::usage(format!(
            "{} is not what would run now, and nothing was started:\n{}",
            self.shown,
            lines.join("\n")
        ))
        .help(PLAN_AGAIN))
    }

    fn definition_moved(&self, definition: &Definition) -> Vec<String> {
        let planned = &self.document;
        if planned.definition == definition.hash() {
            return Vec::new();
        }
        let (files, runbooks) = (planned.files.clone(), planned.runbooks.clone());
        let with_files_of_then = Definition { files, runbooks, ..definition.clone() };
        let files = changes::files(&with_files_of_then, definition);
        let mut moved: Vec<String> = files.iter().map(|file| format!("{}: {}", file.path, file.change)).collect();
        if with_files_of_then.hash() != planned.definition {
            moved.push(format!("the runbook {} was changed", definition.path));
        }
        moved
    }

    fn hash_moved(
        &self,
        file: &RunbookFile,
        definition: &Definition,
        params: &Map<String, Value>,
        seal: &Seal,
    ) -> Option<String> {
        let planned = &self.document;
        let hash_of =
            |params: &Map<String, Value>, seal| plan_hash(&file.name, &definition.hash(), &file.runbook, params, seal);
        if hash_of(params, Some(seal)) == planned.plan {
            return None;
        }
        let names = planned.saved.sensitive.join(", ");
        Some(match hash_of(&planned.params, None) == planned.saved.open && !names.is_empty() {
            true => format!("the values of {names} are not those of the plan, or it was made with another ledger"),
            false => "the file was changed after it was saved".to_owned(),
        })
    }
}

pub fn another_run(newest: &RunRow) -> String {
    let (at, status) = (text::time(newest.created_at), newest.status.replace('_', " "));
    format!("run {} by {} at {at} is the newest one now, or went on since ({status})", newest.id, newest.actor)
}

const PLAN_AGAIN: &str = "plan again, with `runward plan RUNBOOK ... --out FILE`, and look at what differs";
