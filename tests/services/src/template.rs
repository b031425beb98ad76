//! The data folder of a new Postgres, made once and copied for each test: a copy takes a quarter of the time.
//!
//! It lies beside the test programs, in the target folder, and goes with `cargo clean`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

use crate::postgres::{SUPERUSER, as_owner, own, program};

/// Copies it to `data`, which does not exist yet.
pub(crate) fn copy_to(data: &Path) {
    run(Command::new("cp").arg("-a").arg(made()).arg(data));
}

fn made() -> PathBuf {
    let test = std::env::current_exe().expect("a program knows where it is");
    let beside = test.parent().expect("a program is in a folder");
    let version = Command::new(program("postgres")).arg("--version").output().expect("postgres says its version");
    let version: String = String::from_utf8_lossy(&version.stdout).chars().filter(char::is_ascii_digit).collect();
    let template = beside.join(format!("services-postgres-{version}-{}", nix::unistd::getuid()));
    let lock = File::create(template.with_extension("lock")).expect("the target folder can be written");
    let _one_at_a_time = Flock::lock(lock, FlockArg::LockExclusive).expect("a lock can be had");
    if !template.exists() {
        make(&template);
    }
    template
}

/// In a folder that the owner of the server can reach, then where it stays, under its name only when it is whole.
fn make(template: &Path) {
    let folder = tempfile::Builder::new().prefix("runward-initdb-").tempdir().expect("a temporary folder");
    own(folder.path());
    let data = folder.path().join("data");
    // A small log, no locale, checksums as in production; whoever reaches the socket is let in.
    run(as_owner(&program("initdb")).arg("-D").arg(&data).args([
        "-U",
        SUPERUSER,
        "--auth=trust",
        "--no-locale",
        "-E",
        "UTF8",
        "-k",
        "--wal-segsize=1",
        "--no-sync",
    ]));
    let half = template.with_extension("half");
    let _ = fs::remove_dir_all(&half); // of somebody who was killed meanwhile
    run(Command::new("cp").arg("-a").arg(&data).arg(&half));
    fs::rename(&half, template).expect("the template can be named");
}

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
