//! `runward retry`: exactly one more start of one step. In a run that is at its end this begins the next generation, and
//! this process drives it.

use runward_engine::run::Command;
use runward_store::Ledger;
use runward_workers::home::{DriverLock, DriverLockError};

use super::drive::{detach, drive, named, refuse_unseen_report};
use super::give::{self, give};
use super::print_line;
use crate::args::{RetryArgs, RunFormat};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{find_run, find_unit, open, refuse_child};
use crate::refusal::refused;
use crate::view::Showing;

pub async fn run(config: &Config, args: &RetryArgs) -> Result<i32, Failure> {
    let showing = Showing::of(&args.showing)?;
    refuse_unseen_report(args.detach, &showing)?;
    let opened = open(config).await?;
    let id = find_run(&opened.ledger, &args.run).await?;
    let mut view = opened.ledger.load(&id).await?;
    if give::is_known(&view, &args.id) {
        let unit = find_unit(&view.state, &args.step)?;
        let retry = Command::Retry { unit, reason: args.reason.clone() };
        return give::again(&opened, &mut view, retry, &args.id, args.detach, showing).await;
    }
    let taken = DriverLock::take(&opened.home, &id);
    opened.ledger.refresh(&mut view).await?;
    let unit = find_unit(&view.state, &args.step)?;
    if view.state.status.is_terminal() {
        refuse_child(&opened, &view.state).await?;
    }
    let lock = match taken {
        // Who drives a run that is at its end is about to leave, and would not see what comes next.
        Err(DriverLockError::Taken { .. }) if !view.state.status.is_terminal() => None,
        taken => Some(taken?),
    };
    let retry = Command::Retry { unit, reason: args.reason.clone() };
    let reply = give(&opened.ledger, &mut view, retry, &args.id).await?;
    reply.map_err(|reject| refused(reject, &id))?;
    // A driver that had nothing left to wait for may have gone just before.
    let lock = match lock {
        Some(lock) => Some(lock),
        None => DriverLock::take(&opened.home, &id).ok(),
    };
    let Some(lock) = lock else {
        match showing.format {
            RunFormat::Text => {
                print_line(&format!("recorded: {} starts once more, where the run is driven", args.step))
            }
            format => named(&id, format, None),
        }
        return Ok(0);
    };
    if args.detach {
        drop(lock);
        return detach(&opened, &id, showing.format);
    }
    drive(&opened, lock, view, showing).await
}
