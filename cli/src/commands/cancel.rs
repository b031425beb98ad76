//! `runward cancel`: recorded at once, carried out by the run's driver, or here if it has none.

use runward_engine::run::{Command, Reject, RunId, Verdict};
use runward_workers::home::{DriverLockError, Holder};
use serde_json::json;

use super::drive::drive;
use super::give::{self, give};
use super::{print_json, print_line};
use crate::args::{CancelArgs, Format};
use crate::config::Config;
use crate::drivers::Driver;
use crate::failure::Failure;
use crate::open::{Seat, find_run, open};
use crate::refusal::{act, refused};
use crate::view::Showing;
use crate::view::words;

pub async fn run(config: &Config, args: CancelArgs) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let id = find_run(opened.ledger(), &args.run).await?;
    let mut view = opened.ledger().load(&id).await?;
    let cancel = Command::Cancel { force: args.force, rollback: args.rollback, reason: args.reason };
    let already = match give(&opened, &mut view, cancel, &args.id).await? {
        Ok(()) => !give::changed(&view, &args.id),
        // Whoever gave it may not have lived to carry it out.
        Err(Reject::Repeated { was }) if view.state.status.is_terminal() || view.state.cancelled().is_none() => {
            return Ok(give::repeated(&id, &was, args.format));
        }
        Err(Reject::Repeated { .. } | Reject::AlreadyCancelled { .. }) => true,
        Err(reject) => return Err(refused(reject, &id)),
    };
    let what = format!("{} {}", view.state.name, words::short(&id.0));
    let was = view.state.cancelled().cloned();
    let over = view.state.status.is_terminal();
    let (mut code, mut driver) = (0, Driver::Nobody);
    if !over {
        match opened.seat(&id) {
            Ok(Seat::Driver(home, lock)) => code = drive(&opened, home, lock, view, Showing::silent()).await?,
            Ok(Seat::Onlooker) => driver = Driver::Workers,
            Err(DriverLockError::Taken { holder, .. }) => driver = Driver::Process(holder),
            Err(error) => return Err(error.into()),
        }
    }
    if args.format == Format::Json {
        print_json(&json!({
            "run": id, "cancelled": true, "changed": !already, "cancel": was, "driver_pid": driver.pid(),
        }));
        return Ok(0);
    }
    let by = was.filter(|_| already).map(|was| format!(", by {}", act(&was))).unwrap_or_default();
    print_line(&match (&driver, already) {
        _ if over && already => format!("{what} was already cancelled{by}; there is nothing left to end"),
        _ if over => format!("cancelled {what}: nothing of it was running"),
        (Driver::Process(Holder { pid, .. }), true) => {
            format!("{what} is already being cancelled{by}; process {pid} ends its steps")
        }
        (Driver::Workers, true) => format!("{what} is already being cancelled{by}; the workers end its steps"),
        (Driver::Process(Holder { pid, .. }), false) => format!("cancelling {what}: process {pid} ends its steps"),
        (Driver::Workers, false) => format!("cancelling {what}: the workers end its steps"),
        (Driver::Nobody, true) => {
            format!("{what} was already to be cancelled{by}; nobody drove it: {}", ended(&id, code))
        }
        (Driver::Nobody, false) => format!("{} {what}{}", done(code), left(&id, code)),
    });
    Ok(0)
}

fn ended(id: &RunId, code: i32) -> String {
    format!("{} now{}", done(code), left(id, code))
}

fn done(code: i32) -> &'static str {
    match code == Verdict::RolledBack.exit_code() {
        true => "cancelled and rolled back",
        false => "cancelled",
    }
}

/// What is still to be done about it.
fn left(id: &RunId, code: i32) -> String {
    let show = format!("runward show {}", words::short(&id.0));
    match code {
        code if code == Verdict::Unknown.exit_code() => format!("; the outcome of a step is unknown: {show}"),
        code if code == Verdict::RollbackIncomplete.exit_code() => format!("; its rollback is incomplete: {show}"),
        _ => String::new(),
    }
}
