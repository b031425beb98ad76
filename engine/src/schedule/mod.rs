//! When things are due: cron with the meaning of Vixie cron, points in time, and maintenance windows.
//!
//! Nothing here reads a clock; the time comes in as an argument.

pub mod calendar;
pub mod cron;
pub mod due;
pub mod entry;
pub mod moment;
pub mod ticks;
pub mod window;
pub mod words;
