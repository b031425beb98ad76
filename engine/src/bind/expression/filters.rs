//! The filter we add, and those of Tera that make much of little: none of them makes more than fits, nor do all those of one
//! expression together.
//!
//! Whoever gives values decides how long they are: a text in which each letter is replaced by another text would fill any
//! memory, and with it end every other run of this program.

use std::cell::Cell;
use std::fmt::Write as _;

use tera::{Error, Kwargs, State, Tera, TeraResult, Value};

use crate::limits::FILTERED_BYTES_MAX;
use crate::units::format_size;

/// As Tera has it.
const INDENT_MAX: usize = 1000;

pub(super) fn register(tera: &mut Tera) {
    tera.register_filter("json", json);
    tera.register_filter("replace", replace);
    tera.register_filter("join", join);
    tera.register_filter("indent", indent);
    tera.register_filter("split", split);
}

thread_local! {
    /// What the filters of the expression that this thread evaluates may still make; outside of one, each is for itself.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The filters of one expression share what they may make.
pub(super) fn together<T>(evaluate: impl FnOnce() -> T) -> T {
    LEFT.set(Some(FILTERED_BYTES_MAX));
    let value = evaluate();
    LEFT.set(None);
    value
}

pub(super) fn to_json(value: Value, _: Kwargs, _: &State) -> TeraResult<String> {
    if value.is_undefined() {
        return Err(Error::message("it is undefined"));
    }
    serde_json::to_string(&value).map_err(|error| Error::message(error.to_string()))
}

/// One round makes at most six times as much: it is enough to look afterwards.
fn json(value: Value, arguments: Kwargs, state: &State) -> TeraResult<String> {
    let text = to_json(value, arguments, state)?;
    fits("json", text.len())?;
    Ok(text)
}

fn replace(text: &str, arguments: Kwargs, _: &State) -> TeraResult<String> {
    let (from, to) = (arguments.must_get::<&str>("from")?, arguments.must_get::<&str>("to")?);
    let found = text.matches(from).count();
    let kept = text.len() - found * from.len();
    fits("replace", found.saturating_mul(to.len()).saturating_add(kept))?;
    Ok(text.replace(from, to))
}

fn join(list: &[Value], arguments: Kwargs, _: &State) -> TeraResult<String> {
    let sep = arguments.get::<&str>("sep")?.unwrap_or_default();
    let mut text = String::new();
    for (index, value) in list.iter().enumerate() {
        if index > 0 {
            text.push_str(sep);
        }
        write!(text, "{value}").map_err(|error| Error::message(error.to_string()))?;
        may_be("join", text.len())?;
    }
    fits("join", text.len())?;
    Ok(text)
}

fn indent(text: &str, arguments: Kwargs, _: &State) -> TeraResult<String> {
    let width = arguments.get::<usize>("width")?.unwrap_or(4).min(INDENT_MAX);
    let with = arguments.get::<&str>("indentation")?.unwrap_or(" ");
    if with.chars().count() != 1 {
        return Err(Error::message("`indentation` is one character"));
    }
    let (first, blank) = (arguments.get("first")?.unwrap_or(false), arguments.get("blank")?.unwrap_or(false));
    let is_indented = |index: usize, line: &str| if index == 0 { first } else { blank || !line.is_empty() };
    let indented = text.lines().enumerate().filter(|(index, line)| is_indented(*index, line)).count();
    fits("indent", indented.saturating_mul(width * with.len()).saturating_add(text.len()))?;
    let (indentation, mut made) = (with.repeat(width), String::with_capacity(text.len()));
    for (index, line) in text.lines().enumerate() {
        if index > 0 {
            made.push('\n');
        }
        if is_indented(index, line) {
            made.push_str(&indentation);
        }
        made.push_str(line);
    }
    if text.ends_with('\n') {
        made.push('\n');
    }
    Ok(made)
}

/// A letter is one byte, and a value of its own many.
fn split(text: &str, arguments: Kwargs, _: &State) -> TeraResult<Vec<Value>> {
    let pat = arguments.must_get::<&str>("pat")?;
    fits("split", (text.matches(pat).count() + 1).saturating_mul(size_of::<Value>()).saturating_add(text.len()))?;
    Ok(text.split(pat).map(Value::from).collect())
}

/// So many bytes are made, and counted for the expression.
fn fits(filter: &str, bytes: usize) -> TeraResult<()> {
    let left = may_be(filter, bytes)?;
    LEFT.set(LEFT.get().map(|_| left));
    Ok(())
}

/// How many more there may be.
fn may_be(filter: &str, bytes: usize) -> TeraResult<usize> {
    LEFT.get().unwrap_or(FILTERED_BYTES_MAX).checked_sub(bytes).ok_or_else(|| {
        let max = format_size(FILTERED_BYTES_MAX as u64);
        Error::message(format!("`{filter}` would make more than {max}: shorten what it gets, or do it in a step"))
    })
}
