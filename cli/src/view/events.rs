//! A run as events, one JSON object a line. What may stand in them is a contract: docs/reference/events.md, held equal to
//! the code by a test.
//!
//! The stream is the record: from the first event without a gap, whoever drives and whenever somebody began to watch.

use runward_engine::run::{Recorded, RunId, RunState, Verdict};
use serde_json::{Value, json};

use super::out;

/// Goes up when a line changes its meaning; a new field or a new kind of event is no such change.
pub const VERSION: u32 = 1;

pub fn begin(state: &RunState) {
    tell(&json!({
        "runward": "events", "version": VERSION, "run": state.id, "runbook": state.name, "generation": state.generation,
    }));
}

pub fn changed(state: &RunState, news: &[Recorded]) {
    for recorded in news {
        tell(&json!({
            "run": state.id, "seq": recorded.seq, "at": recorded.at, "actor": recorded.actor,
            "event": state.shown_event(&recorded.event),
        }));
    }
}

pub fn end(state: &RunState, verdict: Verdict) {
    tell(&json!({"run": state.id, "verdict": verdict, "exit_code": verdict.exit_code()}));
}

/// The only line of a run that is left to itself.
pub fn detached(id: &RunId, driver: Option<u32>) {
    tell(&json!({"runward": "events", "version": VERSION, "run": id, "detached": true, "driver_pid": driver}));
}

fn tell(line: &Value) {
    out::tell(format!("{line}\n"));
}
