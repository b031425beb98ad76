//! What a run is pinned to: the runbook's text and every file it names, by content.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Kept in the ledger as JSON under its own hash. Editing a file afterwards changes no run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The runbook's name, for listings.
    pub name: String,
    /// The file's path when the run was triggered: for people, never read again.
    pub path: String,
    pub source: String,
    /// Sorted by path.
    pub files: Vec<PinnedFile>,
}

/// A file named by `script:` or `files:`, relative to the runbook's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedFile {
    pub path: String,
    pub sha256: String,
    pub bytes: u64,
    pub executable: bool,
}

impl Definition {
    /// The content hash: over the name, the text and the pinned files, not over where they lay.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        field(self.name.as_bytes());
        field(self.source.as_bytes());
        for file in &self.files {
            field(file.path.as_bytes());
            field(file.sha256.as_bytes());
            field(&[u8::from(file.executable)]);
        }
        hex(&hash.finalize())
    }
}

/// The SHA-256 of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char]).collect()
}
