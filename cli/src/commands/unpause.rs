//! `runward unpause`: lets a paused run go on.

use runward_engine::run::{Command, Reject, RunStatus};
use serde_json::json;

use super::give::{self, give};
use super::{print_json, print_line};
use crate::args::{Format, UnpauseArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{find_run, open};
use crate::refusal::{act, refused};
use crate::view::words;

pub async fn run(config: &Config, args: UnpauseArgs) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let id = find_run(opened.ledger(), &args.run).await?;
    let mut view = opened.ledger().load(&id).await?;
    let changed = match give(&opened, &mut view, Command::Unpause, &args.id).await? {
        Ok(()) => give::changed(&view, &args.id),
        Err(Reject::Repeated { was }) => return Ok(give::repeated(&id, &was, args.format)),
        Err(Reject::NotPaused { .. }) => false,
        Err(reject) => return Err(refused(reject, &id)),
    };
    let state = &view.state;
    let driver = opened.driver(&id);
    if args.format == Format::Json {
        let (status, last) = (state.status, &state.unpaused);
        print_json(
            &json!({"run": id, "changed": changed, "status": status, "unpaused": last, "driver_pid": driver.pid()}),
        );
        return Ok(0);
    }
    let short = words::short(&id.0);
    let next = match (state.status.is_terminal(), driver.is_there()) {
        (true, _) if state.status == RunStatus::Cancelled => String::new(),
        (true, _) => format!("; the run {}", state.status.as_str().replace('_', " ")),
        (false, true) => String::new(),
        (false, false) => format!("; nobody drives it: `runward resume {short}` carries it on"),
    };
    match (&state.unpaused, changed) {
        (_, true) => print_line(&format!("unpaused {short}{next}")),
        (Some(last), false) => print_line(&format!("{short} was already unpaused, by {}{next}", act(last))),
        (None, false) => {
            let cancelled = state.cancelled().map(|was| format!(": it was cancelled by {}", act(was)));
            print_line(&format!("{short} is not paused{}{next}", cancelled.unwrap_or_default()));
        }
    }
    Ok(0)
}
