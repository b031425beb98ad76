//! One `${{ expression }}`: its syntax, what it reads, its value.
//!
//! The language is Tera's expression language, one expression and nothing around it. `scan` finds the references by
//! reading the tokens itself, `evaluate` computes values. Before changing anything: a plain dotted reference
//! (`params.x`) never meets Tera, because a run has up to 20,000 steps and a step 10,000 items.

pub(super) mod evaluate;
mod filters;
pub(super) mod scan;

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
    /// The whole dotted path of each reference, in the same order.
    paths: Vec<Path>,
    /// The expression is one dotted path and nothing else.
    plain: bool,
}

/// `params.db.host`, and whether the author has said what happens where it is undefined.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Path {
    parts: Vec<String>,
    guarded: bool,
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
    /// In the words of Tera, which repeat values.
    #[error("`{expression}`: {message}")]
    Failed { expression: String, message: String },
    #[error("`{expression}` is a {kind}: write `| join(sep=\" \")` or `| json`")]
    NotText { expression: String, kind: &'static str },
    #[error("the value of `{expression}` {message}")]
    Refused { expression: String, message: String },
}

impl EvalError {
    /// The same without anything of what was read: for an expression that reads something sensitive.
    pub fn discreet(self) -> EvalError {
        match self {
            EvalError::Failed { expression, .. } => {
                let message = "it has no value; why is not shown, because it reads something sensitive".to_owned();
                EvalError::Failed { expression, message }
            }
            // What stands beside a missing name may be the inside of a map.
            EvalError::Undefined { expression, message } => {
                let message = message.split("; ").next().unwrap_or_default().to_owned();
                EvalError::Undefined { expression, message }
            }
            other @ (EvalError::NotText { .. } | EvalError::Refused { .. }) => other,
        }
    }
}

impl Expression {
    /// One Tera expression that reads only the names of [`Reference`]. Unknown names, filters, tests and functions are
    /// errors here, not when the step runs. Ranges are bytes of `source` as given, spaces around it included.
    pub fn parse(source: &str) -> Result<Expression, ExpressionError> {
        let trimmed = source.trim();
        let lead = source.len() - source.trim_start().len();
        parse_trimmed(trimmed).map_err(|mut error| {
            error.range =
                if trimmed.is_empty() { 0..source.len() } else { error.range.start + lead..error.range.end + lead };
            error
        })
    }

    /// The value, with its type. A name that is absent is an error, unless `| default(value=...)` follows it or the
    /// expression asks whether it `is defined`.
    pub fn evaluate(&self, context: &Context) -> Result<Value, EvalError> {
        evaluate::value(self, context)
    }

    /// The value as the text a program receives: strings as they are, numbers and booleans as written in JSON.
    /// Null, lists and maps are refused, as is a value above `VALUE_BYTES_MAX` or with a NUL.
    pub fn evaluate_text(&self, context: &Context) -> Result<String, EvalError> {
        evaluate::text(self, context)
    }
}

fn parse_trimmed(source: &str) -> Result<Expression, ExpressionError> {
    if source.is_empty() {
        return Err(ExpressionError {
            message: "the expression is empty".into(),
            help: Some("write what it stands for, for example `${{ params.version }}`".into()),
            range: 0..0,
        });
    }
    let scanned = scan::scan(source)?;
    if !scanned.plain {
        evaluate::check_syntax(source)?;
    }
    let (mut references, mut paths) = (Vec::new(), Vec::new());
    for found in scanned.found {
        references.push((found.reference, found.range));
        paths.push(found.path);
    }
    Ok(Expression { source: source.to_owned(), references, paths, plain: scanned.plain })
}

/// A bare `if:` expression.
#[derive(Debug, Clone)]
pub struct Condition {
    pub expression: Expression,
}

impl Condition {
    /// As [`Expression::parse`]; `${{ }}` around it is an error that says so.
    pub fn parse(source: &str) -> Result<Condition, ExpressionError> {
        let trimmed = source.trim();
        if let Some(inner) = trimmed.strip_prefix("${{") {
            let inner = inner.strip_suffix("}}").unwrap_or(inner).trim();
            let lead = source.len() - source.trim_start().len();
            return Err(ExpressionError {
                message: "`if:` takes the bare expression".into(),
                help: Some(format!("write `if: {inner}`")),
                range: lead..lead + trimmed.len(),
            });
        }
        Ok(Condition { expression: Expression::parse(source)? })
    }

    /// Tera's truth: false, null, 0, "", empty lists and maps are false.
    pub fn evaluate(&self, context: &Context) -> Result<bool, EvalError> {
        evaluate::truth(&self.expression, context)
    }
}

#[cfg(test)]
mod tests;
