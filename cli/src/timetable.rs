//! The schedules that the runbooks of this machine say, and the runs that come of them.
//!
//! Every folder of runbooks is read with everything below it. A file that cannot be read keeps the schedules it had, as broken:
//! they are skipped with the reason, and go on as they were once it is mended. What is removed is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use runward_engine::plan::params;
use runward_engine::run::group::Priority;
use runward_engine::schedule::entry::{Schedule, Tick};
use runward_store::NewRun;
use runward_store::timetable::Entry;
use runward_workers::reach::connections::Connection;
use runward_workers::scheduler::{NoRun, Runbooks};
use tracing::{info, warn};

use crate::config::Settings;
use crate::failure::Failure;
use crate::open::{new_run, new_seed, system_zone, zone_name};
use crate::runbook_file::{self, As, Pinned, RunbookFile, all, load, pin, refuse_one_database, refuse_unbuilt};
use crate::text;

/// The files with schedules in them.
pub struct Timetable {
    folders: Vec<PathBuf>,
    queued_max: u32,
    connections: BTreeMap<String, Connection>,
    /// Of schedules that name none. It is part of what is posted: where another server's is another one, so is its schedule.
    zone: String,
    /// As they were when they were last read.
    read: Option<Seen>,
    /// What each of them said when it could be read last.
    known: BTreeMap<PathBuf, Vec<Entry>>,
    /// In which file each schedule is.
    places: BTreeMap<String, PathBuf>,
    /// What stands in the way, as it was said last.
    troubles: BTreeMap<PathBuf, String>,
}

/// What the files say, at one look.
pub struct Survey {
    /// Each name once.
    pub entries: Vec<Entry>,
    /// Files that say nothing, or not everything, and folders.
    pub unread: BTreeMap<PathBuf, String>,
    /// Files of which a schedule cannot run, for what it says itself as well.
    broken: BTreeMap<PathBuf, String>,
}

/// What tells whether a file was changed.
type Seen = BTreeMap<PathBuf, (i64, i64, u64, u64)>;

impl Timetable {
    pub fn of(settings: &Settings) -> Timetable {
        Timetable {
            folders: settings.runbooks.clone(),
            queued_max: settings.queued_max,
            connections: settings.connections.clone(),
            zone: zone_name(),
            read: None,
            known: BTreeMap::new(),
            places: BTreeMap::new(),
            troubles: BTreeMap::new(),
        }
    }

    fn look(&self) -> Seen {
        let paths = self.folders.iter().flat_map(|folder| runbook_file::below(folder).unwrap_or_default());
        let seen = |path: PathBuf| {
            let meta = fs::metadata(&path).ok()?;
            Some((path, (meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino())))
        };
        paths.filter_map(seen).collect()
    }

    /// What a file says, in which each schedule that cannot run is broken.
    fn read_file(&self, path: &Path) -> Result<Vec<Entry>, Failure> {
        let file = load(path, &self.folders)?;
        let unbuilt = refuse_unbuilt(&file).err().map(|failure| words(&failure));
        let entry = |schedule: &Schedule| Entry {
            name: format!("{}/{}", file.name, schedule.id),
            broken: unbuilt.clone().or_else(|| self.prepare(&file, schedule).err()),
            schedule: self.in_a_zone(schedule),
        };
        Ok(file.runbook.schedules.iter().map(entry).collect())
    }

    fn in_a_zone(&self, schedule: &Schedule) -> Schedule {
        let timezone = schedule.timezone.clone().unwrap_or_else(|| self.zone.clone());
        Schedule { timezone: Some(timezone), ..schedule.clone() }
    }

    /// The run that this schedule starts from a file, or what is in its way.
    fn prepare(&self, file: &RunbookFile, schedule: &Schedule) -> Result<NewRun, String> {
        let drill = if schedule.drill {
            let drill = As::Drill.load(&file.path, &self.folders).map_err(|it| words(&it))?;
            refuse_one_database(&drill, &self.connections).map_err(|it| words(&it))?;
            Some(drill)
        } else {
            None
        };
        let (name, file) = (&file.name, drill.as_ref().unwrap_or(file));
        let params = params::scheduled(&file.runbook, &schedule.with).map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            errors.join("; ")
        })?;
        let group = runward_engine::plan::group(&file.runbook, &params)?;
        let Pinned { definition, called, blobs } = pin(file).map_err(|failure| words(&failure))?;
        Ok(NewRun {
            id: new_run(),
            definition,
            called,
            blobs,
            params,
            trigger: "schedule".to_owned(),
            group,
            priority: Priority::Normal,
            queued_max: self.queued_max,
            key: None,
            parent: None,
            seed: new_seed(),
            actor: format!("schedule {name}/{}", schedule.id),
            planned: None,
            only_after: None,
            zone: system_zone(all(file).into_iter().map(|file| &file.runbook)),
            requester: Vec::new(),
            tick: None,
        })
    }

    /// Says what is new in what stands in the way.
    fn say(&mut self, troubles: BTreeMap<PathBuf, String>) {
        for (path, why) in &troubles {
            if self.troubles.get(path) != Some(why) {
                warn!(file = %path.display(), "its schedules are skipped: {why}");
            }
        }
        for path in self.troubles.keys().filter(|path| !troubles.contains_key(*path)) {
            info!(file = %path.display(), "its schedules are fired again");
        }
        self.troubles = troubles;
    }
}

impl Timetable {
    /// `posted`: what was fired so far, for files that cannot be read now.
    pub fn survey(&mut self, posted: &[Entry]) -> Survey {
        let seen = self.look();
        let (mut entries, mut unread, mut all_broken) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        self.places.clear();
        // A file whose schedules nobody knows: any that nobody has now may be its own.
        let mut unknown = None;
        for folder in self.folders.iter().filter(|folder| runbook_file::below(folder).is_err()) {
            let why = format!("the folder {} cannot be read", folder.display());
            unknown.get_or_insert(why.clone());
            unread.insert(folder.clone(), why);
        }
        for path in seen.keys() {
            let found = match self.read_file(path) {
                Ok(found) => {
                    let broken = found.iter().find_map(|entry| entry.broken.clone());
                    all_broken.extend(broken.map(|why| (path.clone(), why)));
                    self.known.insert(path.clone(), found.clone());
                    found
                }
                Err(failure) => {
                    let why = words(&failure);
                    unread.insert(path.clone(), why.clone());
                    match self.known.get(path) {
                        Some(known) => {
                            known.iter().map(|entry| Entry { broken: Some(why.clone()), ..entry.clone() }).collect()
                        }
                        None => {
                            unknown.get_or_insert(format!("{}: {why}", path.display()));
                            Vec::new()
                        }
                    }
                }
            };
            for entry in found {
                match self.places.get(&entry.name) {
                    Some(first) => {
                        let why = format!("{} has a schedule {} already", first.display(), entry.name);
                        unread.insert(path.clone(), why);
                    }
                    None => {
                        self.places.insert(entry.name.clone(), path.clone());
                        entries.insert(entry.name.clone(), entry);
                    }
                }
            }
        }
        self.known.retain(|path, _| seen.contains_key(path));
        if let Some(why) = unknown {
            let readable: BTreeSet<&str> =
                self.known.values().flatten().filter_map(|entry| runbook(&entry.name)).collect();
            let orphans =
                posted.iter().filter(|entry| runbook(&entry.name).is_some_and(|name| !readable.contains(name)));
            for orphan in orphans.filter(|entry| !entries.contains_key(&entry.name)).cloned().collect::<Vec<_>>() {
                entries.insert(orphan.name.clone(), Entry { broken: Some(why.clone()), ..orphan });
            }
        }
        self.read = Some(seen);
        Survey { entries: entries.into_values().collect(), unread, broken: all_broken }
    }
}

impl Runbooks for Timetable {
    fn have_changed(&mut self) -> bool {
        self.read.as_ref() != Some(&self.look())
    }

    fn read(&mut self, posted: &[Entry]) -> Vec<Entry> {
        let Survey { entries, unread, mut broken } = self.survey(posted);
        broken.extend(unread);
        self.say(broken);
        entries
    }

    fn new_run(&self, entry: &Entry, _: &Tick) -> Result<Box<NewRun>, NoRun> {
        let path = self.places.get(&entry.name).ok_or(NoRun::Changed)?;
        let file = load(path, &self.folders).map_err(|failure| NoRun::Broken(words(&failure)))?;
        let is_it = |schedule: &&Schedule| {
            format!("{}/{}", file.name, schedule.id) == entry.name && self.in_a_zone(schedule) == entry.schedule
        };
        let schedule = file.runbook.schedules.iter().find(is_it).ok_or(NoRun::Changed)?;
        refuse_unbuilt(&file).map_err(|failure| NoRun::Broken(words(&failure)))?;
        self.prepare(&file, schedule).map(Box::new).map_err(NoRun::Broken)
    }
}

/// `RUNBOOK` of `RUNBOOK/ID`.
fn runbook(schedule: &str) -> Option<&str> {
    schedule.rsplit_once('/').map(|(runbook, _)| runbook)
}

/// Characters of a reason on the record.
const REASON_CHARS_MAX: usize = 300;

/// On one line, for the record.
fn words(failure: &Failure) -> String {
    let words = failure.in_words().lines().map(str::trim).collect::<Vec<_>>().join("; ");
    let short: String = words.chars().take(REASON_CHARS_MAX).collect();
    text::safe(&if short.len() < words.len() { format!("{short}...") } else { words })
}
