//! Parameters + definition -> what would run.
//!
//! - [`definition`]: what a run is pinned to
//! - [`params`]: the values a run is given, checked against what the runbook declares
//! - [`refuse`]: what is part of the format but not built yet

pub mod definition;
pub mod params;
pub mod refuse;

pub use definition::{Definition, PinnedFile};
