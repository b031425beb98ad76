//! The configuration file on disk: finding it, deciding whether to trust it, reading it.
//!
//! A file somebody else left in a folder above must not steer what this user runs (any user may write to /tmp), so one
//! that was found, and not named, has to belong to this user or to root.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::Named;
use super::connections::{self, Written};
use super::database::concealed;
use super::parse::{Entry, parse};
use super::table::Takes;
use crate::failure::Failure;
use runward_workers::outbox::Directory;

pub const NAME: &str = "runward.toml";
const SYSTEM: &str = "/etc/runward/runward.toml";
const BYTES_MAX: u64 = 64 * 1024;

/// A file that was read: its settings, with paths resolved against its folder.
pub struct ConfigFile {
    pub path: PathBuf,
    pub entries: Vec<Entry>,
    pub connections: Vec<Written>,
    pub notify: Directory,
    source: String,
}

impl ConfigFile {
    /// Line of a byte, from 1.
    pub fn line(&self, at: usize) -> usize {
        runward_engine::runbook::position(&self.source, at).0
    }
}

/// The file that counts: the one that was named, else the nearest upwards from here, else that of the system.
pub fn find(named: Option<Named>) -> Option<(PathBuf, bool)> {
    if let Some(named) = named {
        return Some((named.path, true));
    }
    // A folder that was removed under our feet has none above it that counts.
    let here = std::env::current_dir().ok();
    let above = here.iter().flat_map(|here| here.ancestors()).map(|folder| folder.join(NAME));
    // A broken link is found, too: whoever made it meant something.
    above.chain([PathBuf::from(SYSTEM)]).find(|path| path.symlink_metadata().is_ok()).map(|path| (path, false))
}

/// `named`: by whoever runs the command, who then answers for it.
pub fn read(path: &Path, named: bool) -> Result<ConfigFile, Failure> {
    let shown = path.display().to_string();
    let unreadable = |error: std::io::Error| {
        let help = if named { "give another one with --config, or `--config /dev/null` for none" } else { WITHOUT };
        Failure::usage(format!("the configuration {shown} cannot be read: {error}")).help(help)
    };
    let link = path.symlink_metadata().map_err(unreadable)?;
    let meta = path.metadata().map_err(unreadable)?;
    // Opening something that is no file may wait for ever.
    if meta.is_dir() || (!named && !meta.is_file()) {
        return Err(Failure::usage(format!("the configuration {shown} is not a file")).help(WITHOUT));
    }
    let file = File::open(path).map_err(unreadable)?;
    // Of the open file: the one looked at before may be another by now.
    let opened = file.metadata().map_err(unreadable)?;
    let owners = |meta: &Metadata| Owned { uid: meta.uid(), mode: meta.mode() };
    if !named && let Some(reason) = distrust(&[owners(&link), owners(&opened)], Uid::effective().as_raw()) {
        return Err(Failure::usage(format!("the configuration {shown} is not trusted: {reason}")).help(format!(
            "remove it, or make it yours (`chown`, `chmod o-w`), or say that you mean it with --config {shown}; {WITHOUT}"
        )));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Failure::usage(format!("the configuration {shown} has more than 64 KiB")).help(WITHOUT));
    }
    let source = String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("the configuration {shown} is not UTF-8")).help(WITHOUT))?;
    let mut parsed =
        parse(&source).map_err(|report| Failure::runbook(&shown, &concealed(&source), &report).help(WITHOUT))?;
    let folder = std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
    parsed.entries.iter_mut().for_each(|entry| entry.resolve(&folder));
    parsed.connections.iter_mut().for_each(|written| connections::resolve(&mut written.connection, &folder));
    Ok(ConfigFile {
        path: path.to_owned(),
        entries: parsed.entries,
        connections: parsed.connections,
        notify: parsed.notify,
        source,
    })
}

/// What to do in the middle of the night.
const WITHOUT: &str = "`--config /dev/null` runs a command without it";

impl Entry {
    fn resolve(&mut self, folder: &Path) {
        if matches!(self.setting.takes, Takes::Path | Takes::Paths) {
            self.texts.iter_mut().for_each(|text| *text = folder.join(&*text).display().to_string());
        }
    }
}

/// Who may change a file, or the link to it.
struct Owned {
    uid: u32,
    mode: u32,
}

/// Why a file that was found is not used, if so. A link has every right set, and they mean nothing.
fn distrust(files: &[Owned], me: u32) -> Option<String> {
    const LINK: u32 = 0o120_000;
    const KIND: u32 = 0o170_000;
    let other = files.iter().find(|file| file.uid != me && file.uid != 0);
    if let Some(other) = other {
        return Some(format!("it belongs to user {}, not to you ({me}) or to root", other.uid));
    }
    let open = files.iter().any(|file| file.mode & KIND != LINK && file.mode & 0o002 != 0);
    open.then(|| "everybody may write to it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(uid: u32, mode: u32) -> Owned {
        Owned { uid, mode }
    }

    #[test]
    fn only_what_is_mine_or_of_the_system_is_trusted() {
        let (file, link) = (0o100_644, 0o120_777);
        assert_eq!(distrust(&[owned(1000, file), owned(1000, file)], 1000), None);
        assert_eq!(distrust(&[owned(0, link), owned(0, file)], 1000), None);
        assert!(distrust(&[owned(1001, file)], 1000).is_some_and(|why| why.contains("user 1001")));
        assert!(distrust(&[owned(1001, link), owned(1000, file)], 1000).is_some(), "a link of somebody else's");
        assert!(distrust(&[owned(1000, file)], 0).is_some(), "root is steered by nobody");
        assert!(distrust(&[owned(1000, 0o100_666)], 1000).is_some_and(|why| why.contains("everybody")));
    }
}
