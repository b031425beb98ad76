//! `runward audit verify`: the hash chain of every run, and its rows against its events.

use std::path::Path;

use runward_store::{Ledger, RunQuery, check};
use serde_json::json;

use super::{print_json, print_line};
use crate::args::{AuditCommand, Format};
use crate::failure::Failure;
use crate::open::{find_run, open};

pub async fn run(state: Option<&Path>, command: AuditCommand) -> Result<i32, Failure> {
    let AuditCommand::Verify { run, format } = command;
    let opened = open(state).await?;
    let ids = match run {
        Some(run) => vec![find_run(&opened.ledger, &run).await?],
        None => opened.ledger.runs(&RunQuery::default()).await?.into_iter().map(|row| row.id).collect(),
    };
    let damage = opened.ledger.integrity().await?;
    let mut bad = Vec::new();
    let (mut events, mut heads) = (0, Vec::new());
    for id in &ids {
        match check::run(&opened.ledger, id).await {
            Ok(checked) => {
                events += checked.events;
                heads.push(json!({"run": id, "events": checked.events, "head": checked.head}));
                bad.extend(checked.differences.into_iter().map(|difference| format!("run {id}: {difference}")));
            }
            Err(error) => bad.push(error.to_string()),
        }
    }
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
