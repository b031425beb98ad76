//! `runward audit verify`: the hash chain of every run, its rows against its events, and the files it is pinned to.

use runward_engine::run::RunId;
use runward_engine::run::rows::RunRow;
use runward_store::{Ledger, RunQuery, check};
use serde_json::json;
use std::collections::BTreeSet;

use super::{print_json, print_line};
use crate::args::{AuditCommand, Format};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{find_run, open};

pub async fn run(config: &Config, command: AuditCommand) -> Result<i32, Failure> {
    let AuditCommand::Verify { run, format } = command;
    let opened = open(config).await?;
    let mut rows = opened.ledger.runs(&RunQuery::default()).await?;
    if let Some(run) = run {
        let id = find_run(&opened.ledger, &run).await?;
        rows.retain(|row| row.id == id);
    }
    let ids: Vec<&RunId> = rows.iter().map(|row| &row.id).collect();
    let damage = opened.ledger.integrity().await?;
    let mut bad = Vec::new();
    let (mut events, mut heads) = (0, Vec::new());
    for id in ids.iter().copied() {
        match check::run(&opened.ledger, id).await {
            Ok(checked) => {
                events += checked.events;
                heads.push(json!({"run": id, "events": checked.events, "head": checked.head}));
                bad.extend(checked.differences.into_iter().map(|difference| format!("run {id}: {difference}")));
            }
            Err(error) => bad.push(error.to_string()),
        }
    }
    bad.extend(pinned(&opened.ledger, &rows).await);
    bad.extend(damage.into_iter().map(|line| format!("ledger file: {line}")));
    match format {
        Format::Json => print_json(&json!({"runs": ids.len(), "events": events, "problems": bad, "heads": heads})),
        Format::Text => {
            bad.iter().for_each(|line| print_line(line));
            print_line(&format!(
                "{} runs, {events} events: {}",
                ids.len(),
                match bad.len() {
                    0 => "every hash fits, every row is what its events say".to_owned(),
                    n => format!("{n} problems"),
                }
            ));
        }
    }
    Ok(i32::from(!bad.is_empty()))
}

/// What is wrong with the pinned files of these runs. Each is read once; the ledger compares it with its hash. A
/// definition that cannot be read is among the problems of its run.
async fn pinned(ledger: &dyn Ledger, rows: &[RunRow]) -> Vec<String> {
    let definitions: BTreeSet<&str> = rows.iter().map(|row| row.definition.as_str()).collect();
    let mut files = BTreeSet::new();
    for hash in definitions {
        if let Ok(definition) = ledger.definition(hash).await {
            files.extend(definition.files.into_iter().map(|file| file.sha256));
        }
    }
    let mut bad = Vec::new();
    for sha256 in files {
        if let Err(error) = ledger.blob(&sha256).await {
            bad.push(error.to_string());
        }
    }
    bad
}
