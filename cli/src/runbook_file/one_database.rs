//! Two connections of the configuration that are one database: what a drill reaches by the one is real.

use std::collections::BTreeMap;

use runward_workers::reach::connections::Connection;

use super::{Failure, RunbookFile, all};
use crate::config::connections::shown;

/// As far as the configuration of this machine tells. Nothing is asked for, least of all the real secrets.
pub fn refuse_one_database(file: &RunbookFile, known: &BTreeMap<String, Connection>) -> Result<(), Failure> {
    let refused = all(file).into_iter().filter_map(|file| judge(file, known).err());
    refused.reduce(Failure::and).map_or(Ok(()), Err)
}

fn judge(file: &RunbookFile, known: &BTreeMap<String, Connection>) -> Result<(), Failure> {
    let Some(drill) = &file.runbook.drill else { return Ok(()) };
    let same = |scratch: &String| {
        let reached = known.get(scratch)?;
        let real = drill.connections.keys().find(|real| known.get(*real).is_some_and(|it| it.is_where(reached)))?;
        Some((scratch.clone(), real.clone(), shown(reached)))
    };
    let Some((scratch, real, place)) = drill.connections.values().find_map(same) else { return Ok(()) };
    let message = format!(
        "{}: in a drill `{scratch}` stands for a real connection, and it is the database of `{real}` ({place})",
        file.path.display()
    );
    Err(Failure::usage(message)
        .help("nothing was started; name a connection in `drill.connections` that reaches nothing real"))
}
