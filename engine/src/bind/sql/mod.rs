//! SQL with `${{ }}` in it: each value becomes a parameter that the database binds, and the text never contains one.
//!
//! The text is read as far as quotes, comments and the ends of statements go, in the words of Postgres and SQLite at once:
//! which of them will read it is configured where the step runs. To know before changing anything: that a value cannot
//! become code does not depend on this reading, only that the author is told in time where a value cannot stand.

mod lexer;
mod words;

use super::expression::ExpressionError;
use super::{Expression, Template};
use crate::limits;

/// One or more statements, in order.
#[derive(Debug, Clone)]
pub struct SqlTemplate {
    pub statements: Vec<SqlStatement>,
}

/// One statement: the text before, between and after its values. There is one text more than there are values.
#[derive(Debug, Clone)]
pub struct SqlStatement {
    pub texts: Vec<String>,
    pub values: Vec<Expression>,
}

impl SqlTemplate {
    /// All errors at once; their ranges are bytes of the template's text.
    pub fn compile(template: &Template) -> Result<SqlTemplate, Vec<ExpressionError>> {
        let (statements, mut errors) = lexer::read(template);
        let whole = || 0..template.source().len().min(1);
        if errors.is_empty() && statements.is_empty() {
            let message = "there is no statement here".to_owned();
            errors.push(ExpressionError { message, help: None, range: whole() });
        }
        if statements.len() > limits::SQL_STATEMENTS_MAX {
            let max = limits::SQL_STATEMENTS_MAX;
            let message = format!("there are {} statements; one step has at most {max}", statements.len());
            let help = Some("run the file with `psql` or `sqlite3` in a `run` step".to_owned());
            errors.push(ExpressionError { message, help, range: whole() });
        }
        if errors.is_empty() { Ok(SqlTemplate { statements }) } else { Err(errors) }
    }

    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.statements.iter().flat_map(|statement| &statement.values)
    }
}

impl SqlStatement {
    /// The text with a name for each value, from the first one's number on.
    pub fn text(&self, name: impl Fn(usize) -> String) -> String {
        joined(&self.texts, name)
    }
}

/// Texts with names between them.
pub fn joined(texts: &[String], name: impl Fn(usize) -> String) -> String {
    let mut all = String::new();
    for (n, text) in texts.iter().enumerate() {
        if n > 0 {
            all.push_str(&name(n - 1));
        }
        all.push_str(text);
    }
    all
}

#[cfg(test)]
mod tests;
