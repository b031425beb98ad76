//! `runward rollback`: takes back what a run did, now or after its end.

use runward_engine::run::Command;
use runward_store::{Ledger, LedgerError};
use runward_workers::home::DriverLock;

use super::drive::{detach, drive, refuse_unseen_report};
use super::give::{self, give};
use crate::args::RollbackArgs;
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{find_run, open};
use crate::refusal::refused;
use crate::view::Showing;

pub async fn run(config: &Config, args: &RollbackArgs) -> Result<i32, Failure> {
    let showing = Showing::of(&args.showing)?;
    refuse_unseen_report(args.detach, &showing)?;
    let opened = open(config).await?;
    let id = find_run(&opened.ledger, &args.run).await?;
    let mut known = opened.ledger.load(&id).await?;
    if give::is_known(&known, &args.id) {
        let rollback = Command::Rollback { reason: args.reason.clone() };
        return give::again(&opened, &mut known, rollback, &args.id, args.detach, showing).await;
    }
    let lock = DriverLock::take(&opened.home, &id)?;
    let mut view = match opened.ledger.load(&id).await {
        // Pruned in between: taking the lock has made its folder again.
        Err(error @ LedgerError::NoSuchRun(_)) => {
            opened.home.forget(&id);
            return Err(error.into());
        }
        loaded => loaded?,
    };
    let rollback = Command::Rollback { reason: args.reason.clone() };
    give(&opened.ledger, &mut view, rollback, &args.id).await?.map_err(|reject| refused(reject, &id))?;
    if args.detach {
        drop(lock);
        return detach(&opened, &id, showing.format);
    }
    drive(&opened, lock, view, showing).await
}
