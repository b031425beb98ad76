//! Reading the output of an attempt, while it is written or later. The format is described in `spool`.
//!
//! The reader needs nobody's help: it follows the files, and the offsets in them tell it what is missing.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::spool::{HEADER_BYTES, Header, Stream, segment_path};

/// A piece of output, or of its absence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogItem {
    Chunk {
        /// Payload bytes of both streams before this chunk.
        offset: u64,
        /// Wall clock when it was read, milliseconds since the epoch.
        time_ms: u64,
        stream: Stream,
        bytes: Vec<u8>,
    },
    /// So many bytes were here and are no longer kept.
    Gap { bytes: u64 },
}

/// An iterator over the output that is there. `None` is the current end: ask again later to follow a running step.
/// Bytes that were lost after the last kept one show only in the result's `LogSummary`.
pub struct LogReader {
    dir: PathBuf,
    open: Option<Open>,
    /// Segments below this are done with.
    next_number: u64,
    /// Payload bytes already told, gaps included.
    offset: u64,
    waiting: VecDeque<LogItem>,
    /// Where the head ends, once something behind it is gone.
    head_end: Option<u64>,
}

struct Open {
    file: File,
    number: u64,
    position: u64,
}

impl LogReader {
    /// Reads from the beginning. The directory need not hold any output yet, nor exist.
    pub fn open(dir: &Path) -> io::Result<LogReader> {
        LogReader::open_at(dir, 0)
    }

    /// Reads on at `offset`, as saved from an earlier reader ([`LogReader::offset`]).
    pub fn open_at(dir: &Path, offset: u64) -> io::Result<LogReader> {
        let mut reader = LogReader {
            dir: dir.to_owned(),
            open: None,
            next_number: 0,
            offset,
            waiting: VecDeque::new(),
            head_end: None,
        };
        for number in segments(dir)? {
            match File::open(segment_path(dir, number)).map(|file| header_at(&file, 0)) {
                Ok(Ok(Some(header))) if header.offset <= offset => reader.next_number = number,
                Ok(Ok(_)) => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(Err(error)) | Err(error) => return Err(error),
            }
        }
        Ok(reader)
    }

    /// Payload bytes written so far, found from the headers of the newest segment alone.
    pub fn end(&self) -> io::Result<u64> {
        let newest = segments(&self.dir)?.pop();
        let end = newest.map(|number| end_of(&segment_path(&self.dir, number))).transpose()?.flatten();
        Ok(end.unwrap_or(0).max(self.offset()))
    }

    /// What is no longer kept between the head and the tail, in payload bytes.
    pub fn hole(&mut self) -> io::Result<Option<Range<u64>>> {
        let numbers = segments(&self.dir)?;
        let Some(pair) = numbers.windows(2).find(|pair| pair[1] > pair[0] + 1) else { return Ok(None) };
        let path = |number| segment_path(&self.dir, number);
        let start = match self.head_end {
            Some(end) => end,
            None => end_of(&path(pair[0]))?.unwrap_or(0),
        };
        self.head_end = Some(start);
        match File::open(path(pair[1])).and_then(|file| header_at(&file, 0)) {
            Ok(header) => Ok(header.map(|header| start..header.offset)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// About how much is written and not read yet, from the sizes of the files alone: cheap however much there is.
    pub fn behind(&self) -> io::Result<u64> {
        let (from, position) = self.open.as_ref().map_or((self.next_number, 0), |open| (open.number, open.position));
        let mut bytes: u64 = 0;
        for number in segments(&self.dir)?.into_iter().filter(|number| *number >= from) {
            bytes += fs::metadata(segment_path(&self.dir, number)).map_or(0, |meta| meta.len());
        }
        Ok(bytes.saturating_sub(position))
    }

    /// Passes over everything but the last `keep` bytes; says how many it passed over.
    pub fn skip_to_last(&mut self, keep: u64) -> io::Result<u64> {
        let (from, to) = (self.offset(), self.end()?.saturating_sub(keep));
        if to <= from {
            return Ok(0);
        }
        *self = LogReader::open_at(&self.dir, to)?;
        Ok(to - from)
    }

    /// Payload bytes before the next item: the place to read on from.
    pub fn offset(&self) -> u64 {
        let told_later = self.waiting.iter().map(|item| match item {
            LogItem::Chunk { bytes, .. } => bytes.len() as u64,
            LogItem::Gap { bytes } => *bytes,
        });
        self.offset - told_later.sum::<u64>()
    }

    fn read(&mut self) -> io::Result<Option<LogItem>> {
        loop {
            if let Some(item) = self.waiting.pop_front() {
                return Ok(Some(item));
            }
            if self.open.is_none() && !self.open_next()? {
                return Ok(None);
            }
            if !self.read_frame()? && !self.leave_segment()? {
                return Ok(None);
            }
        }
    }

    /// Opens the first segment not yet read; a segment deleted in between is passed over.
    fn open_next(&mut self) -> io::Result<bool> {
        for number in segments(&self.dir)?.into_iter().filter(|number| *number >= self.next_number) {
            match File::open(segment_path(&self.dir, number)) {
                Ok(file) => {
                    self.open = Some(Open { file, number, position: 0 });
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Puts the next frame, and the gap before it, into `waiting`; `false` if no complete frame is there.
    fn read_frame(&mut self) -> io::Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        let Some(header) = header_at(&open.file, open.position)? else { return Ok(false) };
        let end = header.offset + u64::from(header.len);
        if end > self.offset {
            let mut bytes = vec![0; header.len as usize];
            if !read_full(&open.file, &mut bytes, open.position + HEADER_BYTES as u64)? {
                return Ok(false);
            }
            if header.offset > self.offset {
                self.waiting.push_back(LogItem::Gap { bytes: header.offset - self.offset });
            }
            let offset = header.offset.max(self.offset);
            bytes.drain(..(offset - header.offset) as usize);
            self.waiting.push_back(LogItem::Chunk { offset, time_ms: header.time_ms, stream: header.stream, bytes });
            self.offset = end;
        }
        open.position += HEADER_BYTES as u64 + u64::from(header.len);
        Ok(true)
    }

    /// Done with the open segment if a later one exists, because then it is final: one more look, then away from it.
    fn leave_segment(&mut self) -> io::Result<bool> {
        let Some(number) = self.open.as_ref().map(|open| open.number) else { return Ok(false) };
        if !segments(&self.dir)?.into_iter().any(|other| other > number) {
            return Ok(false);
        }
        if !self.read_frame()? {
            self.open = None;
            self.next_number = number + 1;
        }
        Ok(true)
    }
}

impl Iterator for LogReader {
    type Item = io::Result<LogItem>;

    fn next(&mut self) -> Option<io::Result<LogItem>> {
        self.read().transpose()
    }
}

/// Payload bytes up to the end of a segment; `None` while it holds no frame.
fn end_of(path: &Path) -> io::Result<Option<u64>> {
    let file = File::open(path)?;
    let (mut end, mut position) = (None, 0);
    while let Some(header) = header_at(&file, position)? {
        end = Some(header.offset + u64::from(header.len));
        position += HEADER_BYTES as u64 + u64::from(header.len);
    }
    Ok(end)
}

/// The numbers of the segments that exist, in order. The folder comes with the first of them.
fn segments(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(numbers),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_prefix("log.")?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The header at `position`; `None` while it is not completely there.
fn header_at(file: &File, position: u64) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER_BYTES];
    if !read_full(file, &mut bytes, position)? {
        return Ok(None);
    }
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("the log is damaged at byte {position}"));
    Header::from_bytes(&bytes).map(Some).ok_or_else(damaged)
}

fn read_full(file: &File, bytes: &mut [u8], position: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, position) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::spool::Spool;
    use super::*;

    fn text(items: impl Iterator<Item = io::Result<LogItem>>) -> Vec<(u64, Vec<u8>)> {
        items
            .map(|item| match item.unwrap() {
                LogItem::Chunk { offset, bytes, .. } => (offset, bytes),
                LogItem::Gap { bytes } => (bytes, b"gap".to_vec()),
            })
            .collect()
    }

    #[test]
    fn a_reader_follows_a_writer() {
        let dir = tempfile::tempdir().unwrap();
        let mut reader = LogReader::open(dir.path()).unwrap();
        assert!(reader.next().is_none());
        let mut spool = Spool::new(dir.path(), 1 << 20);
        spool.append(Stream::Out, b"one");
        assert_eq!(text(reader.by_ref()), [(0, b"one".to_vec())]);
        spool.append(Stream::Err, b"two");
        assert_eq!(text(reader.by_ref()), [(3, b"two".to_vec())]);
        assert_eq!(text(LogReader::open_at(dir.path(), 4).unwrap()), [(4, b"wo".to_vec())]);
    }

    #[test]
    fn beyond_the_limit_head_and_tail_stay_and_the_gap_is_exact() {
        let dir = tempfile::tempdir().unwrap();
        let limit = 8 * 4096;
        let mut spool = Spool::new(dir.path(), limit);
        let all: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        all.chunks(777).for_each(|piece| spool.append(Stream::Out, piece));
        let summary = spool.summary();
        let mut at = 0;
        let mut gaps = 0;
        for item in LogReader::open(dir.path()).unwrap() {
            match item.unwrap() {
                LogItem::Gap { bytes } => (gaps, at) = (gaps + bytes, at + bytes as usize),
                LogItem::Chunk { bytes, offset, .. } => {
                    assert_eq!((offset as usize, &all[at..at + bytes.len()]), (at, &bytes[..]));
                    at += bytes.len();
                }
            }
        }
        assert_eq!((at, summary.bytes, gaps), (all.len(), all.len() as u64, summary.dropped));
        let hole = LogReader::open(dir.path()).unwrap().hole().unwrap().unwrap();
        assert_eq!(hole.end - hole.start, gaps);
        assert!((limit - 4096..=limit).contains(&(summary.bytes - summary.dropped)));
    }

    #[test]
    fn a_torn_frame_and_a_segment_deleted_under_the_reader_are_survived() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(dir.path(), 0);
        spool.append(Stream::Out, &[1; 4096]);
        spool.append(Stream::Out, &[2; 4096]);
        spool.append(Stream::Out, &[3; 10]);
        let torn = File::options().write(true).open(segment_path(dir.path(), 0)).unwrap();
        torn.set_len(100).unwrap();
        let mut reader = LogReader::open(dir.path()).unwrap();
        fs::remove_file(segment_path(dir.path(), 1)).unwrap();
        assert_eq!(text(reader.by_ref()), [(8192, b"gap".to_vec()), (8192, vec![3; 10])]);
    }

    #[test]
    fn when_nothing_can_be_written_everything_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(&dir.path().join("vanished/claim"), 1 << 20);
        spool.append(Stream::Out, b"hello");
        let summary = spool.summary();
        assert_eq!((summary.bytes, summary.dropped), (5, 5));
        assert!(summary.error.is_some());
        assert!(summary.sha256.starts_with("2cf24dba"));
    }
}
