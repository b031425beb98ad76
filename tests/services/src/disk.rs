//! A disk of its own for a host or a server, which is full whenever the test says so: a small file system in a mount
//! namespace that lives as long as its keeper and those who entered it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;
use nix::unistd::{Pid, getuid};
use tempfile::TempDir;

use crate::guard::{Guard, Signal};

/// The keeper says that it is mounted by a file in it. Where, it reads in a file: whoever has the folder in its command line is
/// on the host, and dies with it.
const MOUNT: &str =
    r#"at=$(cat "$1/at") && mount -t tmpfs -o size=$2 none "$at" && touch "$at/mounted" && exec sleep infinity"#;
const SIZE: &str = "1g";
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Disk {
    keeper: Guard,
    /// Of the keeper.
    _folder: TempDir,
    path: PathBuf,
    full: AtomicBool,
}

impl Disk {
    /// Mounts it at this folder, for those who [enter](Disk::enter).
    pub fn at(path: &Path) -> Disk {
        std::fs::create_dir_all(path).expect("a folder");
        let folder = tempfile::Builder::new().prefix("runward-disk-").tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("at"), path.as_os_str().as_bytes()).expect("a file");
        // Whoever is not root is it in a namespace of users.
        let unshare = if getuid().is_root() { "-m" } else { "-rm" };
        let words = ["unshare", unshare, "sh", "-c", MOUNT, "disk"].map(OsStr::new);
        let command: Vec<&OsStr> = words.into_iter().chain([folder.path().as_os_str(), OsStr::new(SIZE)]).collect();
        let keeper = Guard::start(folder.path(), Signal::Kill, &command);
        let disk = Disk { keeper, _folder: folder, path: path.to_owned(), full: AtomicBool::new(false) };
        let until = Instant::now() + PATIENCE;
        while !disk.seen().join("mounted").exists() {
            assert!(
                Instant::now() < until,
                "no file system can be mounted in a namespace: root, or user namespaces, are needed"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        disk
    }

    /// The process with which it ends.
    pub fn keeper(&self) -> Pid {
        self.keeper.server()
    }

    /// Where its folder is for those outside.
    pub fn seen(&self) -> PathBuf {
        let path = self.path.strip_prefix("/").expect("an absolute path");
        PathBuf::from(format!("/proc/{}/root", self.keeper.server())).join(path)
    }

    /// A command that sees it, in this folder.
    pub fn enter(&self, folder: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.keeper.server().to_string()]);
        if getuid().is_root() {
            command.arg("-m")
        } else {
            command.args(["-U", "--preserve-credentials", "-m"])
        };
        command.arg("env").arg("-C").arg(folder);
        command
    }

    /// No room for anything that is not there yet. False: somebody was just writing.
    pub fn fill(&self) -> bool {
        let filled = statvfs(&self.seen()).is_ok_and(|all| {
            let used = (all.blocks() - all.blocks_free()) * all.fragment_size();
            self.resize(&used.max(1).to_string())
        });
        self.full.fetch_or(filled, Ordering::Relaxed);
        filled
    }

    pub fn clear(&self) {
        assert!(self.resize(SIZE), "it cannot be made large again");
        self.full.store(false, Ordering::Relaxed);
    }

    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    fn resize(&self, size: &str) -> bool {
        let mut command = self.enter(Path::new("/"));
        command.args(["mount", "-o", &format!("remount,size={size}")]).arg(&self.path);
        command.output().is_ok_and(|done| done.status.success())
    }
}
