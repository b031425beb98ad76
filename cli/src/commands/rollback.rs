//! `runward rollback`: takes back what a run did, now or after its end.

use runward_engine::run::Command;

use super::begin::{self, Wheel};
use super::drive::refuse_unseen_report;
use super::give::{self, give};
use super::run::carry_on;
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
    let id = find_run(opened.ledger(), &args.run).await?;
    let rollback = Command::Rollback { reason: args.reason.clone() };
    match begin::take(&opened, &id, &args.id).await? {
        Wheel::Given(mut view) => give::again(&opened, &mut view, rollback, &args.id, args.detach, showing).await,
        Wheel::Mine(seat, mut view) => {
            give(&opened, &mut view, rollback, &args.id).await?.map_err(|reject| refused(reject, &id))?;
            begin::go(&opened, seat, view, args.detach, showing).await
        }
        Wheel::Taken(view, taken) if view.state.is_at_rest() => Err(taken.into()),
        // What is to be said is that it is not over; if it is by now, the word counts, and somebody drives it.
        Wheel::Taken(mut view, _) => {
            give(&opened, &mut view, rollback, &args.id).await?.map_err(|reject| refused(reject, &id))?;
            carry_on(&opened, &id, args.detach, showing).await
        }
    }
}
