//! `render`: a file is replaced in one piece, or not at all.
//!
//! The new file is written beside the old one, with its final owner and mode, onto the disk; then it takes the name. A
//! reader sees the old file or the new one; a crash leaves the old one, and at worst a hidden `.NAME.runward-...`. A
//! symbolic link is followed: the file it points to is replaced, the link stays. What a rename cannot carry over is
//! lost: extended attributes, ACLs, and other hard links, which keep the old content.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Group, User};
use runward_engine::run::outputs::Outputs;
use runward_engine::run::request::RenderRequest;
use runward_engine::units::format_size;
use serde_json::json;

use super::diff;
use super::own::{outputs, say};

/// Links followed one after the other; more are a circle.
const LINKS_MAX: usize = 40;
/// The permission bits of a mode.
const PERMISSIONS: u32 = 0o7777;
/// A new file where no mode is given, before the umask.
const MODE_DEFAULT: u32 = 0o666;
/// Backups of one file within the same second.
const SAME_SECOND_MAX: u32 = 100;
/// Of a file that is compared with the new one, in bytes; a larger one cannot be equal to it.
const OLD_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Of a file's own name in that of its draft, in bytes: a name has at most 255.
const NAME_BYTES_MAX: usize = 200;

/// Writes the file, if anything about it would change; prints what. The output `changed` says whether.
pub(super) fn write(request: &RenderRequest) -> Result<Outputs, String> {
    let target = Target::find(Path::new(&request.to))?;
    let wanted = Wanted::of(request, target.old.as_ref().map(|old| &old.meta))?;
    let changes = target.changes(request, &wanted);
    if changes.is_empty() {
        say(&format!("{} is as it should be", target.shown));
        return Ok(outputs([("changed", json!(false))]));
    }
    say(&format!("{}: {}", target.shown, changes.join(", ")));
    let content_changed = target.content_changes(request);
    if content_changed {
        difference(request, &target).iter().for_each(|line| say(line));
    }
    let scratch = scratch(&target.path);
    let replaced = replace(request, &target, &wanted, &scratch, content_changed && request.backup);
    if replaced.is_err() {
        let _ = fs::remove_file(&scratch); // never made, or of no use
    }
    replaced?;
    Ok(outputs([("changed", json!(true))]))
}

/// What [`write`] would print, had it to change something; empty where the file is as it should be. Writes nothing.
pub fn preview(request: &RenderRequest) -> Result<Vec<String>, String> {
    let target = Target::find(Path::new(&request.to))?;
    let wanted = Wanted::of(request, target.old.as_ref().map(|old| &old.meta))?;
    let changes = target.changes(request, &wanted);
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let head = format!("{}: {}", target.shown, changes.join(", "));
    let difference = if target.content_changes(request) { difference(request, &target) } else { Vec::new() };
    Ok([vec![head], difference].concat())
}

fn difference(request: &RenderRequest, target: &Target) -> Vec<String> {
    if request.secret {
        return vec!["its template has a sensitive value in it: the difference is not shown".to_owned()];
    }
    let old = match &target.old {
        None => None,
        Some(Old { content: Some(content), .. }) => Some(content.as_slice()),
        Some(Old { meta, .. }) => {
            return vec![format!("the old file has {}: the difference is not shown", format_size(meta.len()))];
        }
    };
    diff::unified(&target.shown, old, &request.content)
}

/// The file to be written: no link, in a folder that exists.
struct Target {
    path: PathBuf,
    shown: String,
    old: Option<Old>,
}

struct Old {
    meta: Metadata,
    /// `None`: too large to be looked at.
    content: Option<Vec<u8>>,
}

/// Owner and mode of the new file; `None`: as they come.
struct Wanted {
    mode: u32,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Target {
    fn find(to: &Path) -> Result<Target, String> {
        let path = follow(to)?;
        let shown = to.display().to_string();
        let old = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("{shown} cannot be looked at: {error}")),
            Ok(meta) if !meta.is_file() => return Err(format!("{shown} is not a regular file: only such is replaced")),
            Ok(meta) => {
                let small = meta.len() <= OLD_BYTES_MAX;
                let content = small.then(|| fs::read(&path)).transpose();
                Some(Old { meta, content: content.map_err(|error| format!("{shown} cannot be read: {error}"))? })
            }
        };
        let folder = parent(&path);
        if !folder.is_dir() {
            let folder = folder.display();
            return Err(format!("{shown} cannot be written: there is no folder {folder}. Create it in a step before"));
        }
        Ok(Target { path, shown, old })
    }

    fn content_changes(&self, request: &RenderRequest) -> bool {
        self.old.as_ref().is_none_or(|old| old.content.as_deref() != Some(request.content.as_bytes()))
    }

    fn changes(&self, request: &RenderRequest, wanted: &Wanted) -> Vec<String> {
        let Some(old) = &self.old else { return vec![format!("new file, mode {:04o}", wanted.mode)] };
        let mut changes = Vec::new();
        if self.content_changes(request) {
            changes.push("content changes".to_owned());
        }
        let mode = old.meta.mode() & PERMISSIONS;
        if mode != wanted.mode {
            changes.push(format!("mode {mode:04o} becomes {:04o}", wanted.mode));
        }
        for (what, was, becomes) in [("user", old.meta.uid(), wanted.uid), ("group", old.meta.gid(), wanted.gid)] {
            if becomes.is_some_and(|id| id != was) {
                changes.push(format!("{what} {was} becomes {}", becomes.unwrap_or(was)));
            }
        }
        changes
    }
}

impl Wanted {
    fn of(request: &RenderRequest, old: Option<&Metadata>) -> Result<Wanted, String> {
        let mode = request.mode.or(old.map(|meta| meta.mode() & PERMISSIONS)).unwrap_or_else(|| {
            let mask = umask(Mode::empty());
            umask(mask);
            MODE_DEFAULT & !mask.bits()
        });
        let (mut uid, mut gid) = (old.map(Metadata::uid), old.map(Metadata::gid));
        if let Some(owner) = &request.owner {
            let (user, group) =
                owner.split_once(':').map_or((owner.as_str(), None), |(user, group)| (user, Some(group)));
            uid = Some(user_id(user)?);
            gid = group.map(group_id).transpose()?.or(gid);
        }
        Ok(Wanted { mode, uid, gid })
    }
}

fn user_id(name: &str) -> Result<u32, String> {
    let found = User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
    found.or_else(|| name.parse().ok()).ok_or_else(|| format!("there is no user `{name}` on this machine (`owner`)"))
}

fn group_id(name: &str) -> Result<u32, String> {
    let found = Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
    found.or_else(|| name.parse().ok()).ok_or_else(|| format!("there is no group `{name}` on this machine (`owner`)"))
}

/// The file at the end of all links, which need not exist.
fn follow(to: &Path) -> Result<PathBuf, String> {
    let mut path = to.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(next) => path = parent(&path).join(next),
            Err(_) => return Ok(path),
        }
    }
    Err(format!("{} is a symbolic link that leads back to itself", to.display()))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(path: &Path, name: impl FnOnce(&str) -> String) -> PathBuf {
    let own = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    parent(path).join(name(&own))
}

/// A name that no other attempt uses: process ids are not enough across machines that share a folder.
fn scratch(path: &Path) -> PathBuf {
    let run = std::env::var("RUNWARD_RUN_ID").unwrap_or_default();
    let tail: String = run.chars().filter(char::is_ascii_alphanumeric).rev().take(12).collect();
    let name = |name: &str| name[..name.floor_char_boundary(NAME_BYTES_MAX)].to_owned();
    beside(path, |own| format!(".{}.runward-{tail}-{}", name(own), std::process::id()))
}

fn replace(
    request: &RenderRequest,
    target: &Target,
    wanted: &Wanted,
    scratch: &Path,
    backup: bool,
) -> Result<(), String> {
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => ": check who may write there, and as whom runward runs",
            io::ErrorKind::StorageFull => ": free some space there",
            io::ErrorKind::ReadOnlyFilesystem => ": that file system is mounted read-only",
            io::ErrorKind::ResourceBusy => {
                ": it is mounted by itself, as files often are in a container, and cannot be replaced. Mount its folder"
            }
            _ => "",
        };
        format!("{} cannot be written: {error}{hint}", target.shown)
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(scratch).map_err(failed)?;
    file.write_all(request.content.as_bytes()).map_err(failed)?;
    own(&file, wanted).map_err(|error| {
        let (uid, gid) = (wanted.uid.unwrap_or_default(), wanted.gid.unwrap_or_default());
        format!(
            "{} cannot be given to user {uid} and group {gid}: {error}. Only root may give files away: run as root, or \
             name an `owner` that needs no rights",
            target.shown
        )
    })?;
    // After the owner: giving a file away takes mode bits off.
    file.set_permissions(Permissions::from_mode(wanted.mode)).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    if backup && target.old.is_some() {
        let kept = keep(&target.path).map_err(|error| {
            format!("the backup of {} cannot be made, so nothing was changed: {error}", target.shown)
        })?;
        say(&format!("the old file is kept as {}", kept.display()));
    }
    fs::rename(scratch, &target.path).map_err(failed)?;
    File::open(parent(&target.path)).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// Only where it differs: whoever may not give files away need not.
fn own(file: &File, wanted: &Wanted) -> io::Result<()> {
    let meta = file.metadata()?;
    let uid = wanted.uid.filter(|uid| *uid != meta.uid());
    let gid = wanted.gid.filter(|gid| *gid != meta.gid());
    if uid.is_none() && gid.is_none() { Ok(()) } else { fchown(file, uid, gid) }
}

/// The old file under a second name: itself, so that its owner, mode and times stay.
fn keep(path: &Path) -> io::Result<PathBuf> {
    let time = chrono::DateTime::from(std::time::SystemTime::now());
    let time: chrono::DateTime<chrono::Utc> = time;
    let stamp = time.format("%Y%m%dT%H%M%SZ");
    for n in 1..=SAME_SECOND_MAX {
        let again = if n > 1 { format!("-{n}") } else { String::new() };
        let name = beside(path, |name| format!("{name}.bak-{stamp}{again}"));
        match fs::hard_link(path, &name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|()| name),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
