//! The runbook file: from bytes to a model that is right, or to one report of everything that is wrong with it.
//!
//! One pass after the other, each blind to the next:
//!
//! - [`node`]: bytes -> a tree of YAML nodes that know their place in the file
//! - [`shape`] and [`tables`]: the format, said once, as data. From it come [`check`] (is a tree of this form?) and
//!   [`schema`] (the same, for editors), and the list of what is not built yet
//! - [`steps`], [`http`], `sql`, `concurrency`, [`drill`], `schedules`, [`notify`], [`params`], [`secrets`], [`places`]: a well-formed tree -> the parts of the [`model`]
//! - [`references`] and [`graph`]: what the parts say about each other
//! - [`mod@parse`]: all of it, in order
//! - [`calls`]: the runbooks that `runbook` steps call, once somebody has read them
//! - [`templates`]: the files that `render` steps name, once somebody has read them
//!
//! [`values_file`] reads a file of parameters. [`value`] types the values of parameters and outputs; [`locate`] turns offsets into lines and columns.

pub mod calls;
pub mod check;
mod concurrency;
pub mod drill;
pub mod gates;
pub mod graph;
mod hosts;
pub mod http;
pub mod locate;
pub mod model;
pub mod node;
pub mod notify;
pub mod params;
pub mod parse;
pub mod places;
pub mod references;
pub mod report;
mod schedules;
pub mod schema;
pub mod secrets;
pub mod shape;
mod sql;
pub mod steps;
pub mod syntax;
pub mod tables;
pub mod templates;
pub mod triggers;
pub mod value;
pub mod values_file;

pub use locate::position;
pub use parse::parse;
pub use report::{Finding, Report};
pub use schema::json_schema;
pub use values_file::parse_values;
