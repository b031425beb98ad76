//! A [`Watch`] as cells. Pure: the same data at the same time is the same picture.

mod list;
mod page;

use ratatui::buffer::Buffer;

use super::model::{Place, Watch};
pub use super::pen::Look;
use super::pen::{Pen, Tone};

const LEAVING: &str = "leaving never touches the run";

/// `now` in epoch milliseconds.
pub fn draw(watch: &Watch, now: i64, look: Look, buffer: &mut Buffer) {
    let mut pen = Pen::new(buffer, look);
    let height = usize::from(pen.area().height);
    if height == 0 {
        return;
    }
    match watch.place {
        _ if watch.help => help(&mut pen),
        Place::Runs => list::list(watch, now, height, &mut pen),
        Place::Run => page::run(watch, now, height, &mut pen),
        Place::Log => log(watch, now, height, &mut pen),
    }
    if height > 1 {
        footer(watch, height - 1, &mut pen);
    }
}

/// Rows of output on the screen of a log.
pub fn log_rows(height: u16) -> usize {
    usize::from(height).saturating_sub(2).max(1)
}

fn footer(watch: &Watch, y: usize, pen: &mut Pen<'_>) {
    if let Some(question) = &watch.ask {
        let what = match question.force {
            false => format!("cancel {}? its steps are ended, `finally` runs", question.name),
            true => format!("end {} at once? KILL without grace, `finally` too", question.name),
        };
        return pen.line(y, &[(Tone::State("held"), &format!("{what}  y/n"))]);
    }
    let said = watch.trouble.as_ref().or(watch.note.as_ref());
    if let Some(said) = said {
        return pen.line(y, &[(Tone::State("held"), said)]);
    }
    let keys = match watch.place {
        _ if watch.help => "any key: back",
        Place::Runs => "Enter open  c cancel  r resume  ? help  q quit",
        Place::Run if watch.alone => "Enter log  c cancel  r resume  ? help  q quit",
        Place::Run => "Enter log  c cancel  r resume  ? help  q back",
        Place::Log => "arrows scroll  f follow  c cancel  ? help  q back",
    };
    pen.line(y, &[(Tone::Dim, keys), (Tone::Dim, "  "), (Tone::Dim, LEAVING)]);
}

const HELP: [(&str, &str); 13] = [
    ("up down j k", "move; PgUp PgDn, Home End and g G as well"),
    ("Enter l", "open the run; follow the log of the step"),
    ("f", "a run: stay with what runs; a log: stay at its end"),
    ("left right", "a log: its long lines"),
    ("c", "cancel, after a question; again: end it at once"),
    ("r", "the command that carries a run on"),
    ("Esc q", "back, and out"),
    ("Ctrl-C", "out, from anywhere"),
    ("Ctrl-Z", "suspend; `fg` comes back"),
    ("", ""),
    ("", "This screen only looks: leaving it, closing the terminal or"),
    ("", "killing it changes no run. What is shown is in the ledger and"),
    ("", "the logs: runward show, runward logs."),
];

fn help(pen: &mut Pen<'_>) {
    pen.line(0, &[(Tone::Strong, "runward watch: keys")]);
    for (n, (keys, what)) in HELP.iter().enumerate() {
        let keys = pen.fit(keys, 14);
        pen.line(n + 2, &[(Tone::Strong, &keys), (Tone::Plain, what)]);
    }
}

/// The output of one attempt, on the whole screen.
fn log(watch: &Watch, now: i64, height: usize, pen: &mut Pen<'_>) {
    let rows = log_rows(height as u16);
    let first = watch.scroll.first(watch.output.len(), rows);
    let of = page::output_title(watch);
    let at = match watch.scroll.follow {
        true => "following".to_owned(),
        false => format!("line {} of {}", (first + 1).min(watch.output.len()), watch.output.len()),
    };
    let status = watch.run.as_ref().and_then(|run| run.chosen_row()).map(|(_, row)| page::status_of(row, now));
    let (state, words) = status.unwrap_or(("pending", String::new()));
    let symbol = format!("{} ", pen.symbol(state));
    pen.line(
        0,
        &[
            (Tone::State(state), &symbol),
            (Tone::Strong, &of),
            (Tone::State(state), &format!("  {words}")),
            (Tone::Dim, &format!("  {at}")),
        ],
    );
    for n in 0..rows {
        if let Some(line) = watch.output.line(first + n) {
            let line = crate::text::from_column(&crate::text::cells(line), watch.scroll.left);
            pen.line(n + 1, &[(Tone::Plain, &line)]);
        }
    }
    if watch.output.len() == 0 {
        pen.line(1, &[(Tone::Dim, "nothing was printed")]);
    }
}

/// Whole seconds while something goes on, so that the picture changes once a second.
fn elapsed(from: i64, now: i64) -> String {
    match now.saturating_sub(from).max(0) / 1000 {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => crate::text::took(Some(0), Some(seconds * 1000)),
    }
}

/// How long ago, in one unit.
fn age(from: i64, now: i64) -> String {
    match now.saturating_sub(from).max(0) / 1000 {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// The first row shown, so that the chosen one is seen with some of what stands around it.
fn scrolled(chosen: usize, count: usize, room: usize) -> usize {
    let around = room / 3;
    (chosen + around + 1).saturating_sub(room).min(count.saturating_sub(room)).min(chosen)
}
