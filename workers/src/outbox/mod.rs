//! Tells people what the ledger says they are to be told.
//!
//! The ledger holds what happened ([`runward_store::outbox`]); which channels that goes to is decided here, by the
//! configuration of whoever delivers. Any number of senders do so beside each other: a delivery is taken for a while, sent by a
//! thread of its own, and settled. Whoever dies in between has perhaps sent it, and the next one sends it again, with the same
//! id. No run waits for any of it, and one channel never for another.
//!
//! - [`directory`]: channels, and which notices go where; pure
//! - [`message`]: what a notice says to people; pure
//! - [`postman`]: routes, takes, settles, and tries again later
//! - [`send`]: one delivery, from the secrets to the answer; [`webhook`], [`mail`]: the two ways

pub mod directory;
pub mod mail;
pub mod message;
pub mod postman;
pub mod send;
pub mod webhook;

pub use directory::{Channel, Directory, Rule, Way};
pub use postman::{Postman, Scope};
