//! `runward schedules show NAME`: what one schedule says, when it is due next, and what became of its last ticks.

use std::time::Duration;

use runward_engine::schedule::entry::Missed;
use runward_engine::units::format_duration;
use serde_json::json;

use crate::args::{Format, ScheduleArgs};
use crate::columns;
use crate::commands::{print_json, print_line};
use crate::config::Config;
use crate::failure::Failure;
use crate::schedules::{Facts, Known, next_json};
use crate::text;

/// So many ticks ahead.
const AHEAD: usize = 5;

pub async fn run(config: &Config, args: &ScheduleArgs) -> Result<i32, Failure> {
    let facts = Facts::gather(config).await?;
    let known = facts.named(&args.schedule)?;
    let ticks = facts.opened.timetable().ticks(Some(&args.schedule), args.limit).await?;
    if args.format == Format::Json {
        let definitions: Vec<_> = known.iter().map(|it| definition(&facts, it)).collect();
        let ticks: Vec<_> = ticks.iter().map(|row| facts.tick_json(row)).collect();
        print_json(&json!({"schedule": args.schedule, "definitions": definitions, "ticks": ticks}));
        return Ok(0);
    }
    known.iter().for_each(|it| page(&facts, it));
    print_line("");
    match ticks.is_empty() {
        true => print_line("no tick of it has come yet"),
        false => {
            let rows: Vec<[String; 3]> = ticks
                .iter()
                .map(|row| [row.tick.key(), text::time(row.decided_at), facts.came_to(&row.outcome)])
                .collect();
            let header = ["TICK", "DECIDED", "CAME TO"].map(str::to_owned);
            let rows: Vec<[String; 3]> = std::iter::once(header).chain(rows).collect();
            columns::lines(&rows, columns::terminal_width()).iter().for_each(|line| print_line(line));
        }
    }
    let remarks = known.iter().flat_map(|it| facts.remarks(it));
    remarks.for_each(|remark| print_line(&format!("! {remark}")));
    Ok(0)
}

fn definition(facts: &Facts, known: &Known) -> serde_json::Value {
    let mut all = facts.json(known);
    let ahead: Vec<_> = known.next(facts.now, AHEAD).iter().map(|(tick, due)| next_json(tick, *due)).collect();
    all["ahead"] = ahead.into();
    all
}

fn page(facts: &Facts, known: &Known) {
    let schedule = &known.schedule;
    let says = |what: &str, text: &str| print_line(&format!("{what:<11} {text}"));
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    says("schedule", &known.name);
    says("when", &format!("{} (`{}`)", known.when(), schedule.cron));
    if schedule.jitter_ms > 0 {
        let late = Duration::from_millis(schedule.offset(&known.name).unsigned_abs());
        let most = Duration::from_millis(schedule.jitter_ms.unsigned_abs());
        says("jitter", &format!("always {} later, of at most {}", format_duration(late), format_duration(most)));
    }
    let within = format_duration(Duration::from_millis(schedule.within_ms.unsigned_abs()));
    let missed = word(json!(schedule.missed));
    says("missed", &if schedule.missed == Missed::None { missed } else { format!("{missed}, within {within}") });
    says("overlap", &word(json!(schedule.overlap)));
    if !schedule.with.is_empty() {
        says("with", &schedule.with.keys().cloned().collect::<Vec<_>>().join(", "));
    }
    says("state", facts.state(known));
    for post in known.taken_up.iter().flat_map(|it| &it.posts) {
        let there = if facts.servers.hears(&post.home) { "there" } else { "not there" };
        says("server", &format!("{}, {there}, has it since {}", post.host, text::time(post.at)));
    }
    for (n, (tick, due)) in known.next(facts.now, AHEAD).into_iter().enumerate() {
        says(if n == 0 { "next" } else { "" }, &format!("{}  {}", text::time(due), tick.key()));
    }
}
