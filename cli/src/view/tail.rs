//! What running steps print, as lines.

use std::collections::{BTreeMap, VecDeque};

use runward_engine::run::{ClaimId, RunId, RunState};
use runward_workers::supervisor::log::LogItem;

use crate::outputs::{Outputs, Piece, Source};
use crate::text;

/// A line longer than this is shown in pieces.
const LINE_BYTES_MAX: usize = 4096;
/// Lines kept of each attempt, for the case that it fails.
const KEPT: usize = 20;
/// Of an unfinished line, this many bytes at its end can be shown.
const OPEN_LINE_BYTES: usize = 1024;
/// Of output that is too much to be read line by line at one look, so much at its end is.
pub const LAG_BYTES_KEPT: u64 = 32 * 1024;

/// The ends of the output of every attempt that runs.
pub struct Tails {
    outputs: Outputs,
    tails: BTreeMap<ClaimId, Tail>,
    /// Where the steps of a run that is a step stand: `deploy/`, `deploy/backup[2]/`.
    places: BTreeMap<RunId, String>,
}

pub struct Tail {
    pub unit: String,
    source: Source,
    partial: Vec<u8>,
    /// How many lines are kept, and how much is read of what one look finds too long to read whole.
    kept: usize,
    lag_kept: u64,
    /// The last lines, oldest first, each as a terminal would have left it.
    pub last: VecDeque<String>,
    /// Bytes shown so far.
    pub shown: u64,
    pub since: i64,
}

impl Tails {
    pub fn new(outputs: Outputs) -> Tails {
        Tails { outputs, tails: BTreeMap::new(), places: BTreeMap::new() }
    }

    /// What stands before the names of a run's steps: nothing, for the run that is shown.
    pub fn place(&self, state: &RunState) -> String {
        self.places.get(&state.id).cloned().unwrap_or_default()
    }

    /// A run that is a step of one that is shown.
    pub fn begin_child(&mut self, state: &RunState) {
        if let Some(parent) = &state.parent {
            let above = self.places.get(&parent.run).cloned().unwrap_or_default();
            self.places.insert(state.id.clone(), format!("{above}{}/", parent.step));
        }
        self.begin(state);
    }

    /// Attempts that run already.
    pub fn begin(&mut self, state: &RunState) {
        for (claim, unit) in state.live() {
            let since = state.live_attempt(claim).map_or(0, |(_, attempt)| attempt.claimed_at);
            self.add(state, claim, state.unit_name(*unit), since);
        }
    }

    pub fn add(&mut self, state: &RunState, claim: &ClaimId, unit: String, since: i64) {
        let source = self.outputs.source(&state.id, claim);
        let unit = format!("{}{unit}", self.place(state));
        self.tails.insert(claim.clone(), Tail::new(source, unit, since, KEPT, LAG_BYTES_KEPT));
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
    pub fn new(source: Source, unit: String, since: i64, kept: usize, lag_kept: u64) -> Tail {
        Tail { unit, source, partial: Vec::new(), kept, lag_kept, last: VecDeque::new(), shown: 0, since }
    }

    /// What stands on the line that has no end yet, as a terminal would show it.
    pub fn open_line(&self) -> Option<String> {
        let end = &self.partial[self.partial.len().saturating_sub(OPEN_LINE_BYTES)..];
        let text = String::from_utf8_lossy(end);
        let shown = text::overwritten(&text).trim_start_matches('\u{fffd}');
        (!shown.is_empty()).then(|| text::safe(shown))
    }

    /// Reads what is new, line by line; `whole` gives out an unfinished last line, too.
    pub fn lines(&mut self, whole: bool, mut each: impl FnMut(&str)) {
        let Tail { source, partial, last, kept, lag_kept, .. } = self;
        let keep = |line: String, last: &mut VecDeque<String>| {
            if last.len() >= *kept {
                last.pop_front();
            }
            last.push_back(line);
        };
        let mut give = |line: &[u8], last: &mut VecDeque<String>| {
            let line = String::from_utf8_lossy(line);
            let line = line.trim_end_matches('\r');
            each(&text::safe(line));
            keep(text::safe(text::overwritten(line)), last);
        };
        for piece in source.catch_up(*lag_kept).into_iter().chain(source.by_ref()) {
            match piece {
                Piece::Item(LogItem::Chunk { bytes, .. }) => {
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
                Piece::PassedOver(bytes) => {
                    partial.clear();
                    give(format!("[{} passed over]", runward_engine::units::format_size(bytes)).as_bytes(), last);
                }
                Piece::Item(LogItem::Gap { bytes }) => {
                    let marker = format!("[{} were not kept]", runward_engine::units::format_size(bytes));
                    give(marker.as_bytes(), last);
                }
            }
        }
        if whole && !partial.is_empty() {
            give(partial, last);
            partial.clear();
        }
    }
}
