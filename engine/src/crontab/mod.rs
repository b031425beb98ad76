//! A crontab -> runbooks with schedules that do the same at the same minutes.
//!
//! - [`mod@read`]: the lines of a crontab, as Vixie cron reads them -> the jobs in it, and what cannot become a runbook
//! - [`command`]: what `%` means in a command
//! - [`name`]: what a runbook is called that had no name
//! - [`mod@write`]: a job -> the text of a runbook
//!
//! Nothing is lost on the way: every line that is not empty and no comment is a job, a setting of jobs, or left out with a
//! reason.

pub mod command;
pub mod name;
pub mod read;
pub mod write;

pub use read::{Form, Import, Job, LeftOut, read};
pub use write::write;
