//! `runward notify`: what people were told and what is on its way, dead letters, and whether a channel works.

mod deliver;
mod list;
mod retry;
mod test;

use runward_store::outbox::NoticeRow;

use crate::args::NotifyCommand;
use crate::config::Config;
use crate::failure::Failure;

pub async fn run(config: &Config, command: NotifyCommand) -> Result<i32, Failure> {
    match command {
        NotifyCommand::List(args) => list::run(config, args).await,
        NotifyCommand::Deliver { format } => deliver::run(config, format).await,
        NotifyCommand::Retry(args) => retry::run(config, args).await,
        NotifyCommand::Test { channel, format } => test::run(config, &channel, format).await,
    }
}

/// The end of an id that tells it from others: run, number and event.
fn short(id: &str) -> &str {
    id.rmatch_indices('-').nth(2).map_or(id, |(at, _)| &id[at + 1..])
}

/// The notices that somebody means by an id or its end.
fn named<'a>(rows: &'a [NoticeRow], id: &str) -> Vec<&'a NoticeRow> {
    if let Some(exact) = rows.iter().find(|row| row.notice.id == id) {
        return vec![exact];
    }
    rows.iter().filter(|row| row.notice.id.ends_with(&format!("-{id}"))).collect()
}
