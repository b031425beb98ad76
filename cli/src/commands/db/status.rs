//! `runward db status`: where the ledger is, what is in it, and how much room it takes.

use runward_engine::units::format_size;
use runward_store::outbox::Backlog;
use runward_store::{AdminEntry, AdminEvent, Ledger, Outbox as _, Stats};
use runward_workers::care::sizes::{Sizes, sizes};
use serde_json::json;

use super::super::{print_json, print_line};
use crate::args::Format;
use crate::config::Config;
use crate::failure::Failure;
use crate::open::open_here;
use crate::text;

pub async fn run(config: &Config, format: Format) -> Result<i32, Failure> {
    let opened = open_here(config).await?;
    let stats = opened.ledger.stats().await?;
    let record = opened.ledger.administration().await?;
    let sizes = sizes(&opened.home);
    let letters = opened.ledger.backlog().await?;
    let last = |wanted: fn(&AdminEvent) -> bool| record.iter().rev().find(|entry| wanted(&entry.event));
    let checked = last(|event| matches!(event, AdminEvent::LedgerChecked { .. }));
    let pruned = last(|event| matches!(event, AdminEvent::RunsPruned { .. }));
    let pruned_runs: usize = record.iter().map(|entry| entry.event.pruned().len()).sum();
    match format {
        Format::Json => print_json(&json!({
            "state": opened.home.root(), "ledger": opened.home.ledger(), "bytes": sizes,
            "free_bytes": stats.free_pages * stats.page_bytes, "contents": stats,
            "notifications": letters, "pruned_runs": pruned_runs, "last_check": checked, "last_prune": pruned,
        })),
        Format::Text => {
            let rows = [
                ("ledger", opened.home.ledger().display().to_string()),
                ("schema", stats.schema.to_string()),
                ("runs", runs(&stats, pruned_runs)),
                ("oldest run", stats.oldest.map_or("none".to_owned(), text::time)),
                ("events", stats.events.to_string()),
                ("definitions", definitions(&stats)),
                ("told", told(&letters)),
                ("database", database(&sizes, &stats)),
                ("folders", folders(&sizes)),
                ("last check", checked.map_or("never; `runward db check` looks".to_owned(), check_line)),
                ("last prune", pruned.map_or("never; nothing is removed by itself".to_owned(), prune_line)),
            ];
            rows.iter().for_each(|(name, value)| print_line(&format!("{name:<12} {value}")));
        }
    }
    Ok(0)
}

fn runs(stats: &Stats, pruned: usize) -> String {
    let total: u64 = stats.runs.values().sum();
    let by_status: Vec<String> = stats.runs.iter().map(|(status, n)| format!("{n} {status}")).collect();
    let by_status = if by_status.is_empty() { String::new() } else { format!(": {}", by_status.join(", ")) };
    let pruned = if pruned == 0 { String::new() } else { format!("; {pruned} were pruned") };
    format!("{total}{by_status}{pruned}")
}

fn told(letters: &Backlog) -> String {
    let on_the_way = letters.waiting + letters.unrouted;
    format!("{} on their way, {}", text::count(on_the_way, "notification"), text::count(letters.dead, "dead letter"))
}

fn definitions(stats: &Stats) -> String {
    format!(
        "{}, with {} ({})",
        stats.definitions,
        text::count(stats.blobs, "pinned file"),
        format_size(stats.blob_bytes)
    )
}

fn database(sizes: &Sizes, stats: &Stats) -> String {
    let free = format_size(stats.free_pages * stats.page_bytes);
    format!("{}, {free} of it free; {} in its log (WAL)", format_size(sizes.database), format_size(sizes.wal))
}

fn folders(sizes: &Sizes) -> String {
    format!(
        "{} of runs: output {}, journals {}, files {}, workspaces {}",
        sizes.folders,
        format_size(sizes.logs),
        format_size(sizes.journals),
        format_size(sizes.files),
        format_size(sizes.workspaces)
    )
}

fn check_line(entry: &AdminEntry) -> String {
    let found = match entry.event {
        AdminEvent::LedgerChecked { problems, .. } => text::count(problems, "problem"),
        _ => String::new(),
    };
    format!("{} by {}: {found}", text::time(entry.at), entry.actor)
}

fn prune_line(entry: &AdminEntry) -> String {
    format!("{} by {}", text::time(entry.at), entry.actor)
}
