//! The folder in which points of the program are armed, and what was hit there: see `runward_store::failpoint`.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use runward_store::failpoint::{Action, FAILPOINTS, Point};

pub struct Points {
    folder: PathBuf,
}

/// What happened at a point, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    pub point: Point,
    pub action: Action,
    pub pid: Pid,
}

impl Points {
    pub fn in_folder(folder: PathBuf) -> Points {
        for name in ["armed", "hit"] {
            fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        Points { folder }
    }

    /// What processes have to know of it.
    pub fn variable(&self) -> (&'static str, &Path) {
        (FAILPOINTS, &self.folder)
    }

    /// Appears at once as a whole: it is read at any moment.
    pub fn arm(&self, point: Point, action: Action) {
        let draft = self.folder.join(point.name());
        fs::write(&draft, action.name()).expect("a file");
        fs::rename(draft, self.folder.join("armed").join(point.name())).expect("the same file");
    }

    pub fn is_armed(&self, point: Point) -> bool {
        self.folder.join("armed").join(point.name()).exists()
    }

    pub fn disarm(&self, point: Point) {
        let _ = fs::remove_file(self.folder.join("armed").join(point.name())); // somebody was faster
    }

    /// Nothing is armed any more.
    pub fn disarm_all(&self) {
        Point::ALL.iter().for_each(|point| self.disarm(*point));
    }

    /// What was hit since the last time.
    pub fn hits(&self) -> Vec<Hit> {
        let found = fs::read_dir(self.folder.join("hit")).expect("the folder").flatten();
        let taken = found.filter_map(|entry| {
            let hit = parse(entry.file_name().to_str()?);
            fs::remove_file(entry.path()).ok()?;
            hit
        });
        taken.collect()
    }
}

fn parse(name: &str) -> Option<Hit> {
    let mut words = name.split('.');
    let (point, action, pid) = (words.next()?, words.next()?, words.next()?);
    Some(Hit {
        point: *Point::ALL.iter().find(|known| known.name() == point)?,
        action: Action::ALL.into_iter().find(|known| known.name() == action)?,
        pid: Pid::from_raw(pid.parse().ok()?),
    })
}
