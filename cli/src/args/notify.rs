//! What is given to commands that are about notifications.

use clap::{Args as ClapArgs, Subcommand};

use super::Format;

#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// List notifications, newest first: what was told, to whom, and what is still on its way
    List(NotifyListArgs),
    /// Send what is due now, once, and say what is left: for a crontab, where no server runs
    Deliver {
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Try dead letters again, from the start
    Retry(NotifyRetryArgs),
    /// Send a message by a channel of the configuration, now, and say what came back
    Test {
        /// The channel, as `[notify.channels.NAME]` names it
        channel: String,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

#[derive(Debug, ClapArgs)]
pub struct NotifyListArgs {
    /// Only those that were given up
    #[arg(long)]
    pub dead: bool,
    /// Only those that are still on their way
    #[arg(long, conflicts_with = "dead")]
    pub waiting: bool,
    /// Only those of this run
    #[arg(long)]
    pub run: Option<String>,
    /// How many
    #[arg(short = 'n', long, default_value_t = 50)]
    pub limit: u32,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

#[derive(Debug, ClapArgs)]
pub struct NotifyRetryArgs {
    /// The notification, as `runward notify list` names it
    #[arg(required_unless_present = "dead")]
    pub id: Option<String>,
    /// All dead letters
    #[arg(long, conflicts_with = "id")]
    pub dead: bool,
    /// Only by this channel
    #[arg(long)]
    pub channel: Option<String>,
    /// Why, for the record
    #[arg(long, value_parser = super::operator::reason)]
    pub reason: Option<String>,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}
