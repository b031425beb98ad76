//! What expressions read, and what they are refused for.

use serde_json::json;

use super::*;

fn context() -> Context {
    let mut context = Context::default();
    context.set(
        "params",
        json!({"env": "prod", "n": 3, "f": 1.5, "big": 9_007_199_254_740_993_i64, "yes": true, "nodes": ["db1", "db2"],
        "map": {"host": "h", "port": 1}, "none": null, "empty": "", "zero": 0, "wild": "a\n\u{1}日本🦀'\"$(x)"}),
    );
    context
        .set("steps", json!({"a": {"status": "succeeded", "outputs": {"file": "x.sql"}}, "b": {"status": "skipped"}}));
    context.set("run", json!({"id": "r1", "status": "failed", "generation": 1}));
    context.set("item", json!({"name": "one", "port": 5432}));
    context.set("index", json!(0));
    context.set("env", json!({"HOME_DIR": "/x"}));
    context
}

fn eval(source: &str) -> Value {
    Expression::parse(source).unwrap().evaluate(&context()).unwrap()
}

fn fails(source: &str) -> ExpressionError {
    Expression::parse(source).expect_err(source)
}

#[test]
fn values_keep_their_types() {
    for (source, wanted) in [
        ("params.env", json!("prod")),
        (" params.n ", json!(3)),
        ("params.n + 1", json!(4)),
        ("params.big | default(value=1)", json!(9_007_199_254_740_993_i64)),
        ("params.f", json!(1.5)),
        ("params.nodes", json!(["db1", "db2"])),
        ("params.nodes | first", json!("db1")),
        ("params.nodes[1]", json!("db2")),
        ("params.nodes | join(sep=\",\")", json!("db1,db2")),
        ("params.nodes | json", json!("[\"db1\",\"db2\"]")),
        ("params.map.host", json!("h")),
        ("params.map | get(key=\"port\")", json!(1)),
        ("params.env == \"prod\" and params.n > 2", json!(true)),
        ("\"x\" if params.yes else \"y\"", json!("x")),
        ("[n | upper for n in params.nodes]", json!(["DB1", "DB2"])),
        ("{\"a\": params.n}", json!({"a": 3})),
        ("params.wild | trim", json!("a\n\u{1}日本🦀'\"$(x)")),
        ("steps.a.outputs.file", json!("x.sql")),
        ("steps.b.status", json!("skipped")),
        ("run.id", json!("r1")),
        ("item.port + index", json!(5432)),
        ("env.HOME_DIR ~ \"/y\"", json!("/x/y")),
        ("\"${{\"", json!("${{")),
        ("range(end=3)", json!([0, 1, 2])),
        ("params.nodes | length", json!(2)),
        ("\"db1\" in params.nodes", json!(true)),
    ] {
        assert_eq!(eval(source), wanted, "{source}");
    }
}

#[test]
fn references_are_found_with_their_bytes() {
    let parsed =
        Expression::parse("  steps.a.outputs.file ~ params.n | default(value=env.X) ~ item.name ~ run.id ").unwrap();
    let found: Vec<(&Reference, &str)> =
        parsed.references.iter().map(|(r, range)| (r, &parsed.source[range.clone()])).collect();
    assert_eq!(
        found,
        vec![
            (&Reference::Output { step: "a".into(), key: "file".into() }, "steps.a.outputs.file"),
            (&Reference::Param("n".into()), "params.n"),
            (&Reference::Env("X".into()), "env.X"),
            (&Reference::Item, "item.name"),
            (&Reference::Run("id".into()), "run.id"),
        ]
    );
    let outcome = Expression::parse("failure() or index == 1").unwrap();
    assert_eq!(outcome.references[0], (Reference::Outcome("failure".into()), 0..9));
}

#[test]
fn wrong_expressions_say_what_and_where_and_what_to_write() {
    for (source, range, message, help) in [
        ("", 0..0, "empty", "params.version"),
        ("   ", 0..3, "empty", "params.version"),
        ("parms.x", 0..7, "`parms` is not a name", "params"),
        ("inputs.x", 0..8, "`inputs`", "params.<name>"),
        ("secrets.x", 0..9, "`secrets`", "secrets:"),
        ("version", 0..7, "`version`", "params.version"),
        ("params", 0..6, "which parameter", "params.<name>"),
        ("params[\"x\"]", 0..6, "which parameter", "params.<name>"),
        ("run.stat", 0..8, "no field `stat`", "`status`"),
        ("run.result", 0..10, "no field `result`", "actor"),
        ("run.statsu", 0..10, "no field `statsu`", "`status`"),
        ("steps.a", 0..7, "a step is read as", "steps.a.outputs.<key>"),
        ("steps.a.file", 0..12, "a step is read as", "steps.a.outputs.file"),
        ("steps.a.output.x", 0..16, "a step is read as", "steps.a.outputs"),
        ("params.x | uper", 11..15, "no filter `uper`", "`upper`"),
        ("params.x | tojson", 11..17, "no filter", "| json"),
        ("params.x is defind", 12..18, "no test `defind`", "`defined`"),
        ("succes()", 0..6, "no function `succes()`", "`success()`"),
        ("now()", 0..3, "no function `now()`", ""),
        ("params.x +", 9..10, "nd", ""),
        ("params.x params.y", 9..15, "", ""),
        ("1 }} {{ 2", 2..4, "cannot stand here", "one expression"),
        ("1 %} x", 2..4, "cannot stand here", "one expression"),
        ("1) ~ (2", 1..2, "closes nothing", ""),
        ("(1", 0..1, "never closed", ""),
        ("'a", 0..2, "has no end", ""),
        ("params.x && params.y", 9..10, "means nothing", "and"),
        ("  $x", 2..3, "means nothing", "without `$`"),
        ("failure(x=1)", 0..7, "no arguments", ""),
    ] {
        let error = fails(source);
        assert!(error.message.contains(message), "{source}: {error:?}");
        assert!(error.help.clone().unwrap_or_default().contains(help), "{source}: {error:?}");
        assert_eq!(error.range, range, "{source}: {error:?}");
    }
}

#[test]
fn an_absent_name_is_an_error_unless_the_author_provides_for_it() {
    let undefined = |source: &str| Expression::parse(source).unwrap().evaluate(&context()).unwrap_err().to_string();
    assert!(undefined("params.evn").contains("did you mean `env`?"));
    assert!(undefined("params.evn == \"x\"").contains("`params.evn` is not defined"));
    assert!(undefined("steps.a.outputs.other").contains("`steps.a.outputs` has file"));
    assert!(undefined("steps.b.outputs.file ~ 1").contains("`steps.b.outputs` is not defined"));
    let mut outside = context();
    outside.set("params", json!({}));
    assert_eq!(eval("params.zzz | default(value=7)"), json!(7));
    assert_eq!(eval("steps.b.outputs.file | default(value=\"none\")"), json!("none"));
    assert_eq!(eval("steps.zzz.outputs.file | default(value=\"none\")"), json!("none"));
    assert_eq!(eval("params.zzz if params.zzz is defined else 1"), json!(1));
    let item = Expression::parse("item").unwrap();
    assert!(item.evaluate(&Context::default()).unwrap_err().to_string().contains("for-each"));
}

#[test]
fn text_is_what_a_program_receives() {
    let text = |source: &str| Expression::parse(source).unwrap().evaluate_text(&context());
    assert_eq!(text("params.env").unwrap(), "prod");
    assert_eq!(text("params.n").unwrap(), "3");
    assert_eq!(text("params.f").unwrap(), "1.5");
    assert_eq!(text("params.yes").unwrap(), "true");
    assert_eq!(text("params.wild").unwrap(), "a\n\u{1}日本🦀'\"$(x)");
    assert_eq!(text("params.empty").unwrap(), "");
    assert!(matches!(text("params.nodes"), Err(EvalError::NotText { kind: "list", .. })));
    assert!(matches!(text("params.map"), Err(EvalError::NotText { kind: "map", .. })));
    assert!(matches!(text("params.none"), Err(EvalError::Refused { .. })));
}

#[test]
fn a_value_at_the_limit_passes_and_one_byte_more_is_refused() {
    let mut context = Context::default();
    let limit = crate::limits::VALUE_BYTES_MAX;
    context.set("item", json!("x".repeat(limit)));
    let item = Expression::parse("item").unwrap();
    assert_eq!(item.evaluate_text(&context).unwrap().len(), limit);
    context.set("item", json!("x".repeat(limit + 1)));
    assert!(matches!(item.evaluate_text(&context), Err(EvalError::Refused { .. })));
    context.set("item", json!("a\0b"));
    assert!(matches!(item.evaluate_text(&context), Err(EvalError::Refused { .. })));
}

#[test]
fn conditions_have_teras_truth() {
    let truth = |source: &str| Condition::parse(source).unwrap().evaluate(&context()).unwrap();
    for source in [
        "params.env",
        "params.n",
        "params.nodes",
        "params.n == 3",
        "not params.zero",
        "failure()",
        "always()",
        "params.zzz is not defined",
    ] {
        assert!(truth(source), "{source}");
    }
    for source in
        ["params.zero", "params.empty", "params.none", "success()", "cancelled()", "params.env == \"x\"", "false"]
    {
        assert!(!truth(source), "{source}");
    }
    for (status, success, failure, cancelled) in [
        ("succeeded", true, false, false),
        ("failed", false, true, false),
        ("timed_out", false, true, false),
        ("cancelled", false, false, true),
    ] {
        let mut context = Context::default();
        context.set("run", json!({"status": status}));
        let is = |source: &str| Condition::parse(source).unwrap().evaluate(&context).unwrap();
        assert_eq!(
            (is("success()"), is("failure()"), is("cancelled()"), is("always()")),
            (success, failure, cancelled, true)
        );
    }
    let error = Condition::parse("${{ params.n == 1 }}").unwrap_err();
    assert!(error.help.unwrap().contains("`if: params.n == 1`"));
}

#[test]
fn every_filter_and_test_that_is_let_through_exists() {
    for filter in scan::FILTERS {
        assert!(evaluate::check_syntax(&format!("params.x | {filter}")).is_ok(), "{filter}");
    }
    for test in scan::TESTS {
        assert!(evaluate::check_syntax(&format!("params.x is {test}")).is_ok(), "{test}");
    }
}

#[test]
fn an_argument_without_its_name_is_told_the_name_and_with_it_the_expression_is_right() {
    for (wrong, right) in [
        ("params.x is starting_with(\"v2\")", "starting_with(pat=\"v2\")"),
        ("params.x is divisible_by( 2 )", "divisible_by(divisor=2)"),
        ("params.x | default('a')", "default(value='a')"),
        ("params.x | join(\", \") == \"\"", "join(sep=\", \")"),
        ("params.x | nth(0)", "nth(n=0)"),
    ] {
        let error = Expression::parse(wrong).unwrap_err();
        assert_eq!(error.help.as_deref(), Some(&*format!("an argument has a name: `{right}`")), "{wrong}");
        let begin = wrong.find(right.split('(').next().unwrap()).unwrap();
        let mended = format!("{}{right}", &wrong[..begin]);
        assert!(Expression::parse(&mended).is_ok(), "{mended}");
    }
}

#[test]
fn a_filter_makes_no_more_than_fits() {
    let mut context = Context::default();
    let (text, quotes) = ("a".repeat(100_000), "\\".repeat(100_000));
    context.set("params", json!({"text": text, "quotes": quotes, "list": ["a", 1, true]}));
    let value = |source: &str| Expression::parse(source).unwrap().evaluate(&context).map_err(|error| error.to_string());
    let grown = format!("params.quotes{}", " | json".repeat(10));
    for source in [
        "params.text | replace(from='a', to=params.text) | length",
        "params.text | replace(from='', to=params.text) | length",
        "range(end=20000) | join(sep=params.text) | length",
        &grown,
    ] {
        let why = value(source).unwrap_err();
        assert!(why.contains("would make more than 16.0 MiB"), "{why}");
    }
    context
        .set("params", json!({"text": text, "quotes": quotes, "long": "a".repeat(200_000), "lines": "a\n".repeat(50_000), "list": ["a", 1, true]}));
    let value = |source: &str| Expression::parse(source).unwrap().evaluate(&context).map_err(|error| error.to_string());
    let half = "(params.text | replace(from='a', to='12345678901234567890') | length)";
    let often = format!("{half} + {half} + {half} + {half} + {half} + {half} + {half} + {half} + {half}");
    for source in [
        "params.lines | indent(width=1000) | length",
        "params.lines | indent(width=1000, indentation='é') | length",
        "params.text | replace(from='a', to='1234567890') | split(pat='') | length",
        &often,
    ] {
        let why = value(source).unwrap_err();
        assert!(why.contains("would make more than 16.0 MiB"), "{why}");
    }
    let repeated = ["params.long"; 90].join(" ~ ");
    assert!(value(&repeated).unwrap_err().contains("is made of more than 16.0 MiB"));
    assert!(value(&["params.long"; 80].join(" ~ ")).is_ok());
    for (source, made) in [
        ("'a\n\nb\n' | indent", "a\n\n    b\n"),
        ("'a\n\nb' | indent(width=1, first=true, blank=true, indentation='>')", ">a\n>\n>b"),
        ("'a,b' | split(pat=',') | json", "[\"a\",\"b\"]"),
    ] {
        assert_eq!(value(source).unwrap(), made, "{source}");
    }
    assert!(value("'a' | indent(indentation='ab')").unwrap_err().contains("one character"));
    let edge = crate::limits::FILTERED_BYTES_MAX / 100_000;
    let length = |to: usize| format!("params.text | replace(from='a', to='{}') | length", "b".repeat(to));
    assert_eq!(value(&length(edge)).unwrap(), edge * 100_000);
    assert!(value(&length(edge + 1)).is_err());
    assert_eq!(value("params.list | join(sep=', ')").unwrap(), "a, 1, true");
    assert_eq!(value("params.list | join").unwrap(), "a1true");
    assert_eq!(value("'a.b' | replace(from='.', to='-')").unwrap(), "a-b");
}
