//! `${{ expression }}`: what the expressions mean, and how their values reach a step without ever becoming code.
//!
//! - [`expression`]: one expression: syntax, references, evaluation (Tera 2)
//! - [`template`]: text with `${{ }}` in it
//! - [`shell`]: rewrites the author's static shell text so that each value is a reference to an environment variable
//! - [`variables`]: environment variables that something evaluates
//! - [`context`]: the values expressions can see

pub mod context;
pub mod expression;
pub mod shell;
pub mod template;
pub mod variables;

pub use context::Context;
pub use expression::{Condition, EvalError, Expression, Reference};
pub use shell::ShellScript;
pub use template::Template;
