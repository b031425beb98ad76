//! What does.

pub mod supervisor;
