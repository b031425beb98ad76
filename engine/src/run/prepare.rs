//! A ready unit becomes something a worker can start: its text, argv, environment and folder, with every value bound.
//!
//! Everything that can be refused is refused here, before the claim, so that a step whose values are missing or too
//! large fails without ever having started.

use std::time::Duration;

use super::ids::Unit;
use super::state::RunState;
use super::values;
use crate::bind::{Context, EvalError, Reference, ShellScript, Template};
use crate::limits;
use crate::runbook::model::{Action, Orphans, Script, Shell, Step};

/// What a worker starts. The environment holds only what the runbook declares and the bound values; the worker adds
/// PATH, HOME and the like.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    pub program: Program,
    pub env: Vec<(String, String)>,
    /// As written, relative to the materialised folder of the runbook.
    pub cwd: Option<String>,
    pub timeout: Duration,
    pub grace: Duration,
    pub orphans: Orphans,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Program {
    /// The text of a script for the shell.
    Script { shell: Shell, text: String },
    /// A pinned file for the shell.
    File { shell: Shell, path: String },
    /// Program and arguments.
    Argv(Vec<String>),
}

/// Why a unit cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    #[error("{place}: {source}")]
    Value { place: String, source: EvalError },
    #[error(
        "the values bound into this step are {bytes} bytes together; at most {max} are possible: pass large data in a file"
    )]
    TooLarge { bytes: usize, max: usize },
    #[error("`cmd` has no program: its first element is empty")]
    NoProgram,
    /// Planning refuses it; a run made by a newer version may still hold it.
    #[error("this version of runward does not carry out `{0}` yet")]
    Unbuilt(&'static str),
}

pub fn prepare(state: &RunState, unit: Unit) -> Result<Prepared, PrepareError> {
    let spec = state.spec(unit.step);
    let mut context = values::context(state, unit, step_references(spec));
    let mut env = Vec::with_capacity(spec.env.len());
    for (name, template) in &spec.env {
        env.push((name.clone(), render(template, &context, || format!("`env.{name}`"))?));
    }
    let declared = env.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    context.set("env", serde_json::Value::Object(declared));

    let program = match &spec.action {
        Action::Unbuilt(kind) => return Err(PrepareError::Unbuilt(kind)),
        Action::Cmd(argv) => Program::Argv(argv_of(argv, &context)?),
        Action::Shell { shell, script: Script::Verbatim(text) } => {
            Program::Script { shell: shell.clone(), text: text.clone() }
        }
        Action::Shell { shell, script: Script::File(path) } => {
            Program::File { shell: shell.clone(), path: path.value.clone() }
        }
        Action::Shell { shell, script: Script::Bound(script) } => {
            bind_values(script, &context, &mut env)?;
            Program::Script { shell: shell.clone(), text: script.text.clone() }
        }
    };
    let cwd = spec.cwd.as_ref().map(|cwd| render(cwd, &context, || "`cwd`".into())).transpose()?;
    check_size(&program, &env)?;
    Ok(Prepared { program, env, cwd, timeout: spec.timeout, grace: spec.grace, orphans: spec.orphans })
}

fn argv_of(templates: &[Template], context: &Context) -> Result<Vec<String>, PrepareError> {
    let argv: Vec<String> = templates
        .iter()
        .enumerate()
        .map(|(n, template)| render(template, context, || format!("`cmd[{n}]`")))
        .collect::<Result<_, _>>()?;
    if argv.first().is_none_or(String::is_empty) { Err(PrepareError::NoProgram) } else { Ok(argv) }
}

fn bind_values(script: &ShellScript, context: &Context, env: &mut Vec<(String, String)>) -> Result<(), PrepareError> {
    for (n, expression) in script.values.iter().enumerate() {
        let value = expression
            .evaluate_text(context)
            .map_err(|source| PrepareError::Value { place: "`run`".into(), source })?;
        env.push((ShellScript::variable(n), value));
    }
    Ok(())
}

fn render(template: &Template, context: &Context, place: impl Fn() -> String) -> Result<String, PrepareError> {
    let text = template.render(context).map_err(|source| PrepareError::Value { place: place(), source })?;
    if text.len() > limits::VALUE_BYTES_MAX {
        let message = format!("is {} bytes; at most {} are possible", text.len(), limits::VALUE_BYTES_MAX);
        return Err(PrepareError::Value {
            place: place(),
            source: EvalError::Refused { expression: place().trim_matches('`').into(), message },
        });
    }
    Ok(text)
}

fn check_size(program: &Program, env: &[(String, String)]) -> Result<(), PrepareError> {
    let argv: usize = match program {
        Program::Argv(argv) => argv.iter().map(String::len).sum(),
        _ => 0,
    };
    let bytes = argv + env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if bytes > limits::VALUES_BYTES_MAX {
        return Err(PrepareError::TooLarge { bytes, max: limits::VALUES_BYTES_MAX });
    }
    Ok(())
}

/// Everything the values of a step refer to.
fn step_references(spec: &Step) -> impl Iterator<Item = &Reference> {
    let argv: &[Template] = match &spec.action {
        Action::Cmd(argv) => argv,
        Action::Shell { .. } | Action::Unbuilt(_) => &[],
    };
    let script = match &spec.action {
        Action::Shell { script: Script::Bound(script), .. } => script.values.as_slice(),
        _ => &[],
    };
    let templates = argv.iter().chain(spec.env.iter().map(|(_, template)| template)).chain(&spec.cwd);
    templates
        .flat_map(values::references)
        .chain(script.iter().flat_map(|value| value.references.iter().map(|(reference, _)| reference)))
}
