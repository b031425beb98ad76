//! The file format (docs/runbook-format.md), said once.
//!
//! A key that is not in these tables does not exist; a key marked `unbuilt()` is checked like any other and refused when
//! a run is planned.

pub mod kinds;
pub mod step;
pub mod top;

pub use step::{DEFAULTS, KINDS, STEP};
pub use top::RUNBOOK;
