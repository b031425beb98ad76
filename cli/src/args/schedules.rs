//! What is given to commands that are about schedules.

use clap::{Args as ClapArgs, Subcommand};

use super::Format;

#[derive(Debug, ClapArgs)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SchedulesArgs {
    #[command(subcommand)]
    pub command: Option<ScheduleCommand>,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// Show one schedule: its next ticks, and what became of the last ones
    Show(ScheduleArgs),
    /// Let the ticks of a schedule be skipped, on every server, until it is enabled
    Disable(SwitchArgs),
    /// Let a disabled schedule start runs again, from its next tick on
    Enable(SwitchArgs),
}

#[derive(Debug, ClapArgs)]
pub struct ScheduleArgs {
    /// RUNBOOK/ID, as `runward schedules` lists it
    pub schedule: String,
    /// How many of its last ticks
    #[arg(short = 'n', long, default_value_t = 10)]
    pub limit: u32,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

#[derive(Debug, ClapArgs)]
pub struct SwitchArgs {
    /// RUNBOOK/ID, as `runward schedules` lists it
    pub schedule: String,
    /// Why, for the record
    #[arg(long, value_parser = super::operator::reason)]
    pub reason: String,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}
