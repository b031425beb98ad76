//! `runward override-window`: a run goes on outside of its windows.

use runward_engine::run::{Command, Reject};
use runward_store::{Ledger, RunView, command};
use runward_workers::home::DriverLock;
use serde_json::json;

use super::{print_json, print_line};
use crate::actor::actor;
use crate::args::{Format, OverrideArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{Opened, find_run, open};
use crate::refusal::{act, refused};
use crate::view::words;

pub async fn run(config: &Config, args: OverrideArgs) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let id = find_run(&opened.ledger, &args.run).await?;
    let mut view = opened.ledger.load(&id).await?;
    let changed = record(&opened, &mut view, args.reason).await?;
    let driver = DriverLock::holder(&opened.home, &id);
    let (short, was) = (words::short(&id.0), view.state.overridden());
    if args.format == Format::Json {
        print_json(&json!({"run": id, "changed": changed, "overridden": was, "driver_pid": driver}));
        return Ok(0);
    }
    let what = match (was, changed) {
        (Some(was), false) => format!("the windows of {short} are already overridden, by {}", act(was)),
        _ => format!("{short} does not wait for its windows any more"),
    };
    let next = match driver {
        Some(_) => String::new(),
        None => format!("; nobody drives it: `runward resume {short}` carries it on"),
    };
    print_line(&format!("{what}{next}"));
    Ok(0)
}

/// Whether this changed anything: the first word counts.
pub async fn record(opened: &Opened, view: &mut RunView, reason: String) -> Result<bool, Failure> {
    match command(&opened.ledger, view, Command::OverrideWindow { reason }, &actor()).await? {
        Ok(()) => Ok(true),
        Err(Reject::AlreadyOverridden { .. }) => Ok(false),
        Err(reject) => Err(refused(reject, &view.state.id)),
    }
}
