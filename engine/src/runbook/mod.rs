//! The runbook file.

pub mod model;
