//! `runward schedules`: all of them, with when they are due next and how the last tick ended.

use crate::args::Format;
use crate::columns;
use crate::commands::{print_json, print_line};
use crate::config::Config;
use crate::failure::Failure;
use crate::schedules::{Facts, Known};
use crate::text;

pub async fn run(config: &Config, format: Format) -> Result<i32, Failure> {
    let facts = Facts::gather(config).await?;
    if format == Format::Json {
        print_json(&facts.known.iter().map(|known| facts.json(known)).collect::<Vec<_>>());
        return Ok(0);
    }
    if facts.known.is_empty() {
        facts.unreadable.iter().for_each(|why| print_line(&format!("! {why}")));
        print_line("no schedules; a runbook has them under `on: {schedule: [...]}`, and `runward server` fires them");
        return Ok(0);
    }
    let header = ["SCHEDULE", "NEXT", "LAST", "WHEN"].map(str::to_owned);
    let rows: Vec<[String; 4]> =
        std::iter::once(header).chain(facts.known.iter().map(|known| cells(&facts, known))).collect();
    columns::lines(&rows, columns::terminal_width()).iter().for_each(|line| print_line(line));
    remarks(&facts).iter().for_each(|line| print_line(line));
    Ok(0)
}

/// Of the last tick no more than this, in characters: `show` has it all.
const LAST_CHARS_MAX: usize = 44;

fn cells(facts: &Facts, known: &Known) -> [String; 4] {
    let next = known.next(facts.now, 1).pop().map(|(_, due)| text::time(due));
    let next = match facts.state(known) {
        "fires" => next.unwrap_or_else(|| "never".to_owned()),
        "new" => "-".to_owned(),
        state => state.to_owned(),
    };
    let last = known.taken_up.as_ref().and_then(|it| it.last.as_ref());
    let last = last.map_or_else(|| "-".to_owned(), |row| facts.came_to(&row.outcome));
    let short: String = last.chars().take(LAST_CHARS_MAX).collect();
    let last = if short.len() < last.len() { format!("{short}…") } else { last };
    [text::safe(&known.name), next, last, known.when()]
}

/// What is to be said about all of them, then about one after the other.
fn remarks(facts: &Facts) -> Vec<String> {
    let mut all = Vec::new();
    if facts.servers.none() {
        all.push("! no server is there: nothing is fired; `runward server` fires them".to_owned());
    }
    all.extend(facts.unreadable.iter().map(|why| format!("! {why}")));
    all.extend(facts.known.iter().flat_map(|known| facts.remarks(known)).map(|remark| format!("! {remark}")));
    all
}
