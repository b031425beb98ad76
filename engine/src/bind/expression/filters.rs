//! The filter we add, and those of Tera that make much of little: none of them makes more than fits.
//!
//! Whoever gives values decides how long they are: a text in which each letter is replaced by another text would fill any
//! memory, and with it end every other run of this program.

use std::fmt::Write as _;

use tera::{Error, Kwargs, State, Tera, TeraResult, Value};

use crate::limits::FILTERED_BYTES_MAX;
use crate::units::format_size;

pub(super) fn register(tera: &mut Tera) {
    tera.register_filter("json", json);
    tera.register_filter("replace", replace);
    tera.register_filter("join", join);
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
        fits("join", text.len())?;
    }
    Ok(text)
}

fn fits(filter: &str, bytes: usize) -> TeraResult<()> {
    if bytes <= FILTERED_BYTES_MAX {
        return Ok(());
    }
    let max = format_size(FILTERED_BYTES_MAX as u64);
    Err(Error::message(format!("`{filter}` would make more than {max}: shorten what it gets, or do it in a step")))
}
