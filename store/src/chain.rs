//! The hash chain of a run's events.
//!
//! `hash(n) = SHA-256(hash(n-1) ‖ run ‖ seq ‖ at ‖ actor ‖ body)`, each field with its length before it (8 bytes, big
//! endian), numbers as 8 bytes big endian; `hash(0)` is 64 zeros. The body is the stored JSON text, byte for byte, and
//! holds the kind. Whoever changes, drops or reorders a row has to change every later hash of that run.

use runward_engine::plan::definition::hex;
use runward_engine::run::RunId;
use sha2::{Digest, Sha256};

/// The hash before the first event.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

pub fn link(previous: &str, run: &RunId, seq: u64, at: i64, actor: &str, body: &str) -> String {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    field(previous.as_bytes());
    field(run.0.as_bytes());
    field(&seq.to_be_bytes());
    field(&at.to_be_bytes());
    field(actor.as_bytes());
    field(body.as_bytes());
    hex(&hash.finalize())
}
