//! A run as a page of Markdown: the step summary of a CI job.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use runward_engine::run::rows::units;
use runward_engine::run::{RunState, StepStatus, Unit, Verdict};

use super::{objectives, plain, words};
use crate::drivers::Drivers;
use crate::graph::Tally;
use crate::text;

/// GitHub refuses the whole summary of a step beyond this, in bytes.
const SUMMARY_BYTES_MAX: u64 = 1024 * 1024;
/// Kept free for the lines after the table.
const AFTER_BYTES: usize = 1024;
/// Of an error message, in characters.
const ERROR_CHARS_MAX: usize = 500;

/// Appends to a summary that others may have begun.
pub fn append(path: &Path, state: &RunState, verdict: Verdict, drivers: &Drivers) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let room = SUMMARY_BYTES_MAX.saturating_sub(file.metadata()?.len());
    let page = page(state, verdict, drivers, usize::try_from(room).unwrap_or(usize::MAX));
    if page.len() as u64 > room {
        return Err(std::io::Error::other("it has reached the 1 MiB that GitHub takes"));
    }
    file.write_all(page.as_bytes())
}

fn page(state: &RunState, verdict: Verdict, drivers: &Drivers, room: usize) -> String {
    let took = text::took(state.started_at.or(Some(state.created_at)), state.finished_at);
    let after = if took.is_empty() { String::new() } else { format!(" after {took}") };
    let symbol = words::symbol(plain::symbol_of(verdict));
    let mut page = format!("### {symbol} {} {}{after}\n\n", literal(&state.name), words::ended(state, verdict));
    let _ = writeln!(page, "| step | state | attempts | duration | |\n|---|---|---:|---:|---|");
    let all: Vec<Unit> = units(state).collect();
    let mut left_out = 0;
    for unit in &all {
        let row = row(state, *unit);
        if page.len() + row.len() + AFTER_BYTES > room {
            left_out += 1;
        } else {
            page += &row;
        }
    }
    if left_out > 0 {
        let _ = writeln!(page, "\n{left_out} of {} rows are left out: a summary has at most 1 MiB.", all.len());
    }
    let _ = writeln!(page, "\nRun `{}`, exit code {}.", state.id, verdict.exit_code());
    if state.finished_at.is_some() {
        objectives::lines(state).iter().for_each(|line| {
            let _ = writeln!(page, "\n{}", literal(line));
        });
    }
    if verdict != Verdict::Succeeded {
        let _ = writeln!(page, "Next: {}.", literal(&plain::advice(state, verdict, drivers)));
    }
    page.push('\n');
    page
}

fn row(state: &RunState, unit: Unit) -> String {
    let Some(found) = state.unit(unit) else { return String::new() };
    let status = found.status.as_str();
    let attempts = match (found.attempts.len(), unit.item) {
        (0, _) => String::new(),
        (n, _) => n.to_string(),
    };
    let items = || plain::tally(state, unit).map(Tally::sentence).unwrap_or_default();
    let probed = || plain::probed(state, unit).map(str::to_owned);
    let mut about: String =
        found.error.clone().or_else(probed).unwrap_or_else(items).chars().take(ERROR_CHARS_MAX).collect();
    if plain::is_allowed(state, unit) {
        about += " ";
        about += words::ALLOWED;
    }
    let shown = match found.status {
        StepStatus::Pending => "not started".to_owned(),
        _ => status.replace('_', " "),
    };
    format!(
        "| {} | {} {shown} | {attempts} | {} | {} |\n",
        literal(&(state.unit_name(unit) + &words::item(state, unit))),
        words::symbol(status),
        text::took(found.started_at, found.ended_at),
        literal(about.trim())
    )
}

/// Text that Markdown and HTML leave as it is, in one line.
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.split(['\n', '\r']).map(text::safe).collect::<Vec<_>>().join(" ").chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // `@name` would notify somebody, `#12` link to something.
            '@' => out.push_str("&#64;"),
            '#' => out.push_str("&#35;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '!' | '|' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::literal;

    #[test]
    fn a_value_is_text_and_nothing_else() {
        assert_eq!(literal("a|b\n<img src=x> `x` [y](z)"), "a\\|b &lt;img src=x&gt; \\`x\\` \\[y\\]\\(z\\)");
        assert_eq!(literal("@team 备份 #12"), "&#64;team 备份 &#35;12");
    }
}
