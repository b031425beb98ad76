//! Who still uses the folder of a run that is over: an attempt nobody waits for any more, or a process that a step left
//! on purpose. Where it cannot be told, somebody does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use runward_engine::run::RunId;

use crate::home::Home;
use crate::supervisor::journal::{self, Orphan};
use crate::supervisor::tree;

/// The processes of this machine that were started by a run or stand in its folder, as of one look.
pub(super) struct Processes {
    by_run: BTreeMap<RunId, Orphan>,
    /// File systems that are mounted in the folder of a run: removing it would empty them.
    mounts: BTreeMap<RunId, PathBuf>,
    boot: Option<String>,
}

impl Processes {
    pub(super) fn look(home: &Home) -> Processes {
        let runs = home.root().join("runs");
        // The kernel speaks of places without symbolic links.
        let runs = [runs.canonicalize().unwrap_or_else(|_| runs.clone()), runs];
        let mut by_run = BTreeMap::new();
        for pid in fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| pid_of(&entry.path())) {
            for run in runs_of(pid, &runs) {
                by_run.entry(run).or_insert_with(|| tree::describe(pid, None));
            }
        }
        let mounts = mount_points().into_iter().filter_map(|point| Some((run_of(&point, &runs)?, point))).collect();
        Processes { by_run, mounts, boot: journal::boot_id().ok() }
    }

    /// Why the folder of this run has to stay, if it has to.
    pub(super) fn user_of(&self, home: &Home, run: &RunId) -> Option<String> {
        if let Some(process) = self.by_run.get(run) {
            return Some(format!("process {} still uses it: {}", process.pid, process.command));
        }
        if let Some(point) = self.mounts.get(run) {
            return Some(format!("a file system is mounted at {}: unmount it first", point.display()));
        }
        for attempt in attempts(home, run) {
            match journal::is_alive(&attempt) {
                Ok(false) => {}
                Ok(true) => return Some("an attempt of it still runs".to_owned()),
                Err(error) => return Some(format!("nobody can tell whether an attempt of it still runs: {error}")),
            }
            if let Some(process) = self.left_by(&attempt) {
                return Some(format!("process {} that it left still runs: {}", process.pid, process.command));
            }
        }
        None
    }

    /// A process that outlived its step on purpose, whatever it did with its environment and its folder since.
    fn left_by(&self, attempt: &Path) -> Option<Orphan> {
        let result = journal::read_result(attempt, self.boot.as_deref()?).ok()??;
        result.orphans.into_iter().find(tree::is_still_there)
    }
}

/// The attempts of a run, as the names of their folders, whether these exist or not.
pub(super) fn attempts(home: &Home, run: &RunId) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(home.attempts(run)).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().with_extension("")).collect()
}

fn pid_of(path: &Path) -> Option<Pid> {
    path.file_name()?.to_str()?.parse().ok().map(Pid::from_raw)
}

/// The runs below `runs` that a process belongs to: by what its step was given, by where it stands, by what it holds
/// open. A process of another user shows nothing of this.
fn runs_of(pid: Pid, runs: &[PathBuf]) -> Vec<RunId> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let environment = fs::read(proc.join("environ")).unwrap_or_default();
    let given = environment.split(|byte| *byte == 0).filter_map(|line| {
        let path = line.strip_prefix(b"RUNWARD_WORKSPACE=").or(line.strip_prefix(b"RUNWARD_OUTPUT="))?;
        run_of(Path::new(std::ffi::OsStr::from_bytes(path)), runs)
    });
    let files = fs::read_dir(proc.join("fd")).into_iter().flatten().flatten().map(|entry| entry.path());
    let places = [proc.join("cwd"), proc.join("exe")].into_iter().chain(files);
    let stands = places.filter_map(|link| run_of(&fs::read_link(link).ok()?, runs));
    let mut found: Vec<RunId> = given.chain(stands).collect();
    // We hold the locks of runs ourselves, and so do others who drive or look.
    if pid == Pid::this() {
        found.clear();
    }
    found
}

/// Where file systems are mounted, as this process sees it.
fn mount_points() -> Vec<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let lines = table.split(|byte| *byte == b'\n');
    lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4)).map(unescaped).collect()
}

/// A path of that table: four characters are written as a backslash and three octal digits.
fn unescaped(path: &[u8]) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path);
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => (bytes.push(byte), rest = &after[3..]),
            None => (bytes.push(*first), rest = after),
        };
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

/// The run in whose folder this path lies; locks are no use of a folder, they are looked at by themselves.
fn run_of(path: &Path, runs: &[PathBuf]) -> Option<RunId> {
    let mut parts = runs.iter().find_map(|runs| path.strip_prefix(runs).ok())?.components();
    let run = RunId(parts.next()?.as_os_str().to_str()?.to_owned());
    let inside = parts.next()?;
    (inside.as_os_str() != crate::home::DRIVER_LOCK && inside.as_os_str() != "driver.log").then_some(run)
}
