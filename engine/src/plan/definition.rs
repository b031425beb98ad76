//! What a run is pinned to: the runbook's text and every file it names, by content.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::runbook::model::Runbook;
use crate::runbook::{self, Finding, Report};

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
    /// The runbooks it calls, sorted by the text that names them; each is a definition of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runbooks: Vec<PinnedRunbook>,
    /// It is the drill of the runbook in the text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drill: bool,
}

/// A runbook named by `runbook:`. Its hash covers what it calls itself, so the caller's hash covers all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedRunbook {
    /// As the step names it.
    pub runbook: String,
    /// The hash of its definition.
    pub definition: String,
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
    /// The runbook of its text, or the drill of that.
    pub fn runbook(&self) -> Result<Runbook, Report> {
        let runbook = runbook::parse(self.source.as_bytes())?;
        if !self.drill {
            return Ok(runbook);
        }
        runbook.drilled().map_err(|none| Report::one(Finding::new(&(0..0), "no drill", none.to_string())))
    }

    /// The content hash: over the name, the text, the pinned files and the runbooks it calls, not over where they lay.
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
        for called in &self.runbooks {
            field(CALLED);
            field(called.runbook.as_bytes());
            field(called.definition.as_bytes());
        }
        if self.drill {
            field(DRILL);
        }
        hex(&hash.finalize())
    }
}

/// Of a drill, as the last field.
const DRILL: &[u8] = b"\0drill";
/// Stands before each called runbook in the hash. No path has a NUL in it, so no file looks like this.
const CALLED: &[u8] = b"\0runbook";

/// The SHA-256 of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char]).collect()
}
