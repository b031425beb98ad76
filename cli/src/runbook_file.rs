//! A runbook on disk: finding it, reading it, and pinning it with the files it names.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use runward_engine::limits;
use runward_engine::plan::definition::{Definition, PinnedFile, sha256};
use runward_engine::runbook::drill::SUFFIX;
use runward_engine::runbook::model::{Action, Runbook, Script, Step};
use runward_engine::runbook::templates::{self, Templates, renders};
use runward_engine::runbook::{self};
use runward_engine::units::format_size;

use crate::config::Settings;
use crate::config::connections::variable;
use crate::failure::Failure;

mod closure;
mod one_database;

pub use closure::all;
pub use one_database::refuse_one_database;

/// A file below a folder of this name is named by its path there, wherever it is run from.
const FOLDER: &str = "runbooks";

pub struct RunbookFile {
    pub path: PathBuf,
    pub source: String,
    pub runbook: Runbook,
    pub name: String,
    /// Of its `render` steps; all of them fit the runbook.
    pub templates: Templates,
    /// The runbooks it calls, by the text that names them; all of them fit.
    pub called: BTreeMap<String, Arc<RunbookFile>>,
}

/// The file a person means: a path, or a name in one of the folders.
pub fn locate(text: &str, folders: &[PathBuf]) -> Result<PathBuf, Failure> {
    let path = Path::new(text);
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let named = |folder: &PathBuf| ["yaml", "yml"].map(|end| folder.join(format!("{text}.{end}")));
    if let Some(found) = folders.iter().flat_map(named).find(|path| path.is_file()) {
        return Ok(found);
    }
    let what = match path.metadata() {
        Ok(meta) if meta.is_dir() => "is a folder",
        Ok(_) => "is no regular file",
        Err(_) => "does not exist",
    };
    let looked: Vec<String> = folders.iter().map(|folder| named(folder)[0].display().to_string()).collect();
    Err(Failure::usage(format!("`{text}` {what}, and there is no {}", looked.join(" and no ")))
        .help(where_else(text, folders)))
}

/// What was meant, as far as the folders tell.
fn where_else(text: &str, folders: &[PathBuf]) -> String {
    if !folders.iter().any(|folder| folder.is_dir()) {
        let here = std::env::current_dir().unwrap_or_default();
        return format!(
            "there is no folder of runbooks in {}: go to the one that has it, or give a runbook file",
            here.display()
        );
    }
    let files = folders.iter().flat_map(|folder| below(folder).unwrap_or_default());
    let names: Vec<String> = files.map(|file| name_of(&file, folders)).collect();
    let bare = text.strip_suffix(".yaml").or(text.strip_suffix(".yml")).unwrap_or(text);
    let near = runward_engine::runbook::report::did_you_mean(bare, names.iter().map(String::as_str));
    near.unwrap_or_else(|| {
        "give a runbook file, or the name of one in the runbooks folder; `runward list` shows them".to_owned()
    })
}

/// What is in a file, as long as a runbook can be.
pub fn bytes_of(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable = |error: std::io::Error| Failure::usage(format!("{} cannot be read: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    let (size, max) = (file.metadata().map_err(unreadable)?.len(), limits::RUNBOOK_BYTES_MAX as u64);
    if size > max {
        let (shown, size, max) = (path.display(), format_size(size), format_size(max));
        return Err(Failure::usage(format!("{shown} has {size}; a runbook has at most {max}"))
            .help("move long scripts to files of their own and name them in `script:`"));
    }
    // It may grow meanwhile: one byte more than allowed is enough for the parser to refuse it.
    file.take(max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Reads and checks a runbook, and every runbook it calls.
pub fn load(path: &Path, folders: &[PathBuf]) -> Result<RunbookFile, Failure> {
    closure::load(path, folders, As::Written)
}

/// What is made of a file: the runbook as it is written, or the drill of it, which calls drills of what it calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    Written,
    Drill,
}

impl As {
    pub fn drill(is: bool) -> As {
        if is { As::Drill } else { As::Written }
    }

    pub fn load(self, path: &Path, folders: &[PathBuf]) -> Result<RunbookFile, Failure> {
        closure::load(path, folders, self)
    }
}

/// Reads and checks one file by itself.
fn load_alone(path: &Path, folders: &[PathBuf], made: As) -> Result<RunbookFile, Failure> {
    let bytes = bytes_of(path)?;
    let shown = path.display().to_string();
    let runbook =
        runbook::parse(&bytes).map_err(|report| Failure::runbook(&shown, &String::from_utf8_lossy(&bytes), &report))?;
    let source = String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{shown} is not UTF-8")))?;
    let name = runbook.name.clone().unwrap_or_else(|| name_of(path, folders));
    if name.ends_with(SUFFIX) {
        return Err(Failure::usage(format!(
            "{shown}: the name `{name}`: names that end in `{SUFFIX}` belong to drills"
        ))
        .help("give the runbook another `name:`, or its file another one"));
    }
    let (runbook, name) = match made {
        As::Written => (runbook, name),
        As::Drill => (drilled(runbook, path)?, name + SUFFIX),
    };
    let templates = read_templates(path, &source, &runbook)?;
    Ok(RunbookFile { path: path.to_owned(), source, runbook, name, templates, called: BTreeMap::new() })
}

fn drilled(runbook: Runbook, path: &Path) -> Result<Runbook, Failure> {
    runbook.drilled().map_err(|none| {
        Failure::usage(format!("{}: {none}", path.display())).help(
            "add `drill: {with: {PARAMETER: VALUE}}`: scratch values for its parameters, its secrets and its connections \
             (docs/how-to/drills.md). Nothing was started",
        )
    })
}

/// The templates of `render` steps, checked with the runbook; each problem is shown in the file it is in.
fn read_templates(path: &Path, source: &str, runbook: &Runbook) -> Result<Templates, Failure> {
    let mut texts = BTreeMap::new();
    for (_, step, render) in renders(runbook) {
        let name = &render.template.value;
        let full = folder_of(path).join(name);
        if full.is_file() && !texts.contains_key(name) {
            let told =
                |what: String| Failure::usage(format!("step `{}`: the template {}{what}", step.id, full.display()));
            let size = fs::metadata(&full).map_or(0, |meta| meta.len());
            if size > limits::RENDER_BYTES_MAX as u64 {
                let (size, max) = (format_size(size), format_size(limits::RENDER_BYTES_MAX as u64));
                return Err(told(format!(" has {size}; a template has at most {max}")));
            }
            texts.insert(name.clone(), fs::read(&full).map_err(|error| told(format!(" cannot be read: {error}")))?);
        }
    }
    templates::check(runbook, &texts).map_err(|problems| {
        let failures = problems.into_iter().map(|(name, report)| match name {
            None => Failure::runbook(&path.display().to_string(), source, &report),
            Some(name) => {
                let text = texts.get(&name).map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
                Failure::runbook(&folder_of(path).join(&name).display().to_string(), &text, &report)
            }
        });
        failures.reduce(Failure::and).unwrap_or_else(|| Failure::usage("a template is wrong"))
    })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The path under the runbooks folder, without `.yaml`; elsewhere the file's own name.
fn name_of(path: &Path, folders: &[PathBuf]) -> String {
    let stem = path.with_extension("");
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let whole = absolute(&stem);
    if let Some(below) = folders.iter().find_map(|folder| whole.strip_prefix(absolute(folder)).ok()) {
        return below.display().to_string();
    }
    let parts: Vec<String> = stem
        .components()
        .filter_map(|part| match part {
            Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect();
    match parts.iter().rposition(|part| part == FOLDER) {
        Some(at) if at + 1 < parts.len() => parts[at + 1..].join("/"),
        _ => parts.last().cloned().unwrap_or_default(),
    }
}

/// The runbook files of a folder, sorted.
pub fn below(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !folder.is_dir() {
        return Err(Failure::usage(format!("there is no folder {}", folder.display()))
            .help("`runward init` makes one with a first runbook"));
    }
    let mut paths = Vec::new();
    collect(folder, &mut paths)
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", folder.display())))?;
    paths.sort();
    Ok(paths)
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden && !path.is_symlink() {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml") && !hidden {
            paths.push(path);
        }
    }
    Ok(())
}

/// Refuses a runbook that uses what is not built yet, or calls one that does, naming each place.
pub fn refuse_unbuilt(file: &RunbookFile) -> Result<(), Failure> {
    let refused = closure::all(file).into_iter().filter_map(|file| unbuilt(file).err());
    refused.reduce(Failure::and).map_or(Ok(()), Err)
}

/// On one machine it is this one that connects, and what it does not know would stop the run in the middle. In a cluster
/// each worker knows its own.
pub fn refuse_unknown_connections(file: &RunbookFile, settings: &Settings) -> Result<(), Failure> {
    if settings.database.is_some() {
        return Ok(());
    }
    let refused = closure::all(file).into_iter().filter_map(|file| unknown_connections(file, settings).err());
    refused.reduce(Failure::and).map_or(Ok(()), Err)
}

fn unknown_connections(file: &RunbookFile, settings: &Settings) -> Result<(), Failure> {
    let finding = |step: &Step| {
        let Action::Sql(sql) = &step.action else { return None };
        let name = &sql.connection;
        let help = format!("add `[connections.{name}]` with a `url` to runward.toml, or set {}", variable(name));
        let message = format!("the connection `{name}` is not configured on this machine");
        let known = settings.connections.contains_key(name);
        (!known).then(|| runbook::Finding::new(&step.span, "in this step", message).help(help))
    };
    let findings: Vec<_> = file.runbook.steps.iter().filter_map(finding).collect();
    if findings.is_empty() {
        return Ok(());
    }
    Err(Failure::runbook(&file.path.display().to_string(), &file.source, &runbook::Report { findings }))
}

fn unbuilt(file: &RunbookFile) -> Result<(), Failure> {
    let findings: Vec<_> = file
        .runbook
        .unbuilt
        .iter()
        .map(|unbuilt| runbook::Finding {
            message: format!(
                "`{}` is part of the format, but this version of runward does not carry it out yet",
                unbuilt.path
            ),
            help: Some(
                "remove it, or wait for a version that does: nothing in a runbook is ever ignored silently".into(),
            ),
            span: unbuilt.span.clone(),
            label: "not built yet".into(),
        })
        .collect();
    if findings.is_empty() {
        return Ok(());
    }
    Err(Failure::runbook(&file.path.display().to_string(), &file.source, &runbook::Report { findings }))
}

/// Contents of files by their SHA-256.
pub type Blobs = Vec<(String, Vec<u8>)>;

/// What a run is pinned to.
pub struct Pinned {
    pub definition: Definition,
    /// Of the runbooks it calls, directly or through others.
    pub called: Vec<Definition>,
    /// The contents of the files that all of them name.
    pub blobs: Blobs,
}

/// Pins a runbook with everything it names.
pub fn pin(file: &RunbookFile) -> Result<Pinned, Failure> {
    closure::pin(file)
}

/// One definition, still without those it calls, and the contents of the files it names.
fn pin_alone(file: &RunbookFile) -> Result<(Definition, Blobs), Failure> {
    let folder = folder_of(&file.path);
    let mut paths = Vec::new();
    for step in &file.runbook.steps {
        if let Action::Shell { script: Script::File(script), .. } = &step.action {
            if !folder.join(&script.value).is_file() {
                return Err(Failure::usage(format!("step `{}`: the script {} does not exist", step.id, script.value))
                    .help(format!("it is looked for in {}", folder.display())));
            }
            paths.push(PathBuf::from(&script.value));
        }
    }
    paths.extend(renders(&file.runbook).map(|(.., render)| PathBuf::from(&render.template.value)));
    for pattern in &file.runbook.files {
        paths.extend(matching(folder, &pattern.value)?);
    }
    paths.sort();
    paths.dedup();
    if paths.len() > limits::PINNED_FILES_MAX {
        let (n, max) = (paths.len(), limits::PINNED_FILES_MAX);
        return Err(Failure::usage(format!("`files:` names {n} files; at most {max} are possible")));
    }
    let (mut files, mut blobs, mut total) = (Vec::new(), Vec::new(), 0);
    for path in paths {
        let full = folder.join(&path);
        let unreadable = |error: std::io::Error| Failure::usage(format!("{} cannot be read: {error}", full.display()));
        let meta = fs::metadata(&full).map_err(unreadable)?;
        total += meta.len();
        if total > limits::PINNED_BYTES_MAX {
            let max = format_size(limits::PINNED_BYTES_MAX);
            return Err(Failure::usage(format!(
                "the files named by `files:`, `script:` and `render:` are more than {max} together"
            )));
        }
        let bytes = fs::read(&full).map_err(unreadable)?;
        let path = path.to_str().ok_or_else(|| Failure::usage(format!("{} is not a UTF-8 name", path.display())))?;
        let sha256 = sha256(&bytes);
        let executable = meta.permissions().mode() & 0o111 != 0;
        files.push(PinnedFile { path: path.to_owned(), sha256: sha256.clone(), bytes: bytes.len() as u64, executable });
        blobs.push((sha256, bytes));
    }
    let path = std::path::absolute(&file.path).unwrap_or_else(|_| file.path.clone()).display().to_string();
    let (name, source) = (file.name.clone(), file.source.clone());
    Ok((Definition { name, path, source, files, runbooks: Vec::new(), drill: file.runbook.is_drill }, blobs))
}

fn matching(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, Failure> {
    let escaped = glob::Pattern::escape(&folder.display().to_string());
    let full = format!("{escaped}/{pattern}");
    let options =
        glob::MatchOptions { require_literal_leading_dot: true, require_literal_separator: true, case_sensitive: true };
    let found =
        glob::glob_with(&full, options).map_err(|error| Failure::usage(format!("`files: {pattern}`: {error}")))?;
    let mut paths = Vec::new();
    for path in found {
        let path = path.map_err(|error| Failure::usage(format!("`files: {pattern}`: {error}")))?;
        if path.is_file() {
            paths.push(path.strip_prefix(folder).unwrap_or(&path).to_owned());
        }
    }
    if paths.is_empty() {
        return Err(Failure::usage(format!("`files: {pattern}` names no file"))
            .help(format!("it is looked for in {}", folder.display())));
    }
    Ok(paths)
}
