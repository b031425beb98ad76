//! The runbooks that `runbook` steps call: checked against their callers, once somebody has read them.
//!
//! The parser looks at no other file. Whoever has read them all asks here; what a called runbook itself has wrong was
//! reported with its own file.

use std::collections::BTreeMap;

use super::model::{Argument, Call, Param, Runbook, Step};
use super::report::{Finding, did_you_mean};
use super::value;
use crate::bind::{Context, Reference};
use crate::runbook::model::Action;

/// Every `runbook` step, with its index.
pub fn calls(runbook: &Runbook) -> impl Iterator<Item = (usize, &Step, &Call)> {
    runbook.steps.iter().enumerate().filter_map(|(n, step)| match &step.action {
        Action::Runbook(call) => Some((n, step, &**call)),
        _ => None,
    })
}

/// What is wrong with the calls of a runbook. `called`: by the text that names them; one that is missing was reported.
pub fn check(runbook: &Runbook, called: &BTreeMap<&str, &Runbook>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, step, call) in calls(runbook) {
        if let Some(callee) = called.get(call.runbook.value.as_str()) {
            call.with.iter().for_each(|argument| findings.extend(wrong(runbook, step, argument, call, callee)));
            findings.extend(missing(call, callee));
        }
    }
    findings.extend(runbook.call_reads.iter().filter_map(|read| {
        let Action::Runbook(call) = &runbook.steps[read.step].action else { return None };
        let callee = called.get(call.runbook.value.as_str())?;
        let names = || callee.outputs.iter().map(|output| output.name.value.as_str());
        if names().any(|name| name == read.key) {
            return None;
        }
        let id = &runbook.steps[read.step].id;
        let message = format!("the step `{id}` has no output `{}`: `{}` declares none", read.key, call.runbook.value);
        let all = || match names().collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "declare it there: `outputs: {name: ${{ steps.x.outputs.y }}}`".to_owned(),
            all => format!("its outputs are {all}"),
        };
        Some(Finding::new(&read.span, "here", message).help(did_you_mean(&read.key, names()).unwrap_or_else(all)))
    }));
    findings
}

fn wrong(runbook: &Runbook, step: &Step, argument: &Argument, call: &Call, callee: &Runbook) -> Option<Finding> {
    let (name, target) = (&argument.name, &call.runbook.value);
    let Some(param) = callee.params.iter().find(|param| param.name == name.value) else {
        let message = format!("`{}` is not a parameter of `{target}`", name.value);
        let names = || callee.params.iter().map(|param| param.name.as_str());
        let all = || match names().collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => "it has no parameters".to_owned(),
            all => format!("its parameters are {all}"),
        };
        let help = did_you_mean(&name.value, names()).unwrap_or_else(all);
        return Some(Finding::new(&name.span, "unknown", message).help(help));
    };
    let expressions = argument.value.expressions();
    if expressions.iter().any(|expression| runbook.reads_secret(step, expression)) && !param.sensitive {
        let message = format!("`{}` is given something sensitive, and `{target}` would show it", name.value);
        let help = format!("write `sensitive: true` at the parameter `{}` of `{target}`", name.value);
        return Some(Finding::new(&argument.span, "shown there", message).help(help));
    }
    if !expressions.is_empty() {
        return None;
    }
    let value = argument.value.bind(&Context::default()).ok()?;
    let error = value::from_json(param.kind, &value).and_then(|value| value::check(param, &value)).err()?;
    Some(Finding::new(&argument.span, "not allowed", format!("`{}` of `{target}`: {error}", name.value)))
}

/// Nobody is there to be asked when a step calls a runbook.
fn missing(call: &Call, callee: &Runbook) -> Option<Finding> {
    let given = |param: &&Param| call.with.iter().any(|argument| argument.name.value == param.name);
    let required = callee.params.iter().filter(|param| param.required && param.default.is_none());
    let absent: Vec<&str> = required.filter(|param| !given(param)).map(|param| param.name.as_str()).collect();
    if absent.is_empty() {
        return None;
    }
    let list = absent.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let noun = if absent.len() == 1 { "parameter" } else { "parameters" };
    let message = format!("`{}` needs a value for the {noun} {list}", call.runbook.value);
    let with = absent.iter().map(|name| format!("{name}: ...")).collect::<Vec<_>>().join(", ");
    Some(Finding::new(&call.runbook.span, "no value", message).help(format!("add `with: {{{with}}}`")))
}

/// The references of everything that a call hands over.
pub fn references(call: &Call) -> impl Iterator<Item = &Reference> {
    let values = call.with.iter().flat_map(|argument| argument.value.expressions());
    values.flat_map(|expression| expression.references.iter().map(|(reference, _)| reference))
}
