//! `runward runs`: runs, newest first.

use runward_store::{Ledger, RunQuery};
use runward_workers::home::DriverLock;

use super::{print_json, print_line};
use crate::args::{Format, RunsArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::open;
use crate::text;

pub async fn run(config: &Config, args: RunsArgs) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let query = RunQuery { name: args.name, unfinished: args.unfinished, limit: Some(args.limit) };
    let rows = opened.ledger.runs(&query).await?;
    if args.format == Format::Json {
        print_json(&rows);
        return Ok(0);
    }
    if rows.is_empty() {
        match &query.name {
            Some(name) => print_line(&format!("no runs of `{name}`")),
            None => print_line("no runs"),
        }
        return Ok(0);
    }
    print_line(&format!(
        "{:<36}  {:<24} {:<22} {:<19}  {:>10}  {}",
        "RUN", "RUNBOOK", "STATUS", "CREATED", "TOOK", "BY"
    ));
    for row in rows {
        let unattended = row.finished_at.is_none() && DriverLock::holder(&opened.home, &row.id).is_none();
        let status = match (row.held, unattended) {
            (true, _) => format!("{} (held)", row.status),
            (false, true) => format!("{} (no driver)", row.status),
            (false, false) => row.status,
        };
        print_line(&format!(
            "{:<36}  {:<24} {:<22} {:<19}  {:>10}  {}",
            row.id.0,
            row.name,
            status,
            text::time(row.created_at),
            text::took(row.started_at, row.finished_at),
            row.actor
        ));
    }
    Ok(0)
}
