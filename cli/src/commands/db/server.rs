//! `runward db status` of a Postgres: what it is, whether it is ready, and what is in it.
//!
//! A database that is not ready is what somebody wants to see here, so that is an answer and no error.

use runward_engine::units::format_size;
use runward_store::{PostgresLedger, PostgresStats, ServerStatus};
use serde_json::json;

use super::super::{print_json, print_line};
use crate::args::Format;
use crate::config::DatabaseUrl;
use crate::failure::Failure;
use crate::text;

/// Exit code 1: it is not ready.
pub async fn run(database: &DatabaseUrl, format: Format) -> Result<i32, Failure> {
    let server = PostgresLedger::status(database.whole()).await?;
    let unready = server.refusal();
    let stats = match &unready {
        None => Some(PostgresLedger::open(database.whole()).await?.stats().await?),
        Some(_) => None,
    };
    match format {
        Format::Json => {
            let problem = unready.as_ref().map(|error| json!({"message": error.to_string(), "help": error.help()}));
            print_json(&json!({"server": server, "problem": problem, "contents": stats}));
        }
        Format::Text => {
            head(&server);
            stats.iter().for_each(contents);
            if let Some(error) = &unready {
                print_line(&format!("problem      {}\n  help: {}", text::safe(&error.to_string()), error.help()));
            }
        }
    }
    Ok(i32::from(unready.is_some()))
}

fn row(name: &str, value: &str) {
    print_line(&format!("{name:<12} {}", text::safe(value)));
}

fn head(server: &ServerStatus) {
    row("ledger", &server.place);
    row("server", &format!("Postgres {}{}", server.version, if server.read_only { ", read-only" } else { "" }));
    row("schema", &format!("{}, this runward knows {}", server.schema, server.schema_known));
}

fn contents(stats: &PostgresStats) {
    let total: u64 = stats.runs.values().sum();
    let by_status: Vec<String> = stats.runs.iter().map(|(status, n)| format!("{n} {status}")).collect();
    let by_status = if by_status.is_empty() { String::new() } else { format!(": {}", by_status.join(", ")) };
    row("runs", &format!("{total}{by_status}"));
    row("oldest run", &stats.oldest.map_or("none".to_owned(), text::time));
    row("events", &stats.events.to_string());
    let files = text::count(stats.blobs, "pinned file");
    row("definitions", &format!("{}, with {files} ({})", stats.definitions, format_size(stats.blob_bytes)));
    let parts = text::count(stats.log_parts, "part");
    row("output", &format!("{parts} of what steps printed ({})", format_size(stats.log_bytes)));
    row("database", &format_size(stats.database_bytes));
}
