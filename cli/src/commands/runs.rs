//! `runward runs`: runs, newest first.

use std::collections::BTreeSet;

use runward_engine::run::RolledBack;
use runward_engine::run::group::Permit;
use runward_engine::run::rows::RunRow;
use runward_store::{Fleet, RunQuery};
use unicode_width::UnicodeWidthStr;

use super::{print_json, print_line};
use crate::args::{Format, RunsArgs};
use crate::cluster::Places;
use crate::config::Config;
use crate::drivers::Drivers;
use crate::failure::Failure;
use crate::open::open;
use crate::text;
use crate::view::words::short;

pub async fn run(config: &Config, args: RunsArgs) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let RunsArgs { name, unfinished, limit, all, .. } = args;
    let query = RunQuery { name, unfinished, without_children: !all, limit: Some(limit), ..RunQuery::default() };
    let rows = opened.ledger().runs(&query).await?;
    if args.objectives && !rows.is_empty() {
        return super::trend::show(opened.ledger(), rows, args.format).await;
    }
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
    let drivers = opened.drivers();
    let (members, attended) = match opened.cluster() {
        Some(cluster) => (Some(cluster.members().await?), cluster.ledger.attended().await?),
        None => (None, Vec::new()),
    };
    let places = members.as_ref().map(|members| members.places(&attended)).unwrap_or_default();
    let lines: Vec<[String; 6]> = rows.into_iter().map(|row| cells(&drivers, places.get(&row.id), row)).collect();
    table(&lines, terminal_width()).iter().for_each(|line| print_line(line));
    Ok(0)
}

const HEADER: [&str; 6] = ["RUN", "RUNBOOK", "STATUS", "CREATED", "TOOK", "BY"];
/// In a pipe columns do not move with what is in them.
const WIDTHS: [usize; 5] = [36, 24, 28, 19, 10];
/// More are counted.
const HOSTS_NAMED: usize = 2;
/// A long name pushes the rest aside.
const NAME_WIDTH_MAX: usize = 24;

fn cells(drivers: &Drivers, places: Option<&Places<'_>>, row: RunRow) -> [String; 6] {
    let unattended = row.finished_at.is_none() && !drivers.of(&row.id).is_there();
    let asks = row.waits.as_ref().filter(|_| row.finished_at.is_none());
    let status = match (row.held, unattended) {
        _ if asks.is_some() => format!("{} ({})", row.status, text::safe(asks.map_or("", String::as_str))),
        (true, _) => format!("{} (held)", row.status),
        (false, true) => format!("{} (no driver)", row.status),
        (false, false) if row.permit == Some(Permit::Waits) && row.status == "queued" => "queued (waits)".to_owned(),
        (false, false) if row.rollback != RolledBack::None => format!("{} ({})", row.status, rolled_back(row.rollback)),
        (false, false) => match places {
            Some(places) => format!("{} ({})", row.status, where_it_runs(places)),
            None => row.status,
        },
    };
    let (created, took) = (text::time(row.created_at), text::took(row.started_at, row.finished_at));
    [row.id.0, row.name, status, created, took, row.actor]
}

/// `on db1`, or `db2 unreachable`.
fn where_it_runs(places: &Places<'_>) -> String {
    let some = |hosts: &BTreeSet<&str>| match hosts.len() {
        n if n > HOSTS_NAMED => format!("{n} hosts"),
        _ => text::safe(&hosts.iter().copied().collect::<Vec<_>>().join(", ")),
    };
    match places.unreachable.is_empty() {
        true => format!("on {}", some(&places.heard)),
        false => format!("{} unreachable", some(&places.unreachable)),
    }
}

fn rolled_back(rollback: RolledBack) -> &'static str {
    if rollback == RolledBack::Done { "rolled back" } else { "rollback partial" }
}

/// On a terminal that is too narrow for whole ids: their ends, which every command takes, and no line that wraps.
fn table(rows: &[[String; 6]], terminal: Option<usize>) -> Vec<String> {
    let whole: Vec<String> =
        std::iter::once(HEADER.map(str::to_owned)).chain(rows.iter().cloned()).map(|row| line(&row, WIDTHS)).collect();
    match terminal {
        Some(width) if whole.iter().any(|line| line.width() > width) => narrow(rows, width),
        _ => whole,
    }
}

fn narrow(rows: &[[String; 6]], width: usize) -> Vec<String> {
    let mut rows: Vec<[String; 6]> = std::iter::once(HEADER.map(str::to_owned)).chain(rows.iter().cloned()).collect();
    rows.iter_mut().for_each(|row| row[0] = short(&row[0]).to_owned());
    let mut widths = [0, 1, 2, 3, 4].map(|at| rows.iter().map(|row| row[at].width()).max().unwrap_or(0));
    widths[1] = widths[1].min(NAME_WIDTH_MAX);
    rows.iter().map(|row| text::cut(&line(row, widths), width)).collect()
}

fn line(row: &[String; 6], widths: [usize; 5]) -> String {
    let pad = |at: usize| " ".repeat(widths[at].saturating_sub(row[at].width()));
    let [id, name, status, created, took, by] = row;
    let (a, b, c, d, e) = (pad(0), pad(1), pad(2), pad(3), pad(4));
    format!("{id}{a}  {name}{b} {status}{c} {created}{d}  {e}{took}  {by}")
}

fn terminal_width() -> Option<usize> {
    let out = std::io::stdout();
    terminal_size::terminal_size_of(&out).map(|(width, _)| width.0.into())
}
