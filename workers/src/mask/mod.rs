//! Takes secrets out of what is printed, written and answered, before anybody keeps it.
//!
//! A [`Mask`] knows every form in which its secrets may come back ([`forms`]); a [`Stream`] applies it to bytes that come
//! in pieces. The result is the same however they are cut: the leftmost, and of those the longest form is replaced by
//! [`MASKED`]. To know before changing anything: what may still become a form is held back, and nothing else is, so that a
//! prompt without a newline is seen at once.

pub mod forms;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::rc::Rc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};
use runward_engine::mutated;
use zeroize::Zeroize;

/// What stands where a secret was.
pub const MASKED: &str = "***";
/// So many bytes of forms make the fastest automaton, which takes about 300 times that memory.
const FAST_BYTES_MAX: usize = 32 * 1024;

/// The forms of some secrets. One automaton, shared by all streams of an attempt.
#[derive(Clone)]
pub struct Mask {
    needles: Rc<Needles>,
}

struct Needles {
    automaton: AhoCorasick,
    /// Each once.
    sorted: Vec<Vec<u8>>,
    /// Whether a form begins with this byte.
    begins: [bool; 256],
    longest: usize,
}

impl Mask {
    /// `None`: there is nothing to hide, or nothing long enough to be told from other text ([`forms::WHOLE_BYTES_MIN`]).
    pub fn of<'s>(secrets: impl IntoIterator<Item = &'s [u8]>) -> Option<Mask> {
        let mut sorted: Vec<Vec<u8>> = secrets.into_iter().flat_map(forms::forms).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let longest = sorted.iter().map(Vec::len).max()?;
        let bytes: usize = sorted.iter().map(Vec::len).sum();
        let kind = (bytes <= FAST_BYTES_MAX).then_some(AhoCorasickKind::DFA);
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).kind(kind).build(&sorted);
        let automaton = automaton.expect("forms are far fewer and shorter than an automaton can hold (limits)");
        let mut begins = [false; 256];
        sorted.iter().for_each(|needle| begins[usize::from(needle[0])] = true);
        Some(Mask { needles: Rc::new(Needles { automaton, sorted, begins, longest }) })
    }

    /// A text as it may be seen.
    pub fn hide(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.hide_bytes(text.as_bytes())).into_owned()
    }

    /// The same for bytes of any kind.
    pub fn hide_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.stream();
        let mut hidden = stream.push(bytes).to_vec();
        hidden.extend_from_slice(stream.finish());
        hidden
    }

    /// Of a text that goes on, but not here: what may be the beginning of a form at its end is left out.
    pub fn hide_beginning(&self, text: &str) -> String {
        String::from_utf8_lossy(self.stream().push(text.as_bytes())).into_owned()
    }

    pub fn stream(&self) -> Stream {
        Stream { needles: Rc::clone(&self.needles), held: Vec::new(), out: Vec::new() }
    }
}

/// One stream of output.
pub struct Stream {
    needles: Rc<Needles>,
    /// The end of what came, which may be the beginning of a form.
    held: Vec<u8>,
    out: Vec<u8>,
}

impl Stream {
    /// Takes the next piece, and returns what is certain by now.
    pub fn push(&mut self, piece: &[u8]) -> &[u8] {
        self.out.clear();
        if mutated!(MaskNothing) {
            self.out.extend_from_slice(piece);
            return &self.out;
        }
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(piece);
        let end = self.needles.mask(&text, false, &mut self.out);
        if !mutated!(MaskForgetsTheTail) {
            self.held.extend_from_slice(&text[end..]);
        }
        text.zeroize();
        &self.out
    }

    /// Nothing more comes: what is left.
    pub fn finish(&mut self) -> &[u8] {
        self.out.clear();
        let mut text = std::mem::take(&mut self.held);
        self.needles.mask(&text, true, &mut self.out);
        text.zeroize();
        &self.out
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.held.zeroize();
    }
}

impl Needles {
    /// Appends to `out` what is certain of `text`; returns where the rest begins. `is_end`: nothing follows.
    fn mask(&self, text: &[u8], is_end: bool, out: &mut Vec<u8>) -> usize {
        let hold = |from| if is_end { text.len() } else { self.open_from(text, from) };
        let (mut at, mut open) = (0, hold(0));
        loop {
            // A match that begins where another may still grow is not certain: that one may come first, or be longer.
            let found = self.find(text, at).filter(|found| found.start < open);
            let Some(found) = found else {
                out.extend_from_slice(&text[at..open]);
                return open;
            };
            out.extend_from_slice(&text[at..found.start]);
            out.extend_from_slice(MASKED.as_bytes());
            at = found.end;
            if open < at {
                open = hold(at);
            }
        }
    }

    fn find(&self, text: &[u8], at: usize) -> Option<Range<usize>> {
        self.automaton.find(Input::new(text).span(at..text.len())).map(|found| found.range())
    }

    /// The first place from `from` on from which the text, up to its end, is the beginning of a longer form.
    fn open_from(&self, text: &[u8], from: usize) -> usize {
        let near = text.len().saturating_sub(self.longest - 1);
        let mut places = from.max(near)..text.len();
        places.find(|place| self.is_open(&text[*place..])).unwrap_or(text.len())
    }

    fn is_open(&self, tail: &[u8]) -> bool {
        // Those that begin with it follow it directly in the order of bytes.
        self.begins[usize::from(tail[0])] && {
            let next = self.sorted.partition_point(|needle| needle.as_slice() <= tail);
            self.sorted.get(next).is_some_and(|needle| needle.starts_with(tail))
        }
    }
}

impl Drop for Needles {
    fn drop(&mut self) {
        self.sorted.iter_mut().for_each(Zeroize::zeroize);
    }
}
