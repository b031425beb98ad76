//! The deterministic simulator: the real decisions of runward in a world that breaks at every point.
//!
//! What is real: the state machine (`engine::run`), the ledger in memory with its hash chain and rows (`store`), what a
//! driver decides (`workers::driver::{course, inquiry}`) and the protocol of the journal
//! (`workers::supervisor::journal::rules`). What is modelled: processes, messages, time, the disk under the journals,
//! supervisors and their subreapers. What is outside: the steps, who note by themselves when they start and how they end.
//! docs/decisions/0010 says what is left out.
//!
//! - [`cluster`]: several machines; [`timetable`]: several servers that fire schedules; what follows is one machine
//! - [`world`]: clock and events; `drivers`, `keepers`, `people`: who lives in it; `accidents`, [`weather`]: what goes wrong
//! - `definitions`: random runbooks; `oracle`: what was promised; [`outcome`]: what came of a seed
//! - [`shrink`]: fewer faults for the same violation; [`many`]: many seeds on all cores

mod accidents;
pub mod cluster;
mod definitions;
mod dice;
mod disk;
mod drivers;
mod keepers;
mod ledger;
pub mod many;
mod oracle;
pub mod outcome;
mod people;
pub mod shrink;
pub mod timetable;
pub mod weather;
pub mod world;

pub use outcome::{Outcome, Total, Violation};
pub use world::{Setting, World};
