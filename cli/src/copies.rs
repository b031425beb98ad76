//! Where those who look on read what steps printed: in the folders of the runs on this machine; in a cluster in copies of
//! them, which live as long as somebody looks.

use std::path::PathBuf;

use runward_workers::home::Home;

use crate::failure::{EXIT_LEDGER, Failure};
use crate::open::Opened;

pub enum Outputs {
    Here(Home),
    Copied(Copies),
}

/// A folder of this process, which goes with it.
pub struct Copies {
    home: Home,
}

impl Outputs {
    pub fn of(opened: &Opened) -> Result<Outputs, Failure> {
        Ok(match opened.home() {
            Some(home) => Outputs::Here(home.clone()),
            None => Outputs::Copied(Copies::new()?),
        })
    }

    pub fn home(&self) -> &Home {
        match self {
            Outputs::Here(home) => home,
            Outputs::Copied(copies) => &copies.home,
        }
    }
}

impl Copies {
    fn new() -> Result<Copies, Failure> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
        let ground = runtime.unwrap_or_else(std::env::temp_dir);
        let folder = nix::unistd::mkdtemp(&ground.join("runward-XXXXXX")).map_err(|errno| {
            Failure::new(EXIT_LEDGER, format!("no folder can be made in {}: {}", ground.display(), errno.desc()))
                .help("what steps printed is copied there while somebody looks: name another one with TMPDIR")
        })?;
        Ok(Copies { home: Home::open(&folder)? })
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.home.root()); // what stays is in a folder for temporary files
    }
}
