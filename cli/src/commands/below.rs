//! Runs that are steps of other runs, as people name them: from the outside in.

use runward_engine::run::ids::split_unit_name;
use runward_engine::run::{RunState, Unit};
use runward_store::{LedgerError, RunView};

use crate::failure::Failure;
use crate::open::{Opened, find_unit};

/// `deploy/backup` is the step `backup` of the run that the step `deploy` is.
pub async fn below(
    opened: &Opened,
    mut view: RunView,
    step: Option<String>,
) -> Result<(RunView, Option<String>), Failure> {
    let mut rest = step;
    while let Some(text) = &rest {
        let (unit, below) = text.split_once('/').map_or((text.as_str(), None), |(unit, below)| (unit, Some(below)));
        let found = view.state.unit_named(unit).and_then(|unit| view.state.unit(unit));
        let child = found.and_then(|found| found.children.last()).map(|child| child.run.clone());
        match (child, below) {
            (Some(child), _) => (view, rest) = (opened.ledger().load(&child).await?, below.map(str::to_owned)),
            (None, None) => break,
            (None, Some(_)) => {
                known_step(&view, unit)?;
                return Err(Failure::usage(format!("the step `{unit}` is no run of its own, or has not begun")));
            }
        }
    }
    Ok((view, rest))
}

/// A part need not have come up yet: it can be waited for.
pub fn known_step(view: &RunView, name: &str) -> Result<(), Failure> {
    match split_unit_name(name) {
        Some((step, None, _)) if view.state.step_named(step).is_some() => Ok(()),
        Some((step, Some(item), _)) if view.state.unit_named(&format!("{step}[{item}]")).is_some() => Ok(()),
        _ => find_unit(&view.state, name).map(|_| ()),
    }
}

/// The steps that wait for people in the runs that this one waits for, and in theirs: the run with each, and its name seen
/// from here: `deploy/agree`.
pub async fn asking(opened: &Opened, state: &RunState) -> Result<Vec<(RunView, Unit, String)>, Failure> {
    let mut found = Vec::new();
    let children = |state: &RunState, above: &str| -> Vec<_> {
        let named = |(run, unit): (&_, &Unit)| (Clone::clone(run), format!("{above}{}/", state.unit_name(*unit)));
        state.children().iter().map(named).collect()
    };
    let mut ahead = children(state, "");
    while let Some((run, above)) = ahead.pop() {
        let view = match opened.ledger().load(&run).await {
            Err(LedgerError::NoSuchRun(_)) => continue, // its driver is about to make it
            loaded => loaded?,
        };
        ahead.extend(children(&view.state, &above));
        let units: Vec<Unit> = view.state.asked().collect();
        found.extend(
            units.into_iter().map(|unit| (view.clone(), unit, format!("{above}{}", view.state.unit_name(unit)))),
        );
    }
    Ok(found)
}
