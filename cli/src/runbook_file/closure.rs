//! A runbook with every runbook it calls: read once each, cycles refused with their path, pinned from the leaves up.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use runward_engine::limits;
use runward_engine::plan::{Definition, PinnedRunbook};
use runward_engine::runbook::calls::{self, calls};
use runward_engine::runbook::model::Spanned;
use runward_engine::runbook::{Finding, Report};

use super::{As, Pinned, RunbookFile, folder_of, load_alone, name_of, pin_alone};
use crate::failure::Failure;

pub(super) fn load(path: &Path, folders: &[PathBuf], made: As) -> Result<RunbookFile, Failure> {
    let mut loader = Loader { folders, made, above: Vec::new(), known: HashMap::new() };
    let (file, _) = loader.load(path, &key(path))?;
    Ok(file)
}

/// The file and all that it calls, each once.
pub fn all(file: &RunbookFile) -> Vec<&RunbookFile> {
    let (mut found, mut seen, mut ahead) = (Vec::new(), HashSet::new(), vec![file]);
    while let Some(file) = ahead.pop() {
        if seen.insert(&file.path) {
            found.push(file);
            ahead.extend(file.called.values().rev().map(|called| &**called));
        }
    }
    found
}

/// What is the same file, however it is named.
fn key(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

struct Loader<'a> {
    folders: &'a [PathBuf],
    made: As,
    /// The files that are being read, each called by the one before it.
    above: Vec<(PathBuf, String)>,
    /// Files that were read, with how many levels of calls lie below them; `None`: what is wrong with it was said.
    known: HashMap<PathBuf, Option<(Arc<RunbookFile>, usize)>>,
}

/// What stands in the way of a call.
enum Trouble {
    Here(Finding),
    /// In the called file.
    There(Failure),
    /// It was said before.
    Known,
}

impl Loader<'_> {
    /// The file, and how many levels of calls lie below it.
    fn load(&mut self, path: &Path, key: &Path) -> Result<(RunbookFile, usize), Failure> {
        let mut file = load_alone(path, self.folders, self.made)?;
        self.above.push((key.to_owned(), file.name.clone()));
        let (mut findings, mut failures, mut levels, mut wrong) = (Vec::new(), Vec::new(), 0, false);
        let mut called: BTreeMap<String, Arc<RunbookFile>> = BTreeMap::new();
        let named: Vec<Spanned<String>> = calls(&file.runbook).map(|(.., call)| call.runbook.clone()).collect();
        for name in named {
            if called.contains_key(&name.value) {
                continue;
            }
            match self.call(path, &name) {
                Ok((callee, below)) => {
                    levels = levels.max(below + 1);
                    called.insert(name.value, callee);
                }
                Err(Trouble::Here(finding)) => findings.push(finding),
                Err(Trouble::There(failure)) => failures.push(failure),
                Err(Trouble::Known) => wrong = true,
            }
        }
        self.above.pop();
        let runbooks = called.iter().map(|(name, callee)| (name.as_str(), &callee.runbook)).collect();
        findings.extend(calls::check(&file.runbook, &runbooks));
        if !findings.is_empty() {
            let report = Report::new(findings);
            failures.insert(0, Failure::runbook(&path.display().to_string(), &file.source, &report));
        }
        match failures.into_iter().reduce(Failure::and) {
            Some(failure) => Err(failure),
            None if wrong => {
                Err(Failure::usage(format!("{}: a runbook it calls has the problems above", path.display())))
            }
            None => {
                file.called = called;
                Ok((file, levels))
            }
        }
    }

    fn call(&mut self, caller: &Path, name: &Spanned<String>) -> Result<(Arc<RunbookFile>, usize), Trouble> {
        let path = self.locate(caller, name).map_err(Trouble::Here)?;
        let key = key(&path);
        if let Some(at) = self.above.iter().position(|(above, _)| *above == key) {
            let names: Vec<&str> = self.above[at..].iter().chain([&self.above[at]]).map(|(_, n)| n.as_str()).collect();
            let message = format!("runbooks call each other in a circle: {}", names.join(" -> "));
            let help = "no run of them would ever end: take one of the calls out";
            return Err(Trouble::Here(Finding::new(&name.span, "closes the circle", message).help(help)));
        }
        let depth = self.above.len();
        self.not_too_deep(name, depth)?;
        let (file, below) = match self.known.get(&key) {
            Some(Some(known)) => known.clone(),
            Some(None) => return Err(Trouble::Known),
            None => self.read(name, &path, key)?,
        };
        self.not_too_deep(name, depth + below)?;
        Ok((file, below))
    }

    fn read(
        &mut self,
        name: &Spanned<String>,
        path: &Path,
        key: PathBuf,
    ) -> Result<(Arc<RunbookFile>, usize), Trouble> {
        if self.known.len() >= limits::CALLED_MAX {
            let message = format!("more than {} runbooks are called from here", limits::CALLED_MAX);
            let help = "call one runbook with `for-each` and parameters instead of many that are alike";
            return Err(Trouble::Here(Finding::new(&name.span, "too many", message).help(help)));
        }
        let loaded = self.load(path, &key).map(|(file, below)| (Arc::new(file), below));
        self.known.insert(key, loaded.as_ref().ok().cloned());
        loaded.map_err(Trouble::There)
    }

    fn not_too_deep(&self, name: &Spanned<String>, depth: usize) -> Result<(), Trouble> {
        if depth <= limits::CHILD_DEPTH_MAX {
            return Ok(());
        }
        let names: Vec<&str> = self.above.iter().map(|(_, name)| name.as_str()).chain([name.value.as_str()]).collect();
        let max = limits::CHILD_DEPTH_MAX;
        let message = format!("calls go more than {max} levels deep: {}", names.join(" -> "));
        let help = "call some of these runbooks from the first one, one after the other";
        Err(Trouble::Here(Finding::new(&name.span, "too deep", message).help(help)))
    }

    /// A file relative to the caller's, or a name in one of the folders.
    fn locate(&self, caller: &Path, name: &Spanned<String>) -> Result<PathBuf, Finding> {
        let beside = folder_of(caller).join(&name.value);
        if beside.is_file() {
            return Ok(beside);
        }
        let ends = ["yaml", "yml"];
        let named = |folder: &PathBuf| ends.map(|end| folder.join(format!("{}.{end}", name.value)));
        if let Some(found) = self.folders.iter().flat_map(named).find(|path| path.is_file()) {
            return Ok(found);
        }
        let looked = self.folders.iter().map(|folder| named(folder)[0].display().to_string());
        let looked: Vec<String> = std::iter::once(beside.display().to_string()).chain(looked).collect();
        let message = format!("there is no runbook `{}`: no {}", name.value, looked.join(" and no "));
        let sibling = ends.map(|end| format!("{}.{end}", name.value));
        let sibling = sibling.into_iter().find(|sibling| folder_of(caller).join(sibling).is_file());
        let help = sibling.map(|sibling| format!("write `runbook: ./{sibling}`")).or_else(|| self.meant(&name.value));
        let otherwise = "write its path from the folder of this file, or its name as `runward list` shows it";
        Err(Finding::new(&name.span, "not found", message).help(help.unwrap_or_else(|| otherwise.to_owned())))
    }

    fn meant(&self, name: &str) -> Option<String> {
        let files = self.folders.iter().flat_map(|folder| super::below(folder).unwrap_or_default());
        let names: Vec<String> = files.map(|file| name_of(&file, self.folders)).collect();
        runward_engine::runbook::report::did_you_mean(name, names.iter().map(String::as_str))
    }
}

pub(super) fn pin(file: &RunbookFile) -> Result<Pinned, Failure> {
    let mut done = HashMap::new();
    let (mut called, mut blobs) = (Vec::new(), BTreeMap::new());
    let definition = pin_into(file, &mut done, &mut called, &mut blobs)?;
    let bytes: u64 = blobs.values().map(|bytes: &Vec<u8>| bytes.len() as u64).sum();
    if bytes > limits::PINNED_BYTES_MAX {
        let max = runward_engine::units::format_size(limits::PINNED_BYTES_MAX);
        return Err(Failure::usage(format!(
            "the files that {} and the runbooks it calls name are more than {max} together",
            file.name
        )));
    }
    Ok(Pinned { definition, called, blobs: blobs.into_iter().collect() })
}

/// Each file once. Its hash needs those of the runbooks it calls, so they come first.
fn pin_into(
    file: &RunbookFile,
    done: &mut HashMap<PathBuf, String>,
    called: &mut Vec<Definition>,
    blobs: &mut BTreeMap<String, Vec<u8>>,
) -> Result<Definition, Failure> {
    let (mut definition, own) = pin_alone(file)?;
    blobs.extend(own);
    for (name, callee) in &file.called {
        let key = key(&callee.path);
        let hash = match done.get(&key) {
            Some(hash) => hash.clone(),
            None => {
                let definition = pin_into(callee, done, called, blobs)?;
                let hash = definition.hash();
                called.push(definition);
                done.insert(key, hash.clone());
                hash
            }
        };
        definition.runbooks.push(PinnedRunbook { runbook: name.clone(), definition: hash });
    }
    Ok(definition)
}
