//! Stories of the hint queue: what both kinds promise, and what Redis is put through.

#![allow(clippy::unwrap_used)] // all of this is test, helpers included

mod accidents;
mod floods;
mod lines;
mod promises;
mod wire;
mod workers;
mod world;
