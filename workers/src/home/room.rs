//! How much a state folder can still take.

use std::fs;
use std::io;

use nix::sys::statvfs::statvfs;

use super::Home;

/// With less than this the next attempt may find no room for its journal, its script or what it prints.
pub const FREE_BYTES_MIN: u64 = 32 << 20;
/// Files and folders that can still be made.
pub const FREE_FILES_MIN: u64 = 100;

/// What the file system of a folder has free for this user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub bytes: u64,
    /// None where the file system has no such limit.
    pub files: Option<u64>,
}

impl Room {
    pub fn of(folder: &std::path::Path) -> io::Result<Room> {
        let stat = statvfs(folder)?;
        let files = (stat.files() > 0).then(|| stat.files_available());
        Ok(Room { bytes: stat.blocks_available() * stat.fragment_size(), files })
    }

    pub fn has(&self, bytes: u64, files: u64) -> bool {
        self.bytes >= bytes && self.files.is_none_or(|free| free >= files)
    }
}

impl Home {
    /// Why nothing should begin here. A quota, or a file system that has become read-only, shows in the attempt alone.
    pub(crate) fn trouble(&self) -> Option<String> {
        let root = self.root();
        match Room::of(root) {
            Err(error) => return Some(format!("the state folder {} cannot be looked at: {error}", root.display())),
            Ok(room) if !room.has(FREE_BYTES_MIN, FREE_FILES_MIN) => {
                let files = room.files.map(|files| format!(" and {files} files")).unwrap_or_default();
                let mib = room.bytes >> 20;
                return Some(format!(
                    "the file system of the state folder {} has {mib} MiB{files} free",
                    root.display()
                ));
            }
            Ok(_) => {}
        }
        let probe = root.join("probe");
        let tried = fs::write(&probe, "x").and_then(|()| fs::remove_file(&probe));
        tried.err().map(|error| format!("nothing can be written to the state folder {}: {error}", root.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_gone_or_cannot_be_written_to_is_in_trouble() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("state")).unwrap();
        assert_eq!(home.trouble(), None);
        assert_eq!(fs::read_dir(home.root()).unwrap().count(), 0, "nothing is left of the look");
        fs::create_dir(home.root().join("probe")).unwrap();
        assert!(home.trouble().unwrap().contains("nothing can be written to the state folder"));
        fs::remove_dir_all(home.root()).unwrap();
        assert!(home.trouble().unwrap().contains("cannot be looked at: No such file"));
    }

    #[test]
    fn what_has_no_limit_is_never_short_of_it() {
        let room = Room { bytes: 10, files: None };
        assert!(room.has(10, 100) && !room.has(11, 0));
        assert!(!Room { files: Some(99), ..room }.has(10, 100));
    }
}
