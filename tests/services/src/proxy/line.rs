//! One end of a connection, whichever kind of socket it is.

use std::io::{Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::Target;

#[derive(Clone)]
pub(super) enum Line {
    Tcp(Arc<TcpStream>),
    Unix(Arc<UnixStream>),
}

impl Line {
    pub(super) fn to(target: &Target) -> Result<Line> {
        match target {
            Target::Tcp(address) => TcpStream::connect(address).map(Line::from),
            Target::Unix(path) => UnixStream::connect(path).map(|stream| Line::Unix(Arc::new(stream))),
        }
    }

    pub(super) fn from(stream: TcpStream) -> Line {
        let _ = stream.set_nodelay(true); // it would only be slower
        Line::Tcp(Arc::new(stream))
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Line::Tcp(stream) => stream.as_ref().read(buffer),
            Line::Unix(stream) => stream.as_ref().read(buffer),
        }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> Result<()> {
        match self {
            Line::Tcp(stream) => stream.as_ref().write_all(bytes),
            Line::Unix(stream) => stream.as_ref().write_all(bytes),
        }
    }

    /// Whoever reads from it or writes to it, here or at the other end, is told.
    pub(super) fn end(&self) {
        let _ = match self {
            Line::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Line::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}
