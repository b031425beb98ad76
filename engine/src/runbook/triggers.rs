//! What can be checked today of keys whose behaviour is not built yet: their names and values must fit the rest of the file.

use std::collections::BTreeSet;

use super::check::visible;
use super::model::Param;
use super::node::Node;
use super::report::{Finding, did_you_mean};
use super::value;

/// `on:`, `windows:`, `secrets:` and the `secrets:` of steps.
pub fn check(root: &Node, steps: &[&Node], params: &[Param], findings: &mut Vec<Finding>) {
    let on = root.get("on");
    let mut ids = BTreeSet::new();
    for schedule in on.and_then(|on| on.get("schedule")).map(Node::items).unwrap_or_default() {
        if let Some(id) = schedule.get("id")
            && !ids.insert(id.text())
        {
            findings.push(Finding::new(&id.span, "again", "two schedules have this id"));
        }
        given(schedule.get("with"), params, true, findings);
        missing(schedule, params, findings);
    }
    if let Some(webhook) = on.and_then(|on| on.get("webhook")) {
        given(webhook.get("params"), params, false, findings);
    }
    freezes(root, findings);
    secrets(root, steps, findings);
    for http in steps.iter().filter_map(|step| step.get("http")) {
        if let (Some((key, _)), None) = (http.entry("every"), http.get("until")) {
            findings.push(Finding::new(&key.span, "alone", "`every` means nothing without `until`"));
        }
        if let (Some(_), Some((key, _))) = (http.get("body"), http.entry("json")) {
            findings.push(Finding::new(&key.span, "one too many", "a request has `body` or `json`, not both"));
        }
    }
}

/// Parameters given by a trigger: they exist, and values written out are of their type.
fn given(node: Option<&Node>, params: &[Param], typed: bool, findings: &mut Vec<Finding>) {
    for (key, node) in node.map(Node::entries).unwrap_or_default() {
        let Some(param) = params.iter().find(|param| param.name == key.text) else {
            let help = did_you_mean(&key.text, params.iter().map(|param| param.name.as_str()));
            let message = format!("`{}` is not a parameter of this runbook", key.text);
            findings.push(Finding::new(&key.span, "unknown", message).maybe_help(help));
            continue;
        };
        if typed && let Err(message) = value::from_node(param.kind, node).and_then(|value| value::check(param, &value))
        {
            findings.push(Finding::new(&visible(node), "not allowed", format!("`{}`: {message}", param.name)));
        }
    }
}

/// Nobody is there to be asked when a schedule starts a run.
fn missing(schedule: &Node, params: &[Param], findings: &mut Vec<Finding>) {
    let with = schedule.get("with");
    for param in params.iter().filter(|param| param.required && param.default.is_none()) {
        if with.and_then(|with| with.get(&param.name)).is_none() {
            let message = format!("this schedule gives no value for the required parameter `{}`", param.name);
            let help = format!("add `with: {{{}: ...}}`", param.name);
            findings.push(Finding::new(&visible(with.unwrap_or(schedule)), "no value", message).help(help));
        }
    }
}

fn freezes(root: &Node, findings: &mut Vec<Finding>) {
    for freeze in root.get("windows").and_then(|windows| windows.get("deny")).map(Node::items).unwrap_or_default() {
        let date = |key| freeze.get(key).and_then(Node::text).and_then(|text| text.parse::<chrono::NaiveDate>().ok());
        if let (Some(from), Some(to), Some(node)) = (date("from"), date("to"), freeze.get("to"))
            && to < from
        {
            findings.push(Finding::new(&node.span, "before `from`", "this freeze ends before it begins"));
        }
    }
}

fn secrets(root: &Node, steps: &[&Node], findings: &mut Vec<Finding>) {
    let declared = root.get("secrets").map(Node::entries).unwrap_or_default();
    let mut used = BTreeSet::new();
    let defaults = root.get("defaults");
    for step in steps.iter().copied().chain(defaults) {
        for secret in step.get("secrets").map(Node::items).unwrap_or_default() {
            let Some(name) = secret.text() else { continue };
            used.insert(name);
            if !declared.iter().any(|(key, _)| key.text == name) {
                let help = did_you_mean(name, declared.iter().map(|(key, _)| key.text.as_str()))
                    .unwrap_or_else(|| "declare it under `secrets:` at the top".into());
                let message = format!("`{name}` is not a secret of this runbook");
                findings.push(Finding::new(&secret.span, "unknown", message).help(help));
            }
        }
    }
    for (key, _) in declared.iter().filter(|(key, _)| !used.contains(key.text.as_str())) {
        let message = format!("no step receives the secret `{}`", key.text);
        findings.push(
            Finding::new(&key.span, "never used", message).help("name it in the `secrets` of a step, or remove it"),
        );
    }
}
