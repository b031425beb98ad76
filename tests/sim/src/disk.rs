//! The part of a file system that a journal needs: names, contents, and locks that die with their process.
//!
//! The real protocol (`workers::supervisor::journal::rules`) runs on it. It may be carried out call by call, so that
//! other processes act, and die, between any two of its calls: a protocol that is not through is begun again, and what
//! its first calls came to is played back to it ([`Calls`]).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use runward_workers::supervisor::journal::rules::Files;

/// A process, for what dies with it.
pub type Pid = u64;

#[derive(Debug, Default)]
pub struct Disk {
    names: BTreeMap<PathBuf, usize>,
    files: Vec<Inode>,
}

#[derive(Debug, Default)]
struct Inode {
    bytes: Vec<u8>,
    locked_by: Option<Pid>,
}

impl Disk {
    /// Gives back what a dead process has locked.
    pub fn died(&mut self, pid: Pid, file: Option<FileId>) {
        if let Some(inode) = file.and_then(|file| self.files.get_mut(file.0))
            && inode.locked_by == Some(pid)
        {
            inode.locked_by = None;
        }
    }

    /// After a crash of the machine: no locks, and of this journal perhaps only what an earlier moment had.
    pub fn after_reboot(&mut self, dir: &Path, how: u64) {
        let Some((path, inode)) = ["claimed", "started", "void"]
            .into_iter()
            .find_map(|name| self.names.get_key_value(&dir.with_extension(name)))
            .map(|(path, inode)| (path.clone(), *inode))
        else {
            return;
        };
        self.files[inode].locked_by = None;
        match how {
            0 => {}
            1 => _ = self.names.remove(&path),
            2 => self.files[inode].bytes.clear(),
            _ => {
                self.names.remove(&path);
                self.files[inode].bytes.clear();
                self.names.insert(dir.with_extension("claimed"), inode);
            }
        }
    }

    pub fn remove(&mut self, dir: &Path) {
        for name in ["claimed", "started", "void"] {
            self.names.remove(&dir.with_extension(name));
        }
    }

    fn inode(&self, path: &Path) -> Result<usize, ErrorKind> {
        self.names.get(path).copied().ok_or(ErrorKind::NotFound)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId(usize);

/// What one call came to.
#[derive(Debug, Clone)]
enum Answer {
    Done,
    Bool(bool),
    Len(u64),
    Bytes(Vec<u8>),
    File(FileId),
    Failed(ErrorKind),
}

/// What the calls of one protocol have come to so far.
#[derive(Debug, Default)]
pub struct Calls {
    done: RefCell<Vec<Answer>>,
    at: Cell<usize>,
    left: Cell<u32>,
    suspended: Cell<bool>,
    /// The file it has locked.
    pub holds: Cell<Option<FileId>>,
}

impl Calls {
    /// The next protocol of the same process, which keeps its lock.
    pub fn next(&self) -> Calls {
        Calls { holds: self.holds.clone(), ..Calls::default() }
    }

    /// Goes on with `protocol` for at most `calls` calls; `None`: it is not through.
    pub fn run<T>(&self, disk: &mut Disk, pid: Pid, calls: u32, protocol: impl FnOnce(&Hand) -> T) -> Option<T> {
        self.at.set(0);
        self.left.set(calls);
        self.suspended.set(false);
        let came = protocol(&Hand { disk: RefCell::new(disk), pid, calls: self });
        (!self.suspended.get()).then_some(came)
    }
}

/// One process at the disk.
pub struct Hand<'a> {
    disk: RefCell<&'a mut Disk>,
    pid: Pid,
    calls: &'a Calls,
}

impl Hand<'_> {
    fn call(&self, act: impl FnOnce(&mut Disk, Pid) -> Result<Answer, ErrorKind>) -> io::Result<Answer> {
        let calls = self.calls;
        let at = calls.at.replace(calls.at.get() + 1);
        let known = calls.done.borrow().get(at).cloned();
        let answer = match known {
            Some(answer) => answer,
            None if calls.left.get() == 0 || calls.suspended.get() => {
                calls.suspended.set(true);
                return Err(ErrorKind::Interrupted.into());
            }
            None => {
                calls.left.set(calls.left.get() - 1);
                let answer = act(&mut self.disk.borrow_mut(), self.pid).unwrap_or_else(Answer::Failed);
                calls.done.borrow_mut().push(answer.clone());
                answer
            }
        };
        match answer {
            Answer::Failed(kind) => Err(kind.into()),
            answer => Ok(answer),
        }
    }
}

impl Files for Hand<'_> {
    type File = FileId;

    fn create(&self, path: &Path) -> io::Result<()> {
        self.call(|disk, _| {
            if disk.names.contains_key(path) {
                return Err(ErrorKind::AlreadyExists);
            }
            disk.files.push(Inode::default());
            disk.names.insert(path.to_owned(), disk.files.len() - 1);
            Ok(Answer::Done)
        })
        .map(drop)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let answer = self.call(|disk, _| Ok(Answer::Bool(disk.names.contains_key(path))))?;
        Ok(matches!(answer, Answer::Bool(true)))
    }

    fn open(&self, path: &Path) -> io::Result<FileId> {
        match self.call(|disk, _| disk.inode(path).map(|inode| Answer::File(FileId(inode))))? {
            Answer::File(file) => Ok(file),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|disk, _| {
            let inode = disk.inode(from)?;
            disk.names.remove(from);
            disk.names.insert(to.to_owned(), inode);
            Ok(Answer::Done)
        })
        .map(drop)
    }

    fn lock(&self, file: &FileId) -> io::Result<bool> {
        let answer = self.call(|disk, pid| {
            let inode = &mut disk.files[file.0];
            let ours = inode.locked_by.is_none_or(|holder| holder == pid);
            if ours {
                inode.locked_by = Some(pid);
            }
            Ok(Answer::Bool(ours))
        })?;
        let locked = matches!(answer, Answer::Bool(true));
        if locked {
            self.calls.holds.set(Some(*file));
        }
        Ok(locked)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let answer =
            self.call(|disk, _| disk.inode(path).map(|inode| Answer::Bool(disk.files[inode].locked_by.is_some())))?;
        Ok(matches!(answer, Answer::Bool(true)))
    }

    fn len(&self, file: &FileId) -> io::Result<u64> {
        match self.call(|disk, _| Ok(Answer::Len(disk.files[file.0].bytes.len() as u64)))? {
            Answer::Len(len) => Ok(len),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }

    fn reserve(&self, _: &FileId, _: u64) -> io::Result<()> {
        Ok(())
    }

    /// In two halves, so that a crash may cut it.
    fn append(&self, file: &FileId, bytes: &[u8]) -> io::Result<()> {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        for half in [first, second] {
            self.call(|disk, _| {
                disk.files[file.0].bytes.extend_from_slice(half);
                Ok(Answer::Done)
            })?;
        }
        Ok(())
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.call(|disk, _| disk.inode(path).map(|inode| Answer::Bytes(disk.files[inode].bytes.clone())))? {
            Answer::Bytes(bytes) => Ok(bytes),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }
}
