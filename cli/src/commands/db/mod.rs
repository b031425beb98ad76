//! `runward db`: looking after the ledger and the folders beside it. One file per subcommand.

mod accept;
mod check;
mod migrate;
mod prune;
mod server;
mod status;

use crate::args::DbCommand;
use crate::config::Config;
use crate::failure::Failure;

pub async fn run(config: &Config, command: DbCommand) -> Result<i32, Failure> {
    match command {
        DbCommand::Status { format } => match &config.settings.database {
            Some(database) => server::run(database, format).await,
            None => status::run(config, format).await,
        },
        DbCommand::Migrate { format } => migrate::run(config, format).await,
        DbCommand::Accept { reason, format } => accept::run(config, reason, format).await,
        DbCommand::Check { format } => check::run(config, format).await,
        DbCommand::Prune(args) => prune::run(config, args).await,
    }
}
