//! Stories of the supervisor, with real processes. Cargo builds the program they start: `tests/host`.

#![allow(clippy::unwrap_used)] // all of this is test, helpers included

mod accidents;
mod clients;
mod ends;
mod output;
mod reuse;
mod trees;
mod world;
