//! Where a driver gets the secrets of a step that it is about to start.
//!
//! Programs may take their time, so each question has a thread of its own, and the driver goes on meanwhile. The claim is on
//! the record already; whoever leaves before the answer has come has started nothing, and the next driver sees that.

use std::fs;
use std::thread;

use runward_engine::run::{RunState, Unit};
use runward_engine::runbook::model::{Runbook, Step};
use runward_engine::runbook::secrets::Form;
use tokio::sync::mpsc;

use super::course::Start;
use crate::home::Home;
use crate::secrets::Given;
use crate::secrets::find::{Place, Wanted, find};
use crate::supervisor::{journal, secrets};

/// The secrets of a step, or why it cannot have one.
pub(super) struct Found {
    pub start: Start,
    pub given: Result<Vec<Given>, String>,
}

pub(super) struct Vault {
    found: mpsc::UnboundedSender<Found>,
    inbox: mpsc::UnboundedReceiver<Found>,
}

impl Vault {
    pub(super) fn new() -> Vault {
        let (found, inbox) = mpsc::unbounded_channel();
        Vault { found, inbox }
    }

    /// Answered by [`Vault::next`].
    pub(super) fn ask(&self, home: &Home, state: &RunState, start: Start) {
        let wanted = wanted(&state.runbook, start.unit);
        let place = Place { cwd: home.files(&state.id), sealed: home.sealed() };
        let found = self.found.clone();
        let asking = thread::Builder::new().name("secrets".to_owned());
        // The answer goes nowhere when the driver has left.
        let asked = move |start: Start| _ = found.send(Found { given: find(&wanted, &place), start });
        let (claim, unit, prepared) = (start.claim.clone(), start.unit, start.prepared.clone());
        if let Err(error) = asking.spawn(move || asked(start)) {
            let given = Err(format!("the secrets of this step cannot be asked for: {error}"));
            let _ = self.found.send(Found { start: Start { claim, unit, prepared }, given });
        }
    }

    pub(super) async fn next(&mut self) -> Found {
        self.inbox.recv().await.expect("the vault itself holds a sender")
    }
}

/// The secrets that a step receives: in all of its parts, because its probe and its undo act on the same thing.
pub(super) fn wanted(runbook: &Runbook, unit: Unit) -> Vec<Wanted> {
    let received = runbook.steps[unit.step as usize].secrets.iter();
    received
        .filter_map(|received| {
            let declared = runbook.secrets.iter().find(|secret| secret.name == received.name)?;
            let (name, form, provider) = (received.name.clone(), received.form, declared.provider.clone());
            Some(Wanted { name, form, provider })
        })
        .collect()
}

/// Files with secrets of attempts that died with their machine. The others clear their own away.
pub(super) fn clear(home: &Home, state: &RunState) {
    let has_files = |step: &Step| step.secrets.iter().any(|received| received.form == Form::File);
    if !state.runbook.steps.iter().any(has_files) {
        return;
    }
    for entry in fs::read_dir(home.attempts(&state.id)).into_iter().flatten().flatten() {
        let dir = entry.path();
        if dir.is_dir() && matches!(journal::is_alive(&dir), Ok(false)) {
            secrets::clear(&dir);
        }
    }
}
