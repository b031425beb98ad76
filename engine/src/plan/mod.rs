//! Parameters + definition -> what would run.
//!
//! - [`definition`]: what a run is pinned to
//! - [`params`]: the values a run is given, checked against what the runbook declares

pub mod definition;
pub mod params;

pub use definition::{Definition, PinnedFile};
