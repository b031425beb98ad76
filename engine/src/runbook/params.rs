//! `params:` -> parameters whose defaults and bounds are of their type.

use super::model::{Param, Span, ValueType};
use super::node::Node;
use super::report::Finding;
use super::value;
use crate::units::{parse_duration, parse_size};

/// Reads all parameters; what is not well-formed has been reported by the checker and is left out.
pub fn read(node: Option<&Node>, findings: &mut Vec<Finding>) -> Vec<Param> {
    let entries = node.map(Node::entries).unwrap_or_default();
    entries.iter().map(|(key, node)| param(&key.text, &key.span, node, findings)).collect()
}

fn param(name: &str, span: &Span, node: &Node, findings: &mut Vec<Finding>) -> Param {
    let text = |key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
    let flag = |key: &str| node.get(key).and_then(Node::flag).unwrap_or(false);
    let kind = node.get("type").and_then(Node::text).and_then(ValueType::named).unwrap_or(ValueType::String);
    let mut param = Param {
        name: name.to_owned(),
        kind,
        required: flag("required"),
        default: None,
        choices: None,
        pattern: text("pattern").filter(|pattern| regex::Regex::new(pattern).is_ok()),
        min: bound(kind, node.get("min"), findings),
        max: bound(kind, node.get("max"), findings),
        description: text("description"),
        sensitive: flag("sensitive"),
        span: span.clone(),
    };
    bounds(&param, node, findings);
    if let Some(list) = node.get("enum") {
        let typed: Vec<_> = list.items().iter().filter_map(|item| typed(kind, item, findings)).collect();
        param.choices = Some(typed);
    }
    if let Some(default) = node.get("default") {
        param.default = typed(kind, default, findings);
        if let Some(Err(message)) = param.default.as_ref().map(|value| value::check(&param, value)) {
            findings.push(Finding::new(
                &super::check::visible(default),
                "not allowed",
                format!("the default of `{name}`: {message}"),
            ));
        }
        if param.required {
            let message = format!("`{name}` is required, so its default is never used");
            findings.push(
                Finding::new(&super::check::visible(default), "never used", message).help("remove one of the two"),
            );
        }
    }
    param
}

fn typed(kind: ValueType, node: &Node, findings: &mut Vec<Finding>) -> Option<serde_json::Value> {
    match value::from_node(kind, node) {
        Ok(value) => Some(value),
        Err(message) => {
            let span = super::check::visible(node);
            findings.push(Finding::new(&span, format!("not {}", kind.with_article()), message));
            None
        }
    }
}

/// `min` and `max` as the number they are compared as.
fn bound(kind: ValueType, node: Option<&Node>, findings: &mut Vec<Finding>) -> Option<f64> {
    let node = node?;
    let bound = match (kind, node.text()) {
        (ValueType::Duration, Some(text)) => {
            parse_duration(text).map(|d| d.as_millis() as f64).map_err(|e| e.to_string())
        }
        (ValueType::Duration, None) => Err("the bound of a duration is a duration such as `10s` or `10m`".into()),
        (ValueType::Size, Some(text)) => parse_size(text).map(|bytes| bytes as f64).map_err(|e| e.to_string()),
        (ValueType::Bool | ValueType::Map, _) => Err(format!("{} has no least or greatest value", kind.with_article())),
        (_, Some(_)) => Err(format!("the bound of {} is a number", kind.with_article())),
        (_, None) => return node.number(),
    };
    bound.map_err(|message| findings.push(Finding::new(&node.span, "not a bound", message))).ok()
}

fn bounds(param: &Param, node: &Node, findings: &mut Vec<Finding>) {
    if let (Some(min), Some(max), Some(at)) = (param.min, param.max, node.get("max"))
        && min > max
    {
        findings.push(Finding::new(
            &at.span,
            "below `min`",
            format!("`{}` can have no value: its max is below its min", param.name),
        ));
    }
    if let (Some((key, _)), false) = (node.entry("pattern"), matches!(param.kind, ValueType::String | ValueType::Path))
    {
        let message = format!("`pattern` is for text; `{}` is {}", param.name, param.kind.with_article());
        findings.push(Finding::new(&key.span, "not text", message));
    }
}
