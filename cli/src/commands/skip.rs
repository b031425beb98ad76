//! `runward skip`: the run goes on without a step.

use runward_engine::run::{Command, Reject};
use serde_json::json;

use super::give::{self, give};
use super::{print_json, print_line};
use crate::args::{Format, SkipArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{find_run, find_unit, open};
use crate::refusal::{act, refused};
use crate::view::words;

pub async fn run(config: &Config, args: SkipArgs) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let id = find_run(opened.ledger(), &args.run).await?;
    let mut view = opened.ledger().load(&id).await?;
    let unit = find_unit(&view.state, &args.step)?;
    let skip = Command::Skip { unit, reason: args.reason };
    let changed = match give(&opened, &mut view, skip, &args.id).await? {
        Ok(()) => give::changed(&view, &args.id),
        Err(Reject::Repeated { was }) => return Ok(give::repeated(&id, &was, args.format)),
        Err(Reject::AlreadySkipped { .. }) => false,
        Err(reject) => return Err(refused(reject, &id)),
    };
    let state = &view.state;
    let Some(found) = state.unit(unit) else { return Ok(0) };
    let driver = opened.driver(&id);
    if args.format == Format::Json {
        print_json(&json!({
            "run": id, "step": args.step, "changed": changed, "status": found.status, "skip": found.skip,
            "driver_pid": driver.pid(),
        }));
        return Ok(0);
    }
    let (step, short) = (&args.step, words::short(&id.0));
    let what = match (&found.skip, changed, found.status) {
        (Some(was), false, _) => format!("{step} is already skipped, by {}", act(was)),
        _ if found.to_be_skipped().is_none() => format!("skipped {step}: those that need it go on"),
        (_, _, status) if status.is_terminal() => format!("recorded: {step} is not tried again"),
        _ => format!("recorded: {step} is left out when its turn comes"),
    };
    let next = match (state.status.is_terminal(), driver.is_there()) {
        (false, true) => String::new(),
        (true, _) => format!("; `runward resume {short}` goes on without it"),
        (false, false) => format!("; nobody drives the run: `runward resume {short}` carries it on"),
    };
    print_line(&format!("{what}{next}"));
    Ok(0)
}
