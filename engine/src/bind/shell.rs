use super::Template;
use super::expression::{Expression, ExpressionError};

/// A shell script whose text is the author's alone: each `${{ }}` has become a reference to an environment variable.
#[derive(Debug, Clone)]
pub struct ShellScript {
    pub text: String,
    /// The n-th value belongs into the variable [`ShellScript::variable`]`(n)`.
    pub values: Vec<Expression>,
}

impl ShellScript {
    /// The name of the private variable of the n-th value, from 0.
    pub fn variable(n: usize) -> String {
        format!("RUNWARD_V{n}")
    }

    /// `inert` tells whether an expression can only ever be harmless text (an `int` or `enum` parameter).
    pub fn compile(
        _template: &Template,
        _inert: &dyn Fn(&Expression) -> bool,
    ) -> Result<ShellScript, Vec<ExpressionError>> {
        todo!()
    }
}
