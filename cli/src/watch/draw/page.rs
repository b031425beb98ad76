//! One run: its steps, and the end of what the chosen one prints.

use super::super::model::Watch;
use super::super::pen::{Pen, Tone};
use super::super::run_page::{Row, RunPage, StepRow};
use super::{elapsed, scrolled};
use crate::graph::Tally;
use crate::text;
use crate::view::words;
use runward_engine::run::StepStatus;

/// Lines of output below the steps.
const TAIL_MAX: usize = 8;

pub fn run(watch: &Watch, now: i64, height: usize, pen: &mut Pen<'_>) {
    let Some(page) = &watch.run else { return pen.line(0, &[(Tone::Dim, "reading the run")]) };
    title(page, now, pen);
    let (tone, standing) = page.standing();
    let head = if height >= 5 { 2 } else { 1 };
    if head == 2 {
        pen.line(1, &[(Tone::State(tone), &standing)]);
    }
    let tail = if height >= 12 { (height / 3).min(TAIL_MAX) } else { 0 };
    let below = if tail > 0 { tail + 1 } else { 0 };
    let room = height.saturating_sub(head + below + 1).max(1);
    let chosen = page.chosen_row().map_or(0, |(at, _)| at);
    let first = scrolled(chosen, page.rows.len(), room);
    let widths = Widths::of(page, pen);
    for (n, row) in page.rows.iter().enumerate().skip(first).take(room) {
        let y = head + n - first;
        match row {
            Row::Finally => pen.line(y, &[(Tone::Dim, " finally, whatever happened")]),
            Row::More(count) => pen.line(y, &[(Tone::Dim, &format!("         {count} more failed items"))]),
            Row::Step(step) => step_line(step, n == chosen, now, y, widths, pen),
        }
    }
    if tail > 0 {
        output(watch, head + room, tail, pen);
    }
}

fn title(page: &RunPage, now: i64, pen: &mut Pen<'_>) {
    let took = match (page.started_at, page.finished_at) {
        (Some(from), None) => elapsed(from, now),
        (from, to) => text::took(from, to),
    };
    let again = if page.generation > 1 { format!("  generation {}", page.generation) } else { String::new() };
    let (tone, short) = (page.status.as_str(), words::short(&page.id.0));
    let (done, all) = (page.progress.done, page.progress.all);
    let status = format!("{} {}", pen.symbol(tone), tone.replace('_', " "));
    // The name gives way: what must be seen stands behind it.
    let left = page.left.as_ref().map(|left| format!("  {left}")).unwrap_or_default();
    let rest = format!("  {short}  {done}/{all} steps  {took}{again}{left}");
    let room = pen.width().saturating_sub(rest.len() + status.len() + 2);
    let name = text::cut(&text::cells(&page.name), room.max(8));
    pen.line(0, &[(Tone::Strong, &name), (Tone::Plain, "  "), (Tone::State(tone), &status), (Tone::Plain, &rest)]);
}

#[derive(Clone, Copy)]
struct Widths {
    name: usize,
}

impl Widths {
    fn of(page: &RunPage, pen: &Pen<'_>) -> Widths {
        use unicode_width::UnicodeWidthStr;
        let widest = page.steps().map(|(_, row)| row.name.width() + indent(row)).max().unwrap_or(0);
        Widths { name: widest.clamp(8, (pen.width() / 3).max(8)) }
    }
}

/// Columns by which an item stands further right than its step.
fn indent(row: &StepRow) -> usize {
    if row.layer.is_none() { 2 } else { 0 }
}

fn step_line(row: &StepRow, chosen: bool, now: i64, y: usize, widths: Widths, pen: &mut Pen<'_>) {
    let status = row.status.as_str();
    let branch = match row.layer {
        Some((at, of)) => pen.look.marks.branch(at, of),
        None => "    ",
    };
    let marker = if chosen { ">" } else { " " };
    let name = pen.fit(&row.name, widths.name - indent(row));
    let took = match (row.status, row.started_at) {
        (StepStatus::Running, Some(from)) => elapsed(from, now),
        (_, from) => text::took(from, row.ended_at),
    };
    let state = format!("{} ", pen.symbol(status));
    let word = format!(" {:<9} {took:>8}  ", status.replace('_', " "));
    pen.line(
        y,
        &[
            (Tone::Plain, marker),
            (Tone::Dim, branch),
            (Tone::Plain, " "),
            (Tone::State(status), &state),
            (Tone::Plain, &name),
            (Tone::State(status), &word),
            (Tone::Plain, &remark(row, now)),
        ],
    );
    if chosen {
        pen.mark(y);
    }
}

/// What else is to be said of a step, the most urgent first.
fn remark(row: &StepRow, now: i64) -> String {
    let mut parts: Vec<String> = Vec::new();
    if let Some(at) = row.retry_at {
        parts.push(format!("again in {}", elapsed(now, at.max(now))));
    }
    parts.extend(row.late.clone());
    parts.extend(row.tally.map(Tally::sentence));
    if row.attempts > 1 || row.retry_at.is_some() {
        parts.push(format!("attempt {} of {}", row.attempts, row.attempts_max.max(row.attempts as u32)));
    }
    parts.extend(row.error.clone());
    parts.join(", ")
}

/// The state of a step in a few words.
pub fn status_of(row: &StepRow, now: i64) -> (&'static str, String) {
    let word = row.status.as_str().replace('_', " ");
    let took = match (row.status, row.started_at) {
        (StepStatus::Running, Some(from)) => elapsed(from, now),
        (_, from) => text::took(from, row.ended_at),
    };
    (row.status.as_str(), format!("{word} {took}").trim_end().to_owned())
}

pub fn output_title(watch: &Watch) -> String {
    match &watch.output.of {
        Some((unit, 1)) => unit.clone(),
        Some((unit, attempt)) => format!("{unit} (attempt {attempt})"),
        None => watch.run.as_ref().and_then(|run| run.chosen_row()).map_or(String::new(), |(_, row)| row.name.clone()),
    }
}

/// The last lines of the chosen step.
fn output(watch: &Watch, y: usize, rows: usize, pen: &mut Pen<'_>) {
    pen.rule(y, &output_title(watch));
    let output = &watch.output;
    let first = output.len().saturating_sub(rows);
    for n in 0..rows {
        if let Some(line) = output.line(first + n) {
            pen.line(y + 1 + n, &[(Tone::Plain, line)]);
        }
    }
    if output.len() == 0 {
        let what = if output.of.is_some() { "nothing was printed" } else { "not started" };
        pen.line(y + 1, &[(Tone::Dim, what)]);
    }
}
