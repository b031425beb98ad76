//! `runward notify list`: notifications and how far each has come.

use runward_store::outbox::{DeliveryState, NoticeQuery, NoticeRow, Unrouted};

use super::short;
use crate::args::{Format, NotifyListArgs};
use crate::commands::{print_json, print_line};
use crate::config::Config;
use crate::failure::Failure;
use crate::open::{find_run, open};
use crate::{columns, letters, text};

pub async fn run(config: &Config, args: NotifyListArgs) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let run = match &args.run {
        Some(run) => Some(find_run(opened.ledger(), run).await?),
        None => None,
    };
    let state = match (args.dead, args.waiting) {
        (true, _) => Some(DeliveryState::Dead),
        (_, true) => Some(DeliveryState::Waiting),
        _ => None,
    };
    let rows = opened.outbox().notices(&NoticeQuery { run, state, limit: Some(args.limit) }).await?;
    if args.format == Format::Json {
        print_json(&rows);
        return Ok(0);
    }
    if rows.is_empty() {
        print_line(match state {
            Some(DeliveryState::Dead) => "no dead letters",
            Some(_) => "nothing is on its way",
            None => "no notifications; runs that fail or wait for people make them, and `notify` steps",
        });
        return Ok(0);
    }
    let header = ["ID", "WHEN", "EVENT", "RUNBOOK", "TOLD"].map(str::to_owned);
    let cells: Vec<[String; 5]> = std::iter::once(header).chain(rows.iter().map(cells)).collect();
    columns::lines(&cells, columns::terminal_width()).iter().for_each(|line| print_line(line));
    Ok(0)
}

fn cells(row: &NoticeRow) -> [String; 5] {
    let notice = &row.notice;
    let event = format!("{} {}", notice.severity.as_str(), notice.kind.as_str());
    let step = notice.step.as_ref().map(|step| format!("/{step}")).unwrap_or_default();
    let told = match (row.unrouted, row.nowhere) {
        (true, _) => "nobody yet".to_owned(),
        (_, Some(Unrouted::NoRoute)) => "nobody: no route of the configuration is for it".to_owned(),
        (_, Some(Unrouted::TooOld)) => "nobody: a day passed before anybody could be".to_owned(),
        _ => row.deliveries.iter().map(letters::progress).collect::<Vec<_>>().join("; "),
    };
    [
        text::safe(short(&notice.id)),
        text::time(notice.at),
        event,
        text::safe(&format!("{}{step}", notice.runbook)),
        told,
    ]
}
