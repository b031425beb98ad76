//! Text with values in it.

use serde_json::json;

use super::*;

fn context() -> Context {
    let mut context = Context::default();
    context.set("params", json!({"a": "x", "n": 7, "list": [1]}));
    context
}

#[test]
fn values_take_their_places_and_the_rest_stays_byte_for_byte() {
    for (text, wanted) in [
        ("", ""),
        ("plain $x ${y} {{ z }} }}", "plain $x ${y} {{ z }} }}"),
        ("${{ params.a }}", "x"),
        ("上 ${{params.a}}-${{ params.n }}\n", "上 x-7\n"),
        ("$${{ params.n }}", "$7"),
        ("${{ \"${{\" }} and ${{ '}}' }}", "${{ and }}"),
        ("${{ \"a\\\"}}\" }}", "a\"}}"),
    ] {
        assert_eq!(Template::parse(text).unwrap().render(&context()).unwrap(), wanted, "{text}");
    }
}

#[test]
fn ranges_are_bytes_of_the_text() {
    let text = "上 ${{ params.a }} ${{ params.n }}";
    let template = Template::parse(text).unwrap();
    let found: Vec<&str> = template.expressions().map(|(_, range)| &text[range.clone()]).collect();
    assert_eq!(found, ["${{ params.a }}", "${{ params.n }}"]);
}

#[test]
fn all_errors_come_at_once() {
    let text = "é ${{ parms.a }} ${{ }} ${{ params.a | nope }} ${{ open";
    let errors = Template::parse(text).unwrap_err();
    let places: Vec<&str> = errors.iter().map(|error| &text[error.range.clone()]).collect();
    assert_eq!(places, ["parms.a", " ", "nope", "${{"]);
    assert!(errors[3].help.clone().unwrap().contains("${{ \"${{\" }}"));
}

#[test]
fn a_list_is_not_text() {
    assert!(matches!(
        Template::parse("${{ params.list }}").unwrap().render(&context()),
        Err(EvalError::NotText { .. })
    ));
}
