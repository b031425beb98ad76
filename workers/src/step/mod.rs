//! How a prepared step becomes a launch for the supervisor, and what it left behind becomes a report for the engine.
//!
//! - [`launch`], [`files`], `environment`: what a step starts with; [`report`]: what it left
//! - [`own`]: the program of the steps that runward carries out itself: [`http`], [`sql`], [`render`]; [`diff`] is what both a
//!   plan and such a step show
//! - [`ssh`]: the program of the steps that run on another machine

pub mod diff;
mod environment;
pub mod files;
mod hidden;
pub mod http;
pub mod launch;
pub mod own;
pub mod render;
pub mod report;
pub mod sql;
pub mod ssh;
