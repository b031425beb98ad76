//! The live picture on a terminal: every step with its state, how long it took, and the last line of those that run.
//!
//! A frame is drawn over the one before it in one write; it never has more lines than the terminal, and each line is
//! cut to its width as the terminal counts it, so that nothing wraps and nothing flickers.

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use runward_engine::run::rows::units;
use runward_engine::run::{Event, Outcome, Recorded, RunState, StepStatus, Unit, Verdict};
use unicode_width::UnicodeWidthChar;

use super::plain::{self, symbol_of};
use super::tail::Tails;
use super::words;
use crate::text;

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const NAME_WIDTH: usize = 24;
const COPY_EVERY: Duration = Duration::from_millis(60);

pub struct Live {
    colour: bool,
    pub footer: &'static str,
    /// A copy, not older than [`COPY_EVERY`] and the driver's next look: copying a long run at every step would slow it.
    state: Option<RunState>,
    copied: Instant,
    drawn: usize,
    frame: usize,
}

impl Live {
    pub fn new() -> Live {
        Live {
            colour: std::env::var_os("NO_COLOR").is_none(),
            footer: "Ctrl-C cancels, d leaves it running",
            state: None,
            copied: Instant::now(),
            drawn: 0,
            frame: 0,
        }
    }

    pub fn begin(&mut self, state: &RunState) {
        self.state = Some(state.clone());
    }

    pub fn changed(&mut self, state: &RunState, news: &[Recorded], tails: &mut Tails) {
        for recorded in news {
            match &recorded.event {
                Event::AttemptClaimed { unit, claim, .. } => tails.add(state, claim, unit.clone(), recorded.at),
                Event::AttemptSettled { claim, .. }
                | Event::AttemptLost { claim, .. }
                | Event::AttemptVoided { claim, .. } => {
                    let Some(mut tail) = tails.take(claim) else { continue };
                    let fine = matches!(recorded.event, Event::AttemptSettled { outcome: Outcome::Succeeded, .. });
                    if !fine {
                        tail.lines(true, |_| {});
                        let mut above: Vec<String> =
                            tail.last.iter().map(|line| format!("{} │ {line}", tail.unit)).collect();
                        above.push(plain::sentence(state, recorded, Some(tail.since)));
                        self.print_above(&above);
                    }
                }
                Event::CancelRequested { .. } => self.print_above(&[format!("! cancelled by {}", recorded.actor)]),
                _ => {}
            }
        }
        if self.copied.elapsed() >= COPY_EVERY {
            self.state = Some(state.clone());
            self.copied = Instant::now();
            self.draw(tails);
        }
    }

    pub fn tick(&mut self, tails: &mut Tails) {
        tails.iter_mut().for_each(|tail| tail.lines(false, |_| {}));
        self.frame += 1;
        self.draw(tails);
    }

    pub fn end(&mut self, state: &RunState, verdict: Verdict) {
        self.state = Some(state.clone());
        let mut out = self.erase();
        for line in self.steps(state, None, usize::MAX) {
            let _ = writeln!(out, "{line}");
        }
        let took = text::took(state.started_at.or(Some(state.created_at)), state.finished_at);
        let line = format!("{} {} {} {took}", words::symbol(symbol_of(verdict)), state.name, words::verdict(verdict));
        let _ = writeln!(out, "{}", self.paint(symbol_of(verdict), line.trim_end()));
        for line in plain::summary(state) {
            let _ = writeln!(out, "{line}");
        }
        let _ = writeln!(out, "  {}", plain::advice(state, verdict));
        self.write(&out);
        self.drawn = 0;
    }

    /// Takes the picture off the screen.
    pub fn leave(&mut self) {
        let out = self.erase();
        self.write(&out);
        self.drawn = 0;
    }

    /// A line that stays.
    pub fn note(&mut self, line: &str) {
        self.print_above(&[text::safe(line)]);
    }

    fn print_above(&mut self, lines: &[String]) {
        let mut out = self.erase();
        for line in lines {
            let _ = writeln!(out, "{line}");
        }
        self.write(&out);
        self.drawn = 0;
    }

    fn draw(&mut self, tails: &Tails) {
        let Some(state) = self.state.take() else { return };
        let (width, height) = size();
        let lines = self.steps(&state, Some(tails), height.saturating_sub(3).max(1));
        let mut out = self.erase();
        let header = format!("{}  {}  {}", state.name, words::short(&state.id.0), self.progress(&state));
        let _ = writeln!(out, "{}", cut(&header, width));
        for line in &lines {
            let _ = writeln!(out, "{}", cut(line, width));
        }
        let _ = writeln!(out, "{}", cut(&self.dim(self.footer), width));
        self.write(&out);
        self.drawn = lines.len() + 2;
        self.state = Some(state);
    }

    fn progress(&self, state: &RunState) -> String {
        let done = state.steps().iter().filter(|step| step.whole.status.is_terminal()).count();
        let elapsed = text::took(state.started_at, Some(now()));
        format!("{done}/{} {}  {elapsed}", state.steps().len(), state.status)
    }

    /// A line a step, at most `room`: what is pending gives way first, then what is done.
    fn steps(&self, state: &RunState, tails: Option<&Tails>, room: usize) -> Vec<String> {
        let all: Vec<Unit> =
            units(state).filter(|unit| unit.item.is_none() || self.interesting(state, *unit)).collect();
        let status = |unit: &Unit| state.unit(*unit).map_or(StepStatus::Pending, |unit| unit.status);
        let mut chosen = all.clone();
        if chosen.len() > room {
            let active: Vec<Unit> = all
                .iter()
                .filter(|unit| !matches!(status(unit), StepStatus::Pending | StepStatus::Ready))
                .copied()
                .collect();
            chosen = active[active.len().saturating_sub(room.saturating_sub(1))..].to_vec();
        }
        let mut lines: Vec<String> = chosen.iter().map(|unit| self.line(state, *unit, tails)).collect();
        if all.len() > lines.len() {
            lines.push(self.dim(&format!("  … {} more", all.len() - lines.len())));
        }
        lines
    }

    /// Items are shown while something happens to them.
    fn interesting(&self, state: &RunState, unit: Unit) -> bool {
        state.unit(unit).is_some_and(|unit| {
            matches!(unit.status, StepStatus::Running | StepStatus::Backoff | StepStatus::Held)
                || unit.status.is_failure()
        })
    }

    fn line(&self, state: &RunState, unit: Unit, tails: Option<&Tails>) -> String {
        let Some(found) = state.unit(unit) else { return String::new() };
        let status = found.status.as_str();
        let name = state.unit_name(unit);
        let running = found.status == StepStatus::Running && tails.is_some();
        let symbol = if running { SPINNER[self.frame % SPINNER.len()] } else { words::symbol(status) };
        let indent = if unit.item.is_some() { "    " } else { "  " };
        let end = if running { Some(now()) } else { found.ended_at };
        let took = text::took(found.started_at, end);
        let tail = tails.and_then(|tails| tails.iter().find(|tail| tail.unit == name));
        let about = match (tail.and_then(|tail| tail.last.back()), &found.error, found.status) {
            (Some(line), _, StepStatus::Running) => self.dim(line),
            (_, Some(error), _) => text::safe(error),
            (_, _, status) if status.is_terminal() && status != StepStatus::Succeeded => {
                status.as_str().replace('_', " ")
            }
            (_, _, StepStatus::Succeeded) if unit.item.is_none() => self.items(state, unit),
            (_, _, StepStatus::Running) => self.items(state, unit),
            _ => String::new(),
        };
        let start = format!("{indent}{symbol} {}", pad(&name, NAME_WIDTH));
        format!("{} {took:>9}  {about}", self.paint(status, &start))
    }

    fn items(&self, state: &RunState, unit: Unit) -> String {
        state.step(unit.step).items.as_ref().map_or_else(String::new, |items| {
            let done = items.units.iter().filter(|unit| unit.status.is_terminal()).count();
            format!("{done}/{} items", items.units.len())
        })
    }

    fn paint(&self, status: &str, text: &str) -> String {
        let code = match status {
            "succeeded" => "32",
            "failed" | "timed_out" => "31",
            "lost" | "held" | "backoff" => "33",
            "running" => "36",
            _ => "2",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn dim(&self, text: &str) -> String {
        if self.colour { format!("\u{1b}[2m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Back to the first line of the last frame, everything below it gone.
    fn erase(&self) -> String {
        match self.drawn {
            0 => String::new(),
            n => format!("\u{1b}[{n}A\u{1b}[J"),
        }
    }

    fn write(&self, out: &str) {
        // The terminal shows it at once where it knows synchronised updates; others ignore the marks.
        super::out::show(super::out::To::Output, format!("\u{1b}[?2026h{out}\u{1b}[?2026l"));
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

fn size() -> (usize, usize) {
    terminal_size::terminal_size().map_or((80, 24), |(width, height)| (width.0.into(), height.0.into()))
}

fn pad(text: &str, width: usize) -> String {
    let used: usize = text.chars().map(|c| c.width().unwrap_or(0)).sum();
    format!("{text}{}", " ".repeat(width.saturating_sub(used)))
}

/// Cuts to `width` columns. Colour sequences count for nothing, and are closed.
fn cut(line: &str, width: usize) -> String {
    let (mut out, mut used, mut coloured) = (String::with_capacity(line.len()), 0, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            coloured = true;
            out.push(c);
            for c in chars.by_ref() {
                out.push(c);
                if c == 'm' {
                    break;
                }
            }
            continue;
        }
        let wide = if c == '\t' { 1 } else { c.width().unwrap_or(0) };
        if used + wide > width {
            break;
        }
        used += wide;
        out.push(if c == '\t' { ' ' } else { c });
    }
    if coloured {
        out.push_str("\u{1b}[0m");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{cut, pad};

    #[test]
    fn wide_characters_count_twice_and_colours_not_at_all() {
        assert_eq!(cut("备份数据库", 6), "备份数");
        assert_eq!(cut("备份数据库", 7), "备份数");
        assert_eq!(cut("\u{1b}[32mabcdef\u{1b}[0m", 3), "\u{1b}[32mabc\u{1b}[0m");
        assert_eq!(pad("备份", 6), "备份  ");
    }
}
