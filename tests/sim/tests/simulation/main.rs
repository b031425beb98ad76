//! What the simulator proves: nothing that was promised is broken, and every rule that is broken on purpose is noticed.
//!
//! `RUNWARD_SIM_MINUTES=120 cargo test --release -p runward-sim half_a_million -- --nocapture` lives through fresh seeds
//! for two hours; `RUNWARD_SIM_SEED=7 cargo test -p runward-sim one_seed -- --nocapture` through one, and shrinks what
//! it finds.

#![allow(clippy::unwrap_used)]

mod cluster;
mod masking;
mod mutants;
mod promises;
mod replay;
mod timetable;
