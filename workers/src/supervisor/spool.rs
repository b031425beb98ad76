//! Where the output of an attempt goes: frames appended to segment files `log.000000`, `log.000001`, ...
//!
//! A frame is a header of 24 bytes, little-endian, and its payload:
//! `offset: u64` (payload bytes of both streams before this one), `time_ms: u64`, `len: u32`, `stream: u8`, 3 zeros.
//! A segment holds an eighth of the limit in payload. The first four are kept for ever, of the others the last four;
//! what was deleted between them is known from the offsets. Here is the writer; `log` reads.
//!
//! The writer never fails towards the step: when the disk is full it goes on counting and hashing what it cannot keep.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Segments the limit is divided into; the first half of them is the head.
const SEGMENTS: u64 = 8;
const HEAD_SEGMENTS: u64 = SEGMENTS / 2;
const TAIL_SEGMENTS: usize = (SEGMENTS - HEAD_SEGMENTS) as usize;
/// The smallest segment, in bytes, however small the limit.
const SEGMENT_BYTES_MIN: u64 = 4 * 1024;
/// The largest payload of one frame, in bytes.
pub(super) const FRAME_PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
pub(crate) const HEADER_BYTES: usize = 24;

/// Which output of the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

/// What became of the output of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogSummary {
    /// Everything the step wrote, both streams, in bytes.
    pub bytes: u64,
    /// How much of it is no longer there.
    pub dropped: u64,
    /// SHA-256 of all of it in the order it was read, dropped bytes included; in hexadecimal. Empty when interrupted.
    pub sha256: String,
    /// Why something could not be kept, if the limit was not the reason.
    pub error: Option<String>,
}

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub offset: u64,
    pub time_ms: u64,
    pub len: u32,
    pub stream: Stream,
}

impl Header {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time_ms.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.len.to_le_bytes());
        bytes[20] = match self.stream {
            Stream::Out => 1,
            Stream::Err => 2,
        };
        bytes
    }

    /// `None` if the bytes cannot be a header.
    pub(crate) fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let (offset, rest) = bytes.split_first_chunk::<8>()?;
        let (time_ms, rest) = rest.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let stream = match rest {
            [1, 0, 0, 0] => Stream::Out,
            [2, 0, 0, 0] => Stream::Err,
            _ => return None,
        };
        let len = u32::from_le_bytes(*len);
        let header = Header { offset: u64::from_le_bytes(*offset), time_ms: u64::from_le_bytes(*time_ms), len, stream };
        Some(header).filter(|_| len > 0 && len as usize <= FRAME_PAYLOAD_BYTES_MAX)
    }
}

pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("log.{number:06}"))
}

/// Milliseconds since the epoch, by the wall clock.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The writer. One per attempt, in its subreaper. Nothing is created before the first byte.
pub(crate) struct Spool {
    dir: PathBuf,
    segment_bytes: u64,
    current: Option<Segment>,
    next_number: u64,
    /// Finished segments of the tail, oldest first: number and payload bytes.
    tail: VecDeque<(u64, u64)>,
    bytes: u64,
    dropped: u64,
    hash: Sha256,
    error: Option<String>,
}

struct Segment {
    number: u64,
    file: File,
    /// Good bytes in the file; a failed write is cut back to this.
    file_bytes: u64,
    payload_bytes: u64,
}

impl Spool {
    /// A spool in `dir` that keeps `limit_bytes` of payload.
    pub(crate) fn new(dir: &Path, limit_bytes: u64) -> Spool {
        Spool {
            dir: dir.to_owned(),
            segment_bytes: (limit_bytes / SEGMENTS).max(SEGMENT_BYTES_MIN),
            current: None,
            next_number: 0,
            tail: VecDeque::new(),
            bytes: 0,
            dropped: 0,
            hash: Sha256::new(),
            error: None,
        }
    }

    /// Appends what was read from `stream`; what cannot be written is counted as dropped.
    pub(crate) fn append(&mut self, stream: Stream, mut payload: &[u8]) {
        self.hash.update(payload);
        let time_ms = now_ms();
        while !payload.is_empty() {
            let room = match self.segment() {
                Ok(segment_bytes_left) => segment_bytes_left.min(FRAME_PAYLOAD_BYTES_MAX as u64) as usize,
                Err(error) => return self.lose(payload.len(), &error),
            };
            let (now, later) = payload.split_at(room.min(payload.len()));
            let header = Header { offset: self.bytes, time_ms, len: now.len() as u32, stream };
            match self.current.as_mut().map_or(Ok(()), |segment| segment.write(header, now)) {
                Ok(()) => self.bytes += now.len() as u64,
                Err(error) => self.lose(now.len(), &error),
            }
            payload = later;
        }
    }

    /// What became of the output so far.
    pub(super) fn summary(&self) -> LogSummary {
        use std::fmt::Write;
        let sha256 = self.hash.clone().finalize().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}"); // writing to a String cannot fail
            hex
        });
        LogSummary { bytes: self.bytes, dropped: self.dropped, sha256, error: self.error.clone() }
    }

    /// Makes sure that there is a segment with room; returns how much, in payload bytes.
    fn segment(&mut self) -> io::Result<u64> {
        // Frames of a few bytes are mostly header: the file may be twice its payload, so that the disk is bounded too.
        let full = |segment: &Segment| {
            segment.payload_bytes >= self.segment_bytes || segment.file_bytes >= 2 * self.segment_bytes
        };
        if let Some(segment) = self.current.take_if(|segment| full(segment)) {
            self.retire(segment);
        }
        if self.current.is_none() {
            let number = self.next_number;
            if number == 0 {
                make_folder(&self.dir)?;
            }
            let path = segment_path(&self.dir, number);
            let file = OpenOptions::new().append(true).create_new(true).open(&path)?;
            self.next_number += 1;
            self.current = Some(Segment { number, file, file_bytes: 0, payload_bytes: 0 });
        }
        Ok(self.current.as_ref().map_or(0, |segment| self.segment_bytes - segment.payload_bytes))
    }

    /// A full segment of the tail pushes the oldest one out: with the one about to be opened, there are four.
    fn retire(&mut self, segment: Segment) {
        if segment.number < HEAD_SEGMENTS {
            return;
        }
        self.tail.push_back((segment.number, segment.payload_bytes));
        if self.tail.len() < TAIL_SEGMENTS {
            return;
        }
        if let Some((number, payload_bytes)) = self.tail.pop_front() {
            match fs::remove_file(segment_path(&self.dir, number)) {
                Ok(()) => self.dropped += payload_bytes,
                Err(error) => self.error = Some(error.to_string()),
            }
        }
    }

    fn lose(&mut self, bytes: usize, error: &io::Error) {
        self.bytes += bytes as u64;
        self.dropped += bytes as u64;
        self.error.get_or_insert_with(|| format!("the output could not be written: {error}"));
    }
}

/// The attempt's folder is made with its first output. One whose surroundings were removed does not come back.
fn make_folder(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

impl Segment {
    fn write(&mut self, header: Header, payload: &[u8]) -> io::Result<()> {
        let head = header.to_bytes();
        let total = HEADER_BYTES + payload.len();
        let written = match self.file.write_vectored(&[IoSlice::new(&head), IoSlice::new(payload)]) {
            Ok(written) if written == total => Ok(()),
            Ok(written) if written < HEADER_BYTES => {
                self.file.write_all(&head[written..]).and_then(|()| self.file.write_all(payload))
            }
            Ok(written) => self.file.write_all(&payload[written - HEADER_BYTES..]),
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => {
                self.file_bytes += total as u64;
                self.payload_bytes += payload.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.file.set_len(self.file_bytes)?;
                Err(error)
            }
        }
    }
}
