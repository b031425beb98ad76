//! The name of a state folder in a cluster: made once, at random, and kept in it.
//!
//! It says whose journal an attempt is in. A folder that is copied while it is in use has two owners of one name, of which
//! neither can trust its journal: nobody copies it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use runward_engine::run::HomeId;

use super::{Home, HomeError};

const FILE: &str = "home-id";
/// The kernel's random ids.
const RANDOM: &str = "/proc/sys/kernel/random/uuid";

impl Home {
    /// Its name among all state folders, made by whoever asks first.
    pub fn id(&self) -> Result<HomeId, HomeError> {
        let path = self.root.join(FILE);
        let told = |error| HomeError::new("cannot use the file", &path, error);
        match read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other.map_err(told),
        }
        make(&self.root, &path).map_err(told)?;
        read(&path).map_err(told)
    }

    /// Whether a member of a cluster, or a server, has lived here.
    pub(crate) fn has_id(&self) -> bool {
        self.root.join(FILE).exists()
    }
}

fn read(path: &Path) -> io::Result<HomeId> {
    let text = fs::read_to_string(path)?;
    match text.trim() {
        "" => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty: remove it if no worker runs with this folder"))
        }
        id => Ok(HomeId(id.to_owned())),
    }
}

/// Two may make it at once: the first one's name counts, and is there whole.
fn make(root: &Path, path: &Path) -> io::Result<()> {
    let id = fs::read_to_string(RANDOM)?;
    let draft = root.join(format!("{FILE}.{}", id.trim()));
    let mut file = File::create_new(&draft)?;
    file.write_all(id.as_bytes())?;
    file.sync_all()?;
    let made = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(root)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_folder_keeps_its_name_whoever_asks_first() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let ask = || {
            std::thread::scope(|scope| {
                let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| home.id().unwrap())).collect();
                asked.into_iter().map(|id| id.join().unwrap()).collect::<std::collections::BTreeSet<_>>()
            })
        };
        let first = ask();
        assert_eq!(first.len(), 1);
        assert_eq!(ask(), first);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
        let other = tempfile::tempdir().unwrap();
        assert!(!first.contains(&Home::open(other.path()).unwrap().id().unwrap()));
    }
}
