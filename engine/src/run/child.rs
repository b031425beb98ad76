//! Runs inside runs: what ties the run of a `runbook` step to the run it is a step of.
//!
//! A child is a run of its own, with its own record. Its id follows from where it stands, so that to start it a second
//! time is to find it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::ids::{RunId, Unit};
use super::state::RunState;
use super::values;
use crate::limits;
use crate::plan::definition::hex;
use crate::plan::params::{self, Given};
use crate::runbook::calls::references;
use crate::runbook::model::{Argument, Call, Runbook, ValueType};

/// Whose step a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    pub run: RunId,
    /// `step` or `step[item]`.
    pub step: String,
    /// 1 for a child of a run that is nobody's child.
    pub depth: u32,
}

impl Parent {
    /// Of a child of this unit.
    pub fn of(state: &RunState, unit: Unit) -> Parent {
        Parent { run: state.id.clone(), step: state.unit_name(unit), depth: depth(state) + 1 }
    }
}

/// How many runs stand above this one.
pub fn depth(state: &RunState) -> u32 {
    state.parent.as_ref().map_or(0, |parent| parent.depth)
}

/// The id of the `number`-th child of a unit: a UUIDv7 with the time of its parent, so that the two stand together in
/// every listing, and otherwise a hash of where it stands.
pub fn child_id(parent: &RunId, unit: &str, generation: u32, number: u32) -> RunId {
    let mut hash = Sha256::new();
    for field in [parent.0.as_bytes(), unit.as_bytes(), &generation.to_be_bytes(), &number.to_be_bytes()] {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    let digits = hex(&hash.finalize());
    let own_time = || parent.0.get(..13).filter(|head| head.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'));
    let time = own_time().unwrap_or("00000000-0000");
    let variant = ["8", "9", "a", "b"][usize::from(digits.as_bytes()[0] & 3)];
    RunId(format!("{time}-7{}-{variant}{}-{}", &digits[1..4], &digits[4..7], &digits[7..19]))
}

/// Whether a unit may start a child at all.
pub fn may_start(state: &RunState) -> Result<(), String> {
    let (depth, max) = (depth(state) as usize + 1, limits::CHILD_DEPTH_MAX);
    if depth > max {
        Err(format!("runs inside runs go {depth} levels deep; at most {max} are possible"))
    } else {
        Ok(())
    }
}

/// The parameters of a child, typed as the called runbook declares them. Values are data: text takes the declared type as
/// it does with `-p`, everything else has to have it. `absolute`: see [`params::resolve`].
pub fn arguments(
    state: &RunState,
    unit: Unit,
    call: &Call,
    callee: &Runbook,
    absolute: &dyn Fn(&str) -> String,
) -> Result<Map<String, Value>, String> {
    let context = values::context(state, unit, references(call));
    let mut given = BTreeMap::new();
    for argument in &call.with {
        let value = argument.value.bind(&context).map_err(|error| {
            let expressions = argument.value.expressions();
            let secret = expressions.iter().any(|it| state.runbook.reads_secret(state.spec(unit.step), it));
            let error = if secret { error.discreet() } else { error };
            format!("`with.{}`: {error}", argument.name.value)
        })?;
        given.insert(argument.name.value.clone(), as_given(argument, value, callee));
    }
    params::resolve(callee, &given, absolute).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        format!("`with`: {}", errors.join("; "))
    })
}

/// What was written out keeps its type; what was read from somewhere is taken as a person would have given it.
fn as_given(argument: &Argument, value: Value, callee: &Runbook) -> Given {
    let kind = callee.params.iter().find(|param| param.name == argument.name.value).map(|param| param.kind);
    let is_text = matches!(kind, Some(ValueType::String | ValueType::Path));
    match value {
        value if argument.value.expressions().is_empty() => Given::Value(value),
        Value::String(text) => Given::Text(text),
        Value::Number(_) | Value::Bool(_) if is_text => Given::Text(value.to_string()),
        value => Given::Value(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_child_has_one_id_and_stands_beside_its_parent() {
        let parent = RunId("019aa7c1-5b1e-7d3a-9c11-0a2b3c4d5e6f".into());
        let one = child_id(&parent, "deploy[3]", 1, 2);
        assert_eq!(one, child_id(&parent, "deploy[3]", 1, 2));
        assert_eq!((one.0.len(), one.0.as_bytes()[14]), (36, b'7'), "{one}");
        assert_eq!(one.0[..13], parent.0[..13]);
        let all =
            [("deploy[3]", 1, 2), ("deploy[3]", 1, 3), ("deploy[3]", 2, 2), ("deploy[4]", 1, 2), ("deploy", 1, 2)];
        let ids: BTreeSet<RunId> =
            all.iter().map(|(unit, generation, no)| child_id(&parent, unit, *generation, *no)).collect();
        assert_eq!(ids.len(), all.len());
        let odd = child_id(&RunId("备份".into()), "deploy", 1, 1);
        assert_eq!(odd.0.len(), 36, "{odd}");
    }
}
