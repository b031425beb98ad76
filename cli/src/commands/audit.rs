//! `runward audit verify`: the hash chain of every run, its rows against its events, and the files it is pinned to.

use std::path::PathBuf;

use runward_engine::run::RunId;
use runward_store::anchor::Anchors;
use runward_store::{AdminEntry, LedgerError, RunQuery, check};
use runward_workers::care::anchor::{self, AnchorError, Anchored};
use serde_json::json;

use super::{print_json, print_line};
use crate::args::{AuditCommand, Format};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{find_run, open};
use crate::text;

pub async fn run(config: &Config, command: AuditCommand) -> Result<i32, Failure> {
    let settings = &config.settings;
    match command {
        AuditCommand::Verify { run, anchors, format } => {
            verify(config, run, anchors.or(settings.audit.anchors.clone()), format).await
        }
        AuditCommand::Anchor { file, format } => anchor(config, file.or(settings.audit.anchors.clone()), format).await,
    }
}

/// Notes how far the record has come.
async fn anchor(config: &Config, file: Option<PathBuf>, format: Format) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let Some(file) = file else {
        if let Some(anchor) = anchor::whole(opened.ledger()).await? {
            print_line(&anchor.line());
        }
        return Ok(0);
    };
    let (said, code) = match anchor::append(opened.ledger(), &file).await {
        Ok(anchored) => (anchored, 0),
        Err(AnchorError::Contradicted { what, .. }) => {
            match format {
                Format::Json => print_json(&json!({"file": file, "problems": what})),
                Format::Text => what.iter().for_each(|line| print_line(&text::safe(line))),
            }
            return Ok(1);
        }
        Err(AnchorError::Ledger(error)) => return Err(error.into()),
        Err(error @ AnchorError::File { .. }) => return Err(Failure::usage(error.to_string()).help(FILE_HELP)),
    };
    let number = said.number();
    let runs = if let Anchored::Line { runs, .. } = said { runs } else { 0 };
    match (format, said) {
        (Format::Json, _) => print_json(&json!({"file": file, "anchor": number, "runs": runs, "problems": []})),
        (Format::Text, Anchored::Line { anchor: 1, .. }) => {
            print_line(&format!("anchor 1: the first of this file, with {}", text::count(runs as u64, "run")));
        }
        (Format::Text, Anchored::Line { .. }) => {
            print_line(&format!("anchor {number}: {} went on since the one before", text::count(runs as u64, "run")));
        }
        (Format::Text, Anchored::Nothing { .. }) => print_line(&format!("nothing has gone on since anchor {number}")),
    }
    Ok(code)
}

const FILE_HELP: &str = "name a file that this user may append to: `--file FILE`, or `audit.anchors` in runward.toml";

async fn verify(
    config: &Config,
    run: Option<String>,
    anchors: Option<PathBuf>,
    format: Format,
) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let ledger = opened.ledger();
    let mut rows = ledger.runs(&RunQuery::default()).await?;
    let only = match run {
        Some(run) => Some(find_run(ledger, &run).await?),
        None => None,
    };
    rows.retain(|row| only.as_ref().is_none_or(|id| row.id == *id));
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
            Err(error) if error.is_about_one_run() => bad.push(error.to_string()), // it names the run
            Err(error) => bad.push(format!("run {id}: {error}")),
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
    let anchored = match anchors {
        Some(file) => Some(compared(file, only.as_ref()).await),
        None => None,
    };
    let anchored = match anchored {
        Some(Ok((file, anchors))) => {
            bad.extend(anchors.broken.iter().map(|what| format!("{}: {what}", file.display())));
            bad.extend(anchors.check(ledger).await?);
            Some(json!({"file": file, "anchors": anchors.count(), "runs": anchors.runs()}))
        }
        Some(Err(what)) => {
            bad.push(what);
            None
        }
        None => None,
    };
    bad.extend(damage.into_iter().map(|line| format!("ledger file: {line}")));
    match format {
        Format::Json => {
            print_json(&json!({"runs": ids.len(), "events": events, "problems": bad, "heads": heads, "pruned": pruned,
                               "anchors": anchored}))
        }
        Format::Text => {
            bad.iter().for_each(|line| print_line(line));
            let removed = if pruned.is_empty() {
                String::new()
            } else {
                format!(", {} pruned", text::count(pruned.len() as u64, "run"))
            };
            let compared = anchored
                .as_ref()
                .and_then(|it| it["anchors"].as_u64())
                .map_or(String::new(), |anchors| format!(", compared with {}", text::count(anchors, "anchor")));
            print_line(&format!(
                "{}, {}{removed}{compared}: {}",
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

/// What a file has seen of the record, or of one run.
async fn compared(file: PathBuf, only: Option<&RunId>) -> Result<(PathBuf, Anchors), String> {
    let anchors = anchor::read(&file).await.map_err(|error| {
        format!(
            "the anchors cannot be read: {error}: they were removed, or `runward audit anchor` has never written any"
        )
    })?;
    if anchors.count() == 0 && anchors.broken.is_empty() {
        return Err(format!(
            "there is no anchor in {}: they were taken away, or `runward audit anchor` has never written any",
            file.display()
        ));
    }
    let anchors = match only {
        Some(run) => anchors.of_run(run),
        None => anchors,
    };
    Ok((file, anchors))
}

/// The runs that were removed rightfully, each with the last hash that it had.
fn removed(entry: &AdminEntry) -> Vec<serde_json::Value> {
    let of = |run: &runward_store::PrunedRun| {
        json!({"run": run.id, "name": run.name, "events": run.events, "head": run.head, "pruned_at": entry.at,
               "pruned_by": entry.actor})
    };
    entry.event.pruned().iter().map(of).collect()
}
