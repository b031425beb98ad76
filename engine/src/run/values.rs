//! The values an expression of a step can see, taken from the state of the run. Only what is referenced is copied, so
//! that the cost does not depend on the size of the run.

use serde_json::{Map, Value, json};

use super::ids::Unit;
use super::state::RunState;
use crate::bind::{Context, Reference, Template};

pub fn references(template: &Template) -> impl Iterator<Item = &Reference> {
    template.expressions().flat_map(|(expression, _)| expression.references.iter().map(|(reference, _)| reference))
}

/// What `unit` sees of the run. `env` is added by whoever evaluates the environment.
pub fn context<'a>(state: &RunState, unit: Unit, references: impl Iterator<Item = &'a Reference>) -> Context {
    let mut params = Map::new();
    let mut steps: Map<String, Value> = Map::new();
    let mut context = Context::default();
    for reference in references {
        match reference {
            Reference::Param(name) => {
                if let Some(value) = state.params.get(name) {
                    params.insert(name.clone(), value.clone());
                }
            }
            Reference::Output { step, .. } | Reference::Status { step } => {
                if let Some(value) = step_value(state, step) {
                    steps.insert(step.clone(), value);
                }
            }
            Reference::Item => {
                if let Some(value) = item_value(state, unit) {
                    context.set("item", value);
                }
            }
            Reference::Index => context.set("index", json!(unit.item)),
            Reference::Run(_) | Reference::Outcome(_) => context.set("run", run_value(state, unit)),
            Reference::Env(_) => {}
        }
    }
    context.set("params", Value::Object(params));
    context.set("steps", Value::Object(steps));
    context
}

fn step_value(state: &RunState, id: &str) -> Option<Value> {
    let whole = &state.step(state.step_named(id)?).whole;
    let outputs: Map<String, Value> = whole.outputs.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    Some(json!({"status": whole.status.as_str(), "outputs": outputs}))
}

fn item_value(state: &RunState, unit: Unit) -> Option<Value> {
    let items = state.step(unit.step).items.as_ref()?;
    items.values.get(unit.item? as usize).cloned()
}

fn run_value(state: &RunState, unit: Unit) -> Value {
    let status = match state.section(unit.step) {
        0 => state.status,
        _ => state.final_status(),
    };
    json!({
        "id": state.id.0,
        "name": state.name,
        "status": status.as_str(),
        "trigger": state.trigger,
        "actor": state.actor,
        "started_at": state.started_at.unwrap_or(state.created_at),
        "generation": state.generation,
    })
}
