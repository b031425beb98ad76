//! Where those who look on read what steps printed: in the folders of the runs on this machine; in a cluster, in the memory
//! of this process, where `fetch` puts what the ledger has of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use runward_engine::run::{ClaimId, RunId};
use runward_workers::home::Home;
use runward_workers::supervisor::log::{LogItem, LogReader};

use crate::open::Opened;

/// Output beyond this at one look is not read line by line; only its end is.
pub const LAG_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Clone)]
pub enum Outputs {
    Here(Home),
    Fetched(Shared),
}

/// Filled by whoever fetches, emptied by whoever shows.
pub type Shared = Rc<RefCell<Fetched>>;

/// What was fetched and is not read yet.
#[derive(Default)]
pub struct Fetched {
    /// Of attempts whose output is shown as it comes.
    pub pieces: BTreeMap<ClaimId, VecDeque<Piece>>,
    /// Of those that are shown when they are over.
    pub ends: BTreeMap<ClaimId, End>,
}

/// The end of what an attempt printed.
#[derive(Debug, Clone, Default)]
pub struct End {
    /// Bytes before it.
    pub skipped: u64,
    pub items: Vec<LogItem>,
    /// More has not arrived yet.
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Item(LogItem),
    /// So many bytes are there, and nobody reads so fast.
    PassedOver(u64),
}

/// The output of one attempt, from its beginning, as it comes.
pub enum Source {
    Files { dir: PathBuf, reader: Option<LogReader> },
    Fetched { from: Shared, claim: ClaimId },
}

impl Outputs {
    pub fn of(opened: &Opened) -> Outputs {
        match opened.home() {
            Some(home) => Outputs::Here(home.clone()),
            None => Outputs::Fetched(Rc::default()),
        }
    }

    pub fn source(&self, run: &RunId, claim: &ClaimId) -> Source {
        match self {
            Outputs::Here(home) => Source::Files { dir: home.attempt(run, claim), reader: None },
            Outputs::Fetched(from) => Source::Fetched { from: Rc::clone(from), claim: claim.clone() },
        }
    }

    /// The last `bytes_max` bytes.
    pub fn end(&self, run: &RunId, claim: &ClaimId, bytes_max: u64) -> io::Result<End> {
        match self {
            Outputs::Here(home) => {
                let mut reader = LogReader::open(&home.attempt(run, claim))?;
                let skipped = reader.skip_to_last(bytes_max)?;
                Ok(End { skipped, items: reader.collect::<io::Result<_>>()?, more: false })
            }
            Outputs::Fetched(from) => Ok(from.borrow().ends.get(claim).cloned().unwrap_or_default()),
        }
    }
}

impl Source {
    /// Passes over what is too much to be read whole, but for the last `keep` bytes.
    pub fn catch_up(&mut self, keep: u64) -> Option<Piece> {
        let Source::Files { dir, reader } = self else { return None };
        if reader.is_none() {
            *reader = LogReader::open(dir).ok();
        }
        let reader = reader.as_mut().filter(|reader| reader.behind().unwrap_or(0) > LAG_BYTES_MAX)?;
        reader.skip_to_last(keep).ok().filter(|skipped| *skipped > 0).map(Piece::PassedOver)
    }
}

/// What is there and was not read yet.
impl Iterator for Source {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        match self {
            Source::Files { reader, .. } => reader.as_mut()?.next()?.ok().map(Piece::Item),
            Source::Fetched { from, claim } => from.borrow_mut().pieces.get_mut(claim)?.pop_front(),
        }
    }
}
