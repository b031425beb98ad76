//! When things are due: cron with the meaning of Vixie cron, and maintenance windows.
//!
//! Nothing here reads a clock; the time comes in as an argument.

pub mod cron;
pub mod window;
