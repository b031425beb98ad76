//! Stories of the supervisor, with real processes. Cargo builds the program they start: `tests/host`.

mod accidents;
mod clients;
mod ends;
mod output;
mod trees;
mod world;
