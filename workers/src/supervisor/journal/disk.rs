//! The journal's file system: the real one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use super::rules::Files;

#[derive(Debug)]
pub(super) struct Disk;

impl Files for Disk {
    type File = File;

    fn create(&self, path: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn lock(&self, file: &File) -> io::Result<bool> {
        locked(file.try_lock())
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        // Readers share the lock for a moment, so that they never take one another for the subreaper.
        File::open(path).and_then(|file| locked(file.try_lock_shared())).map(|ours| !ours)
    }

    fn len(&self, file: &File) -> io::Result<u64> {
        file.metadata().map(|meta| meta.len())
    }

    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()> {
        match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, bytes as i64) {
            Err(Errno::EOPNOTSUPP) => Ok(()), // a file system without reservations: the result takes its chance
            reserved => Ok(reserved?),
        }
    }

    fn append(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }
}

fn locked(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
