//! The list of runs.

use super::super::model::{About, RunLine, Watch};
use super::super::pen::{Pen, Tone};
use super::{age, elapsed, scrolled};
use crate::text;

pub fn list(watch: &Watch, now: i64, height: usize, pen: &mut Pen<'_>) {
    let lines = &watch.runs.lines;
    let open = lines.iter().filter(|line| line.row.finished_at.is_none()).count();
    pen.line(
        0,
        &[(Tone::Strong, "runward watch"), (Tone::Plain, &format!("  {open} of {} shown are unfinished", lines.len()))],
    );
    if lines.is_empty() {
        let what = if watch.runs.read { "no runs yet: runward run RUNBOOK" } else { "reading the ledger" };
        return pen.line(1, &[(Tone::Dim, what)]);
    }
    // The heads of the columns, and two lines about the chosen run, where there is room.
    let (top, about) = if height >= 10 { (2, 3) } else { (1, 0) };
    if top == 2 {
        let name = pen.fit("RUNBOOK", name_width(pen));
        let heads = format!("   {:<10} {name} {:>9} {:>9} {:>4}", "STATE", "STEPS", "TOOK", "AGE");
        pen.line(1, &[(Tone::Dim, &heads)]);
    }
    let room = height.saturating_sub(top + about + 1).max(1);
    let chosen = watch.runs.chosen_index();
    let first = scrolled(chosen, lines.len(), room);
    for (n, line) in lines.iter().enumerate().skip(first).take(room) {
        run_line(line, n == chosen, now, n - first + top, pen);
    }
    if about > 0
        && let Some(line) = watch.runs.chosen_line()
    {
        chosen_run(line, height - 4, pen);
    }
}

fn run_line(line: &RunLine, chosen: bool, now: i64, y: usize, pen: &mut Pen<'_>) {
    let row = &line.row;
    let name = pen.fit(&row.name, name_width(pen));
    let progress = match &line.about {
        About::Read(about) => format!("{}/{}", about.progress.done, about.progress.all),
        About::Unread | About::Unreadable => String::new(),
    };
    let took = match (row.started_at.unwrap_or(row.created_at), row.finished_at) {
        (from, None) => elapsed(from, now),
        (from, Some(to)) => text::took(Some(from), Some(to)),
    };
    let marker = if chosen { ">" } else { " " };
    let start = format!("{marker}{} {:<10}", pen.symbol(line.tone()), line.word());
    let numbers = format!(" {progress:>9} {took:>9} {:>4}  ", age(row.created_at, now));
    pen.line(
        y,
        &[
            (Tone::State(line.tone()), &start),
            (Tone::Plain, " "),
            (Tone::Plain, &name),
            (Tone::Plain, &numbers),
            (Tone::State(line.tone()), &line.remark()),
        ],
    );
    if chosen {
        pen.mark(y);
    }
}

fn name_width(pen: &Pen<'_>) -> usize {
    (pen.width() * 3 / 10).clamp(10, 40)
}

fn chosen_run(line: &RunLine, y: usize, pen: &mut Pen<'_>) {
    let row = &line.row;
    pen.rule(y, &row.id.0);
    let again = if row.generation > 1 { format!(", generation {}", row.generation) } else { String::new() };
    pen.line(y + 1, &[(Tone::Plain, &format!("by {} through {}{again}", row.actor, row.trigger))]);
    let params: Vec<String> = row.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pen.line(y + 2, &[(Tone::Plain, &format!("created {}  {}", text::time(row.created_at), params.join(" ")))]);
}
