//! `runward workers`: who is there in the cluster, what each can do, and what it does now.

use std::collections::BTreeMap;
use std::time::Duration;

use runward_engine::run::SessionId;
use runward_engine::units::format_duration;
use runward_store::Fleet;
use runward_store::fleet::{Session, SessionEnd};
use serde_json::json;

use super::{print_json, print_line};
use crate::args::{Format, WorkersArgs};
use crate::cluster::Members;
use crate::columns;
use crate::config::Config;
use crate::failure::Failure;
use crate::open::open;
use crate::text;

pub async fn run(config: &Config, args: WorkersArgs) -> Result<i32, Failure> {
    let opened = open(config).await?;
    let Some(cluster) = opened.cluster() else {
        let message =
            "there are no workers: the ledger is in the state folder, and each run is driven by its own process";
        return Err(Failure::usage(message)
            .help("workers belong to a cluster: RUNWARD_DATABASE_URL, or `database.url` in runward.toml, says which"));
    };
    let running = running(&*cluster.ledger).await?;
    let members = cluster.members().await?;
    match args.format {
        Format::Json => {
            print_json(&members.sessions.iter().map(|it| as_json(&members, it, &running)).collect::<Vec<_>>())
        }
        Format::Text if members.sessions.is_empty() => {
            print_line("no worker is there; `runward worker`, on any host of the cluster, is one");
        }
        Format::Text => {
            // Who has nothing left to do with it is of interest to nobody at night.
            let gone = |it: &&Session| {
                let over = ["left", "replaced", "gone"].contains(&state(&members, it));
                over && !running.contains_key(&it.new.id) && !args.all
            };
            let (gone, shown): (Vec<&Session>, Vec<&Session>) = members.sessions.iter().partition(gone);
            if shown.is_empty() {
                print_line("no worker is there; `runward worker`, on any host of the cluster, is one");
            } else {
                let rows = shown.into_iter().map(|session| cells(&members, session, &running));
                let rows: Vec<_> = std::iter::once(HEADER.map(str::to_owned)).chain(rows).collect();
                columns::lines(&rows, columns::terminal_width()).iter().for_each(|line| print_line(line));
            }
            if !gone.is_empty() {
                print_line(&format!("and {} not there any more, since yesterday (--all)", gone.len()));
            }
        }
    }
    Ok(0)
}

/// Attempts by the session that waits for their end.
async fn running(fleet: &dyn Fleet) -> Result<BTreeMap<SessionId, u64>, Failure> {
    let mut running = BTreeMap::new();
    for attended in fleet.attended().await? {
        *running.entry(attended.watched_by).or_default() += 1;
    }
    Ok(running)
}

fn as_json(members: &Members, session: &Session, running: &BTreeMap<SessionId, u64>) -> serde_json::Value {
    let mut all = serde_json::to_value(session).expect("what is printed is plain data: its JSON cannot fail");
    let silent_ms = members.silence(session).as_millis() as u64;
    let more = json!({"running": running.get(&session.new.id).unwrap_or(&0), "state": state(members, session),
                      "silent_ms": silent_ms});
    if let (Some(all), serde_json::Value::Object(more)) = (all.as_object_mut(), more) {
        all.extend(more);
    }
    all
}

/// In one word.
fn state(members: &Members, session: &Session) -> &'static str {
    match session.end {
        Some(SessionEnd::Left) => "left",
        _ if members.is_replaced(session) => "replaced",
        Some(SessionEnd::Silent) => "gone",
        None if !members.is_there(session) => "silent",
        None if session.draining => "draining",
        None => "there",
    }
}

const HEADER: [&str; 6] = ["HOST", "LABELS", "RUNNING", "SINCE", "HEARD", "STATE"];

fn cells(members: &Members, session: &Session, running: &BTreeMap<SessionId, u64>) -> [String; 6] {
    let steps = *running.get(&session.new.id).unwrap_or(&0);
    let labels = match (session.new.concurrency, &session.new.labels[..]) {
        (0, _) => "(server)".to_owned(),
        (_, []) => "-".to_owned(),
        (_, labels) => labels.join(","),
    };
    let busy = match session.new.concurrency {
        0 => "-".to_owned(),
        most => format!("{steps} of {most}"),
    };
    let heard = Duration::from_secs(members.silence(session).as_secs());
    let heard = if heard.as_secs() < 60 {
        format!("{} s ago", heard.as_secs())
    } else {
        format!("{} ago", format_duration(heard))
    };
    let state = state(members, session);
    let state = match (state, steps) {
        ("there", _) if session.new.concurrency == 0 => "there: timers, permits, lost steps".to_owned(),
        ("there", _) => "there: takes steps".to_owned(),
        ("draining", 0) => "draining: takes nothing new".to_owned(),
        ("draining", n) => format!("draining: ends {}", text::count(n, "step")),
        ("silent" | "gone", n @ 1..) => format!("{state}: nobody knows what became of {}", text::count(n, "step")),
        _ => state.to_owned(),
    };
    let host = format!("{} ({})", text::safe(&session.new.host), session.new.pid);
    [host, text::safe(&labels), busy, text::time(session.joined_at), heard, state]
}
