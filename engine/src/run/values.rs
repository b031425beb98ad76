//! The values an expression of a step can see, taken from the state of the run. Only what is referenced is copied, so
//! that the cost does not depend on the size of the run.

use serde_json::{Map, Value, json};

use super::ids::{Part, Unit};
use super::rollback::Armed;
use super::state::{RunState, StepStatus};
use crate::bind::{Context, Reference, Template};

pub fn references(template: &Template) -> impl Iterator<Item = &Reference> {
    template.expressions().flat_map(|(expression, _)| expression.references.iter().map(|(reference, _)| reference))
}

/// What `unit` sees of the run. `env` is added by whoever evaluates the environment.
pub fn context<'a>(state: &RunState, unit: Unit, references: impl Iterator<Item = &'a Reference>) -> Context {
    seen(state, Some(unit), references)
}

/// What the outputs of a run see of it, when everything in it has ended.
pub fn at_end<'a>(state: &RunState, references: impl Iterator<Item = &'a Reference>) -> Context {
    seen(state, None, references)
}

fn seen<'a>(state: &RunState, unit: Option<Unit>, references: impl Iterator<Item = &'a Reference>) -> Context {
    let mut params = Map::new();
    let mut steps: Map<String, Value> = Map::new();
    let mut context = Context::default();
    for reference in references {
        match reference {
            // Many references may be to one long list: it is copied once.
            Reference::Param(name) if params.contains_key(name) => {}
            Reference::Output { step, .. } | Reference::Status { step } if steps.contains_key(step) => {}
            Reference::Item | Reference::Run(_) | Reference::Outcome(_) if context.has(name_of(reference)) => {}
            Reference::Param(name) => {
                if let Some(value) = state.params.get(name) {
                    params.insert(name.clone(), value.clone());
                }
            }
            Reference::Output { step, .. } | Reference::Status { step } => {
                if let Some(value) = seen_step(state, unit, step) {
                    steps.insert(step.clone(), value);
                }
            }
            Reference::Item => {
                if let Some(value) = unit.and_then(|unit| item_value(state, unit)) {
                    context.set("item", value);
                }
            }
            Reference::Index => context.set("index", json!(unit.and_then(|unit| unit.item))),
            Reference::Run(_) | Reference::Outcome(_) => context.set("run", run_value(state, unit)),
            Reference::Env(_) => {}
        }
    }
    context.set("params", Value::Object(params));
    context.set("steps", Value::Object(steps));
    context
}

fn name_of(reference: &Reference) -> &'static str {
    if *reference == Reference::Item { "item" } else { "run" }
}

/// A step as a unit sees it, or as everybody does who is none.
fn seen_step(state: &RunState, unit: Option<Unit>, id: &str) -> Option<Value> {
    match unit {
        Some(unit) => step_value(state, unit, id),
        None => step_value(state, Unit::step(state.step_named(id)?), id),
    }
}

/// An undo sees what was there when its step succeeded, and what the step, or the item, wrote itself.
pub(super) fn step_value(state: &RunState, unit: Unit, id: &str) -> Option<Value> {
    if let Some(kept) = armed(state, unit).and_then(|armed| armed.kept.get(id)) {
        return Some(Value::clone(kept));
    }
    let step = state.step_named(id)?;
    let (outputs, status) = match unit.part {
        Part::Undo if step == unit.step => (&state.unit(unit.owner())?.outputs, StepStatus::Succeeded),
        _ => (&state.step(step).whole.outputs, state.step(step).whole.status),
    };
    let outputs: Map<String, Value> = outputs.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Some(json!({"status": status.as_str(), "outputs": outputs}))
}

fn armed(state: &RunState, unit: Unit) -> Option<&Armed> {
    match unit.part {
        Part::Undo => state.unit(unit.owner())?.armed.as_deref(),
        Part::Step | Part::Check => None,
    }
}

pub(super) fn item_value(state: &RunState, unit: Unit) -> Option<Value> {
    if let Some(item) = armed(state, unit).and_then(|armed| armed.item.as_ref()) {
        return Some(item.clone());
    }
    let items = state.step(unit.step).items.as_ref()?;
    items.values.get(unit.item? as usize).cloned()
}

fn run_value(state: &RunState, unit: Option<Unit>) -> Value {
    let status = match unit.map(|unit| (unit.part, state.section(unit.step))) {
        Some((Part::Step | Part::Check, 0)) => state.status,
        _ => state.final_status(),
    };
    let now = (state.generation, state.started_at.unwrap_or(state.created_at));
    let (generation, started_at) =
        unit.and_then(|unit| armed(state, unit)).map_or(now, |armed| (armed.generation, armed.started_at));
    json!({
        "id": state.id.0,
        "name": state.name,
        "status": status.as_str(),
        "trigger": state.trigger,
        "actor": state.actor,
        "started_at": started_at,
        "generation": generation,
        "rollback": state.rolled_back().as_str(),
    })
}
