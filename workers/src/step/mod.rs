//! How a prepared step becomes a launch for the supervisor, and what it left behind becomes a report for the engine.

mod environment;
pub mod files;
pub mod launch;
pub mod report;
