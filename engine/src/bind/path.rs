//! `${{ }}` in the path of a file or folder.
//!
//! A value at the very start may be any path. One that stands behind text of the author names something below it: it
//! can neither climb with `..` nor leave its place empty, so that `/etc/app/${{ x }}/app.conf` is never `/etc/passwd`
//! and never `/etc/app/app.conf`.

use std::ops::Range;

use super::expression::{EvalError, Expression};
use super::template::Part;
use super::{Context, Template};

/// The path with its values in place.
pub fn bind(template: &Template, context: &Context) -> Result<String, EvalError> {
    let mut path = String::new();
    let mut values: Vec<(Range<usize>, &Expression)> = Vec::new();
    for (n, part) in template.parts.iter().enumerate() {
        match part {
            Part::Text(text) => path.push_str(text),
            Part::Value { expression, .. } => {
                let start = path.len();
                path.push_str(&expression.evaluate_text(context)?);
                if n > 0 {
                    values.push((start..path.len(), expression));
                }
            }
        }
    }
    let mut start = 0;
    for segment in path.split('/') {
        let end = start + segment.len();
        let touched = |value: &&(Range<usize>, &Expression)| match segment {
            ".." => value.0.start <= end && start <= value.0.end,
            "" => value.0 == (start..end),
            _ => false,
        };
        if let Some((_, expression)) = values.iter().find(touched) {
            let what = if segment.is_empty() { "is empty" } else { "makes a `..`" };
            let message = format!("{what}: the path would name something else than the runbook says");
            return Err(EvalError::Refused { expression: expression.source.clone(), message });
        }
        start = end + 1;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(template: &str, a: &str, b: &str) -> Result<String, String> {
        let mut context = Context::default();
        context.set("params", json!({"a": a, "b": b}));
        bind(&Template::parse(template).unwrap(), &context).map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_names_something_below_what_stands_before_it() {
        let below = "/etc/app/${{ params.a }}/x.conf";
        for good in ["a", "a/b", "a/", "/a", "..a", "a..", ".", "..."] {
            assert_eq!(path(below, good, ""), Ok(format!("/etc/app/{good}/x.conf")));
        }
        for bad in ["..", "../..", "a/../../b", "a/..", "/../", ""] {
            assert!(path(below, bad, "").unwrap_err().contains("the path would name something else"), "{bad}");
        }
        for (template, a, b) in [
            ("/x/.${{ params.a }}", ".", ""),
            ("/x/${{ params.a }}${{ params.b }}/y", ".", "."),
            ("${{ params.a }}/${{ params.b }}", "/srv", "../etc"),
            ("/x/${{ params.a }}.", ".", ""),
        ] {
            assert!(path(template, a, b).is_err(), "{template}");
        }
    }

    #[test]
    fn a_value_at_the_start_and_the_text_of_the_author_are_free() {
        assert_eq!(path("${{ params.a }}/x", "../up/..", ""), Ok("../up/../x".into()));
        assert_eq!(path("../${{ params.a }}/../y", "b", ""), Ok("../b/../y".into()));
        assert_eq!(path("/x/${{ params.a }}-${{ params.b }}", "", ""), Ok("/x/-".into()));
        assert_eq!(path("/x/..${{ params.a }}", "a", ""), Ok("/x/..a".into()));
    }
}
