//! Values of parameters and outputs: from text or JSON to the JSON of their type, and the checks of a parameter.

use serde_json::Value;

use super::model::{Param, ValueType};
use super::node::Node;
use crate::limits::VALUE_DEPTH_MAX;
use crate::units::{parse_duration, parse_size};

impl ValueType {
    /// The type of a name as it is written in a runbook.
    pub fn named(name: &str) -> Option<ValueType> {
        serde_json::from_value(Value::String(name.to_owned())).ok()
    }

    /// For messages: `an int`.
    pub fn with_article(self) -> String {
        format!("{} {}", if self == ValueType::Int { "an" } else { "a" }, self.name())
    }

    /// As it is written in a runbook.
    pub fn name(self) -> &'static str {
        match self {
            ValueType::String => "string",
            ValueType::Int => "int",
            ValueType::Float => "float",
            ValueType::Bool => "bool",
            ValueType::List => "list",
            ValueType::Map => "map",
            ValueType::Duration => "duration",
            ValueType::Size => "size",
            ValueType::Path => "path",
        }
    }
}

/// A value given as text (`-p key=value`, an output line): a list is a JSON array or `a,b,c`, a map a JSON object.
pub fn from_text(kind: ValueType, text: &str) -> Result<Value, String> {
    let trimmed = text.trim();
    match kind {
        ValueType::String | ValueType::Path => Ok(Value::String(text.to_owned())),
        ValueType::Int => trimmed.parse::<i64>().map(Value::from).map_err(|_| format!("`{trimmed}` is not an int")),
        ValueType::Float => {
            let float = trimmed.parse::<f64>().ok().filter(|float| float.is_finite());
            float.map(Value::from).ok_or_else(|| format!("`{trimmed}` is not a float"))
        }
        ValueType::Bool => match trimmed {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(format!("`{trimmed}` is not a bool: write `true` or `false`")),
        },
        ValueType::List if trimmed.starts_with('[') => json(kind, trimmed),
        ValueType::List if trimmed.is_empty() => Ok(Value::Array(Vec::new())),
        ValueType::List => Ok(trimmed.split(',').map(|item| Value::String(item.trim().to_owned())).collect()),
        ValueType::Map => json(kind, trimmed),
        ValueType::Duration => duration(trimmed),
        ValueType::Size => parse_size(trimmed).map(Value::from).map_err(|error| error.to_string()),
    }
}

/// Whether lists and maps are nested deeper than what can be kept.
pub fn is_too_deep(value: &Value) -> bool {
    fn deeper(value: &Value, left: usize) -> bool {
        match value {
            Value::Array(items) => left == 0 || items.iter().any(|item| deeper(item, left - 1)),
            Value::Object(map) => left == 0 || map.values().any(|item| deeper(item, left - 1)),
            _ => false,
        }
    }
    deeper(value, VALUE_DEPTH_MAX)
}

fn json(kind: ValueType, text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("not a {} as JSON: {error}", kind.name()))?;
    if is_too_deep(&value) {
        return Err(format!("it is nested more than {VALUE_DEPTH_MAX} deep: pass it in a file"));
    }
    from_json(kind, &value)
}

fn duration(text: &str) -> Result<Value, String> {
    let duration = parse_duration(text).map_err(|error| error.to_string())?;
    u64::try_from(duration.as_millis()).map(Value::from).map_err(|_| format!("`{text}` is too large"))
}

/// A value given in YAML or JSON. Nothing is guessed: `17` is not a string, `"17"` is not an int.
pub fn from_json(kind: ValueType, value: &Value) -> Result<Value, String> {
    let typed = match (kind, value) {
        (ValueType::String | ValueType::Path, Value::String(_)) => Some(value.clone()),
        (ValueType::Int, Value::Number(number)) => match number.as_i64() {
            Some(int) => Some(Value::from(int)),
            None => number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| Value::from(f as i64)),
        },
        (ValueType::Float, Value::Number(number)) => number.as_f64().map(Value::from),
        (ValueType::Bool, Value::Bool(_)) | (ValueType::List, Value::Array(_)) | (ValueType::Map, Value::Object(_)) => {
            Some(value.clone())
        }
        (ValueType::Duration, Value::String(text)) => return duration(text),
        (ValueType::Duration, Value::Number(n)) => return Err(format!("`{n}` has no unit: write `{n}s` or `{n}m`")),
        (ValueType::Size, Value::String(text)) => return from_text(kind, text),
        (ValueType::Size, Value::Number(number)) => number.as_u64().map(Value::from),
        _ => None,
    };
    typed.ok_or_else(|| {
        let quotes = match (kind, value) {
            (ValueType::String | ValueType::Path, Value::Number(_) | Value::Bool(_)) => ": write it in quotes",
            _ => "",
        };
        format!("`{value}` is not {}{quotes}", kind.with_article())
    })
}

/// [`from_json`] for a value of a YAML file.
pub fn from_node(kind: ValueType, node: &Node) -> Result<Value, String> {
    from_json(kind, &node.json())
}

/// Whether a value of the parameter's type keeps its `enum`, `pattern`, `min` and `max`.
pub fn check(param: &Param, value: &Value) -> Result<(), String> {
    if let Some(choices) = &param.choices
        && !choices.contains(value)
    {
        let choices: Vec<String> = choices.iter().map(shown).collect();
        return Err(format!("`{}` is not one of {}", shown(value), choices.join(", ")));
    }
    if let (Some(pattern), Value::String(text)) = (&param.pattern, value) {
        let regex = regex::Regex::new(&format!("^(?:{pattern})$")).map_err(|error| error.to_string())?;
        if !regex.is_match(text) {
            return Err(format!("`{text}` as a whole does not match `{pattern}`"));
        }
    }
    let Some((measure, what)) = measure(value) else { return Ok(()) };
    match (param.min, param.max) {
        (Some(min), _) if measure < min => {
            Err(format!("{what}{} is below the least, {min}", shown_measure(value, measure)))
        }
        (_, Some(max)) if measure > max => {
            Err(format!("{what}{} is above the greatest, {max}", shown_measure(value, measure)))
        }
        _ => Ok(()),
    }
}

/// What `min` and `max` compare.
fn measure(value: &Value) -> Option<(f64, &'static str)> {
    match value {
        Value::Number(number) => Some((number.as_f64()?, "")),
        Value::String(text) => Some((text.chars().count() as f64, "the length ")),
        Value::Array(items) => Some((items.len() as f64, "the length ")),
        _ => None,
    }
}

fn shown_measure(value: &Value, measure: f64) -> String {
    if value.is_number() { value.to_string() } else { measure.to_string() }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_becomes_typed_values() {
        assert_eq!(from_text(ValueType::Int, " 5 "), Ok(json!(5)));
        assert_eq!(from_text(ValueType::Duration, "1m30s"), Ok(json!(90_000)));
        assert_eq!(from_text(ValueType::Size, "4KiB"), Ok(json!(4096)));
        assert_eq!(from_text(ValueType::List, "a, b"), Ok(json!(["a", "b"])));
        assert_eq!(from_text(ValueType::List, "[1,2]"), Ok(json!([1, 2])));
        assert_eq!(from_text(ValueType::List, ""), Ok(json!([])));
        assert_eq!(from_text(ValueType::Map, r#"{"a":1}"#), Ok(json!({"a": 1})));
        assert_eq!(from_text(ValueType::String, " x "), Ok(json!(" x ")));
        for (kind, bad) in [
            (ValueType::Int, "5.5"),
            (ValueType::Float, "NaN"),
            (ValueType::Bool, "yes"),
            (ValueType::Duration, "10"),
            (ValueType::Map, "[1]"),
            (ValueType::List, "[1"),
            (ValueType::Size, "x"),
        ] {
            assert!(from_text(kind, bad).is_err(), "{kind:?} {bad}");
        }
    }

    #[test]
    fn nothing_is_guessed_in_yaml() {
        assert_eq!(from_json(ValueType::String, &json!(17)).unwrap_err(), "`17` is not a string: write it in quotes");
        assert!(from_json(ValueType::Int, &json!("17")).is_err());
        assert_eq!(from_json(ValueType::Int, &json!(1.0)), Ok(json!(1)));
        assert_eq!(from_json(ValueType::Duration, &json!(10)).unwrap_err(), "`10` has no unit: write `10s` or `10m`");
    }
}
