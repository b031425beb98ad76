//! A member of a cluster: takes the steps it can do of every run there is, beside others that do the same.

mod announce;
pub mod pace;

pub use announce::{PREFIX, announce, queue_of};
pub use pace::Pace;

/// The clock of this machine, which may differ from that of the ledger.
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
