//! `runward server`: fires schedules, until it is asked to end. On one machine it drives their runs as well; in a cluster that
//! is what workers are for.

use std::path::PathBuf;
use std::time::Duration;

use runward_workers::embedded::{self, Server};
use runward_workers::outbox::Scope;
use runward_workers::worker::Stop;
use tokio::sync::watch;

use super::worker::{anchoring, boot, host, listen_to_signals, member, scheduling};
use crate::actor::actor;
use crate::args::{MemberArgs, ServerArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::letters;
use crate::open::{Here, new_claim, new_session, open_here};

pub async fn run(config: &Config, args: ServerArgs) -> Result<i32, Failure> {
    match config.settings.database {
        Some(_) => member(config, args.member, None, Duration::ZERO).await,
        None => alone(config, args.member).await,
    }
}

/// The one server of this machine, with its ledger in the state folder.
async fn alone(config: &Config, args: MemberArgs) -> Result<i32, Failure> {
    let settings = &config.settings;
    let Here { home, ledger } = open_here(config).await?;
    let (say, stop) = watch::channel(Stop::No);
    listen_to_signals(say)?;
    let scheduling = scheduling(ledger.clone(), settings);
    let postman = letters::postman(ledger.clone(), settings, &home, Scope::All);
    let server = Server {
        home,
        ledger,
        host: args.name.unwrap_or_else(host),
        supervisor: PathBuf::from("/proc/self/exe"),
        actor: actor(),
        boot: boot()?,
        new_session,
        new_claim,
        log_bytes_max: settings.log_bytes_max,
        listen: args.listen.or(settings.worker.listen),
        anchoring: anchoring(settings),
    };
    embedded::run(server, scheduling, postman, stop).await?;
    Ok(0)
}
