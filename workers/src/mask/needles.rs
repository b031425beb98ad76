//! The texts to look for, and how they are found.
//!
//! A table of bits says for the first four bytes of a place whether any needle can begin there; only then the needles,
//! in their order, are asked. It costs no more with many needles than with few, nearly nothing to make, and little memory: it
//! is made anew for each attempt.

use std::ops::Range;

use zeroize::Zeroize;

use super::forms::WHOLE_BYTES_MIN as PREFIX_BYTES;

/// Bits of the table for each needle, at least; and what the table has at least and at most, as powers of two.
const SPARSE: usize = 64;
const TABLE_MIN: u32 = 16;
const TABLE_MAX: u32 = 22;

pub(super) struct Needles {
    /// In the order of bytes, each once.
    sorted: Vec<Vec<u8>>,
    /// For each the longest one that it begins with.
    within: Vec<Option<usize>>,
    table: Vec<u64>,
    /// What is left of a product is a place in the table.
    shift: u32,
    /// Whether one begins with this byte.
    begins: [bool; 256],
    longest: usize,
}

impl Needles {
    /// `None`: there are none. Each has at least `PREFIX_BYTES`.
    pub(super) fn new(mut sorted: Vec<Vec<u8>>) -> Option<Needles> {
        sorted.sort_unstable();
        sorted.dedup();
        let longest = sorted.iter().map(Vec::len).max()?;
        let power = (sorted.len() * SPARSE).ilog2().clamp(TABLE_MIN, TABLE_MAX);
        let (table, shift) = (vec![0; 1 << (power - u64::BITS.ilog2())], u32::BITS - power);
        let within = within(&sorted);
        let mut needles = Needles { sorted, within, table, shift, begins: [false; 256], longest };
        for needle in &needles.sorted {
            needles.begins[usize::from(needle[0])] = true;
            if let Some(prefix) = needle.first_chunk() {
                let (word, bit) = place(*prefix, shift);
                needles.table[word] |= bit;
            }
        }
        Some(needles)
    }

    /// The first place from `at` on where one stands, and the longest that does.
    pub(super) fn find(&self, text: &[u8], at: usize) -> Option<Range<usize>> {
        for (start, window) in (at..).zip(text[at..].windows(PREFIX_BYTES)) {
            let prefix = [window[0], window[1], window[2], window[3]];
            let (word, bit) = place(prefix, self.shift);
            if self.table[word] & bit != 0
                && let Some(len) = self.longest_at(&text[start..])
            {
                return Some(start..start + len);
            }
        }
        None
    }

    /// It is the last one that does not come after the text, or one that this one begins with.
    fn longest_at(&self, text: &[u8]) -> Option<usize> {
        let next = self.sorted.partition_point(|needle| needle.as_slice() <= text);
        let mut candidate = next.checked_sub(1);
        while let Some(found) = candidate {
            if text.starts_with(&self.sorted[found]) {
                return Some(self.sorted[found].len());
            }
            candidate = self.within[found];
        }
        None
    }

    /// The first place from `from` on from which the text, up to its end, is the beginning of a longer one.
    pub(super) fn open_from(&self, text: &[u8], from: usize) -> usize {
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

fn place(prefix: [u8; PREFIX_BYTES], shift: u32) -> (usize, u64) {
    let hash = u32::from_le_bytes(prefix).wrapping_mul(0x9e37_79b1) >> shift;
    ((hash / u64::BITS) as usize, 1 << (hash % u64::BITS))
}

/// In the order of bytes whatever one begins with stands before it, and is open until something else has begun.
fn within(sorted: &[Vec<u8>]) -> Vec<Option<usize>> {
    let (mut within, mut open) = (Vec::with_capacity(sorted.len()), Vec::<usize>::new());
    for (n, needle) in sorted.iter().enumerate() {
        while open.pop_if(|last| !needle.starts_with(&sorted[*last])).is_some() {}
        within.push(open.last().copied());
        open.push(n);
    }
    within
}
