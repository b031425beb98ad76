use std::ops::Range;

use super::Context;
use super::expression::{EvalError, Expression, ExpressionError};

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
    pub fn parse(_text: &str) -> Result<Template, Vec<ExpressionError>> {
        todo!()
    }

    pub fn expressions(&self) -> impl Iterator<Item = (&Expression, &Range<usize>)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value { expression, range } => Some((expression, range)),
            Part::Text(_) => None,
        })
    }

    /// The text with its values in place: for argv elements, environment values and paths, never for code.
    pub fn render(&self, _context: &Context) -> Result<String, EvalError> {
        todo!()
    }
}
