//! `${{ expression }}`: what the expressions mean, and how their values reach a step without ever becoming code.
//!
//! - [`expression`]: one expression: syntax, references, evaluation (Tera 2)
//! - [`template`]: text with `${{ }}` in it
//! - [`shell`]: rewrites the author's static shell text so that each value is a reference to an environment variable
//! - [`variables`]: environment variables that something evaluates
//! - [`url`], [`json`]: the URL and the JSON of a request
//! - [`sql`]: the text of a statement, whose values the database binds
//! - [`document`]: a Tera file, for `render`; [`message`]: what people are told
//! - [`context`]: the values expressions can see

pub mod context;
pub mod document;
pub mod expression;
pub mod host;
pub mod json;
pub mod message;
pub mod path;
pub mod shell;
pub mod sql;
pub mod template;
pub mod url;
pub mod variables;

pub use context::Context;
pub use document::Document;
pub use expression::{Condition, EvalError, Expression, Reference};
pub use json::JsonTemplate;
pub use message::Message;
pub use shell::{ShellScript, programs_called};
pub use sql::SqlTemplate;
pub use template::Template;
pub use url::UrlTemplate;
