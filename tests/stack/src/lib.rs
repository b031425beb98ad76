//! What proves the runbooks of `runbooks/`: a demo service to run them on ([`Stack`]), and the record of what tests saw them do.
//!
//! A row is one procedure of the five guides this project comes from (`runbooks/rows.txt`). A step says in its annotations
//! which rows it covers; that it does is only on the record when a test ran it and looked at its effect from outside
//! ([`evidence`]). `runbooks/COVERAGE.md` is made of the two ([`coverage`]), and can be read back.

pub mod coverage;
pub mod covers;
mod docker;
pub mod evidence;
mod kubernetes;
pub mod rows;
mod stack;

pub use docker::Docker;
pub use kubernetes::Kubernetes;
pub use stack::Stack;

use std::path::Path;

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tests/stack lies in the repository")
}
