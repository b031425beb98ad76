//! `runward db accept`: a person says that steps may start on a database that was promoted or restored, although not every
//! worker has compared its journals with it.

use runward_store::timeline::{Next, Timeline};
use runward_store::{AdminEvent, Fleet, Ledger, PostgresLedger};
use serde_json::json;

use crate::actor::actor;
use crate::args::Format;
use crate::commands::{print_json, print_line};
use crate::config::Config;
use crate::failure::Failure;
use crate::text;

pub async fn run(config: &Config, reason: String, format: Format) -> Result<i32, Failure> {
    let Some(database) = &config.settings.database else {
        return Err(Failure::usage("the ledger is a file in the state folder, which no standby takes the place of")
            .help("this is for a ledger in Postgres: `database.url` or RUNWARD_DATABASE_URL names it"));
    };
    let ledger = PostgresLedger::open(database.whole()).await?;
    let Some(timeline) = ledger.timeline().await? else {
        return Err(Failure::usage(format!("{} is a standby: nothing starts on it anyhow", database.place()))
            .help("name the primary in the database URL"));
    };
    let shut = !timeline.is_open();
    let sessions = ledger.sessions().await?;
    let open: Vec<String> = match timeline.next(None, &sessions, true) {
        Next::WaitFor(missing) => {
            missing.iter().map(|it| format!("{} has not compared its journals", it.new.host)).collect()
        }
        Next::AskAbout(strange) => strange
            .iter()
            .map(|it| format!("{} has started {} in runs that nothing can pause", it.host, steps(it.unheld)))
            .collect(),
        _ => Vec::new(),
    };
    if shut {
        let accepted = AdminEvent::TimelineAccepted { timeline: timeline.current.clone(), reason: Some(reason) };
        ledger.administer(accepted, &actor()).await?;
    }
    match format {
        Format::Json => print_json(&json!({"timeline": timeline.current, "accepted": shut, "open": open})),
        Format::Text => print_line(&said(&timeline, shut, &open)),
    }
    Ok(0)
}

fn said(timeline: &Timeline, shut: bool, open: &[String]) -> String {
    let Timeline { current, .. } = timeline;
    if !shut {
        return format!("timeline {current} is the one on which the ledger was left: there is nothing to accept");
    }
    let risk: String = open.iter().map(|why| format!("\n  not known: {}", text::safe(why))).collect();
    format!("accepted timeline {current}: steps start again{risk}")
}

fn steps(count: u64) -> String {
    text::count(count, "step")
}
