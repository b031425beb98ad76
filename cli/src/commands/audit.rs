//! `runward audit verify`: the hash chain of every run, its rows against its events, and the files it is pinned to.

use runward_engine::run::RunId;
use runward_store::{AdminEntry, LedgerError, RunQuery, check};
use serde_json::json;

use super::{print_json, print_line};
use crate::args::{AuditCommand, Format};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{find_run, open};
use crate::text;

pub async fn run(config: &Config, command: AuditCommand) -> Result<i32, Failure> {
    let AuditCommand::Verify { run, format } = command;
    let opened = open(config).await?;
    let ledger = opened.ledger();
    let mut rows = ledger.runs(&RunQuery::default()).await?;
    if let Some(run) = run {
        let id = find_run(ledger, &run).await?;
        rows.retain(|row| row.id == id);
    }
    let ids: Vec<&RunId> = rows.iter().map(|row| &row.id).collect();
    let damage = opened.integrity().await?;
    let mut bad = Vec::new();
    let (mut events, mut heads, mut vanished) = (0, Vec::new(), Vec::new());
    for id in ids.iter().copied() {
        match check::run(ledger, id).await {
            Ok(checked) => {
                events += checked.run.events;
                heads.push(json!({"run": id, "events": checked.run.events, "head": checked.run.head}));
                bad.extend(checked.differences.into_iter().map(|difference| format!("run {id}: {difference}")));
            }
            Err(LedgerError::NoSuchRun(id)) => vanished.push(id), // since the list was made
            Err(error) => bad.push(error.to_string()),
        }
    }
    let pruned = match ledger.administration().await {
        Ok(entries) => entries.iter().flat_map(removed).collect(),
        Err(error) => {
            bad.push(error.to_string());
            Vec::new()
        }
    };
    vanished.retain(|id| pruned.iter().all(|run| run["run"] != id.0));
    bad.extend(vanished.iter().map(|id| format!("run {id} vanished while it was read, and no pruning says so")));
    bad.extend(check::pinned(ledger, &rows).await);
    bad.extend(damage.into_iter().map(|line| format!("ledger file: {line}")));
    match format {
        Format::Json => {
            print_json(&json!({"runs": ids.len(), "events": events, "problems": bad, "heads": heads, "pruned": pruned}))
        }
        Format::Text => {
            bad.iter().for_each(|line| print_line(line));
            let removed = if pruned.is_empty() {
                String::new()
            } else {
                format!(", {} pruned", text::count(pruned.len() as u64, "run"))
            };
            print_line(&format!(
                "{}, {}{removed}: {}",
                text::count(ids.len() as u64, "run"),
                text::count(events, "event"),
                match bad.len() {
                    0 => "every hash fits, every row is what its events say".to_owned(),
                    n => text::count(n as u64, "problem"),
                }
            ));
        }
    }
    Ok(i32::from(!bad.is_empty()))
}

/// The runs that were removed rightfully, each with the last hash that it had.
fn removed(entry: &AdminEntry) -> Vec<serde_json::Value> {
    let of = |run: &runward_store::PrunedRun| {
        json!({"run": run.id, "name": run.name, "events": run.events, "head": run.head, "pruned_at": entry.at,
               "pruned_by": entry.actor})
    };
    entry.event.pruned().iter().map(of).collect()
}
