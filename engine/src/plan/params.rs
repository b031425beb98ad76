//! The values a run is given, checked against what the runbook declares. All problems at once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::limits;
use crate::runbook::model::{Param, Runbook, ValueType};
use crate::runbook::report::is_invisible;
use crate::runbook::value;
use crate::units::{format_duration, format_size};

/// A value as it was given.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// `-p name=text`, a variable, an answer: takes the declared type.
    Text(String),
    /// From a file of parameters, with the type it has there.
    Value(Value),
}

/// One problem with the parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    #[error("the parameter `{name}`{about} is required: give it with {way}")]
    Missing { name: String, way: String, about: String },
    #[error("there is no parameter `{name}`{hint}")]
    Unknown { name: String, hint: String },
    #[error("parameter `{name}`: {message}")]
    Value { name: String, message: String },
    #[error("the parameters are {bytes} bytes together; at most {max} are possible: pass large data in a file")]
    TooLarge { bytes: usize, max: usize },
}

/// The parameters of a run, each of its declared type. `path` parameters that were given are made absolute by
/// `absolute`, which knows the folder of whoever gave them; defaults stay relative to the runbook's folder.
pub fn resolve(
    runbook: &Runbook,
    given: &BTreeMap<String, Given>,
    absolute: &dyn Fn(&str) -> String,
) -> Result<Map<String, Value>, Vec<ParamError>> {
    let mut errors = Vec::new();
    for name in given.keys() {
        if !runbook.params.iter().any(|param| param.name == *name) {
            errors.push(ParamError::Unknown { name: name.clone(), hint: hint(runbook, name) });
        }
    }
    let mut params = Map::new();
    for param in &runbook.params {
        match one(param, given.get(&param.name), absolute) {
            Ok(Some(value)) => _ = params.insert(param.name.clone(), value),
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    let bytes = serde_json::to_string(&params).map_or(0, |text| text.len());
    if bytes > limits::PARAMS_BYTES_MAX {
        errors.push(ParamError::TooLarge { bytes, max: limits::PARAMS_BYTES_MAX });
    }
    if errors.is_empty() { Ok(params) } else { Err(errors) }
}

/// The parameters of a run that a schedule starts: `with` of the file it is in, whose values are of their declared types.
/// Relative paths are meant from the runbook's folder, as in defaults.
pub fn scheduled(runbook: &Runbook, with: &Map<String, Value>) -> Result<Map<String, Value>, Vec<ParamError>> {
    let mut params = with.clone();
    for param in runbook.params.iter().filter(|param| !with.contains_key(&param.name)) {
        params.extend(param.default.clone().map(|default| (param.name.clone(), default)));
    }
    verify(runbook, &params).map(|()| params)
}

/// Some parameters, as [`resolve`] has them: those of a saved plan that are not in it. None of them is left out.
pub fn resolve_only(
    runbook: &Runbook,
    names: &[String],
    given: &BTreeMap<String, Given>,
    absolute: &dyn Fn(&str) -> String,
) -> Result<Map<String, Value>, Vec<ParamError>> {
    let (mut params, mut errors) = (Map::new(), Vec::new());
    for param in runbook.params.iter().filter(|param| names.contains(&param.name)) {
        match one(param, given.get(&param.name), absolute) {
            Ok(Some(value)) => _ = params.insert(param.name.clone(), value),
            Ok(None) => errors.push(missing_error(param)),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(params) } else { Err(errors) }
}

/// Whether these are parameters as [`resolve`] makes them. For those that come from somewhere else: an `int` that is a
/// text could stand where only a number is harmless.
pub fn verify(runbook: &Runbook, params: &Map<String, Value>) -> Result<(), Vec<ParamError>> {
    let mut errors = Vec::new();
    for name in params.keys().filter(|name| !runbook.params.iter().any(|param| param.name == **name)) {
        errors.push(ParamError::Unknown { name: name.clone(), hint: hint(runbook, name) });
    }
    for param in &runbook.params {
        let typed = |value: &Value| match param.kind {
            ValueType::Duration => value.is_u64(),
            kind => value::from_json(kind, value).as_ref() == Ok(value),
        };
        let wrong = |message: String| ParamError::Value {
            name: param.name.clone(),
            message: if param.sensitive {
                format!("its value is not what it takes: {}", takes(param))
            } else {
                message
            },
        };
        errors.extend(match params.get(&param.name) {
            None if param.required => Some(missing_error(param)),
            None => None,
            Some(value) if !typed(value) => Some(wrong(format!("`{value}` is no {}", param.kind.name()))),
            Some(value) if holds_nul(value) => Some(wrong("it contains a NUL byte".to_owned())),
            // A default stands outside of `enum` and the like only where the runbook was found wrong.
            Some(value) => value::check(param, value).err().map(wrong),
        });
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// What stands where a sensitive value would.
pub const HIDDEN: &str = "(sensitive)";

/// Parameters as they may be seen: the value of a `sensitive` one is replaced by [`HIDDEN`].
pub fn shown(runbook: &Runbook, params: &Map<String, Value>) -> Map<String, Value> {
    let hidden = |name: &str| runbook.params.iter().any(|param| param.name == name && param.sensitive);
    let show = |(name, value): (&String, &Value)| {
        (name.clone(), if hidden(name) { Value::String(HIDDEN.to_owned()) } else { value.clone() })
    };
    params.iter().map(show).collect()
}

/// Parameters a terminal can ask for: required, and not given.
pub fn missing<'a>(runbook: &'a Runbook, given: &BTreeMap<String, Given>) -> Vec<&'a Param> {
    runbook.params.iter().filter(|param| param.required && !given.contains_key(&param.name)).collect()
}

/// What a parameter takes, in words: `string: staging or prod`, `int from 1 to 5`.
pub fn takes(param: &Param) -> String {
    let mut words = param.kind.name().to_owned();
    if let Some(choices) = &param.choices {
        let choices: Vec<String> =
            choices.iter().map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned)).collect();
        words += &format!(": {}", choices.join(" or "));
    }
    if let Some(pattern) = &param.pattern {
        words += &format!(" matching {pattern}");
    }
    let bound = |bound: f64| match param.kind {
        ValueType::Duration => format_duration(Duration::from_millis(bound as u64)),
        ValueType::Size => format_size(bound as u64),
        _ => bound.to_string(),
    };
    match (param.min, param.max) {
        (Some(min), Some(max)) => words += &format!(" from {} to {}", bound(min), bound(max)),
        (Some(min), None) => words += &format!(" of at least {}", bound(min)),
        (None, Some(max)) => words += &format!(" of at most {}", bound(max)),
        (None, None) => {}
    }
    words
}

/// The variable of the environment that gives a parameter: `version` is `RUNWARD_PARAM_VERSION`.
pub fn variable(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.to_uppercase())
}

pub const VARIABLE_PREFIX: &str = "RUNWARD_PARAM_";

/// Whether this would do as the value of a parameter, and what is wrong with it otherwise.
pub fn check(param: &Param, given: &Given) -> Result<(), ParamError> {
    one(param, Some(given), &str::to_owned).map(|_| ())
}

fn missing_error(param: &Param) -> ParamError {
    let (name, variable) = (param.name.clone(), variable(&param.name));
    let way = match param.sensitive {
        true => format!("{variable} or --params-file"),
        false => format!("-p {name}=VALUE or {variable}"),
    };
    let about = param.description.as_ref().map(|text| format!(" ({text})")).unwrap_or_default();
    ParamError::Missing { name, way, about }
}

/// Whether a text can be the key of a run: something a person can read, copy and compare.
pub fn check_key(text: &str) -> Result<(), String> {
    let n = text.chars().count();
    let max = limits::KEY_CHARS_MAX;
    let invisible = |c: char| is_invisible(c) || (c.is_whitespace() && c != ' ');
    match () {
        () if text.trim().is_empty() => Err("a key has at least one visible character".to_owned()),
        () if n > max => Err(format!("a key has at most {max} characters; this one has {n}")),
        () if text.trim() != text => Err("a key does not begin or end with a space".to_owned()),
        () if text.contains(invisible) => Err("a key has only visible characters and spaces".to_owned()),
        () => Ok(()),
    }
}

fn one(param: &Param, given: Option<&Given>, absolute: &dyn Fn(&str) -> String) -> Result<Option<Value>, ParamError> {
    // What is wrong with a value repeats it, which must not happen to a sensitive one.
    let refuse = |message: String| ParamError::Value {
        name: param.name.clone(),
        message: if param.sensitive { format!("its value is not what it takes: {}", takes(param)) } else { message },
    };
    let value = match given {
        None if param.required => return Err(missing_error(param)),
        None => return Ok(param.default.clone()),
        Some(Given::Text(text)) => value::from_text(param.kind, text).map_err(refuse)?,
        Some(Given::Value(value)) => value::from_json(param.kind, value).map_err(refuse)?,
    };
    let value = match value {
        Value::String(path) if param.kind == ValueType::Path => Value::String(absolute(&path)),
        other => other,
    };
    value::check(param, &value).map_err(refuse)?;
    // No environment and no argument can hold one. A long text may still be read by a condition.
    if holds_nul(&value) {
        return Err(refuse(
            "it contains a NUL byte, which no program can be given: pass binary data in a file".to_owned(),
        ));
    }
    Ok(Some(value))
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

fn hint(runbook: &Runbook, name: &str) -> String {
    let near = runbook.params.iter().map(|param| (strsim::jaro_winkler(&param.name, name), &param.name));
    let best = near.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    match (best, runbook.params.is_empty()) {
        (Some((_, best)), _) => format!(": did you mean `{best}`?"),
        (None, true) => ": this runbook has none".to_owned(),
        (None, false) => {
            let names: Vec<&str> = runbook.params.iter().map(|param| param.name.as_str()).collect();
            format!(": there are {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_sensitive_value_is_not_repeated_by_what_is_wrong_with_it() {
        let source = "params: {pin: {type: string, pattern: '\\d{4}', sensitive: true}, n: {type: int, min: 1, max: 5, \
                      sensitive: true, required: true}}\nsteps:\n  - cmd: [a, '${{ params.pin }}', '${{ params.n }}']\n";
        let runbook = crate::runbook::parse(source.as_bytes()).unwrap();
        let given = |text: &str| Given::Text(text.to_owned());
        let all = BTreeMap::from([("pin".to_owned(), given("hunter2")), ("n".to_owned(), given("hunter2"))]);
        let said: Vec<String> =
            resolve(&runbook, &all, &str::to_owned).unwrap_err().iter().map(ToString::to_string).collect();
        assert!(!said.concat().contains("hunter2"), "{said:?}");
        assert!(said.concat().contains("int from 1 to 5") && said.concat().contains("matching \\d{4}"), "{said:?}");
        let missing = resolve(&runbook, &BTreeMap::new(), &str::to_owned).unwrap_err()[0].to_string();
        assert!(missing.contains("RUNWARD_PARAM_N or --params-file") && !missing.contains("-p n"), "{missing}");
    }

    #[test]
    fn values_that_were_not_resolved_here_are_held_to_their_types() {
        let source = "params: {i: {type: int, max: 5}, f: {type: float}, b: {type: bool}, l: {type: list}, m: {type: map}, \
                      d: {type: duration}, s: {type: size}, e: {enum: [a, b]}, p: {type: path}}\nsteps:\n  - \
                      cmd: [a, '${{ params.i }}${{ params.f }}${{ params.b }}${{ params.l | json }}${{ params.m | json }}', \
                      '${{ params.d }}${{ params.s }}${{ params.e }}${{ params.p }}']\n";
        let runbook = crate::runbook::parse(source.as_bytes()).unwrap();
        let text =
            [("i", "3"), ("f", "2"), ("b", "true"), ("l", "a,b"), ("m", "{\"k\": 1}"), ("d", "2m"), ("s", "4KiB")];
        let text = text.into_iter().chain([("e", "b"), ("p", "x")]);
        let given = text.map(|(name, text)| (name.to_owned(), Given::Text(text.to_owned()))).collect();
        let right = resolve(&runbook, &given, &str::to_owned).unwrap();
        assert_eq!(verify(&runbook, &right), Ok(()), "{right:?}");
        for (name, wrong) in [
            ("i", json!("$(reboot)")),
            ("i", json!(6)),
            ("f", json!("2")),
            ("b", json!(1)),
            ("l", json!({})),
            ("m", json!([])),
            ("d", json!("2m")),
            ("s", json!(-1)),
            ("e", json!("c")),
            ("p", json!("a\0")),
            ("x", json!(1)),
        ] {
            let mut params = right.clone();
            params.insert(name.to_owned(), wrong.clone());
            assert_eq!(verify(&runbook, &params).unwrap_err().len(), 1, "{name}: {wrong}");
        }
    }

    #[test]
    fn a_key_is_something_a_person_can_read_and_compare() {
        for good in ["build-17", "acme/site#12345/3", "备份 2026-11-22", "é", &"k".repeat(limits::KEY_CHARS_MAX)] {
            assert_eq!(check_key(good), Ok(()), "{good}");
        }
        let long = "k".repeat(limits::KEY_CHARS_MAX + 1);
        for bad in ["", " ", " a", "a ", "a\nb", "a\tb", "a\u{200b}b", "a\u{202e}b", "a\u{a0}b", "\u{7f}", &long] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_nul_is_refused_before_a_run_exists() {
        let source = "params: {v: {}, p: {type: path}, l: {type: list}, m: {type: map}}\nsteps:\n  - \
                      cmd: [a, '${{ params.v }}', '${{ params.p }}', '${{ params.l | json }}', '${{ params.m | json }}']\n";
        let runbook = crate::runbook::parse(source.as_bytes()).unwrap();
        let outcome = |name: &str, value: Value| {
            let given = BTreeMap::from([(name.to_owned(), Given::Value(value))]);
            resolve(&runbook, &given, &str::to_owned).map_err(|errors| errors[0].to_string())
        };
        for (name, value) in [("v", json!("a\0")), ("p", json!("\0")), ("l", json!([["\0"]])), ("m", json!({"\0": 1}))]
        {
            assert!(outcome(name, value).unwrap_err().contains("contains a NUL byte"), "{name}");
        }
    }
}
