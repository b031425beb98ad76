//! Care of what runs leave behind: the ledger, and the folders beside it.
//!
//! - [`anchor`]: how far the record has come, noted outside of it
//! - [`check`]: whether everything that should be there is there, and is what it was
//! - [`prune`]: removing runs that are over, never one that lives
//! - [`sizes`]: what takes how much room
//! - [`tidy`]: what a host of a cluster does when somebody has pruned
//! - `in_use`: who still uses the folder of a run

pub mod anchor;
pub mod check;
mod in_use;
pub mod prune;
pub mod sizes;
pub mod tidy;
