//! What a worker and its supervisor say to each other.
//!
//! A frame is a 4-byte little-endian length and that many bytes of JSON, in both directions, at most
//! [`FRAME_BYTES_MAX`]. The supervisor opens with [`Reply::Hello`]; a client of another version hangs up. Here are
//! only the words and their framing; who sends them when is in `server` and `client`.

use std::path::PathBuf;

use runward_engine::runbook::model::Orphans;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::secrets::{Given, Value};

/// Raised whenever a word changes its meaning, so that an upgraded worker notices an older supervisor. (An older one says `Ended` to
/// everybody: more than a worker needs, and nothing that it must not hear.)
pub const PROTOCOL_VERSION: u32 = 2;

/// One frame, its length field not counted, in bytes. Larger ones are garbage by definition.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The program that means runward itself, as it was when the supervisor was started: the kernel keeps it, even if its
/// file has been replaced or removed since.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// Everything needed to run one attempt of one step. Nothing else is inherited from anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The claim's id; the name of the attempt everywhere in this protocol.
    pub attempt: String,
    /// The attempt's own folder, absolute. Its journal lies beside it and was opened by the worker; the folder itself is
    /// made when there is something to put into it.
    pub dir: PathBuf,
    /// The program and its arguments; a name without `/` is searched in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The complete environment of the step.
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
    /// What it receives besides, and may not be seen anywhere else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Given>,
    /// Values in its arguments and its environment that may not be seen in what it prints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<Value>,
    /// From start to TERM, in milliseconds.
    pub timeout_ms: u64,
    /// From TERM to KILL after the timeout, in milliseconds.
    pub grace_ms: u64,
    /// The program ends something on another machine: how much longer than its grace that may take, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub far_ms: u64,
    pub orphans: Orphans,
    /// Output kept, in bytes; beyond it the first and the last half.
    pub log_bytes_max: u64,
    /// The boot in which the step was claimed; a supervisor of another boot refuses.
    pub boot: String,
    /// In a cluster, where somebody may give it up who does not hear of its worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
}

fn is_zero(ms: &u64) -> bool {
    *ms == 0
}

/// How long the word of a worker counts: it may be late, from one that hung or slept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// After that it does not start, in milliseconds since the machine was started.
    pub until_ms: u64,
    /// After that it also ends, if it was not given more time: [`Request::Lease`].
    pub strict: bool,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    Start(Box<Launch>),
    /// TERM now, KILL after the grace. A repeated request can only shorten the time that is left.
    Kill {
        attempt: String,
        grace_ms: u64,
    },
    /// An attempt with a lease may live until then, in milliseconds since the machine was started. Never shortens it. Said to
    /// supervisors only that say they know it.
    Lease {
        attempt: String,
        until_ms: u64,
    },
    List,
}

/// What the supervisor tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Hello {
        version: u32,
        pid: i32,
        /// It knows [`Request::Lease`].
        #[serde(default)]
        leases: bool,
    },
    /// Told to the client that asked: this request started nothing.
    Refused {
        attempt: String,
        reason: Refusal,
    },
    /// The attempt is over, its processes are gone, its result is in the journal. Told to the client that started it, and
    /// to every one that has asked for a list, for the end of an attempt, or for a start that was refused.
    Ended {
        attempt: String,
    },
    Live {
        attempts: Vec<String>,
    },
    /// Told to the first client instead of `Hello`: this supervisor cannot work and ends.
    Unusable {
        reason: String,
    },
}

/// Why a `Start` started nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    #[error("it is already running here")]
    Live,
    #[error("it was started before")]
    AlreadyStarted,
    #[error("it was declared void: it must never start")]
    Void,
    #[error("it was claimed in another boot of this machine")]
    OtherBoot,
    #[error("it was to start too long ago: it may have been given up")]
    TooLate,
    #[error("its directory cannot be used: {0}")]
    Directory(String),
    #[error("no process could be created for it: {0}")]
    Fork(String),
}

/// Bytes that are not this protocol; the only cure is to hang up.
#[derive(Debug, thiserror::Error)]
pub enum Garbled {
    #[error("a frame of {0} bytes (at most {FRAME_BYTES_MAX})")]
    TooLong(usize),
    #[error("a frame that is not understood: {0}")]
    Json(#[from] serde_json::Error),
}

/// One message as the bytes to send.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, Garbled> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let len = frame.len() - 4;
    let field = u32::try_from(len).ok().filter(|_| len <= FRAME_BYTES_MAX).ok_or(Garbled::TooLong(len))?;
    frame[..4].copy_from_slice(&field.to_le_bytes());
    Ok(frame)
}

/// Takes the first complete message out of `buffer`; `None` while it is incomplete.
pub fn decode<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> Result<Option<T>, Garbled> {
    let Some(field) = buffer.first_chunk::<4>() else { return Ok(None) };
    let len = u32::from_le_bytes(*field) as usize;
    if len > FRAME_BYTES_MAX {
        return Err(Garbled::TooLong(len));
    }
    let Some(body) = buffer.get(4..4 + len) else { return Ok(None) };
    let message = serde_json::from_slice(body)?;
    buffer.drain(..4 + len);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_split() {
        let first = Request::Kill { attempt: "a".into(), grace_ms: 7 };
        let bytes = [encode(&first).unwrap(), encode(&Request::List).unwrap()].concat();
        let (mut buffer, mut seen) = (Vec::new(), Vec::new());
        for byte in bytes {
            buffer.push(byte);
            seen.extend(decode::<Request>(&mut buffer).unwrap());
        }
        assert_eq!(seen, [first, Request::List]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_frame_at_the_limit_passes_and_one_byte_more_does_not() {
        let quotes = 2;
        assert!(encode(&"x".repeat(FRAME_BYTES_MAX - quotes)).is_ok());
        assert!(matches!(encode(&"x".repeat(FRAME_BYTES_MAX - quotes + 1)), Err(Garbled::TooLong(_))));
        let mut claimed = (FRAME_BYTES_MAX as u32 + 1).to_le_bytes().to_vec();
        assert!(matches!(decode::<Request>(&mut claimed), Err(Garbled::TooLong(_))));
    }

    #[test]
    fn nonsense_is_an_error_and_not_a_wait() {
        let mut buffer = b"\x02\0\0\0hi".to_vec();
        assert!(matches!(decode::<Request>(&mut buffer), Err(Garbled::Json(_))));
    }
}
