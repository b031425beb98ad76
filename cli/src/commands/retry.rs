//! `runward retry`: exactly one more start of one step. In a run that is at its end this begins the next generation, and
//! this process drives it.

use runward_engine::run::Command;
use runward_store::RunView;

use super::begin::{self, Wheel};
use super::drive::{named, refuse_unseen_report};
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
    let id = find_run(opened.ledger(), &args.run).await?;
    let (seat, mut view) = match begin::take(&opened, &id, &args.id).await? {
        Wheel::Given(mut view) => {
            let retry = retry(&view, args)?;
            return give::again(&opened, &mut view, retry, &args.id, args.detach, showing).await;
        }
        Wheel::Mine(seat, view) => (Some(seat), view),
        // Who drives a run that is at its end is about to leave, and would not see what comes next.
        Wheel::Taken(view, taken) if view.state.is_at_rest() => {
            refuse_child(&opened, &view.state).await?;
            return Err(taken.into());
        }
        Wheel::Taken(view, _) => (None, view),
    };
    if view.state.is_at_rest() {
        refuse_child(&opened, &view.state).await?;
    }
    let retry = retry(&view, args)?;
    let reply = give(&opened, &mut view, retry, &args.id).await?;
    reply.map_err(|reject| refused(reject, &id))?;
    // A driver that had nothing left to wait for may have gone just before.
    let Some(seat) = seat.or_else(|| opened.seat(&id).ok()) else {
        match showing.format {
            RunFormat::Text => {
                print_line(&format!("recorded: {} starts once more, where the run is driven", args.step))
            }
            format => named(&id, format, None),
        }
        return Ok(0);
    };
    begin::go(&opened, seat, view, args.detach, showing).await
}

fn retry(view: &RunView, args: &RetryArgs) -> Result<Command, Failure> {
    Ok(Command::Retry { unit: find_unit(&view.state, &args.step)?, reason: args.reason.clone() })
}
