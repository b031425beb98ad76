//! Template files: what they read, where they are wrong, what becomes of them.

use serde_json::json;

use super::Document;
use crate::bind::{Context, Reference};

fn context() -> Context {
    let mut context = Context::default();
    context.set("params", json!({"port": 80, "hosts": ["a", "b"], "name": "<x> & 'y'"}));
    context
}

fn reads(text: &str) -> Vec<String> {
    let document = Document::parse(text).unwrap();
    document.references.iter().map(|(_, range)| text[range.clone()].to_owned()).collect()
}

#[test]
fn a_file_is_rendered_as_it_is_with_nothing_escaped() {
    let text = "listen {{ params.port }};\n{% for host in params.hosts -%}\nserver {{ host }};\n{% endfor %}{{ params.name }}\n{{ params.hosts | json }}";
    let rendered = Document::parse(text).unwrap().render(&context()).unwrap();
    assert_eq!(rendered, "listen 80;\nserver a;\nserver b;\n<x> & 'y'\n[\"a\",\"b\"]");
}

#[test]
fn what_a_file_reads_is_found_with_its_place() {
    let text = "{# params.no #}{{ params.port }} { params.no } {% raw %}{{ params.no }}{% endraw %}\
                {% if steps.a.outputs.n.deep > 1 and not env.HOME %}{{ item.name }}{% endif %}";
    assert_eq!(reads(text), ["params.port", "steps.a.outputs.n.deep", "env.HOME", "item.name"]);
    assert_eq!(reads("{% for item in params.hosts %}{{ item }}{% endfor %}"), ["params.hosts"]);
    assert_eq!(reads("{{ \"}} params.no\" }}{{- run.id -}}"), ["run.id"]);
    assert!(Document::parse("{% for k, v in params %}{{ k }}={{ v }}\n{% endfor %}").unwrap().reads_all_params);
    let found = Document::parse("{{ steps.b.status }}").unwrap().references;
    assert_eq!(found[0].0, Reference::Status { step: "b".into() });
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (text, wanted, place) in [
        ("a\nb {{ prams.port }}", "`prams` is not a name", 7..12),
        ("{{ params.port | uper }}", "uper", 17..21),
        ("x\n{% if params.port %}", "", 0..0),
        ("{{ steps.a.output }}", "a step is read as", 3..17),
        ("{{ run.nmae }}", "no field `nmae`", 3..11),
        ("{% include \"other\" %}", "other", 0..0),
    ] {
        let errors = Document::parse(text).unwrap_err();
        assert!(errors[0].message.contains(wanted), "{text}: {errors:?}");
        if !place.is_empty() {
            assert_eq!(errors[0].range, place, "{text}: {errors:?}");
        }
    }
}

#[test]
fn a_value_that_is_missing_is_named_with_its_line() {
    let document = Document::parse("one\ntwo 备份 {{ steps.a.outputs.port }}\n").unwrap();
    let mut context = context();
    context.set("steps", json!({"a": {"outputs": {}}}));
    let error = document.render(&context).unwrap_err();
    assert_eq!((error.line, error.column), (2, 27), "{error}");
    assert!(error.message.contains("`port` is not defined"), "{error}");
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_template_or_refused(text in "(\\{\\{|\\}\\}|\\{%|%\\}|\\{#|#\\}|raw|endraw|params|steps|\\.|'|\"|-| |备|a){0,24}") {
        if let Ok(document) = Document::parse(&text) {
            let _ = document.render(&context());
        }
    }
}
