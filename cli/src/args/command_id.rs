//! The id that makes a command safe to give again.

use clap::Args as ClapArgs;

#[derive(Debug, Clone, Default, ClapArgs)]
pub struct CommandIdArgs {
    /// The same id again, on the same run, is the same command: it is answered, and nothing is done again
    #[arg(long, value_name = "ID", value_parser = super::idempotency_key)]
    pub command_id: Option<String>,
}
