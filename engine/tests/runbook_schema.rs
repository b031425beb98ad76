//! The JSON Schema and the parser agree on what is well-formed, for every key of the tables.

use runward_engine::runbook::shape::{Object, Shape};
use runward_engine::runbook::syntax::Syntax;
use runward_engine::runbook::tables::RUNBOOK;
use runward_engine::runbook::{check, json_schema, node};
use serde_json::{Map, Value, json};

static FILE: Shape = Shape::Object(&RUNBOOK);

/// A small value of this shape.
fn sample(shape: &'static Shape) -> Value {
    match shape {
        Shape::Any | Shape::Prose | Shape::Template | Shape::Scalar | Shape::Script | Shape::Condition => json!("x"),
        Shape::Text(syntax) => json!(match syntax {
            Syntax::Mode => "0644",
            Syntax::Date => "2026-12-20",
            Syntax::Cron => "0 0 * * *",
            Syntax::Zone => "UTC",
            Syntax::Window => "SAT 01:00-05:00",
            _ => "x",
        }),
        Shape::Flag => json!(true),
        Shape::Count { min, .. } => json!(min),
        Shape::Number { min } => json!(min.max(1.0)),
        Shape::Duration { .. } => json!("10s"),
        Shape::Word(words) => json!(words[0].word),
        Shape::List { of, .. } => json!([sample(of)]),
        Shape::Dict { of, .. } => json!({"x": sample(of)}),
        Shape::Object(object) => Value::Object(smallest(object)),
        Shape::OneOf(shapes) => sample(&shapes[0]),
    }
}

fn smallest(object: &'static Object) -> Map<String, Value> {
    let kind = object.one_of.first();
    let wanted = object.keys().filter(|key| key.required || Some(&key.name) == kind);
    wanted.map(|key| (key.name.to_owned(), sample(&key.shape))).collect()
}

/// Values of this shape, and values that are nearly of it or not at all.
fn variants(shape: &'static Shape) -> Vec<Value> {
    let mut all = vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.0),
        json!(1.5),
        json!(99),
        json!(101),
        json!(300),
        json!(600),
        json!(5_000_000_000_i64),
        json!(""),
        json!("x"),
        json!("X-y"),
        json!("1x"),
        json!("10"),
        json!("10s"),
        json!("1h 30m"),
        json!("5 minutes"),
        json!("a b"),
        json!("${{ params.x }}"),
        json!("2026-12-20"),
        json!([]),
        json!(["x"]),
        json!([1]),
        json!([[]]),
        json!([null]),
        json!({}),
        json!({"x": "x"}),
        json!({"X y": 1}),
        json!({"x": null}),
    ];
    match shape {
        Shape::Word(words) => all.extend(words.iter().map(|word| json!(word.word))),
        Shape::List { of, .. } => all.extend(variants(of).into_iter().map(|item| json!([sample(of), item]))),
        Shape::Dict { of, .. } => all.extend(variants(of).into_iter().map(|item| json!({"x": item}))),
        Shape::OneOf(shapes) => all.extend(shapes.iter().flat_map(variants)),
        Shape::Object(object) => {
            let base = smallest(object);
            let with = |key: &str, value: Value| {
                let mut map = base.clone();
                map.insert(key.to_owned(), value);
                Value::Object(map)
            };
            all.push(with("unknown_key", json!(1)));
            for key in object.keys() {
                all.extend(variants(&key.shape).into_iter().map(|value| with(key.name, value)));
                let mut without = base.clone();
                without.remove(key.name);
                all.push(Value::Object(without));
            }
        }
        _ => all.push(sample(shape)),
    }
    all
}

#[test]
fn the_schema_accepts_what_the_checker_accepts() {
    let schema = json_schema();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let (mut good, mut bad) = (0, 0);
    for document in variants(&FILE) {
        let source = document.to_string();
        let read = node::read(source.as_bytes()).unwrap_or_else(|report| panic!("{source}: {report:?}"));
        let ours = check::check(&read.root, &RUNBOOK);
        assert_eq!(validator.is_valid(&document), ours.fits_schema, "{source}\n{:?}", ours.findings);
        if ours.fits_schema {
            good += 1
        } else {
            bad += 1
        }
        assert!(ours.fits_schema || !ours.findings.is_empty(), "a misfit without a finding: {source}");
    }
    println!("{good} well-formed, {bad} not");
    assert!(good > 300 && bad > 1000);
}

#[test]
fn the_example_of_the_contract_fits_the_schema() {
    let source = include_str!("files/pg-minor-upgrade.yaml");
    let document = node::read(source.as_bytes()).unwrap().root.json();
    let schema = json_schema();
    assert!(jsonschema::draft202012::new(&schema).unwrap().is_valid(&document));
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}
