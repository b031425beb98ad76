//! The live picture on a terminal: every step with its state, how long it took, and the last line of those that run.
//!
//! What a frame says is a function of the state; how it gets onto the terminal is the business of
//! [`Painter`]. Lines above the picture stay.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use runward_engine::plan::forecast::Forecast;
use runward_engine::run::group::Permit;
use runward_engine::run::state::UnitState;
use runward_engine::run::{Event, Part, Recorded, RunId, RunState, StepStatus, Unit, Verdict};
use runward_engine::runbook::model::Step;
use unicode_width::UnicodeWidthStr;

use super::eta;
use super::paint::Painter;
use super::plain::{self, placed, symbol_of};
use super::tail::{Tail, Tails};
use super::waits;
use super::words::{self, Marks};
use crate::drivers::Drivers;
use crate::graph::Tally;
use crate::text::{self, cells};

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const SPINNER_ASCII: [&str; 4] = ["|", "/", "-", "\\"];
/// Names are aligned up to this many columns; a longer one pushes the rest aside.
const NAME_WIDTH_MAX: usize = 24;
const COPY_EVERY: Duration = Duration::from_millis(60);
/// How long a new size has to last before it is drawn for: tmux breaks lines at once, and says so a quarter of a second later.
/// Whoever drags a window to and fro meanwhile would see the picture go up into the lines above it.
const SIZE_SETTLES: Duration = Duration::from_millis(500);
/// Failed items named below their step.
const ITEMS_NAMED_MAX: usize = 5;
/// Steps that are always shown of those to come.
const COMING: usize = 2;
/// Lines of the picture that stays when it is over.
const LAST_LINES_MAX: usize = 500;

pub struct Live {
    look: Look,
    pub footer: &'static str,
    /// Whom it waits for, while it waits for others of its group.
    pub waiting: Vec<String>,
    pub forecast: Option<Forecast>,
    /// A copy, not older than [`COPY_EVERY`] and the driver's next look: copying a long run at every step would slow it.
    state: Option<RunState>,
    copied: Instant,
    children: Children,
    children_copied: BTreeMap<RunId, Instant>,
    painter: Painter,
    /// Of the terminal, and since when it is another one than before.
    size: (usize, usize),
    resized: Option<Instant>,
    /// Lines to put above the picture with the next frame.
    above: Vec<String>,
    frame: usize,
}

#[derive(Clone, Copy)]
struct Look {
    colour: bool,
    marks: Marks,
}

/// The runs that are steps, as they were seen last.
type Children = BTreeMap<RunId, RunState>;

/// One line of the picture.
enum Row<'a> {
    /// Of a run so many levels below the one that is shown.
    Unit(&'a RunState, Unit, usize),
    /// Failed items of the step before that are not named.
    More(usize),
}

impl Live {
    pub fn new() -> Live {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Live {
            look: Look { colour, marks: Marks::of_environment() },
            footer: "Ctrl-C cancels, d leaves it running",
            waiting: Vec::new(),
            forecast: None,
            state: None,
            copied: Instant::now(),
            children: Children::new(),
            children_copied: BTreeMap::new(),
            painter: Painter::default(),
            size: size(),
            resized: None,
            above: Vec::new(),
            frame: 0,
        }
    }

    pub fn begin(&mut self, state: &RunState) {
        self.state = Some(state.clone());
    }

    pub fn changed(&mut self, state: &RunState, news: &[Recorded], tails: &mut Tails) {
        self.say(state, news, tails);
        if self.copied.elapsed() >= COPY_EVERY {
            self.state = Some(state.clone());
            self.copied = Instant::now();
            self.draw(tails);
        }
    }

    /// The same of a run that is a step.
    pub fn child_changed(&mut self, state: &RunState, news: &[Recorded], tails: &mut Tails) {
        self.say(state, news, tails);
        // Not at every step of a long one; the driver's next look brings what is missing.
        let copied = self.children_copied.get(&state.id);
        let due = state.status.is_terminal() || copied.is_none_or(|at| at.elapsed() >= COPY_EVERY);
        if due && self.children.get(&state.id).is_none_or(|known| known.seq != state.seq) {
            self.children.insert(state.id.clone(), state.clone());
            self.children_copied.insert(state.id.clone(), Instant::now());
        }
    }

    fn say(&mut self, state: &RunState, news: &[Recorded], tails: &mut Tails) {
        for recorded in news {
            match &recorded.event {
                Event::AttemptClaimed { unit, claim, .. } => tails.add(state, claim, unit.clone(), recorded.at),
                Event::AttemptSettled { claim, .. }
                | Event::AttemptLost { claim, .. }
                | Event::AttemptVoided { claim, .. } => {
                    let Some(mut tail) = tails.take(claim) else { continue };
                    let fine = matches!(&recorded.event, Event::AttemptSettled { outcome, .. } if outcome.is_fine());
                    if !fine {
                        tail.lines(true, |_| {});
                        self.above.extend(tail.last.iter().map(|line| format!("{} │ {line}", tail.unit)));
                        let sentence = plain::sentence(state, recorded, Some(tail.since));
                        self.note(&placed(&tails.place(state), &recorded.event, sentence));
                    }
                }
                Event::CancelRequested { .. } => {
                    let line = format!("! cancelled by {}", recorded.actor);
                    self.note(&placed(&tails.place(state), &recorded.event, line));
                }
                Event::ApprovalDecided { .. }
                | Event::ApprovalExpired { .. }
                | Event::WindowClosed { .. }
                | Event::WindowOpened
                | Event::WindowOverridden { .. }
                | Event::RunPaused { .. }
                | Event::RunUnpaused
                | Event::SkipRequested { .. }
                | Event::RollbackStarted { .. }
                | Event::RollbackRequested { .. }
                | Event::ObjectiveMissed { .. } => {
                    if let Some(line) = plain::note(state, recorded) {
                        self.note(&placed(&tails.place(state), &recorded.event, line));
                    }
                }
                _ => {}
            }
        }
    }

    pub fn tick(&mut self, tails: &mut Tails) {
        tails.iter_mut().for_each(|tail| tail.lines(false, |_| {}));
        self.frame += 1;
        self.draw(tails);
    }

    pub fn end(&mut self, state: &RunState, verdict: Verdict, drivers: &Drivers) {
        let mut lines = std::mem::take(&mut self.above);
        lines.extend(self.look.frame(state, &self.children, None, None, 0, LAST_LINES_MAX));
        let took = text::took(state.started_at.or(Some(state.created_at)), state.finished_at);
        let line =
            format!("{} {} {} {took}", words::symbol(symbol_of(verdict)), state.name, words::ended(state, verdict));
        lines.push(self.look.paint(symbol_of(verdict), line.trim_end()));
        lines.extend(plain::summary(state));
        lines.extend(plain::taken_back(state));
        lines.push(format!("  {}", plain::advice(state, verdict, drivers)));
        self.stay(&lines);
    }

    /// Takes the picture off the screen.
    pub fn leave(&mut self) {
        let above = std::mem::take(&mut self.above);
        self.stay(&above);
    }

    /// A line that stays.
    pub fn note(&mut self, lines: &str) {
        self.above.extend(lines.split('\n').map(text::safe));
    }

    fn stay(&mut self, lines: &[String]) {
        let (width, height) = size();
        let lines: Vec<String> = lines.iter().map(|line| self.look.marks.text(line)).collect();
        let out = self.painter.last(&lines, width, height);
        write(&out);
    }

    fn size_is_settled(&mut self) -> bool {
        let size = size();
        if size != self.size {
            (self.size, self.resized) = (size, Some(Instant::now()));
        }
        self.resized.is_none_or(|at| at.elapsed() >= SIZE_SETTLES)
    }

    fn draw(&mut self, tails: &Tails) {
        if !self.size_is_settled() {
            return;
        }
        let Some(state) = &self.state else { return };
        let (width, height) = self.size;
        let elapsed = text::took(state.started_at, Some(text::now()));
        let done = state.steps().iter().filter(|step| step.whole.status.is_terminal()).count();
        let left = self.forecast.as_ref().and_then(|forecast| eta::left(forecast, state, text::now()));
        let left = left.map(|left| format!("  {left}")).unwrap_or_default();
        let (short, all) = (words::short(&state.id.0), state.steps().len());
        let counts = format!("  {short}  {done}/{all} {}  {elapsed}{left}", state.status);
        // The name gives way: what must be seen stands behind it.
        let name = text::cut(&cells(&state.name), width.saturating_sub(counts.len() + 1).max(8));
        let mut lines = vec![format!("{name}{counts}")];
        let waiting = if state.permit() == Some(Permit::Waits) { self.waiting.as_slice() } else { &[] };
        let room = height.saturating_sub(3 + waiting.len()).max(1);
        lines.extend(self.look.frame(state, &self.children, Some(tails), self.forecast.as_ref(), self.frame, room));
        lines.extend(waiting.iter().map(|line| self.look.paint("held", &cells(line))));
        lines.push(match &state.paused {
            Some(paused) => self.look.paint("held", &plain::on_pause(&paused.by, paused.reason.as_ref())),
            None => match state.closure() {
                Some(closure) => self.look.paint("held", &waits::closed(closure.until, &closure.because, text::now())),
                None => self.look.dim(self.footer),
            },
        });
        let marks = self.look.marks;
        let lines: Vec<String> = lines.iter().map(|line| marks.text(line)).collect();
        let above: Vec<String> = self.above.drain(..).map(|line| marks.text(&line)).collect();
        let out = self.painter.frame(&above, &lines, width, height);
        write(&out);
    }
}

impl Look {
    /// A line a step, at most `room`, in file order. Without `tails` the run is over.
    fn frame(
        self,
        state: &RunState,
        children: &Children,
        tails: Option<&Tails>,
        forecast: Option<&Forecast>,
        frame: usize,
        room: usize,
    ) -> Vec<String> {
        let rows = rows(state, children, 0);
        let shown = chosen(&rows, room);
        let width = name_width(state, children);
        let mut lines = Vec::with_capacity(shown.len() + 1);
        for row in shown.iter().map(|n| &rows[*n]) {
            lines.push(match row {
                Row::Unit(state, unit, depth) => {
                    // What is known of earlier runs is about the steps of the run itself.
                    let forecast = forecast.filter(|_| *depth == 0);
                    let late = forecast.and_then(|forecast| eta::late(forecast, state, *unit, text::now()));
                    self.line(state, (*unit, *depth), tails, late, frame, width)
                }
                Row::More(count) => self.dim(&format!("      … {count} more failed items")),
            });
        }
        if shown.len() < rows.len() {
            let hidden = (0..rows.len()).filter(|n| shown.binary_search(n).is_err());
            let done = hidden.filter(|n| status(&rows[*n]).is_terminal()).count();
            let coming = rows.len() - shown.len() - done;
            lines.push(self.dim(&format!("  … {done} more done, {coming} more to come")));
        }
        lines
    }

    fn line(
        self,
        state: &RunState,
        (unit, depth): (Unit, usize),
        tails: Option<&Tails>,
        late: Option<String>,
        frame: usize,
        width: usize,
    ) -> String {
        let Some(found) = state.unit(unit) else { return String::new() };
        let status = found.status.as_str();
        let running = found.status == StepStatus::Running && tails.is_some();
        let symbol = if running { self.spinner(frame) } else { self.marks.symbol(status) };
        let deeper = 2 * (depth + usize::from(unit.item.is_some()) + usize::from(unit.part != Part::Step));
        let (indent, width) = (" ".repeat(2 + deeper), width.saturating_sub(deeper));
        let took = match (running, found.started_at) {
            (true, Some(from)) => going(text::now().saturating_sub(from)),
            (_, from) => text::took(from, found.ended_at),
        };
        let late = late.map(|late| format!("{}  ", self.paint("held", &late))).unwrap_or_default();
        let about = format!("{late}{}", self.about(state, unit, found, tails));
        let start = format!("{indent}{symbol} {}", pad(&cells(&state.unit_name(unit)), width));
        format!("{} {took:>9}  {about}", self.paint(status, &start)).trim_end().to_owned()
    }

    fn about(self, state: &RunState, unit: Unit, found: &UnitState, tails: Option<&Tails>) -> String {
        let item = Some(words::item(state, unit).trim_start().to_owned()).filter(|item| !item.is_empty());
        let mut parts: Vec<String> = item.into_iter().chain(plain::tally(state, unit).map(Tally::sentence)).collect();
        match found.status {
            StepStatus::Running => {
                let printed = tails.and_then(|tails| tail_of(state, unit, tails)).and_then(last_line);
                parts.extend(printed.map(|line| self.dim(&cells(&line))));
            }
            StepStatus::Backoff => {
                let wait = found.retry_at().map(|at| going(at.saturating_sub(text::now()).max(0)));
                parts.push(format!("again in {}", wait.unwrap_or_default()));
                parts.extend(found.error.as_deref().map(cells));
            }
            StepStatus::Succeeded => parts.extend(plain::probed(state, unit).map(str::to_owned)),
            StepStatus::Held if found.is_held_by_undo() => parts.push("held: its undo did not succeed".to_owned()),
            StepStatus::Waiting => parts.extend(waits::sentence(state, unit, text::now())),
            status if status.is_terminal() && status != StepStatus::Succeeded => {
                let word = || status.as_str().replace('_', " ");
                parts.push(found.error.as_deref().map_or_else(word, cells));
                parts.extend(plain::is_allowed(state, unit).then(|| words::ALLOWED.to_owned()));
            }
            _ => {}
        }
        parts.join("  ")
    }

    fn spinner(self, frame: usize) -> &'static str {
        match self.marks {
            Marks::Unicode => SPINNER[frame % SPINNER.len()],
            Marks::Ascii => SPINNER_ASCII[frame % SPINNER_ASCII.len()],
        }
    }

    fn paint(self, status: &str, text: &str) -> String {
        let code = match status {
            "succeeded" => "32",
            "failed" | "timed_out" => "31",
            "lost" | "held" | "backoff" | "waiting" => "33",
            "running" => "36",
            _ => "2",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn dim(self, text: &str) -> String {
        if self.colour { format!("\u{1b}[2m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// An undo that an item has a row for.
const UNDER_WAY: [StepStatus; 3] = [StepStatus::Ready, StepStatus::Running, StepStatus::Backoff];

/// A row a step, and one for each of the first items that failed. Items that run have no row of their own: they come and go.
/// The steps of a run that is a step stand below it.
fn rows<'a>(state: &'a RunState, children: &'a Children, depth: usize) -> Vec<Row<'a>> {
    let below = |unit: &UnitState, depth: usize| match unit.children.last().and_then(|child| children.get(&child.run)) {
        Some(child) => rows(child, children, depth),
        None => Vec::new(),
    };
    let mut rows = Vec::with_capacity(state.steps().len());
    for (step, found) in state.steps().iter().enumerate() {
        rows.push(Row::Unit(state, Unit::step(step as u32), depth));
        let parts = |unit: Unit| {
            let there = move |part: &Unit| state.unit(*part).is_some_and(|found| found.status != StepStatus::Pending);
            let all = [Part::Check, Part::Undo].map(|part| unit.part(part)).into_iter().filter(there);
            all.map(move |part| Row::Unit(state, part, depth))
        };
        rows.extend(parts(Unit::step(step as u32)));
        rows.extend(below(&found.whole, depth + 1));
        let Some(items) = &found.items else { continue };
        let undoing = |unit: &UnitState| unit.part(Part::Undo).is_some_and(|undo| UNDER_WAY.contains(&undo.status));
        let bad = |unit: &UnitState| unit.status.is_failure() || unit.status == StepStatus::Held || undoing(unit);
        let failed: VecDeque<u32> = (0..).zip(&items.units).filter(|(_, unit)| bad(unit)).map(|(n, _)| n).collect();
        let busy = (0..).zip(&items.units).filter(|(_, unit)| unit.open_child().is_some());
        for (item, unit) in busy {
            rows.push(Row::Unit(state, Unit::item(step as u32, item), depth));
            rows.extend(below(unit, depth + 2));
        }
        for item in failed.iter().take(ITEMS_NAMED_MAX).map(|item| Unit::item(step as u32, *item)) {
            rows.push(Row::Unit(state, item, depth));
            rows.extend(parts(item));
        }
        if failed.len() > ITEMS_NAMED_MAX {
            rows.push(Row::More(failed.len() - ITEMS_NAMED_MAX));
        }
    }
    rows
}

/// Of the runbook, not of what is shown: so that nothing moves sideways.
fn name_width(state: &RunState, children: &Children) -> usize {
    // An item is further right, and has its number behind the name.
    let width = |step: &Step| {
        let part = match (&step.check, &step.undo) {
            (Some(_), _) => 2 + ".check".len(),
            (None, Some(_)) => 2 + ".undo".len(),
            (None, None) => 0,
        };
        step.id.width() + part + if step.for_each.is_some() { 2 + "[99]".len() } else { 0 }
    };
    let deepest = |child: &RunState| 2 * child.parent.as_ref().map_or(0, |parent| parent.depth as usize);
    let below =
        children.values().flat_map(|child| child.runbook.steps.iter().map(move |it| width(it) + deepest(child)));
    state.runbook.steps.iter().map(width).chain(below).max().unwrap_or(0).min(NAME_WIDTH_MAX)
}

fn status(row: &Row<'_>) -> StepStatus {
    match row {
        Row::Unit(state, unit, _) => state.unit(*unit).map_or(StepStatus::Pending, |unit| unit.status),
        Row::More(_) => StepStatus::Failed,
    }
}

/// The rows that are shown where not all fit, in order: what happens now, what went wrong, what comes next, what ended last.
fn chosen(rows: &[Row<'_>], room: usize) -> Vec<usize> {
    if rows.len() <= room {
        return (0..rows.len()).collect();
    }
    let mut coming = 0;
    let mut ranked: Vec<(u8, i64, usize)> = Vec::with_capacity(rows.len());
    for (n, row) in rows.iter().enumerate() {
        let ended = match row {
            Row::Unit(state, unit, _) => state.unit(*unit).and_then(|unit| unit.ended_at).unwrap_or(0),
            Row::More(_) => 0,
        };
        let status = status(row);
        let rank = match status {
            StepStatus::Running | StepStatus::Backoff | StepStatus::Waiting | StepStatus::Held => 0,
            status if status.is_failure() => 1,
            StepStatus::Ready | StepStatus::Pending => {
                coming += 1;
                if coming <= COMING { 2 } else { 4 }
            }
            _ => 3,
        };
        ranked.push((rank, if rank == 3 { -ended } else { 0 }, n));
    }
    ranked.sort_unstable();
    let mut shown: Vec<usize> = ranked.into_iter().take(room.saturating_sub(1)).map(|(_, _, n)| n).collect();
    shown.sort_unstable();
    shown
}

/// The output of a unit that runs; of a for-each, of the last item that printed something.
fn tail_of<'a>(state: &RunState, unit: Unit, tails: &'a Tails) -> Option<&'a Tail> {
    let name = format!("{}{}", tails.place(state), state.unit_name(unit));
    let of_step = |tail: &&Tail| {
        tail.unit.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('[')) && last_line(tail).is_some()
    };
    tails.iter().find(|tail| tail.unit == name).or_else(|| tails.iter().filter(of_step).max_by_key(|tail| tail.since))
}

fn last_line(tail: &Tail) -> Option<String> {
    tail.open_line().or_else(|| tail.last.back().cloned())
}

/// While something goes on: tenths of a second, then seconds.
fn going(ms: i64) -> String {
    match ms {
        ms @ ..1000 => format!("0.{} s", ms.max(0) / 100),
        ms => text::took(Some(0), Some(ms)),
    }
}

fn write(out: &str) {
    if out.is_empty() {
        return;
    }
    // The terminal shows it at once where it knows synchronised updates; others ignore the marks.
    super::out::show(super::out::To::Output, format!("\u{1b}[?2026h{out}\u{1b}[?2026l"));
}

fn size() -> (usize, usize) {
    terminal_size::terminal_size().map_or((80, 24), |(width, height)| (width.0.into(), height.0.into()))
}

fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}
