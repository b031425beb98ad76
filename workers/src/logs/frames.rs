//! Parts of a log: frames as in the spool, cut where they would make a part too large. What is missing between two of them
//! is known from their offsets.

use std::collections::VecDeque;
use std::io;

use runward_store::fleet::{LOG_PART_BYTES_MAX, LogPart};

use crate::supervisor::log::LogItem;
use crate::supervisor::spool::{HEADER_BYTES, Header, Stream};

/// A cut leaves no pieces smaller than that.
const PIECE_BYTES_MIN: usize = 4 * 1024;

/// A piece of output that a part is made of.
#[derive(Debug)]
struct Chunk {
    offset: u64,
    time_ms: u64,
    stream: Stream,
    bytes: Vec<u8>,
}

/// Makes parts of what a reader tells.
#[derive(Debug, Default)]
pub(super) struct Packer {
    /// What did not fit into the last part.
    rest: Option<Chunk>,
}

impl Packer {
    /// The next part; `None` at the current end.
    pub(super) fn next(
        &mut self,
        items: &mut impl Iterator<Item = io::Result<LogItem>>,
    ) -> io::Result<Option<LogPart>> {
        let mut part: Option<LogPart> = None;
        loop {
            let chunk = match self.chunk(items) {
                Ok(Some(chunk)) => chunk,
                Err(error) if part.is_none() => return Err(error),
                Ok(None) | Err(_) => break, // an error comes again
            };
            let so_far =
                part.get_or_insert_with(|| LogPart { from: chunk.offset, to: chunk.offset, frames: Vec::new() });
            if chunk.offset != so_far.to {
                self.rest = Some(chunk);
                break;
            }
            self.rest = add(so_far, chunk);
            if self.rest.is_some() {
                break;
            }
        }
        Ok(part)
    }

    fn chunk(&mut self, items: &mut impl Iterator<Item = io::Result<LogItem>>) -> io::Result<Option<Chunk>> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        for item in items {
            if let LogItem::Chunk { offset, time_ms, stream, bytes } = item? {
                return Ok(Some(Chunk { offset, time_ms, stream, bytes }));
            }
        }
        Ok(None)
    }
}

/// Adds what fits, and gives the rest back.
fn add(part: &mut LogPart, mut chunk: Chunk) -> Option<Chunk> {
    let room = LOG_PART_BYTES_MAX.saturating_sub(part.frames.len() + HEADER_BYTES);
    if room < chunk.bytes.len().min(PIECE_BYTES_MIN) {
        return Some(chunk);
    }
    let later = chunk.bytes.split_off(room.min(chunk.bytes.len()));
    let Chunk { offset, time_ms, stream, bytes } = chunk;
    let header = Header { offset, time_ms, len: bytes.len() as u32, stream };
    part.frames.extend_from_slice(&header.to_bytes());
    part.frames.extend_from_slice(&bytes);
    part.to += bytes.len() as u64;
    (!later.is_empty()).then_some(Chunk { offset: part.to, bytes: later, time_ms, stream })
}

/// What a part says from `offset` on, which moves to its end. `None`: these are not frames.
pub(super) fn unpack(part: &LogPart, offset: &mut u64) -> Option<VecDeque<LogItem>> {
    let mut items = VecDeque::new();
    let mut frames = part.frames.as_slice();
    while !frames.is_empty() {
        let (head, rest) = frames.split_first_chunk::<HEADER_BYTES>()?;
        let header = Header::from_bytes(head)?;
        let (bytes, rest) = rest.split_at_checked(header.len as usize)?;
        frames = rest;
        let end = header.offset + bytes.len() as u64;
        if end <= *offset {
            continue;
        }
        if header.offset > *offset {
            items.push_back(LogItem::Gap { bytes: header.offset - *offset });
            *offset = header.offset;
        }
        let bytes = bytes[(*offset - header.offset) as usize..].to_vec();
        items.push_back(LogItem::Chunk { offset: *offset, time_ms: header.time_ms, stream: header.stream, bytes });
        *offset = end;
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(offset: u64, len: usize) -> io::Result<LogItem> {
        let bytes = (offset..offset + len as u64).map(|at| (at % 251) as u8).collect();
        Ok(LogItem::Chunk { offset, time_ms: offset * 2, stream: Stream::Err, bytes })
    }

    fn parts(items: Vec<io::Result<LogItem>>) -> Vec<LogPart> {
        let (mut items, mut packer) = (items.into_iter(), Packer::default());
        std::iter::from_fn(|| packer.next(&mut items).unwrap()).collect()
    }

    /// What it says, byte for byte, and how much is missing.
    fn told(parts: &[LogPart], mut offset: u64) -> (Vec<u8>, u64) {
        let (mut all, mut missing) = (Vec::new(), 0);
        for item in parts.iter().flat_map(|part| unpack(part, &mut offset).unwrap()) {
            match item {
                LogItem::Gap { bytes } => missing += bytes,
                LogItem::Chunk { bytes, .. } => all.extend(bytes),
            }
        }
        (all, missing)
    }

    #[test]
    fn what_was_packed_comes_out_however_large_its_pieces_were() {
        for len in [1, 4_000, LOG_PART_BYTES_MAX - HEADER_BYTES, LOG_PART_BYTES_MAX, 1_000_000] {
            let items: Vec<_> = (0..5).map(|n| chunk((n * len) as u64, len)).collect();
            let parts = parts(items);
            assert!(parts.iter().all(|part| part.frames.len() <= LOG_PART_BYTES_MAX));
            assert!(parts.windows(2).all(|pair| pair[0].to == pair[1].from));
            let wanted: Vec<u8> = (0..5 * len as u64).map(|at| (at % 251) as u8).collect();
            assert!(told(&parts, 0) == (wanted.clone(), 0), "{len}");
            let from = wanted.len() / 3;
            assert!(told(&parts, from as u64) == (wanted[from..].to_vec(), 0), "{len}");
        }
    }

    #[test]
    fn small_pieces_share_a_part_until_it_is_full() {
        let parts = parts((0..100_000).map(|n| chunk(n * 3, 3)).collect());
        assert_eq!(parts.len(), 100_000 * (HEADER_BYTES + 3) / LOG_PART_BYTES_MAX + 1);
    }

    #[test]
    fn what_is_not_kept_is_a_gap_between_two_parts() {
        let gap = Ok(LogItem::Gap { bytes: 90 });
        let parts = parts(vec![chunk(0, 10), gap, chunk(100, 5), chunk(105, 5)]);
        assert_eq!(parts.iter().map(|part| (part.from, part.to)).collect::<Vec<_>>(), [(0, 10), (100, 110)]);
        assert_eq!(told(&parts, 0).1, 90);
    }

    #[test]
    fn what_are_no_frames_is_told() {
        for frames in [vec![1], vec![0; HEADER_BYTES], parts(vec![chunk(0, 10)])[0].frames[..30].to_vec()] {
            assert!(unpack(&LogPart { from: 0, to: 10, frames }, &mut 0).is_none());
        }
    }
}
