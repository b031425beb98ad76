//! `runward override-window`: a run goes on outside of its windows.

use runward_engine::run::{Command, Reject};
use runward_store::{RunView, command};
use serde_json::json;

use super::give::{self, give};
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
    let id = find_run(opened.ledger(), &args.run).await?;
    let mut view = opened.ledger().load(&id).await?;
    let wanted = Command::OverrideWindow { reason: args.reason };
    let changed = match give(&opened, &mut view, wanted, &args.id).await? {
        Ok(()) => give::changed(&view, &args.id),
        Err(Reject::Repeated { was }) => return Ok(give::repeated(&id, &was, args.format)),
        Err(Reject::AlreadyOverridden { .. }) => false,
        Err(reject) => return Err(refused(reject, &id)),
    };
    let driver = opened.driver(&id);
    let (short, was) = (words::short(&id.0), view.state.overridden());
    if args.format == Format::Json {
        print_json(&json!({"run": id, "changed": changed, "overridden": was, "driver_pid": driver.pid()}));
        return Ok(0);
    }
    let what = match (was, changed) {
        (Some(was), false) => format!("the windows of {short} are already overridden, by {}", act(was)),
        _ => format!("{short} does not wait for its windows any more"),
    };
    let next = match driver.is_there() {
        true => String::new(),
        false => format!("; nobody drives it: `runward resume {short}` carries it on"),
    };
    print_line(&format!("{what}{next}"));
    Ok(0)
}

/// A run that begins so; the first word counts.
pub async fn record(opened: &Opened, view: &mut RunView, reason: String) -> Result<(), Failure> {
    match command(opened.ledger(), view, Command::OverrideWindow { reason }, &actor()).await? {
        Ok(()) | Err(Reject::AlreadyOverridden { .. }) => Ok(()),
        Err(reject) => Err(refused(reject, &view.state.id)),
    }
}
