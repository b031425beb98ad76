//! `runward watch RUN` without a screen: the lines of a run that others carry on, to its end, and with its exit code. Nothing
//! is changed, and nobody is taken the wheel from.

use std::time::Duration;

use runward_engine::run::{RunId, Verdict};

use super::follow::{Followed, Stake, follow, show_end};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{Opened, find_run, open};
use crate::view::{Showing, words};

/// How often is looked whether somebody drives a run again.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub async fn run(config: &Config, run: &str, showing: Showing) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let id = find_run(opened.ledger(), run).await?;
    loop {
        let view = opened.ledger().load(&id).await?;
        if view.state.status.is_terminal() {
            return show_end(&opened, &view.state, showing).await;
        }
        match follow(&opened, view, showing.clone(), Stake::None).await? {
            Followed::Ended(code) => return Ok(code),
            Followed::Abandoned if showing.stay => until_driven(&opened, &id).await?,
            Followed::Abandoned => return Err(undriven(&id)),
        }
    }
}

async fn until_driven(opened: &Opened, id: &RunId) -> Result<(), Failure> {
    let short = words::short(&id.0);
    eprintln!("nobody drives the run: `runward resume {short}` carries it on, and it is followed then");
    while !opened.driver(id).is_there() && !opened.ledger().load(id).await?.state.status.is_terminal() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

fn undriven(id: &RunId) -> Failure {
    let short = words::short(&id.0);
    Failure::new(Verdict::Unfinished.exit_code(), format!("nobody drives run {id}, and it is not at its end")).help(
        format!(
            "`runward show {short}` says what it waits for, `runward resume {short}` carries it on; with --stay this waits for \
             somebody who does"
        ),
    )
}
