//! `on.schedule` of a well-formed tree -> the schedules of a runbook, with the defaults filled in.

use std::time::Duration;

use serde_json::{Map, Value};

use super::model::Param;
use super::node::Node;
use super::notify::Severity;
use super::steps::time;
use super::value;
use crate::schedule::entry::{Dst, Gap, Missed, Overlap, Repeat, Schedule};

/// A missed tick older than this is not made up for.
const WITHIN: Duration = Duration::from_secs(24 * 3600);

/// In file order. Nothing is reported here: the tree and its `with` have been checked.
pub fn read(root: &Node, params: &[Param]) -> Vec<Schedule> {
    let entries = root.get("on").and_then(|on| on.get("schedule")).map(Node::items).unwrap_or_default();
    let severity = root.get("severity").and_then(Node::text).and_then(Severity::named);
    let of = |(index, node)| Schedule { severity, ..schedule(node, index + 1, params) };
    entries.iter().enumerate().map(of).collect()
}

fn schedule(node: &Node, position: usize, params: &[Param]) -> Schedule {
    let text = |key: &str| node.get(key).and_then(Node::text).map(|text| text.trim().to_owned());
    Schedule {
        id: text("id").unwrap_or_else(|| position.to_string()),
        cron: text("cron").unwrap_or_default(),
        timezone: text("timezone"),
        dst: node.get("dst").map(dst).unwrap_or_default(),
        missed: match text("missed").as_deref() {
            Some("none") => Missed::None,
            Some("all") => Missed::All,
            _ => Missed::Latest,
        },
        within_ms: millis(time(node.get("within")).unwrap_or(WITHIN)),
        overlap: match text("overlap").as_deref() {
            Some("queue") => Overlap::Queue,
            Some("cancel-running") => Overlap::CancelRunning,
            Some("allow") => Overlap::Allow,
            _ => Overlap::Skip,
        },
        jitter_ms: millis(time(node.get("jitter")).unwrap_or_default()),
        with: node.get("with").map(|with| given(with, params)).unwrap_or_default(),
        severity: None,
        drill: node.get("drill").and_then(Node::flag) == Some(true),
    }
}

fn dst(node: &Node) -> Dst {
    let word = |key: &str| node.get(key).and_then(Node::text);
    Dst {
        gap: match word("gap") {
            Some("shift") => Some(Gap::Shift),
            Some("skip") => Some(Gap::Skip),
            _ => None,
        },
        repeat: match word("repeat") {
            Some("first") => Some(Repeat::First),
            Some("last") => Some(Repeat::Last),
            Some("both") => Some(Repeat::Both),
            _ => None,
        },
    }
}

fn given(with: &Node, params: &[Param]) -> Map<String, Value> {
    let typed = |name: &str, node: &Node| {
        let param = params.iter().find(|param| param.name == name)?;
        value::from_node(param.kind, node).ok()
    };
    with.entries().iter().filter_map(|(key, node)| Some((key.text.clone(), typed(&key.text, node)?))).collect()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
