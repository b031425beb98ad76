//! Nothing of a chaos is left, however that ended: the processes of its hosts stand on their own, and would live on.
//!
//! One guard for all of them. Whoever has something below the folder of the chaos in its environment is ended, and the folder
//! goes, unless it is kept.

use std::ffi::OsStr;
use std::path::Path;

use runward_services::{Guard, Signal};
use tempfile::TempDir;

/// How the name of the folder of a chaos begins.
pub const PREFIX: &str = "runward-chaos-";
/// `of` holds `=`, the folder and `/`: with anything else in it nobody is ended.
const SCRIPT: &str = r#"
cd "$1" || exit
there() { grep -lsaF -f of /proc/[0-9]*/environ | cut -d/ -f3; }
end() {
  case $(cat of) in
  =/*/runward-chaos-?*/)
    while processes=$(there) && [ -n "$processes" ]; do
      kill -s KILL $processes
      sleep 0.05
    done
    folder=$(cut -c2- of)
    if [ ! -e keep ]; then rm -rf "$folder"; fi
    ;;
  esac
  kill "$waits"
  exit
}
trap end TERM
sleep infinity &
waits=$!
wait
"#;

pub struct Leftovers {
    _guard: Guard,
    /// Of the guard.
    folder: TempDir,
}

impl Leftovers {
    /// Of the chaos in this folder.
    pub fn of(chaos: &Path) -> Leftovers {
        let folder = tempfile::Builder::new().prefix("runward-leftovers-").tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("of"), format!("={}/\n", chaos.display())).expect("a file");
        let command: [&OsStr; 5] =
            ["sh".as_ref(), "-c".as_ref(), SCRIPT.as_ref(), "leftovers".as_ref(), folder.path().as_os_str()];
        Leftovers { _guard: Guard::start(folder.path(), Signal::Terminate, &command), folder }
    }

    /// The folder stays.
    pub fn keep(&self) {
        std::fs::write(self.folder.path().join("keep"), "").expect("a file");
    }
}
