//! What tests saw: which step of which runbook did what a row says, and which test looked at it from outside.
//!
//! Each test leaves one file in `target/evidence`, and only when it passed.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::repository;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sighting {
    pub row: String,
    pub runbook: String,
    pub step: String,
    /// What the step came to.
    pub status: String,
    /// `bluegreen::a_full_cycle_under_load`
    pub test: String,
}

/// Where the files are.
pub fn folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from);
    target.join("evidence")
}

fn file(test: &str) -> PathBuf {
    folder().join(format!("{}.json", test.replace("::", "-")))
}

/// What an earlier run of this test saw is forgotten.
pub fn forget(test: &str) {
    let _ = fs::remove_file(file(test));
}

/// Keeps what a test saw, in one piece.
pub fn keep(test: &str, seen: &[Sighting]) -> std::io::Result<()> {
    let file = file(test);
    fs::create_dir_all(folder())?;
    let half = file.with_extension("half");
    fs::write(&half, serde_json::to_string_pretty(seen)?)?;
    fs::rename(half, file)
}

/// What all tests saw that are in a folder of evidence, sorted.
pub fn all(folder: &Path) -> std::io::Result<Vec<Sighting>> {
    let mut seen = Vec::new();
    if !folder.exists() {
        return Ok(seen); // nobody has seen anything yet
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "json") {
            let of_one: Vec<Sighting> = serde_json::from_str(&fs::read_to_string(&path)?)?;
            seen.extend(of_one);
        }
    }
    seen.sort();
    seen.dedup();
    Ok(seen)
}
