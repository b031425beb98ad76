//! `runward run`: checks, records, drives.

use runward_store::{Ledger, NewRun};
use runward_workers::home::DriverLock;

use super::drive::{detach, drive};
use super::{params, print_json, print_line};
use crate::actor::actor;
use crate::args::{Format, RunArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{find_run, new_run, new_seed, open};
use crate::runbook_file::{load, locate, pin, refuse_unbuilt};
use crate::view::Showing;

pub async fn run(config: &Config, args: RunArgs) -> Result<i32, Failure> {
    let folders = &config.settings.runbooks;
    let file = load(&locate(&args.runbook, folders)?, folders)?;
    refuse_unbuilt(&file)?;
    let params = params::resolve(&file.runbook, &args.params, true)?.params;
    let (definition, blobs) = pin(&file)?;
    let opened = open(config).await?;
    let new = NewRun {
        id: new_run(),
        definition,
        blobs,
        params,
        trigger: "cli".to_owned(),
        key: args.key.clone(),
        seed: new_seed(),
        actor: actor(),
    };
    let (hash, wanted) = (new.definition.hash(), new.params.clone());
    // Before the run exists nobody can drive it; the lock is taken first, so that nobody else ever does.
    let fresh = new.id.clone();
    let lock = DriverLock::take(&opened.home, &fresh)?;
    let triggered = match opened.ledger.trigger(new).await {
        Ok(triggered) => triggered,
        Err(error) => {
            opened.home.forget(&fresh);
            return Err(error.into());
        }
    };
    let view = triggered.view;
    if triggered.created {
        tracing::info!(run = %view.state.id, name = view.state.name, "recorded");
    }
    let id = view.state.id.clone();
    if !triggered.created {
        drop(lock);
        opened.home.forget(&fresh);
        if view.state.definition != hash || view.state.params != wanted {
            return Err(Failure::usage(format!(
                "the key belongs to run {id}, which has another definition or other parameters"
            ))
            .help("use a new key for a new job"));
        }
        return existing(&opened, args, &id.0).await;
    }
    if args.detach {
        drop(lock);
        return detach(&opened, &id, args.format);
    }
    drive(&opened, lock, view, Showing { format: args.format, quiet: args.quiet, silent: false }).await
}

/// The run that a key already named: carried on if nobody does, else followed to its end.
async fn existing(opened: &crate::open::Opened, args: RunArgs, id: &str) -> Result<i32, Failure> {
    let id = find_run(&opened.ledger, id).await?;
    let showing = Showing { format: args.format, quiet: args.quiet, silent: false };
    match DriverLock::take(&opened.home, &id) {
        Ok(lock) if args.detach => {
            let over = opened.ledger.load(&id).await?.state.status.is_terminal();
            drop(lock);
            if over { named(&id, args.format) } else { detach(opened, &id, args.format) }
        }
        Err(_) if args.detach => named(&id, args.format),
        Ok(lock) => {
            let view = opened.ledger.load(&id).await?;
            drive(opened, lock, view, showing).await
        }
        Err(_) => super::drive::follow(opened, &id, showing).await,
    }
}

/// A detached call that has nothing to start: the run is at its end, or somebody drives it.
fn named(id: &runward_engine::run::RunId, format: Format) -> Result<i32, Failure> {
    match format {
        Format::Json => print_json(&serde_json::json!({"run": id, "detached": true})),
        Format::Text => print_line(&id.0),
    }
    Ok(0)
}
