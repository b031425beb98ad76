//! `runward schedules`: when runbooks are due, what became of ticks, and switching a schedule off and on.

mod list;
mod one;
mod switch;

use crate::args::{ScheduleCommand, SchedulesArgs};
use crate::config::Config;
use crate::failure::Failure;

pub async fn run(config: &Config, args: SchedulesArgs) -> Result<i32, Failure> {
    match args.command {
        None => list::run(config, args.format).await,
        Some(ScheduleCommand::Show(args)) => one::run(config, &args).await,
        Some(ScheduleCommand::Disable(args)) => switch::run(config, args, switch::To::Off).await,
        Some(ScheduleCommand::Enable(args)) => switch::run(config, args, switch::To::On).await,
    }
}
