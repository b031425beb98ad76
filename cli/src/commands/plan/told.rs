//! Channels that `notify` steps name and this configuration does not: what they tell would be a dead letter, sent from here.

use std::collections::BTreeSet;

use runward_engine::runbook::model::{Action, Runbook};
use runward_workers::outbox::Directory;

/// By their names.
pub fn unknown(runbook: &Runbook, directory: &Directory) -> BTreeSet<String> {
    let named = runbook.steps.iter().filter_map(|step| match &step.action {
        Action::Notify(notify) => Some(&notify.channel),
        _ => None,
    });
    named.filter(|channel| !directory.channels.contains_key(*channel)).cloned().collect()
}

pub fn sentence(channel: &str, directory: &Directory) -> String {
    let known: Vec<String> = directory.channels.keys().map(|name| format!("`{name}`")).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!(
        "! no channel `{channel}` is configured here (there are: {known}): sent from this machine, what it tells is a dead letter"
    )
}
