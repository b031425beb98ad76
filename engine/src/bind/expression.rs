use std::ops::Range;

use serde_json::Value;

use super::Context;

/// One `${{ ... }}`, without its braces.
#[derive(Debug, Clone)]
pub struct Expression {
    /// As written, trimmed.
    pub source: String,
    /// What it reads, each with its bytes in `source`.
    pub references: Vec<(Reference, Range<usize>)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    Param(String),
    /// `steps.<step>.outputs.<key>`
    Output {
        step: String,
        key: String,
    },
    /// `steps.<step>.status`
    Status {
        step: String,
    },
    /// `run.<field>`
    Run(String),
    Item,
    Index,
    Env(String),
    /// `success()`, `failure()`, `cancelled()`, `always()`: only in the `if` of a `finally` step
    Outcome(String),
}

/// What is wrong with an expression, with its bytes in the text given to the parser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpressionError {
    pub message: String,
    pub help: Option<String>,
    pub range: Range<usize>,
}

/// An expression that is right but has no value here and now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error("`{expression}`: {message}")]
    Undefined { expression: String, message: String },
    #[error("`{expression}` is a {kind}: write `| join(sep=\" \")` or `| json`")]
    NotText { expression: String, kind: &'static str },
    #[error("the value of `{expression}` {message}")]
    Refused { expression: String, message: String },
}

impl Expression {
    pub fn parse(_source: &str) -> Result<Expression, ExpressionError> {
        todo!()
    }

    /// The value, with its type.
    pub fn evaluate(&self, _context: &Context) -> Result<Value, EvalError> {
        todo!()
    }

    /// The value as the text a program receives: strings as they are, numbers and booleans as written in JSON.
    /// Lists and maps are refused, as is a value above `VALUE_BYTES_MAX` or with a NUL.
    pub fn evaluate_text(&self, _context: &Context) -> Result<String, EvalError> {
        todo!()
    }
}

/// A bare `if:` expression.
#[derive(Debug, Clone)]
pub struct Condition {
    pub expression: Expression,
}

impl Condition {
    pub fn parse(_source: &str) -> Result<Condition, ExpressionError> {
        todo!()
    }

    /// Tera's truth: false, 0, "", empty lists and maps are false.
    pub fn evaluate(&self, _context: &Context) -> Result<bool, EvalError> {
        todo!()
    }
}
