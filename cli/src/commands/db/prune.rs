//! `runward db prune`: removes runs that are over, by age, by number, or by both. Never one that lives.

use std::time::Duration;

use runward_engine::retention::Retention;
use runward_engine::units::{format_duration, format_size};
use runward_store::{LedgerError, SqliteLedger};
use runward_workers::care::prune::{Pruner, Pruning};
use serde_json::json;

use super::super::{print_json, print_line};
use crate::actor::actor;
use crate::args::{Format, PruneArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{Opened, Place, open};
use crate::text;

pub async fn run(config: &Config, args: PruneArgs) -> Result<i32, Failure> {
    let configured = &config.settings.retention;
    let (older_than, keep) = (args.older_than.or(configured.older_than), args.keep.or(configured.keep));
    if older_than.is_none() && keep.is_none() {
        return Err(Failure::usage("nothing says which runs may go").help(
            "for example `runward db prune --older-than 90d --keep 20`: with both, a run goes only if both let it; \
             or set [retention] in runward.toml",
        ));
    }
    let opened = open(config).await?;
    let rule = Retention::new(older_than, keep);
    let pruner = Pruner { home: opened.home(), ledger: opened.ledger(), actor: actor(), only_look: args.dry_run };
    let mut done = pruner.prune(rule, now(&opened).await?).await?;
    let given_back = match &opened.place {
        Place::Here(here) if !args.dry_run && (!done.pruned.is_empty() || done.ticks > 0) => {
            reclaim(&here.ledger, &mut done).await
        }
        _ => 0,
    };
    match args.format {
        Format::Json => {
            print_json(&json!({"dry_run": args.dry_run, "rule": rule, "ledger_bytes": given_back, "pruning": done}))
        }
        Format::Text => {
            print_line(&format!("rule: {}", words(rule)));
            show(&done, args.dry_run);
            print_line(&sum(&done, args.dry_run, opened.home().map(|_| given_back)));
        }
    }
    Ok(i32::from(!done.problems.is_empty()))
}

/// By the clock that the runs ended by.
async fn now(opened: &Opened) -> Result<i64, LedgerError> {
    match opened.cluster() {
        Some(cluster) => cluster.ledger.now().await,
        None => Ok(chrono::Utc::now().timestamp_millis()),
    }
}

fn words(rule: Retention) -> String {
    let older =
        rule.older_than_ms.map(|ms| format!("ended more than {} ago", format_duration(Duration::from_millis(ms))));
    let keep = rule.keep.map(|keep| format!("not among the newest {keep} of its runbook"));
    [older, keep].into_iter().flatten().collect::<Vec<_>>().join(", and ")
}

/// The runs are gone by now: a file that cannot be made smaller is a problem of its own.
async fn reclaim(ledger: &SqliteLedger, done: &mut Pruning) -> u64 {
    ledger.reclaim().await.unwrap_or_else(|error| {
        let then = "the runs are removed; the next pruning tries again";
        done.problems.push(format!("the file of the ledger could not be made smaller: {error} ({then})"));
        0
    })
}

fn show(done: &Pruning, dry_run: bool) {
    if dry_run {
        for run in &done.pruned {
            let ended = run.finished_at.map(text::time).unwrap_or_default();
            print_line(&format!("would prune {}  {:<24} {:<10} ended {ended}", run.id.0, run.name, run.status));
        }
    }
    for kept in &done.kept {
        print_line(&format!("kept {}  {}: {}", kept.run.0, kept.name, kept.why));
    }
    for problem in &done.problems {
        print_line(&format!("problem: {problem}"));
    }
    if !done.finished.is_empty() {
        let verb = if dry_run { "would be removed" } else { "removed" };
        let left = text::count(done.finished.len() as u64, "folder");
        print_line(&format!("{left} of an earlier, interrupted pruning {verb}"));
    }
}

/// `given_back`: by the file of the ledger, in bytes; `None` in a cluster.
fn sum(done: &Pruning, dry_run: bool, given_back: Option<u64>) -> String {
    let events: u64 = done.pruned.iter().map(|run| run.events).sum();
    let (runs, events) = (text::count(done.pruned.len() as u64, "run"), text::count(events, "event"));
    let events = match done.ticks {
        0 => events,
        ticks => format!("{events}, and {} of schedules", text::count(ticks, "tick")),
    };
    let folders = format_size(done.folder_bytes);
    match given_back {
        Some(_) if dry_run => {
            format!("would prune {runs} with {events}, and {folders} of folders; nothing was changed")
        }
        Some(ledger) => {
            let ledger = format_size(ledger);
            format!("pruned {runs} with {events}; given back: {folders} of folders, {ledger} of the ledger")
        }
        None if dry_run => format!("would prune {runs} with {events}; nothing was changed"),
        None => format!(
            "pruned {runs} with {events}; the server reuses the room, and each worker removes its folders within the hour"
        ),
    }
}
