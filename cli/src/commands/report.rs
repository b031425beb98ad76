//! `runward report`: one run, as evidence that can be handed on.

use runward_engine::run::RunId;
use runward_store::{Ledger, LedgerError};

use super::{print, print_json};
use crate::args::{ReportArgs, ReportFormat};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{find_run, open};
use crate::report::{ChildRun, Report, children_of};

pub async fn run(config: &Config, args: &ReportArgs) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let ledger = opened.ledger();
    let id = find_run(ledger, &args.run).await?;
    // Its events are held against their hashes: of a record that was changed there is no report.
    let view = ledger.load(&id).await?;
    let state = &view.state;
    let mut events = ledger.events(&id, 0).await?;
    // Others may have gone on meanwhile: everything in it is of one moment.
    events.truncate(state.seq as usize);
    for event in &mut events {
        event.recorded.event = state.shown_event(&event.recorded.event);
    }
    let definition = ledger.definition(&state.definition).await?;
    let mut children = children_of(state);
    for child in &mut children {
        end_of(ledger, child).await?;
    }
    let report = Report::of(state, &definition, &events, children);
    match args.format {
        ReportFormat::Md => print(report.markdown().trim_end()),
        ReportFormat::Html => print(report.html().trim_end()),
        ReportFormat::Json => print_json(&report),
    }
    Ok(0)
}

/// How far the record of a child has come. One that never came to be has none.
async fn end_of(ledger: &dyn Ledger, child: &mut ChildRun) -> Result<(), Failure> {
    match ledger.load(&RunId(child.run.clone())).await {
        Ok(view) => (child.events, child.head) = (Some(view.state.seq), Some(view.head)),
        Err(LedgerError::NoSuchRun(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
