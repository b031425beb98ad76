//! The protocol of the journal, over the few things it asks of a file system.
//!
//! There are two: the disk, and the one of the simulator in `tests/sim`, in which processes die between any two of these
//! calls. What the names of the file mean is in the module above.

use std::io;
use std::path::{Path, PathBuf};

use super::{AttemptResult, JournalError, Mark};
use runward_engine::mutated;

const CLAIMED: &str = "claimed";
const STARTED: &str = "started";
const VOID: &str = "void";
/// Room for a journal, and so for every result but one with a long list of processes in it.
pub(super) const BYTES_RESERVED: u64 = 4 * 1024;
/// Processes named in a result for which there is no more room than that.
const NAMED_MAX: usize = 4;
const NAME_CHARS_MAX: usize = 64;

/// What the protocol needs. Each call happens at once or not at all, but for `append`, which a crash may cut.
pub trait Files {
    /// An open file. Its lock is given back when it is dropped, or when its process dies.
    type File;

    /// Makes an empty file; one that is there already is an error.
    fn create(&self, path: &Path) -> io::Result<()>;
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Opens an existing file to append to it.
    fn open(&self, path: &Path) -> io::Result<Self::File>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Locks it for this process alone; `false` when somebody else has.
    fn lock(&self, file: &Self::File) -> io::Result<bool>;
    fn is_locked(&self, path: &Path) -> io::Result<bool>;
    fn len(&self, file: &Self::File) -> io::Result<u64>;
    /// Takes room on the disk, so that a disk that fills up later costs no outcome.
    fn reserve(&self, file: &Self::File, bytes: u64) -> io::Result<()>;
    fn append(&self, file: &Self::File, bytes: &[u8]) -> io::Result<()>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// What is known of how an attempt ended.
#[derive(Debug)]
pub enum Looked {
    Result(Box<AttemptResult>),
    /// Nothing was started and nothing ever will be.
    NeverStarted,
    /// It started and is not over: there is nothing to be known yet.
    Alive,
    /// It started, and it is dead without a result.
    Dead,
}

pub fn open(files: &impl Files, dir: &Path) -> io::Result<()> {
    files.create(&dir.with_extension(CLAIMED))
}

/// The order is lock, name, exec: whoever finds the name and the lock free has proof that the attempt is dead.
pub fn start<F: Files>(files: &F, dir: &Path, pid: u32) -> Result<Result<F::File, Mark>, JournalError> {
    let path = dir.with_extension(CLAIMED);
    let io = |source| JournalError::Io { path: path.clone(), source };
    let file = match files.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return decided(files, dir).map(Err),
        Err(error) => return Err(io(error)),
    };
    if !mutated!(StartWithoutLock) && !files.lock(&file).map_err(io)? {
        return Ok(Err(Mark::Started)); // it is being started at this moment
    }
    files.reserve(&file, BYTES_RESERVED).map_err(io)?;
    files.append(&file, format!("{pid}\n").as_bytes()).map_err(io)?;
    match files.rename(&path, &dir.with_extension(STARTED)) {
        Ok(()) => Ok(Ok(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => decided(files, dir).map(Err),
        Err(error) => Err(io(error)),
    }
}

pub fn try_void(files: &impl Files, dir: &Path) -> Result<Mark, JournalError> {
    let path = dir.with_extension(CLAIMED);
    match files.rename(&path, &dir.with_extension(VOID)) {
        Ok(()) => Ok(Mark::Void),
        Err(error) if error.kind() == io::ErrorKind::NotFound && mutated!(IgnoreStartedName) => Ok(Mark::Void),
        Err(error) if error.kind() == io::ErrorKind::NotFound => decided(files, dir),
        Err(source) => Err(JournalError::Io { path, source }),
    }
}

pub fn read_mark(files: &impl Files, dir: &Path) -> Result<Option<Mark>, JournalError> {
    let decided = [(STARTED, Some(Mark::Started)), (VOID, Some(Mark::Void))];
    for (name, mark) in decided.into_iter().chain([(CLAIMED, None)]).chain(decided) {
        let path = dir.with_extension(name);
        // Looked for in this order, and once more, so that a journal that is renamed meanwhile is not missed.
        if files.exists(&path).map_err(|source| JournalError::Io { path, source })? {
            return Ok(mark);
        }
    }
    Err(JournalError::Gone { path: dir.with_extension(CLAIMED) })
}

/// It is no longer only claimed: what is it?
fn decided(files: &impl Files, dir: &Path) -> Result<Mark, JournalError> {
    read_mark(files, dir)?.ok_or_else(|| JournalError::Damaged {
        path: dir.with_extension(CLAIMED),
        what: "it came back after it was renamed".into(),
    })
}

/// The file that the attempt's subreaper locks.
pub fn lock_path(dir: &Path) -> PathBuf {
    dir.with_extension(STARTED)
}

pub fn is_alive(files: &impl Files, dir: &Path) -> Result<bool, JournalError> {
    let path = lock_path(dir);
    match files.is_locked(&path) {
        Ok(locked) => Ok(locked),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(JournalError::Io { path, source }),
    }
}

/// The result is read before and after it is known that nobody is left to write it.
pub fn look(files: &impl Files, dir: &Path, boot: &str) -> Result<Looked, JournalError> {
    if let Some(result) = read_result(files, dir, boot)? {
        return Ok(Looked::Result(Box::new(result)));
    }
    if try_void(files, dir)? == Mark::Void {
        return Ok(Looked::NeverStarted);
    }
    if is_alive(files, dir)? {
        return Ok(Looked::Alive);
    }
    if mutated!(LookOnce) {
        return Ok(Looked::Dead);
    }
    Ok(read_result(files, dir, boot)?.map_or(Looked::Dead, |result| Looked::Result(Box::new(result))))
}

pub fn write_result(files: &impl Files, dir: &Path, result: &AttemptResult) -> Result<(), JournalError> {
    let path = dir.with_extension(STARTED);
    let write = || {
        let file = files.open(&path)?;
        let mut line = line(result)?;
        let bytes = files.len(&file)? + line.len() as u64;
        if bytes > BYTES_RESERVED && files.reserve(&file, bytes).is_err() {
            line = self::line(&shortened(result.clone()))?;
        }
        files.append(&file, &line)
    };
    write().map_err(|source| JournalError::Io { path: path.clone(), source })
}

pub(super) fn shortened(mut result: AttemptResult) -> AttemptResult {
    for processes in [&mut result.orphans, &mut result.unkillable] {
        processes.truncate(NAMED_MAX);
        processes
            .iter_mut()
            .for_each(|process| process.command = process.command.chars().take(NAME_CHARS_MAX).collect());
    }
    result
}

/// A result as it is written. The line begins with its own line break: what a writer before it left unfinished is no part
/// of it.
pub(super) fn line(result: &AttemptResult) -> io::Result<Vec<u8>> {
    let mut line = vec![b'\n'];
    serde_json::to_writer(&mut line, result)?;
    line.push(b'\n');
    Ok(line)
}

pub fn read_result(files: &impl Files, dir: &Path, boot: &str) -> Result<Option<AttemptResult>, JournalError> {
    let path = dir.with_extension(STARTED);
    let text = match files.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return read_mark(files, dir).map(|_| None),
        Err(source) => return Err(JournalError::Io { path, source }),
    };
    // The first line is the holder of the lock; the last one is whole only with its line break.
    let Some(line) = text.strip_suffix(b"\n").and_then(|text| text.rsplit(|byte| *byte == b'\n').next()) else {
        return Ok(None);
    };
    if line.first() != Some(&b'{') {
        return Ok(None);
    }
    match serde_json::from_slice::<AttemptResult>(line) {
        Ok(result) => Ok(Some(result).filter(|result| result.boot == boot)),
        Err(error) => Err(JournalError::Damaged { path, what: error.to_string() }),
    }
}
