//! Symbols and short words for states.

use runward_engine::run::Verdict;

pub fn symbol(status: &str) -> &'static str {
    match status {
        "succeeded" => "✓",
        "failed" | "timed_out" => "✗",
        "lost" | "held" => "?",
        "skipped" | "cancelled" => "−",
        "running" => "▶",
        "backoff" => "↻",
        _ => "·",
    }
}

/// The end of an id, which `find_run` understands: ids sort by time, so their ends differ most.
pub fn short(id: &str) -> &str {
    id.rsplit('-').next().unwrap_or(id)
}

pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Succeeded => "succeeded",
        Verdict::Failed => "failed",
        Verdict::TimedOut => "timed out",
        Verdict::Cancelled => "cancelled",
        Verdict::Unknown => "outcome unknown",
        Verdict::Unfinished => "not finished",
    }
}
