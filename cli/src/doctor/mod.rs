//! Everything that can be wrong with this machine and configuration, each with the fix.
//!
//! Each look is one small function: facts are gathered, and a pure function judges them into a [`Check`]. Nothing is
//! created, migrated or repaired; what is tried (a durable write, a step) leaves nothing behind.

mod check;
mod cluster;
mod connections;
mod database;
mod hosts;
mod ledger;
mod notify;
mod program;
mod runs;
mod schedules;
mod secrets;
mod state;
mod steps;
mod system;

use runward_workers::home::Home;

use crate::config::Config;
use crate::failure::Failure;
use crate::open::default_root;
pub use check::{Check, Verdict};

/// `config`: what is in force, as far as it is right; `loaded`: what became of reading it.
pub async fn examine(config: &Config, loaded: &Result<Config, Failure>) -> Vec<Check> {
    let mut checks = vec![program::program(), program::configuration(loaded), program::environment()];
    let root = config.settings.state.clone().or_else(default_root);
    let folder = root.as_deref().map(state::Folder::look);
    checks.push(state::folder(folder.as_ref()));
    let (mut home, mut readable) = (None, config.settings.database.is_some());
    if let Some(folder) = &folder {
        checks.extend([state::file_system(folder), state::space(folder), state::durability(folder)]);
        // Opening makes what is not there, and there is nothing to make.
        home = if folder.there { Home::open(&folder.path).ok() } else { None };
    }
    if let Some(home) = &home {
        if config.settings.database.is_none() {
            let (ledger, usable) = ledger::ledger(&home.ledger()).await;
            checks.push(ledger);
            if usable {
                checks.push(runs::waiting(home).await);
            }
            readable = usable;
        }
        checks.extend([runs::supervisors(home), runs::kept(home)]);
    }
    if let Some(database) = &config.settings.database {
        checks.extend(cluster::examine_cluster(database, &config.settings).await);
    } else {
        checks.extend(cluster::redis_alone(&config.settings));
    }
    if readable {
        checks.push(schedules::schedules(config).await);
        checks.push(notify::notify(config).await);
    }
    let sealed = home.as_ref().and_then(|_| crate::open::home(&config.settings).ok()).map(|home| home.sealed());
    checks.extend(sealed.as_ref().and_then(secrets::secrets));
    checks.extend(connections::connections(&config.settings, home.as_ref()).await);
    checks.extend(hosts::hosts(config).await);
    let ground = folder.filter(state::Folder::usable).map_or_else(std::env::temp_dir, |folder| folder.path);
    checks.extend([steps::bash(), steps::sh(), steps::supervisor(&ground).await]);
    checks.extend([system::proc(), system::limits(), system::cgroup(), system::clock(), system::text()]);
    checks.push(runs::runbooks(config));
    checks
}
