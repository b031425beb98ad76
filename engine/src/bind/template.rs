//! Text with `${{ expression }}` in it.
//!
//! There is no escape for `${{`: to write it literally, write `${{ "${{" }}`.

use std::ops::Range;

use super::Context;
use super::expression::{EvalError, Expression, ExpressionError};

const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// Text with any number of `${{ expression }}` in it.
#[derive(Debug, Clone)]
pub struct Template {
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone)]
pub enum Part {
    Text(String),
    /// `range`: the bytes of the whole `${{ ... }}` in the template's text.
    Value {
        expression: Expression,
        range: Range<usize>,
    },
}

impl Template {
    /// All errors at once; their ranges are bytes of `text`.
    pub fn parse(text: &str) -> Result<Template, Vec<ExpressionError>> {
        let (mut parts, mut errors) = (Vec::new(), Vec::new());
        let mut at = 0;
        while let Some(found) = text[at..].find(OPEN) {
            let start = at + found;
            if start > at {
                parts.push(Part::Text(text[at..start].to_owned()));
            }
            let inner = start + OPEN.len();
            let Some(end) = closing(&text[inner..], CLOSE).map(|length| inner + length) else {
                errors.push(unclosed(start));
                at = text.len();
                break;
            };
            at = end + CLOSE.len();
            match Expression::parse(&text[inner..end]) {
                Ok(expression) => parts.push(Part::Value { expression, range: start..at }),
                Err(mut error) => {
                    error.range = error.range.start + inner..error.range.end + inner;
                    if error.range.is_empty() {
                        error.range = start..at;
                    }
                    errors.push(error);
                }
            }
        }
        if at < text.len() {
            parts.push(Part::Text(text[at..].to_owned()));
        }
        if errors.is_empty() { Ok(Template { parts }) } else { Err(errors) }
    }

    /// The text as it was written, up to the spaces inside the braces.
    pub fn source(&self) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Value { expression, .. } => format!("{OPEN} {} {CLOSE}", expression.source),
        };
        self.parts.iter().map(part).collect()
    }

    pub fn expressions(&self) -> impl Iterator<Item = (&Expression, &Range<usize>)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value { expression, range } => Some((expression, range)),
            Part::Text(_) => None,
        })
    }

    /// The text with its values in place: for argv elements, environment values and paths, never for code.
    pub fn render(&self, context: &Context) -> Result<String, EvalError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Value { expression, .. } => text.push_str(&expression.evaluate_text(context)?),
            }
        }
        Ok(text)
    }
}

/// Where `close` stands, outside of the quotes of an expression.
pub(super) fn closing(text: &str, close: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut quote) = (0, None);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'"' | b'\'' | b'`')) => quote = Some(byte),
            (None, _) if text.is_char_boundary(at) && text[at..].starts_with(close) => return Some(at),
            (None, _) => {}
        }
        at += 1;
    }
    None
}

fn unclosed(start: usize) -> ExpressionError {
    ExpressionError {
        message: "`${{` is never closed".into(),
        help: Some("close it with `}}`; to write `${{` itself, write `${{ \"${{\" }}`".into()),
        range: start..start + OPEN.len(),
    }
}

#[cfg(test)]
mod tests;
