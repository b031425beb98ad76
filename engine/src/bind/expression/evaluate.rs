//! Values of expressions: by lookup where the expression is one dotted path, through Tera otherwise.

use std::ops::Range;
use std::sync::LazyLock;

use serde_json::Value;
use tera::{Error, ErrorKind, Kwargs, State, Tera, TeraResult};

use super::scan::{OUTCOMES, suggest};
use super::{Context, EvalError, Expression, ExpressionError, Path, Reference, filters};
use crate::limits::{FILTERED_BYTES_MAX, VALUE_BYTES_MAX};
use crate::units::format_size;

/// What stands before the source when Tera is asked about its syntax.
const OPEN: &str = "{{ ";

static TERA: LazyLock<Tera> = LazyLock::new(|| {
    let mut tera = language();
    tera.register_filter("__value", filters::to_json);
    tera.register_filter("__truth", |value: tera::Value, _: Kwargs, _: &State| i64::from(value.is_truthy()));
    for outcome in OUTCOMES {
        tera.register_function(*outcome, move |_: Kwargs, state: &State| run_is(outcome, state));
    }
    tera
});

/// Tera with what every place of ours adds to it.
pub(in crate::bind) fn language() -> Tera {
    let mut tera = Tera::new();
    filters::register(&mut tera);
    tera
}

/// Where the context knows no `run.status`, nothing has gone wrong yet.
fn run_is(outcome: &str, state: &State) -> TeraResult<bool> {
    let run = state.get::<tera::Value>("run")?;
    let status = run.as_ref().and_then(|run| run.get_from_path("status")).and_then(|status| status.as_str());
    Ok(match outcome {
        "success" => status.is_none_or(|status| status == "succeeded"),
        "failure" => matches!(status, Some("failed" | "timed_out")),
        "cancelled" => status == Some("cancelled"),
        _ => true,
    })
}

/// Tera's own parser has the last word on the syntax.
pub(super) fn check_syntax(source: &str) -> Result<(), ExpressionError> {
    let mut tera = TERA.clone();
    let Err(error) = tera.add_raw_template("expression", &format!("{OPEN}{source} }}}}")) else { return Ok(()) };
    let range = match error.kind() {
        ErrorKind::SyntaxError(report) => {
            let within = |byte: usize| byte.saturating_sub(OPEN.len()).min(source.len());
            within(report.span().range.start)..within(report.span().range.end)
        }
        _ => 0..source.len(),
    };
    let range = if range.is_empty() { source.len() - last_char_len(source)..source.len() } else { range };
    let help = nameless_argument(source, &range);
    Err(ExpressionError { message: message_of(&error), help, range })
}

/// `starting_with("v2")`, as nearly every other language writes it: here an argument has a name.
fn nameless_argument(source: &str, range: &Range<usize>) -> Option<String> {
    let (before, value) = (source.get(..range.start)?.trim_end().strip_suffix('(')?, source.get(range.clone())?);
    let name = before.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next().filter(|name| !name.is_empty())?;
    let argument = match name {
        "starting_with" | "ending_with" | "containing" | "split" | "trim" | "trim_start" | "trim_end" => "pat",
        "default" => "value",
        "join" => "sep",
        "nth" => "n",
        "divisible_by" => "divisor",
        "get" => "key",
        "sort" | "group_by" => "attribute",
        "truncate" => "length",
        _ => return None,
    };
    Some(format!("an argument has a name: `{name}({argument}={value})`"))
}

fn last_char_len(source: &str) -> usize {
    source.chars().next_back().map_or(0, char::len_utf8)
}

pub(in crate::bind) fn message_of(error: &Error) -> String {
    let message = match error.kind() {
        ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => report.message().to_owned(),
        other => other.to_string(),
    };
    message.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}

pub(super) fn value(expression: &Expression, context: &Context) -> Result<Value, EvalError> {
    if expression.plain {
        return lookup(&expression.paths[0], context)
            .cloned()
            .ok_or_else(|| undefined(expression, &expression.paths[0], context));
    }
    if let Some(element) = element(expression, context) {
        return Ok(element.clone());
    }
    let json = render(expression, context, "__value")?;
    serde_json::from_str(&json).map_err(|error| failed(expression, error.to_string()))
}

/// `params.hosts[3]`: of a list that may be long, nothing is copied but that.
fn element<'a>(expression: &Expression, context: &'a Context) -> Option<&'a Value> {
    let [path] = &expression.paths[..] else { return None };
    let index = expression.source.strip_prefix(&path.parts.join("."))?.strip_prefix('[')?.strip_suffix(']')?;
    lookup(path, context)?.as_array()?.get(index.parse::<usize>().ok()?)
}

pub(super) fn text(expression: &Expression, context: &Context) -> Result<String, EvalError> {
    let refused = |message: String| EvalError::Refused { expression: expression.source.clone(), message };
    let not_text = |kind| EvalError::NotText { expression: expression.source.clone(), kind };
    let text = match value(expression, context)? {
        Value::String(text) => text,
        Value::Null => return Err(refused("is null: write `| default(value=..., boolean=true)`".into())),
        Value::Array(_) => return Err(not_text("list")),
        Value::Object(_) => return Err(not_text("map")),
        scalar @ (Value::Bool(_) | Value::Number(_)) => scalar.to_string(),
    };
    if text.contains('\0') {
        return Err(refused("has a NUL byte, which no program can receive".into()));
    }
    if text.len() > VALUE_BYTES_MAX {
        let (has, may) = (text.len(), VALUE_BYTES_MAX);
        return Err(refused(format!("has {has} bytes; one value may have {may}: pass it in a file")));
    }
    Ok(text)
}

pub(super) fn truth(expression: &Expression, context: &Context) -> Result<bool, EvalError> {
    if expression.plain {
        return Ok(match value(expression, context)? {
            Value::Null => false,
            Value::Bool(truth) => truth,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(map) => !map.is_empty(),
        });
    }
    Ok(render(expression, context, "__truth")? == "1")
}

fn render(expression: &Expression, context: &Context, filter: &str) -> Result<String, EvalError> {
    for path in expression.paths.iter().filter(|path| !path.guarded) {
        if lookup(path, context).is_none() {
            return Err(undefined(expression, path, context));
        }
    }
    // However often it is read, it is there as often: `~` and lists repeat it.
    let read: usize = expression.paths.iter().filter_map(|path| lookup(path, context)).map(size).sum();
    if read > FILTERED_BYTES_MAX {
        let max = format_size(FILTERED_BYTES_MAX as u64);
        let message = format!("is made of more than {max}: read less at once, or do it in a step");
        return Err(EvalError::Refused { expression: expression.source.clone(), message });
    }
    let template = format!("{{{{ ({}) | {filter} }}}}", expression.source);
    filters::together(|| TERA.render_str(&template, &tera_context(expression, context), false))
        .map_err(|error| failed(expression, message_of(&error)))
}

/// About so many bytes of memory.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(|item| size_of::<Value>() + size(item)).sum(),
        Value::Object(map) => map.iter().map(|(key, item)| size_of::<Value>() + key.len() + size(item)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Only what the expression reads: the whole context has up to 20,000 steps in it.
fn tera_context(expression: &Expression, context: &Context) -> tera::Context {
    let mut pruned = serde_json::Map::new();
    for ((reference, _), path) in expression.references.iter().zip(&expression.paths) {
        let keys: Vec<&str> = match reference {
            Reference::Outcome(_) => vec!["run", "status"],
            Reference::Item | Reference::Index => vec![path.parts[0].as_str()],
            Reference::Output { .. } => path.parts.iter().take(4).map(String::as_str).collect(),
            Reference::Status { .. } => path.parts.iter().take(3).map(String::as_str).collect(),
            Reference::Param(_) | Reference::Run(_) | Reference::Env(_) => {
                path.parts.iter().take(2).map(String::as_str).collect()
            }
        };
        insert(&mut pruned, &keys, context.root().get(keys[0]));
    }
    let mut result = tera::Context::new();
    for (name, value) in &pruned {
        result.insert(name.clone(), value);
    }
    result
}

/// Copies what stands at `keys`. Missing maps on the way are made, so that `| default` meets an undefined last name
/// and not an undefined first one.
fn insert(into: &mut serde_json::Map<String, Value>, keys: &[&str], from: Option<&Value>) {
    let [key, rest @ ..] = keys else { return };
    if rest.is_empty() {
        if let Some(value) = from {
            into.entry(*key).or_insert_with(|| value.clone());
        }
        return;
    }
    let child = into.entry(*key).or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Value::Object(child) = child {
        insert(child, rest, from.and_then(|value| value.get(rest[0])));
    }
}

fn lookup<'a>(path: &Path, context: &'a Context) -> Option<&'a Value> {
    at(&path.parts, context)
}

fn at<'a>(parts: &[String], context: &'a Context) -> Option<&'a Value> {
    let (first, rest) = parts.split_first()?;
    rest.iter().try_fold(context.root().get(first)?, |value, key| value.get(key))
}

fn failed(expression: &Expression, message: String) -> EvalError {
    EvalError::Failed { expression: expression.source.clone(), message }
}

/// Names the first part of the path that is missing and lists what stands beside it.
fn undefined(expression: &Expression, path: &Path, context: &Context) -> EvalError {
    let missing = (1..=path.parts.len()).find(|&length| at(&path.parts[..length], context).is_none());
    let depth = missing.unwrap_or(path.parts.len()).saturating_sub(1);
    let (parent, part) = (&path.parts[..depth], path.parts[depth].as_str());
    let siblings = if depth == 0 { Some(context.root()) } else { at(parent, context).and_then(Value::as_object) };
    let mut names: Vec<&str> = siblings.map_or_else(Vec::new, |map| map.keys().map(String::as_str).collect());
    names.sort_unstable();
    let parent = parent.join(".");
    let mut message = format!("`{}` is not defined", path.parts[..=depth].join("."));
    if let Some(near) = suggest(part, &names) {
        message += &format!("; did you mean `{near}`?");
    } else if matches!(part, "item" | "index") && depth == 0 {
        message += "; it exists only in a step with `for-each`";
    } else if depth > 0 && names.is_empty() {
        message += &format!("; `{parent}` has no names");
    } else if depth > 0 {
        let more = if names.len() > 20 { ", ..." } else { "" };
        names.truncate(20);
        message += &format!("; `{parent}` has {}{more}", names.join(", "));
    }
    EvalError::Undefined { expression: expression.source.clone(), message }
}
