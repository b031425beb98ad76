//! A folder for servers that are not children of the test: those that a runbook starts, stops and moves.
//!
//! When the test ends, by whatever cause, every process that is at home in the folder is ended, and the folder is gone: a
//! guard process sees to it. No file with a process id is believed for that: its process may be another one by now.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::guard::{Guard, Signal};
use crate::postgres::own;

const SCRIPT: &str = r#"
folder=$1
at_home() {
  for process in /proc/[0-9]*; do
    case $(readlink "$process/cwd") in "$folder" | "$folder"/*) echo "${process#/proc/}" ;; esac
  done
}
end() {
  signal=QUIT rounds=0
  while processes=$(at_home) && [ -n "$processes" ]; do
    kill -s "$signal" $processes
    kill -s CONT $processes
    sleep 0.05
    rounds=$((rounds + 1))
    if [ "$rounds" -ge 20 ]; then signal=KILL; fi # whatever a shell has started in the background ignores QUIT
  done
  kill "$waits"
  exit
}
trap end TERM
sleep infinity &
waits=$!
wait
"#;

pub struct Ground {
    // First, so that nobody is at home any more when the folder goes.
    _guard: Guard,
    folder: TempDir,
}

impl Default for Ground {
    fn default() -> Ground {
        Ground::new()
    }
}

impl Ground {
    pub fn new() -> Ground {
        let folder = tempfile::Builder::new().prefix("runward-ground-").tempdir().expect("a temporary folder");
        own(folder.path());
        let command: [&OsStr; 5] =
            ["sh".as_ref(), "-c".as_ref(), SCRIPT.as_ref(), "ground".as_ref(), folder.path().as_os_str()];
        Ground { _guard: Guard::start(folder.path(), Signal::Terminate, &command), folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder itself: the sockets of its servers are in it, too.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A folder in it that the user of the servers may write.
    pub fn make(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).expect("a folder of the ground");
        own(&path);
        path
    }

    /// A new Postgres in the folder `name`, started, with settings as in `postgresql.conf`.
    pub fn cluster(&self, name: &str, port: u16, settings: &[&str]) -> Cluster {
        let cluster = self.attach(name, port);
        crate::template::copy_to(cluster.data());
        cluster.set(&["listen_addresses = ''", "shared_buffers = '16MB'", "max_connections = 40"]);
        cluster.set(&[
            &format!("unix_socket_directories = '{}'", self.folder().display()),
            &format!("port = {port}"),
            "recovery_init_sync_method = syncfs",
        ]);
        cluster.set(settings);
        cluster.start();
        cluster
    }

    /// The Postgres that a runbook made in the folder `name`.
    pub fn attach(&self, name: &str, port: u16) -> Cluster {
        Cluster::new(self.path(name), self.folder().to_owned(), port)
    }
}

/// Runs it to its end, which has to be a good one.
pub(crate) fn done(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
