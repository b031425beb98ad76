//! The end of what an attempt printed, for reports that come when it is over.

use runward_engine::run::{ClaimId, RunState};
use runward_engine::units::format_size;
use runward_workers::supervisor::log::LogItem;

use crate::outputs::{End, Outputs};
use crate::text;

/// The last `bytes_max` bytes as lines that cannot drive a terminal; the first line says what stands before them.
pub fn last_lines(outputs: &Outputs, state: &RunState, claim: &ClaimId, bytes_max: u64) -> Vec<String> {
    outputs.end(&state.id, claim, bytes_max).map(lines).unwrap_or_else(|error| {
        let gone = error.kind() == std::io::ErrorKind::NotFound;
        if gone { Vec::new() } else { vec![format!("[its output cannot be read: {error}]")] }
    })
}

fn lines(end: End) -> Vec<String> {
    let mut printed = Vec::new();
    for item in end.items {
        match item {
            LogItem::Chunk { bytes, .. } => printed.extend_from_slice(&bytes),
            LogItem::Gap { bytes } => {
                printed.extend_from_slice(format!("\n[{} were not kept]\n", format_size(bytes)).as_bytes());
            }
        }
    }
    let printed = String::from_utf8_lossy(&printed);
    let mut lines: Vec<String> = printed.lines().map(text::safe).collect();
    if end.skipped > 0 {
        let before = format!("[{} before this are left out]", format_size(end.skipped));
        match lines.first_mut() {
            Some(half) => *half = before,
            None => lines.push(before),
        }
    }
    if end.more {
        lines.push("[the rest has not arrived yet from the host it ran on]".to_owned());
    }
    lines
}
