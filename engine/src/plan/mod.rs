//! Parameters + definition -> what would run.
//!
//! - [`definition`]: what a run is pinned to
//! - [`forecast`]: how long it will take
//! - [`mod@group`]: the runs that one must not overlap with
//! - [`hash`]: what a plan is known by
//! - [`history`]: how long it took before
//! - [`params`]: the values a run is given, checked against what the runbook declares

pub mod definition;
pub mod forecast;
pub mod group;
pub mod hash;
pub mod history;
pub mod params;

pub use definition::{Definition, PinnedFile, PinnedRunbook};
pub use group::group;
pub use hash::{Seal, plan_hash};
