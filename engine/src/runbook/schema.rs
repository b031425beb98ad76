//! The tables as a JSON Schema, for editors. What it accepts is what [`super::check`] finds well-formed; a test holds that.

use serde_json::{Map, Value, json};

use super::shape::{Object, Shape};
use super::syntax::{DURATION_PATTERN, Syntax};
use super::tables;

/// The JSON Schema (draft 2020-12) of a runbook file.
pub fn json_schema() -> Value {
    let mut defs = Map::new();
    let root = object(&tables::RUNBOOK, &mut defs);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "runward runbook",
        "$defs": defs,
    });
    if let (Some(schema), Value::Object(root)) = (schema.as_object_mut(), root) {
        schema.extend(root);
    }
    schema
}

fn object(object: &'static Object, defs: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for key in object.keys() {
        let mut value = shape(&key.shape, defs);
        if let Some(value) = value.as_object_mut() {
            let note = if key.built { "" } else { " (not built yet: refused when a run is planned)" };
            value.insert("description".into(), format!("{}{note}", key.doc).into());
        }
        properties.insert(key.name.into(), value);
    }
    let mut schema = json!({"type": "object", "additionalProperties": false, "properties": properties});
    let required: Vec<&str> = object.keys().filter(|key| key.required).map(|key| key.name).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !object.one_of.is_empty() {
        schema["oneOf"] = one_required(object.one_of);
    }
    if !object.beside.is_empty() {
        let beside =
            object.beside.iter().map(|(key, wanted)| ((*key).to_owned(), json!({"anyOf": one_required(wanted)})));
        schema["dependentSchemas"] = Value::Object(beside.collect());
    }
    schema
}

fn one_required(keys: &[&str]) -> Value {
    keys.iter().map(|key| json!({"required": [key]})).collect()
}

fn shape(of: &'static Shape, defs: &mut Map<String, Value>) -> Value {
    match of {
        Shape::Any => json!({}),
        Shape::Prose | Shape::Template | Shape::Script | Shape::Condition => json!({"type": "string"}),
        Shape::Text(syntax) => text(*syntax),
        Shape::Scalar => json!({"type": ["string", "number", "boolean"]}),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Count { min, max } if *max == i64::MAX => json!({"type": "integer", "minimum": min}),
        Shape::Count { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::Number { min } if min.is_infinite() => json!({"type": "number"}),
        Shape::Number { min } => json!({"type": "number", "minimum": min}),
        Shape::Duration { .. } => json!({"type": "string", "pattern": DURATION_PATTERN}),
        Shape::Word(words) => json!({"enum": words.iter().map(|word| word.word).collect::<Vec<_>>()}),
        Shape::List { of, min: 0 } => json!({"type": "array", "items": shape(of, defs)}),
        Shape::List { of, min } => json!({"type": "array", "items": shape(of, defs), "minItems": min}),
        Shape::Dict { names, of } => {
            let mut schema = json!({"type": "object", "additionalProperties": shape(of, defs)});
            if names.pattern().is_some() {
                schema["propertyNames"] = text(*names);
            }
            schema
        }
        Shape::Object(inner) => reference(inner, defs),
        Shape::OneOf(shapes) => json!({"anyOf": shapes.iter().map(|one| shape(one, defs)).collect::<Vec<_>>()}),
    }
}

fn text(syntax: Syntax) -> Value {
    match syntax.pattern() {
        Some(pattern) => json!({"type": "string", "pattern": pattern}),
        None => json!({"type": "string"}),
    }
}

/// Objects stand once, under `$defs`.
fn reference(of: &'static Object, defs: &mut Map<String, Value>) -> Value {
    let name = of.what.replace(' ', "-");
    if !defs.contains_key(&name) {
        defs.insert(name.clone(), Value::Null);
        let schema = object(of, defs);
        defs.insert(name.clone(), schema);
    }
    json!({"$ref": format!("#/$defs/{name}")})
}
