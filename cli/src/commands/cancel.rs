//! `runward cancel`: recorded at once, carried out by the run's driver, or here if it has none.

use runward_engine::run::{Command, Reject, Verdict};
use runward_store::Ledger;
use runward_workers::home::{DriverLock, DriverLockError};
use serde_json::json;

use super::drive::drive;
use super::give::{self, give};
use super::{print_json, print_line};
use crate::args::{CancelArgs, Format};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{find_run, open};
use crate::refusal::refused;
use crate::view::Showing;
use crate::view::words;

pub async fn run(config: &Config, args: CancelArgs) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let id = find_run(&opened.ledger, &args.run).await?;
    let mut view = opened.ledger.load(&id).await?;
    let cancel = Command::Cancel { force: args.force, rollback: args.rollback, reason: args.reason };
    match give(&opened.ledger, &mut view, cancel, &args.id).await? {
        Ok(()) => {}
        Err(Reject::Repeated { was }) => return Ok(give::repeated(&id, &was, args.format)),
        Err(reject) => return Err(refused(reject, &id)),
    }
    let what = format!("{} {}", view.state.name, words::short(&id.0));
    let mut code = 0;
    let driver = match DriverLock::take(&opened.home, &id) {
        Ok(lock) => {
            code = drive(&opened, lock, view, Showing::silent()).await?;
            None
        }
        Err(DriverLockError::Taken { pid }) => Some(pid),
        Err(error) => return Err(error.into()),
    };
    match (args.format, driver) {
        (Format::Json, driver) => print_json(&json!({"run": id, "cancelled": true, "driver_pid": driver})),
        (Format::Text, Some(pid)) => {
            print_line(&format!("cancelling {what}: process {pid} ends its steps"));
        }
        (Format::Text, None) if code == Verdict::Unknown.exit_code() => {
            let show = format!("runward show {}", words::short(&id.0));
            print_line(&format!("cancelled {what}; the outcome of a step is unknown: {show}"));
        }
        (Format::Text, None) if code == Verdict::RolledBack.exit_code() => {
            print_line(&format!("cancelled and rolled back {what}"));
        }
        (Format::Text, None) if code == Verdict::RollbackIncomplete.exit_code() => {
            let show = format!("runward show {}", words::short(&id.0));
            print_line(&format!("cancelled {what}; its rollback is incomplete: {show}"));
        }
        (Format::Text, None) => print_line(&format!("cancelled {what}")),
    }
    Ok(0)
}
