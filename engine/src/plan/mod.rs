//! Parameters + definition -> what would run.
//!
//! - [`definition`]: what a run is pinned to
//! - [`hash`]: what a plan is known by
//! - [`params`]: the values a run is given, checked against what the runbook declares

pub mod definition;
pub mod hash;
pub mod params;

pub use definition::{Definition, PinnedFile};
pub use hash::{Seal, plan_hash};
