//! What is run in the cluster: small graphs of steps for one machine or another.

use std::fmt::Write;

use runward_engine::limits;
use runward_engine::plan::Definition;
use runward_engine::run::command::Resolution;
use runward_engine::run::{Command, RunState};
use runward_store::NewRun;

use super::run_id;
use crate::dice::Dice;

/// `detached`: most steps go on without their workers.
pub(super) fn new_run(run: usize, detached: bool, dice: &mut Dice) -> NewRun {
    NewRun {
        id: run_id(run),
        definition: Definition {
            drill: false,
            name: format!("book-{run}"),
            path: format!("/runbooks/book-{run}.yaml"),
            source: source(detached, dice),
            files: Vec::new(),
            runbooks: Vec::new(),
        },
        called: Vec::new(),
        blobs: Vec::new(),
        params: Default::default(),
        trigger: "test".to_owned(),
        group: None,
        priority: Default::default(),
        queued_max: limits::QUEUED_MAX,
        key: None,
        parent: None,
        seed: 0,
        actor: "alice".to_owned(),
        planned: None,
        only_after: None,
        zone: None,
        requester: Vec::new(),
        tick: None,
    }
}

fn source(detached: bool, dice: &mut Dice) -> String {
    let mut text = format!("max-parallel: {}\nsteps:\n", dice.between(1, 4));
    for step in 0..dice.between(1, 6) {
        let labels = *dice.pick(&["", "db", "linux", "db, linux"]);
        let _ = write!(text, "  - id: s{step}\n    run: \"true\"\n    runs-on: [{labels}]\n");
        let retries = dice.percent(60);
        if dice.percent(40) {
            text += "    needs: []\n";
        }
        if retries {
            let _ = writeln!(text, "    retry: {{attempts: {}, delay: 100ms}}", dice.between(2, 4));
        }
        match if detached && dice.percent(80) { 1 } else { dice.below(10) } {
            0 => text += "    on-lost: hold\n",
            1 => text += "    lease: detached\n",
            2 => text += "    lease: strict\n",
            3 => text += "    check: \"true\"\n",
            4 => text += "    for-each: [a, b, c]\n",
            5 => text += "    undo: {run: \"true\", retry: {attempts: 3, delay: 100ms}}\n",
            6 => text += "    undo: \"true\"\n",
            _ => {}
        }
    }
    text
}

/// What a person says of what waits for them. They do not let anything start that may still run.
pub(super) fn word(state: &RunState) -> Option<Command> {
    let unit = *state.held().first()?;
    Some(Command::Resolve { unit, resolution: Resolution::Failed, reason: Some("given up".to_owned()) })
}
