//! The end of what an attempt printed, for reports that come when it is over.

use std::path::Path;

use runward_engine::run::{ClaimId, RunState};
use runward_engine::units::format_size;
use runward_workers::home::Home;
use runward_workers::supervisor::log::{LogItem, LogReader};

use crate::text;

/// The last `bytes_max` bytes as lines that cannot drive a terminal; the first line says what stands before them.
pub fn last_lines(home: &Home, state: &RunState, claim: &ClaimId, bytes_max: u64) -> Vec<String> {
    read(&home.attempt(&state.id, claim), bytes_max).unwrap_or_else(|error| {
        let gone = error.kind() == std::io::ErrorKind::NotFound;
        if gone { Vec::new() } else { vec![format!("[its output cannot be read: {error}]")] }
    })
}

fn read(dir: &Path, bytes_max: u64) -> std::io::Result<Vec<String>> {
    let mut reader = LogReader::open(dir)?;
    let skipped = reader.skip_to_last(bytes_max)?;
    let mut printed = Vec::new();
    for item in reader {
        match item? {
            LogItem::Chunk { bytes, .. } => printed.extend_from_slice(&bytes),
            LogItem::Gap { bytes } => {
                printed.extend_from_slice(format!("\n[{} were not kept]\n", format_size(bytes)).as_bytes());
            }
        }
    }
    let printed = String::from_utf8_lossy(&printed);
    let mut lines: Vec<String> = printed.lines().map(text::safe).collect();
    if skipped > 0 {
        let before = format!("[{} before this are left out]", format_size(skipped));
        match lines.first_mut() {
            Some(half) => *half = before,
            None => lines.push(before),
        }
    }
    Ok(lines)
}
