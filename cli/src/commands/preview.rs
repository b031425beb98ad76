//! What the `render` steps of a runbook would change on this machine, as far as that is known before anything ran. For
//! `runward plan` and `runward run --check`; nothing is written.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use runward_engine::bind::path;
use runward_engine::bind::{Context, Document, Expression, Reference};
use runward_engine::limits::RENDER_BYTES_MAX;
use runward_engine::plan::Seal;
use runward_engine::plan::definition::sha256;
use runward_engine::run::prepare::render_request;
use runward_engine::runbook::model::{Items, Render, Runbook, Step};
use runward_engine::runbook::templates::renders;
use runward_workers::step::{diff, render};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{print_json, print_line};
use crate::args::RunFormat;
use crate::failure::Failure;
use crate::runbook_file::RunbookFile;
use crate::text;

/// One file of one step, or of one item of it.
#[derive(Debug, Serialize)]
pub struct Preview {
    pub step: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<usize>,
    #[serde(flatten)]
    pub change: Change,
    /// Where it will write, and whether that may be looked into; `None`: not known, or in the folder of the run.
    #[serde(skip)]
    place: Option<(PathBuf, bool)>,
}

/// What lay where a file will be written, as a saved plan remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    to: PathBuf,
    /// Of its mode and content.
    was: String,
}

#[derive(Debug, Serialize)]
#[serde(tag = "change", content = "detail", rename_all = "snake_case")]
pub enum Change {
    /// It is as it should be.
    None { to: String },
    /// What changes, and the difference.
    Changes(Vec<String>),
    /// The step's `if` is false.
    Skipped,
    /// Why it cannot be said before the run.
    NotKnown(String),
}

impl Preview {
    pub fn lines(&self) -> Vec<String> {
        match &self.change {
            Change::None { to } => vec![format!("{to} is as it should be")],
            Change::Changes(lines) => lines.clone(),
            Change::Skipped => vec!["skipped by its `if`".to_owned()],
            Change::NotKnown(why) => vec![format!("what it changes is not known before the run: {why}")],
        }
    }
}

/// `runward run --check`.
pub fn check(file: &RunbookFile, params: &Map<String, Value>, format: RunFormat) -> Result<i32, Failure> {
    let previews = of(file, params);
    match format {
        RunFormat::Text => {}
        RunFormat::Json => {
            print_json(&json!({"runbook": file.name, "files": previews}));
            return Ok(0);
        }
        RunFormat::Github | RunFormat::Junit => {
            return Err(Failure::usage("--check has no run to report on").help("use --format text or json"));
        }
    }
    print_line(&format!("{}: what its files would be; nothing is started, nothing is recorded", file.name));
    for preview in &previews {
        let item = preview.item.map(|item| format!("[{item}]")).unwrap_or_default();
        print_line(&format!("\n{}{item}", preview.step));
        preview.lines().iter().for_each(|line| print_line(&format!("  {}", text::safe(line))));
    }
    let others = file.runbook.steps.len() - renders(&file.runbook).count();
    if others > 0 {
        let noun = if others == 1 { "1 other step is" } else { &format!("{others} other steps are") };
        print_line(&format!("\n{noun} not looked at: what a program changes is known when it has run."));
    }
    Ok(0)
}

/// All files of all `render` steps. `params` with their real values: what may not be shown is left out here.
pub fn of(file: &RunbookFile, params: &Map<String, Value>) -> Vec<Preview> {
    let mut previews = Vec::new();
    for (_, step, render) in renders(&file.runbook) {
        let Some(document) = file.templates.get(&render.template.value) else { continue };
        let mut known = Context::default();
        known.set("params", Value::Object(params.clone()));
        known.set("run", json!({"name": file.name}));
        let id = || step.id.clone();
        if step.condition.as_ref().is_some_and(|condition| matches!(condition.evaluate(&known), Ok(false))) {
            previews.push(Preview { step: id(), item: None, change: Change::Skipped, place: None });
            continue;
        }
        let secret = file.runbook.is_secret_file(step, document);
        let mut one = |item: Option<usize>, known: &mut Context| {
            add_env(step, known);
            let (change, to) =
                change(step, render, document, known, secret).unwrap_or_else(|why| (Change::NotKnown(why), None));
            previews.push(Preview { step: id(), item, change, place: to.map(|to| (to, secret)) });
        };
        match items(step, &known) {
            None => one(None, &mut known),
            Some(items) => {
                for (n, item) in items.into_iter().enumerate() {
                    known.set("item", item);
                    known.set("index", n.into());
                    one(Some(n), &mut known);
                }
            }
        }
    }
    previews
}

/// What lies where the files of a plan will be written.
pub fn targets(previews: &[Preview], seal: &Seal) -> Vec<Target> {
    let places = previews.iter().filter_map(|preview| preview.place.as_ref());
    places.map(|(to, secret)| Target { to: to.clone(), was: look(to, *secret, seal) }).collect()
}

/// What is no longer as it was when somebody planned to write there.
pub fn targets_moved(then: &[Target], previews: &[Preview], seal: &Seal) -> Vec<String> {
    let now = targets(previews, seal);
    let moved = now.iter().filter(|target| {
        let was = then.iter().find(|then| then.to == target.to);
        was.is_some_and(|was| was.was != target.was)
    });
    moved.map(|target| format!("{}, which a `render` step writes, was changed", target.to.display())).collect()
}

/// The hash of a secret file is under seal: somebody could try values against it.
fn look(path: &Path, secret: bool, seal: &Seal) -> String {
    let Ok(meta) = fs::metadata(path) else { return "nothing".to_owned() };
    let content = match meta.len() <= RENDER_BYTES_MAX as u64 {
        true => fs::read(path).map_or_else(|error| error.to_string(), |bytes| sha256(&bytes)),
        false => format!("{} bytes, changed at {}", meta.len(), meta.mtime()),
    };
    let found = format!("{:o} {} {} {content}", meta.mode(), meta.uid(), meta.gid());
    if secret { seal.digest(&found) } else { sha256(found.as_bytes()) }
}

/// The items of a `for-each` step, where the parameters say what they are.
pub fn items_known(runbook: &Runbook, step: usize, params: &Map<String, Value>) -> Option<Vec<Value>> {
    let mut known = Context::default();
    known.set("params", Value::Object(params.clone()));
    items(&runbook.steps[step], &known)
}

/// The items of a `for-each`, where they are known.
fn items(step: &Step, known: &Context) -> Option<Vec<Value>> {
    match &step.for_each.as_ref()?.items {
        Items::Expression(expression) => match expression.evaluate(known) {
            Ok(Value::Array(items)) => Some(items),
            _ => None,
        },
        Items::List(items) => {
            items.iter().map(|item| item.render(known).ok().map(Value::String)).collect::<Option<Vec<_>>>()
        }
    }
}

fn add_env(step: &Step, known: &mut Context) {
    let value = |(name, template): &(String, runward_engine::bind::Template)| {
        Some((name.clone(), Value::String(template.render(known).ok()?)))
    };
    let env: Map<String, Value> = step.env.iter().filter_map(value).collect();
    known.set("env", Value::Object(env));
}

/// `Err`: why it is not known.
fn change(
    step: &Step,
    render: &Render,
    document: &Document,
    known: &Context,
    secret: bool,
) -> Result<(Change, Option<PathBuf>), String> {
    let in_paths = render.to.expressions().chain(step.cwd.iter().flat_map(|cwd| cwd.expressions()));
    let paths = in_paths.flat_map(|(expression, _): (&Expression, _)| &expression.references);
    let unknown = paths.chain(&document.references).find_map(|(reference, _)| not_known(reference, known));
    if let Some(what) = unknown {
        return Err(format!("it reads {what}"));
    }
    let mut request = render_request(render, Some(document), known, secret).map_err(|error| error.to_string())?;
    let cwd = step.cwd.as_ref().map(|cwd| path::bind(cwd, known)).transpose().map_err(|error| error.to_string())?;
    if let Some(cwd) = cwd {
        request.to = Path::new(&cwd).join(&request.to).display().to_string();
    }
    if Path::new(&request.to).is_relative() {
        let head = format!("{} in the folder of the run: new file", request.to);
        let lines = if secret { Vec::new() } else { diff::unified(&request.to, None, &request.content) };
        return Ok((Change::Changes([vec![head], lines].concat()), None));
    }
    let lines = render::preview(&request)?;
    let to = PathBuf::from(&request.to);
    Ok((if lines.is_empty() { Change::None { to: request.to } } else { Change::Changes(lines) }, Some(to)))
}

/// What only a run knows.
fn not_known(reference: &Reference, known: &Context) -> Option<String> {
    match reference {
        Reference::Param(_) => None,
        Reference::Output { step, key } => Some(format!("`steps.{step}.outputs.{key}`")),
        Reference::Status { step } => Some(format!("`steps.{step}.status`")),
        Reference::Run(field) if field == "name" => None,
        Reference::Run(field) => Some(format!("`run.{field}`")),
        Reference::Outcome(name) => Some(format!("`{name}()`")),
        Reference::Item | Reference::Index => (!known.root().contains_key("item")).then(|| "`item`".to_owned()),
        Reference::Env(name) => {
            let found = known.root().get("env").is_some_and(|env| env.get(name).is_some());
            (!found).then(|| format!("`env.{name}`"))
        }
    }
}
