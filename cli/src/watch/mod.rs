//! `runward watch`: a full screen that shows runs while they happen, and never drives one.
//!
//! Data flows one way: [`feed`] reads the ledger and the logs into a [`model::Watch`], [`keys`] turns a key into a change of it
//! or a [`keys::Wish`], [`draw`] turns it into cells. Only [`feed`] and [`terminal`] have effects; nothing here starts,
//! ends or holds up a run, except that a person may ask for a cancel.

pub mod draw;
pub mod feed;
pub mod keys;
pub mod model;
mod pen;
pub mod run_page;
pub mod terminal;
#[cfg(test)]
mod tests;
