//! The group of a run that is asked for.

use serde_json::{Map, Value};

use crate::bind::Context;
use crate::limits;
use crate::run::group::Group;
use crate::runbook::drill::SUFFIX;
use crate::runbook::model::Runbook;

/// `concurrency:` with these parameters; what is wrong with the name that comes out, for whoever gave them.
pub fn group(runbook: &Runbook, params: &Map<String, Value>) -> Result<Option<Group>, String> {
    let Some(concurrency) = &runbook.concurrency else { return Ok(None) };
    let mut context = Context::default();
    context.set("params", Value::Object(params.clone()));
    let told = |message: String| format!("`concurrency.group`: {message}");
    let name = concurrency.group.render(&context).map_err(|error| told(error.to_string()))?;
    if !runbook.is_drill && name.ends_with(SUFFIX) {
        return Err(told(format!("names that end in `{SUFFIX}` belong to drills")));
    }
    // A drill waits for drills, and cancels no others.
    let name = if runbook.is_drill { name + SUFFIX } else { name };
    let chars = name.chars().count();
    if name.trim().is_empty() {
        return Err(told("its name comes out empty".to_owned()));
    }
    if chars > limits::GROUP_CHARS_MAX {
        return Err(told(format!("its name has {chars} characters; at most {} are possible", limits::GROUP_CHARS_MAX)));
    }
    Ok(Some(Group { name, limit: concurrency.limit, when_busy: concurrency.when_busy }))
}
