//! One connected client, as the supervisor sees it: two buffers that never block anybody else.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::protocol::{self, FRAME_BYTES_MAX, Garbled, Reply, Request};

/// Replies waiting for a client that does not read, in bytes; then it is dropped. (It finds all in the journal.) A worker
/// with hundreds of runs may ask for each of them at once, and each answer names all attempts.
const OUTBOX_BYTES_MAX: usize = 8 * FRAME_BYTES_MAX;
/// A frame must be complete this long after its first byte.
const FRAME_TIME_MAX: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 64 * 1024;

pub(super) struct Peer {
    stream: UnixStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    /// Since when a frame is incomplete.
    incomplete: Option<Instant>,
    /// It is told of the end of every attempt, and not only of those that it started.
    pub(super) listens: bool,
    gone: bool,
}

impl Peer {
    pub(super) fn new(stream: UnixStream) -> std::io::Result<Peer> {
        stream.set_nonblocking(true)?;
        Ok(Peer { stream, inbox: Vec::new(), outbox: Vec::new(), incomplete: None, listens: false, gone: false })
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Nothing more is to be expected from it, or to be told to it.
    pub(super) fn is_gone(&self) -> bool {
        self.gone || self.incomplete.is_some_and(|since| since.elapsed() >= FRAME_TIME_MAX)
    }

    pub(super) fn wants_to_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// When it will be dropped if it does not finish its frame.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.incomplete.map(|since| since + FRAME_TIME_MAX)
    }

    /// Reads what is there, one buffer of it, so that nobody else waits long.
    pub(super) fn fill(&mut self) {
        let mut bytes = [0; READ_BYTES];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.gone = true,
            Ok(len) => self.inbox.extend_from_slice(&bytes[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.gone = true,
        }
    }

    /// The next complete request. Garbage ends the conversation.
    pub(super) fn next_request(&mut self) -> Option<Request> {
        let request = protocol::decode(&mut self.inbox).unwrap_or_else(|_: Garbled| {
            self.gone = true;
            self.inbox.clear();
            None
        });
        self.incomplete = match request {
            None if !self.inbox.is_empty() => self.incomplete.or_else(|| Some(Instant::now())),
            _ => None,
        };
        request
    }

    /// Puts a reply in the outbox and sends what the socket takes now.
    pub(super) fn say(&mut self, reply: &Reply) {
        match protocol::encode(reply) {
            Ok(frame) => self.outbox.extend_from_slice(&frame),
            Err(_) => self.gone = true,
        }
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(len) => drop(self.outbox.drain(..len)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.gone = true;
                    return self.outbox.clear();
                }
            }
        }
        self.gone |= self.outbox.len() > OUTBOX_BYTES_MAX;
    }
}
