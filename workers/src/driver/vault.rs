//! Where a driver gets the secrets of a step that it is about to start, and the connection of one that has one.
//!
//! Programs may take their time, so each question has a thread of its own, and the driver goes on meanwhile. The claim is on
//! the record already; whoever leaves before the answer has come has started nothing, and the next driver sees that.

use std::fs;
use std::thread;

use runward_engine::run::Part;
use runward_engine::run::{RunState, Unit};
use runward_engine::runbook::model::{Action, Runbook, Step};
use runward_engine::runbook::secrets::Form;
use tokio::sync::mpsc;

use super::course::Start;
use crate::home::Home;
use crate::secrets::find::{Place, Wanted, find};
use crate::step::launch::Received;
use crate::supervisor::{journal, secrets};

/// The secrets of a step, or why it cannot have one.
pub(super) struct Found {
    pub start: Start,
    pub received: Result<Received, String>,
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
        let (found, reach) = (self.found.clone(), home.reach());
        let connection = connection(state, start.unit).map(str::to_owned);
        let asking = thread::Builder::new().name("secrets".to_owned());
        // The answer goes nowhere when the driver has left.
        let received = move || -> Result<Received, String> {
            let mut secrets = find(&wanted, &place)?;
            let found = connection.map(|name| reach.connections.target(&name, &place)).transpose()?;
            let (target, password) = found.unzip();
            secrets.extend(password.flatten());
            Ok(Received { secrets, target })
        };
        let asked = move |start: Start| _ = found.send(Found { received: received(), start });
        let (claim, unit, prepared) = (start.claim.clone(), start.unit, start.prepared.clone());
        if let Err(error) = asking.spawn(move || asked(start)) {
            let received = Err(format!("the secrets of this step cannot be asked for: {error}"));
            let _ = self.found.send(Found { start: Start { claim, unit, prepared }, received });
        }
    }

    pub(super) async fn next(&mut self) -> Found {
        self.inbox.recv().await.expect("the vault itself holds a sender")
    }
}

/// Whether there is anything to ask for.
pub(super) fn is_asked(state: &RunState, unit: Unit) -> bool {
    !state.spec(unit.step).secrets.is_empty() || connection(state, unit).is_some()
}

/// Its probe and its undo are scripts, and have none.
fn connection(state: &RunState, unit: Unit) -> Option<&str> {
    match &state.spec(unit.step).action {
        Action::Sql(sql) if unit.part == Part::Step => Some(&sql.connection),
        _ => None,
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
