//! A ready unit becomes something a worker can start: its text, argv, environment and folder, with every value bound.
//!
//! Everything that can be refused is refused here, before the claim, so that a step whose values are missing or too
//! large fails without ever having started.

use std::time::Duration;

use serde_json::Value;

use super::hidden::hidden;
use super::ids::{Part, Unit};
use super::request::{Expected, HttpRequest, RenderRequest, Request};
use super::sql;
use super::state::RunState;
use super::values;
use crate::bind::document::DocumentError;
use crate::bind::{Context, Document, EvalError, Expression, JsonTemplate, Reference, ShellScript, Template};
use crate::bind::{host, path};
use crate::limits;
use crate::runbook::model::{Action, Http, Orphans, Render, Script, Shell, Sql, Step};
use crate::runbook::templates::Templates;

/// What a worker starts. The environment holds only what the runbook declares and the bound values; the worker adds
/// PATH, HOME and the like.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    pub program: Program,
    pub env: Vec<(String, String)>,
    /// Where it runs through ssh; `None`: here.
    pub host: Option<String>,
    /// As written, relative to the materialised folder of the runbook, or to the user's home on the host.
    pub cwd: Option<String>,
    pub timeout: Duration,
    pub grace: Duration,
    pub orphans: Orphans,
    /// Sensitive values in it: nothing that it prints may show them.
    pub hidden: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Program {
    /// The text of a script for the shell.
    Script { shell: Shell, text: String },
    /// A pinned file for the shell.
    File { shell: Shell, path: String },
    /// Program and arguments.
    Argv(Vec<String>),
    /// Runward's own.
    Own(Box<Request>),
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
    /// The definition was made by hand, or its template is damaged.
    #[error("the template {path} is not part of this run's definition, or cannot be read")]
    NoTemplate { path: String },
    #[error("{path}: {error}")]
    Template { path: String, error: DocumentError },
    #[error("{path}: the rendered file would have {bytes} bytes; at most {max} are possible")]
    RenderedTooLarge { path: String, bytes: usize, max: usize },
    #[error("the header `{name}` would have a line break or another control character in it: check the values in it")]
    Header { name: String },
    #[error("`cmd` has no program: its first element is empty")]
    NoProgram,
    /// Planning refuses it; a run made by a newer version may still hold it.
    #[error("this version of runward does not carry out `{0}` yet")]
    Unbuilt(&'static str),
}

/// `templates`: those of the run's definition.
pub fn prepare(state: &RunState, unit: Unit, templates: &Templates) -> Result<Prepared, PrepareError> {
    bind(state, unit, templates).map_err(|error| match error {
        PrepareError::Value { place, source } if reads_secret(state, unit) => {
            PrepareError::Value { place, source: source.discreet() }
        }
        other => other,
    })
}

fn reads_secret(state: &RunState, unit: Unit) -> bool {
    let spec = state.spec(unit.step);
    step_references(spec, unit.part, None).into_iter().any(|reference| state.runbook.is_secret(spec, reference))
}

fn bind(state: &RunState, unit: Unit, templates: &Templates) -> Result<Prepared, PrepareError> {
    let spec = state.spec(unit.step);
    let document = match &spec.action {
        Action::Render(render) if unit.part == Part::Step => templates.get(&render.template.value),
        _ => None,
    };
    let references = step_references(spec, unit.part, document);
    let mut context = values::context(state, unit, references.iter().copied());
    if document.is_some_and(|document| document.reads_all_params) {
        context.set("params", Value::Object(state.params.clone()));
    }
    let mut env = Vec::with_capacity(spec.env.len());
    for (name, template) in &spec.env {
        env.push((name.clone(), render(template, &context, || format!("`env.{name}`"))?));
    }
    let declared = env.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    context.set("env", serde_json::Value::Object(declared));
    let hidden = hidden(state, spec, unit.part, document, &context);

    if unit.part == Part::Check {
        let check = spec.check.as_deref().ok_or(PrepareError::Unbuilt("check"))?;
        let program = shell_program(&check.shell, &check.script, &context, &mut env)?;
        return finish(spec, program, env, &context, spec.timeout, hidden);
    }
    if unit.part == Part::Undo {
        let undo = state.undo_of(unit).ok_or(PrepareError::Unbuilt("undo"))?;
        let program = shell_program(&undo.shell, &undo.script, &context, &mut env)?;
        return finish(spec, program, env, &context, undo.timeout, hidden);
    }
    let program = match &spec.action {
        Action::Unbuilt(kind) => return Err(PrepareError::Unbuilt(kind)),
        // No process: see `super::child`.
        Action::Runbook(_) => return Err(PrepareError::Unbuilt("runbook")),
        // It begins by itself and is never claimed.
        Action::Wait(_) | Action::Approve(_) | Action::Notify(_) => return Err(PrepareError::Unbuilt("wait")),
        Action::Cmd(argv) => Program::Argv(argv_of(argv, &context)?),
        Action::Http(http) => {
            Program::Own(Box::new(Request::Http(http_request(state, spec, http, &context, hidden.clone())?)))
        }
        Action::Sql(statements) => {
            Program::Own(Box::new(Request::Sql(sql::request(spec, statements, &context, hidden.clone())?)))
        }
        Action::Render(render) => {
            let secret = document.is_some_and(|document| state.runbook.is_secret_file(spec, document));
            Program::Own(Box::new(Request::Render(render_request(render, document, &context, secret)?)))
        }
        Action::Shell { shell, script } => shell_program(shell, script, &context, &mut env)?,
    };
    finish(spec, program, env, &context, spec.timeout, hidden)
}

fn finish(
    spec: &Step,
    program: Program,
    env: Vec<(String, String)>,
    context: &Context,
    timeout: Duration,
    hidden: Vec<String>,
) -> Result<Prepared, PrepareError> {
    let cwd = spec.cwd.as_ref().map(|cwd| bind_path(cwd, context, "cwd")).transpose()?;
    let host = spec.host.as_ref().map(|host| host::bind(host, context)).transpose();
    let host = host.map_err(|source| PrepareError::Value { place: "`host`".to_owned(), source })?;
    check_size(&program, &env)?;
    Ok(Prepared { program, env, host, cwd, timeout, grace: spec.grace, orphans: spec.orphans, hidden })
}

fn shell_program(
    shell: &Shell,
    script: &Script,
    context: &Context,
    env: &mut Vec<(String, String)>,
) -> Result<Program, PrepareError> {
    let shell = shell.clone();
    Ok(match script {
        Script::Verbatim(text) => Program::Script { shell, text: text.clone() },
        Script::File(path) => Program::File { shell, path: path.value.clone() },
        Script::Bound(script) => {
            bind_values(script, context, env)?;
            Program::Script { shell, text: script.text.clone() }
        }
    })
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

fn bind_path(template: &Template, context: &Context, place: &str) -> Result<String, PrepareError> {
    path::bind(template, context).map_err(|source| PrepareError::Value { place: format!("`{place}`"), source })
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
        Program::Own(request) => match &**request {
            Request::Http(http) => {
                let headers: usize = http.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
                http.url.len() + headers + http.body.as_ref().map_or(0, String::len)
            }
            Request::Sql(sql) => sql.bytes(),
            Request::Render(_) => 0,
        },
        Program::Script { .. } | Program::File { .. } => 0,
    };
    let bytes = argv + env.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    if bytes > limits::VALUES_BYTES_MAX {
        return Err(PrepareError::TooLarge { bytes, max: limits::VALUES_BYTES_MAX });
    }
    Ok(())
}

fn http_request(
    state: &RunState,
    spec: &Step,
    http: &Http,
    context: &Context,
    hidden: Vec<String>,
) -> Result<HttpRequest, PrepareError> {
    let at = |place: &'static str| move |source| PrepareError::Value { place: format!("`http.{place}`"), source };
    let reads_secret = |expression: &Expression| state.runbook.reads_secret(spec, expression);
    let bound = http.url.bind(context, &reads_secret).map_err(at("url"))?;
    let mut headers = Vec::with_capacity(http.headers.len() + 1);
    for (name, template) in &http.headers {
        let value = render(template, context, || format!("`http.headers.{name}`"))?;
        if value.contains(|c: char| c.is_control() && c != '\t') {
            return Err(PrepareError::Header { name: name.clone() });
        }
        headers.push((name.clone(), value));
    }
    if http.json.is_some() && !headers.iter().any(|(name, _)| name == "content-type") {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    let json = |json: &Option<JsonTemplate>| json.as_ref().map(|json| json.bind(context)).transpose();
    let text = |text: &Option<Template>| text.as_ref().map(|text| text.render(context)).transpose();
    let body = match json(&http.json).map_err(at("json"))? {
        Some(json) => Some(json.to_string()),
        None => text(&http.body).map_err(at("body"))?,
    };
    Ok(HttpRequest {
        method: http.method.clone(),
        url: bound.url,
        shown: bound.shown,
        headers,
        body,
        expect: Expected {
            status: http.expect.status.clone(),
            json: json(&http.expect.json).map_err(at("expect.json"))?,
            contains: text(&http.expect.contains).map_err(at("expect.contains"))?,
        },
        until_ms: http.poll.map(|poll| poll.until.as_millis() as u64),
        every_ms: http.poll.map_or(0, |poll| poll.every.as_millis() as u64),
        hidden,
    })
}

fn http_expressions(http: &Http) -> Vec<&Expression> {
    let texts = http.headers.iter().map(|(_, template)| template).chain(&http.body).chain(&http.expect.contains);
    let in_texts = texts.flat_map(Template::expressions).map(|(expression, _)| expression);
    let in_json = http.json.iter().chain(&http.expect.json).flat_map(JsonTemplate::expressions);
    http.url.expressions().chain(in_texts).chain(in_json).collect()
}

fn sql_expressions(sql: &Sql) -> Vec<&Expression> {
    let expected = sql.expect.value.iter().flat_map(JsonTemplate::expressions);
    sql.query.expressions().chain(expected).collect()
}

/// The file a `render` step would write.
pub fn render_request(
    spec: &Render,
    document: Option<&Document>,
    context: &Context,
    secret: bool,
) -> Result<RenderRequest, PrepareError> {
    let path = || spec.template.value.clone();
    let document = document.ok_or_else(|| PrepareError::NoTemplate { path: path() })?;
    let content = document.render(context).map_err(|error| {
        let error = if secret { error.discreet() } else { error };
        PrepareError::Template { path: path(), error }
    })?;
    if content.len() > limits::RENDER_BYTES_MAX {
        return Err(PrepareError::RenderedTooLarge {
            path: path(),
            bytes: content.len(),
            max: limits::RENDER_BYTES_MAX,
        });
    }
    Ok(RenderRequest {
        to: bind_path(&spec.to, context, "render.to")?,
        content,
        mode: spec.mode,
        owner: spec.owner.clone(),
        backup: spec.backup,
        secret,
    })
}

/// Everything the values of a step refer to.
pub(super) fn step_references<'s>(spec: &'s Step, part: Part, document: Option<&'s Document>) -> Vec<&'s Reference> {
    let read = step_expressions(spec, part).into_iter().flat_map(|expression| &expression.references);
    let files = document.into_iter().flat_map(|document| &document.references);
    read.chain(files).map(|(reference, _)| reference).collect()
}

/// Every expression whose value a step is given.
pub(super) fn step_expressions(spec: &Step, part: Part) -> Vec<&Expression> {
    let mut templates: Vec<&Template> =
        spec.env.iter().map(|(_, template)| template).chain(&spec.cwd).chain(&spec.host).collect();
    let mut expressions: Vec<&Expression> = Vec::new();
    match (part, &spec.action) {
        (Part::Check, _) => {
            if let Some(Script::Bound(script)) = spec.check.as_ref().map(|check| &check.script) {
                expressions.extend(&script.values);
            }
        }
        (Part::Undo, _) => {
            if let Some(Script::Bound(script)) = spec.undo.as_ref().map(|undo| &undo.script) {
                expressions.extend(&script.values);
            }
        }
        (_, Action::Cmd(argv)) => templates.extend(argv),
        (_, Action::Shell { script: Script::Bound(script), .. }) => expressions.extend(&script.values),
        (_, Action::Http(http)) => expressions.extend(http_expressions(http)),
        (_, Action::Sql(sql)) => expressions.extend(sql_expressions(sql)),
        (_, Action::Render(render)) => templates.push(&render.to),
        (
            _,
            Action::Shell { .. }
            | Action::Runbook(_)
            | Action::Wait(_)
            | Action::Approve(_)
            | Action::Notify(_)
            | Action::Unbuilt(_),
        ) => {}
    }
    let in_texts = templates.into_iter().flat_map(Template::expressions).map(|(expression, _)| expression);
    in_texts.chain(expressions).collect()
}
