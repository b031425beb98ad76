//! The spool of one attempt, read for shipping.

use std::io;
use std::ops::Range;
use std::path::Path;

use runward_store::fleet::LogPart;
use tracing::warn;

use super::frames::Packer;
use crate::supervisor::log::LogReader;

pub(super) struct Spooled {
    reader: LogReader,
    packer: Packer,
    /// Where the ledger's copy ends.
    pub at: u64,
    /// What was thinned out already.
    thinned: Option<Range<u64>>,
}

impl Spooled {
    pub(super) fn open(dir: &Path, at: u64) -> io::Result<Spooled> {
        Ok(Spooled { reader: LogReader::open_at(dir, at)?, packer: Packer::default(), at, thinned: None })
    }

    /// The next part; `None` at the current end, and where the spool is damaged: what is behind that nobody can read.
    pub(super) fn next(&mut self) -> io::Result<Option<LogPart>> {
        match self.packer.next(&mut self.reader) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                warn!(%error, "the output of a step cannot be read to its end");
                Ok(None)
            }
            part => part,
        }
    }

    /// What the spool does not keep any more, if that is more than it was.
    pub(super) fn thinner(&mut self) -> io::Result<Option<Range<u64>>> {
        let hole = self.reader.hole()?;
        if hole == self.thinned {
            return Ok(None);
        }
        self.thinned.clone_from(&hole);
        Ok(hole)
    }
}
