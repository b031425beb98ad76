//! `runward pause`: nothing new starts until `unpause`.

use runward_engine::run::{Command, Reject};
use serde_json::json;

use super::give::{self, give};
use super::{print_json, print_line};
use crate::args::{Format, PauseArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{find_run, open};
use crate::refusal::{act, refused};
use crate::view::words;

pub async fn run(config: &Config, args: PauseArgs) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let id = find_run(opened.ledger(), &args.run).await?;
    let mut view = opened.ledger().load(&id).await?;
    let changed = match give(&opened, &mut view, Command::Pause { reason: args.reason }, &args.id).await? {
        Ok(()) => give::changed(&view, &args.id),
        Err(Reject::Repeated { was }) => return Ok(give::repeated(&id, &was, args.format)),
        Err(Reject::AlreadyPaused { .. }) => false,
        Err(reject) => return Err(refused(reject, &id)),
    };
    let state = &view.state;
    let driver = opened.driver(&id);
    if args.format == Format::Json {
        print_json(&json!({"run": id, "changed": changed, "paused": state.paused, "driver_pid": driver.pid()}));
        return Ok(0);
    }
    let short = words::short(&id.0);
    let until = format!("`runward unpause {short}` lets it go on");
    let running: Vec<String> = state.live().values().take(10).map(|unit| state.unit_name(*unit)).collect();
    let finishes = match (running.is_empty(), driver.is_there()) {
        (true, _) => String::new(),
        (false, true) => format!("; what runs goes on to its end: {}", running.join(", ")),
        (false, false) => format!("; what runs goes on to its end, without a driver: {}", running.join(", ")),
    };
    match (&state.paused, changed) {
        (Some(was), false) => print_line(&format!("{short} is already paused, by {}; {until}", act(was))),
        _ => print_line(&format!("paused {short}: nothing new starts; {until}{finishes}")),
    }
    Ok(0)
}
