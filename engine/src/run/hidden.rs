//! What nothing may show of the values that one attempt was given: sensitive parameters, and what was made of them.

use serde_json::Value;

use super::ids::Part;
use super::prepare::step_expressions;
use super::state::RunState;
use crate::bind::{Context, Document, Reference};
use crate::runbook::model::Step;

/// Every text in them. `context`: with the variables of the step. `document`: of a `render` step.
pub(super) fn hidden(
    state: &RunState,
    spec: &Step,
    part: Part,
    document: Option<&Document>,
    context: &Context,
) -> Vec<String> {
    let expressions = step_expressions(spec, part);
    let read = expressions.iter().flat_map(|expression| &expression.references);
    let read =
        read.chain(document.into_iter().flat_map(|document| &document.references)).map(|(reference, _)| reference);
    let secret = read.filter(|reference| state.runbook.is_secret(spec, reference));
    let given = secret.filter_map(|reference| match reference {
        Reference::Param(name) => state.params.get(name),
        Reference::Item => context.root().get("item"),
        _ => None, // the parameters behind it are among the references
    });
    let all = document.is_some_and(|document| document.reads_all_params);
    let params = state.runbook.params.iter().filter(|param| all && param.sensitive);
    let params = params.filter_map(|param| state.params.get(&param.name));
    // What was made of them is as sensitive: `${{ params.token | upper }}`.
    let made = expressions.iter().filter(|expression| state.runbook.reads_secret(spec, expression));
    let made: Vec<Value> = made.filter_map(|expression| expression.evaluate(context).ok()).collect();
    let mut hidden: Vec<String> = given.chain(params).chain(&made).flat_map(leaves).collect();
    hidden.sort_unstable();
    hidden.dedup();
    hidden
}

/// The texts in a value.
fn leaves(value: &Value) -> Vec<String> {
    match value {
        Value::Null | Value::Bool(_) => Vec::new(),
        Value::Number(number) => vec![number.to_string()],
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => items.iter().flat_map(leaves).collect(),
        Value::Object(map) => map.values().flat_map(leaves).collect(),
    }
}
