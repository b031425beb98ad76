//! A member of a cluster: takes the steps it can do of every run there is, beside others that do the same.

pub mod pace;

pub use pace::Pace;
