//! What can be checked today of keys whose behaviour is not built yet: their names and values must fit the rest of the file.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::check::visible;
use super::model::Param;
use super::node::{Data, Key, Node};
use super::report::{Finding, GUESSES_MAX, did_you_mean};
use super::value;
use crate::limits;

/// `on:` and `windows:`.
pub fn check(root: &Node, params: &[Param], findings: &mut Vec<Finding>) {
    let on = root.get("on");
    let known = Known::new(params);
    let mut ids = BTreeSet::new();
    for schedule in on.and_then(|on| on.get("schedule")).map(Node::items).unwrap_or_default() {
        if let Some(id) = schedule.get("id")
            && !ids.insert(id.text())
        {
            findings.push(Finding::new(&id.span, "again", "two schedules have this id"));
        }
        given(schedule.get("with"), &known, true, findings);
        match schedule.entry("drill").filter(|(_, flag)| flag.flag() == Some(true)) {
            None => missing(schedule, &known, findings),
            Some((key, _)) => drills(root, key, schedule, &known, findings),
        }
    }
    if let Some(webhook) = on.and_then(|on| on.get("webhook")) {
        given(webhook.get("params"), &known, false, findings);
    }
    freezes(root, findings);
}

/// Parameters given by a trigger: they exist, and values written out are of their type.
pub(super) fn given(node: Option<&Node>, known: &Known<'_>, typed: bool, findings: &mut Vec<Finding>) {
    for (key, node) in node.map(Node::entries).unwrap_or_default() {
        if findings.len() > limits::FINDINGS_KEPT_MAX {
            return;
        }
        let Some(param) = known.by_name.get(key.text.as_str()) else {
            let names = || did_you_mean(&key.text, known.by_name.keys().copied());
            let help = (findings.len() < GUESSES_MAX).then(names).flatten();
            let message = format!("`{}` is not a parameter of this runbook", key.text);
            findings.push(Finding::new(&key.span, "unknown", message).maybe_help(help));
            continue;
        };
        if typed && let Some(text) = written(node) {
            let message = "`${{ }}` cannot stand here: there is no run yet to take a value from";
            findings
                .push(Finding::new(&text.span, "not here", message).help("write the value out, or let a step find it"));
            continue;
        }
        if typed && let Err(message) = value::from_node(param.kind, node).and_then(|value| value::check(param, &value))
        {
            findings.push(Finding::new(&visible(node), "not allowed", format!("`{}`: {message}", param.name)));
        }
    }
}

/// A schedule of drills gives what is free in a drill, and nothing else.
fn drills(root: &Node, key: &Key, schedule: &Node, known: &Known<'_>, findings: &mut Vec<Finding>) {
    let Some(drill) = root.get("drill") else {
        let help = "add `drill: {with: {...}}` at the top: what a drill gets in place of what is real";
        let finding = Finding::new(&key.span, "of what?", "this runbook has no `drill:` at its top");
        return findings.push(finding.help(help));
    };
    let free = drill.get("free").map(Node::items).unwrap_or_default();
    let is_free = |name: &str| free.iter().any(|item| item.text() == Some(name));
    for (key, _) in schedule.get("with").map(Node::entries).unwrap_or_default() {
        if known.by_name.contains_key(key.text.as_str()) && !is_free(&key.text) {
            let message = format!("a drill gets `{}` from `drill.with`", key.text);
            findings.push(Finding::new(&key.span, "not free", message).help("take it out here"));
        }
    }
    let wanted = Known {
        by_name: known.by_name.iter().filter(|(name, _)| is_free(name)).map(|(name, param)| (*name, *param)).collect(),
        required: known.required.iter().copied().filter(|name| is_free(name)).collect(),
    };
    missing(schedule, &wanted, findings);
}

/// The first text with `${{ }}` in it.
fn written(node: &Node) -> Option<&Node> {
    match &node.data {
        Data::Text(text) => text.contains("${{").then_some(node),
        Data::List(items) => items.iter().find_map(written),
        Data::Map(entries) => entries.iter().find_map(|(_, value)| written(value)),
        _ => None,
    }
}

/// The parameters by their names, and those that a schedule has to give.
pub(super) struct Known<'p> {
    by_name: HashMap<&'p str, &'p Param>,
    required: Vec<&'p str>,
}

impl<'p> Known<'p> {
    pub(super) fn new(params: &'p [Param]) -> Known<'p> {
        let required = params.iter().filter(|param| is_required(param));
        Known {
            by_name: params.iter().map(|param| (param.name.as_str(), param)).collect(),
            required: required.map(|param| param.name.as_str()).collect(),
        }
    }
}

/// So many missing parameters of a schedule are named.
const MISSING_SHOWN_MAX: usize = 3;

/// Nobody is there to be asked when a schedule starts a run. Costs what the schedule gives, not what the runbook declares.
fn missing(schedule: &Node, known: &Known<'_>, findings: &mut Vec<Finding>) {
    let with = schedule.get("with");
    let given: HashSet<&str> =
        with.map(Node::entries).unwrap_or_default().iter().map(|(key, _)| key.text.as_str()).collect();
    let answered = given.iter().filter(|name| known.by_name.get(*name).is_some_and(|param| is_required(param))).count();
    let count = known.required.len() - answered;
    if count == 0 || findings.len() > limits::FINDINGS_KEPT_MAX {
        return;
    }
    let absent = known.required.iter().filter(|name| !given.contains(*name));
    let names: Vec<&str> = absent.take(MISSING_SHOWN_MAX).copied().collect();
    let list = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let (noun, more) = match count {
        1 => ("parameter", String::new()),
        _ if count == names.len() => ("parameters", String::new()),
        _ => ("parameters", format!(" and {} more", count - names.len())),
    };
    let message = format!("this schedule gives no value for the required {noun} {list}{more}");
    let help =
        format!("add `with: {{{}}}`", names.iter().map(|name| format!("{name}: ...")).collect::<Vec<_>>().join(", "));
    findings.push(Finding::new(&visible(with.unwrap_or(schedule)), "no value", message).help(help));
}

fn is_required(param: &Param) -> bool {
    param.required && param.default.is_none()
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

#[cfg(test)]
mod tests {
    #[test]
    fn a_schedule_can_give_values_of_every_type() {
        let params = "params: {n: {type: int}, yes: {type: bool}, some: {type: list}, map: {type: map}}\n";
        let with = "on: {schedule: [{cron: '@daily', with: {n: 7, yes: false, some: [1, [2]], map: {a: {b: 3}}}}]}\n";
        let steps = "steps: [{run: 'echo ${{ params.n }} ${{ params.yes }} ${{ params.some | json }} ${{ params.map | json }}'}]\n";
        let read = crate::runbook::parse(format!("{params}{with}{steps}").as_bytes());
        assert_eq!(read.unwrap().schedules[0].with["n"], 7);
    }
}
