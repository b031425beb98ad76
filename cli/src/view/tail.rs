//! What running steps print, as lines.

use std::collections::BTreeMap;
use std::path::PathBuf;

use runward_engine::run::{ClaimId, RunState};
use runward_workers::home::Home;
use runward_workers::supervisor::log::{LogItem, LogReader};

/// A line longer than this is shown in pieces.
const LINE_BYTES_MAX: usize = 4096;
/// Lines kept of each attempt, for the case that it fails.
const KEPT: usize = 20;
/// Output beyond this at one look is not read line by line; only its end is.
const LAG_BYTES_MAX: u64 = 1024 * 1024;
const LAG_BYTES_KEPT: u64 = 32 * 1024;

/// The ends of the output of every attempt that runs.
pub struct Tails {
    home: Home,
    tails: BTreeMap<ClaimId, Tail>,
}

pub struct Tail {
    pub unit: String,
    dir: PathBuf,
    reader: Option<LogReader>,
    partial: Vec<u8>,
    /// The last lines, oldest first.
    pub last: std::collections::VecDeque<String>,
    /// Bytes shown so far.
    pub shown: u64,
    pub since: i64,
}

impl Tails {
    pub fn new(home: Home) -> Tails {
        Tails { home, tails: BTreeMap::new() }
    }

    /// Attempts that run already.
    pub fn begin(&mut self, state: &RunState) {
        for (claim, unit) in state.live() {
            let since = state.live_attempt(claim).map_or(0, |(_, attempt)| attempt.claimed_at);
            self.add(state, claim, state.unit_name(*unit), since);
        }
    }

    pub fn add(&mut self, state: &RunState, claim: &ClaimId, unit: String, since: i64) {
        let dir = self.home.attempt(&state.id, claim);
        let tail = Tail { unit, dir, reader: None, partial: Vec::new(), last: Default::default(), shown: 0, since };
        self.tails.insert(claim.clone(), tail);
    }

    pub fn take(&mut self, claim: &ClaimId) -> Option<Tail> {
        self.tails.remove(claim)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Tail> {
        self.tails.values_mut()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Tail> {
        self.tails.values()
    }
}

impl Tail {
    /// Reads what is new, line by line; `whole` gives out an unfinished last line, too.
    pub fn lines(&mut self, whole: bool, mut each: impl FnMut(&str)) {
        if self.reader.is_none() {
            self.reader = LogReader::open(&self.dir).ok();
        }
        let Tail { reader: Some(reader), partial, last, .. } = self else { return };
        let behind = reader.end().unwrap_or(0).saturating_sub(reader.offset());
        if behind > LAG_BYTES_MAX
            && let Ok(skipped) = reader.skip_to_last(LAG_BYTES_KEPT)
        {
            partial.clear();
            each(&format!("[{} passed over]", runward_engine::units::format_size(skipped)));
        }
        let mut give = |line: &[u8], last: &mut std::collections::VecDeque<String>| {
            let line = crate::text::safe(String::from_utf8_lossy(line).trim_end_matches('\r'));
            each(&line);
            if last.len() == KEPT {
                last.pop_front();
            }
            last.push_back(line);
        };
        for item in reader.by_ref() {
            match item {
                Ok(LogItem::Chunk { bytes, .. }) => {
                    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                        partial.extend_from_slice(piece);
                        let ended = partial.pop_if(|byte| *byte == b'\n').is_some();
                        while partial.len() > LINE_BYTES_MAX {
                            let rest = partial.split_off(LINE_BYTES_MAX);
                            give(partial, last);
                            *partial = rest;
                        }
                        if ended {
                            give(partial, last);
                            partial.clear();
                        }
                    }
                }
                Ok(LogItem::Gap { bytes }) => {
                    let marker = format!("[{} were not kept]", runward_engine::units::format_size(bytes));
                    give(marker.as_bytes(), last);
                }
                Err(_) => break,
            }
        }
        if whole && !partial.is_empty() {
            give(partial, last);
            partial.clear();
        }
    }
}
