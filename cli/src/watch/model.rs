//! What the screen shows, as data. Times are epoch milliseconds; texts are as they were recorded, made safe when drawn.

use std::collections::VecDeque;

use runward_engine::run::group::Permit;
use runward_engine::run::rows::RunRow;
use runward_engine::run::{RunId, RunState, StepStatus, Unit, Verdict};

use super::run_page::{Progress, RunPage};

/// Lines of output that can be scrolled through; `runward logs` has all of it.
const OUTPUT_LINES_MAX: usize = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Runs,
    Run,
    Log,
}

/// Asked before anything is done to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub run: RunId,
    pub name: String,
    pub force: bool,
}

#[derive(Debug)]
pub struct Watch {
    pub place: Place,
    /// Started for one run: there is no list to go back to.
    pub alone: bool,
    pub runs: Runs,
    pub run: Option<RunPage>,
    pub output: Output,
    pub scroll: Scroll,
    pub ask: Option<Question>,
    pub help: bool,
    /// What the last key came to.
    pub note: Option<String>,
    /// What cannot be read just now.
    pub trouble: Option<String>,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
}

#[derive(Debug, Default)]
pub struct Runs {
    /// False until the ledger was read once.
    pub read: bool,
    /// Unfinished first, then newest first.
    pub lines: Vec<RunLine>,
    pub chosen: Option<RunId>,
}

/// Who carries a run on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Driving {
    #[default]
    Unknown,
    Process(String),
    /// Those of a cluster.
    Workers,
    Nobody,
}

/// One run in the list.
#[derive(Debug, Clone)]
pub struct RunLine {
    pub row: RunRow,
    pub driving: Driving,
    pub about: About,
}

/// What is known of a run beyond its row.
#[derive(Debug, Clone)]
pub enum About {
    Unread,
    Read(RunAbout),
    /// Its record cannot be read.
    Unreadable,
}

#[derive(Debug, Clone)]
pub struct RunAbout {
    pub progress: Progress,
    pub verdict: Verdict,
    /// Names of units that run now, a few of them.
    pub running: Vec<String>,
}

/// The output of one attempt.
#[derive(Debug, Default)]
pub struct Output {
    /// `upgrade[3]`, with the attempt.
    pub of: Option<(String, u32)>,
    pub lines: VecDeque<String>,
    /// The line that has no end yet.
    pub open_line: Option<String>,
    /// Lines or bytes before these exist, and are not here.
    pub cut: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scroll {
    /// Shows the end as it grows.
    pub follow: bool,
    pub top: usize,
    /// Columns to the left of the screen.
    pub left: usize,
}

impl Watch {
    pub fn new(alone: bool) -> Watch {
        Watch {
            place: if alone { Place::Run } else { Place::Runs },
            alone,
            runs: Runs::default(),
            run: None,
            output: Output::default(),
            scroll: Scroll::END,
            ask: None,
            help: false,
            note: None,
            trouble: None,
            size: (80, 24),
        }
    }

    /// The run whose screen this is.
    pub fn current(&self) -> Option<(&RunId, &str)> {
        match self.place {
            Place::Runs => self.runs.chosen_line().map(|line| (&line.row.id, line.row.name.as_str())),
            Place::Run | Place::Log => self.run.as_ref().map(|page| (&page.id, page.name.as_str())),
        }
    }

    /// Whether anything on the screen changes with the clock alone.
    pub fn ticks(&self) -> bool {
        match self.place {
            Place::Runs => self.runs.lines.iter().any(|line| line.row.finished_at.is_none()),
            Place::Run | Place::Log => self.run.as_ref().is_some_and(|page| !page.status.is_terminal()),
        }
    }
}

impl Scroll {
    pub const END: Scroll = Scroll { follow: true, top: 0, left: 0 };

    /// The first line shown of `all`, on a page of `page` lines.
    pub fn first(self, all: usize, page: usize) -> usize {
        let last = all.saturating_sub(page);
        if self.follow { last } else { self.top.min(last) }
    }
}

impl Runs {
    pub fn chosen_index(&self) -> usize {
        let chosen = self.chosen.as_ref();
        self.lines.iter().position(|line| Some(&line.row.id) == chosen).unwrap_or(0)
    }

    pub fn chosen_line(&self) -> Option<&RunLine> {
        self.lines.get(self.chosen_index())
    }
}

impl RunLine {
    /// `running`, or what is more urgent to know.
    pub fn word(&self) -> String {
        match (&self.driving, self.row.held, self.row.finished_at) {
            (_, true, _) => "held".to_owned(),
            _ if self.is_paused() => "paused".to_owned(),
            (Driving::Nobody, _, None) => "no driver".to_owned(),
            _ => self.row.status.replace('_', " "),
        }
    }

    pub fn is_paused(&self) -> bool {
        self.row.status == "paused"
    }

    /// The state whose symbol and colour fit.
    pub fn tone(&self) -> &str {
        match (&self.driving, self.row.held, self.row.status.as_str()) {
            (_, true, _) => "held",
            (Driving::Nobody, _, "queued" | "running" | "stopping") => "lost",
            (_, _, "stopping") => "backoff",
            (_, _, status) => status,
        }
    }

    /// What runs, what to do, or how it ended.
    pub fn remark(&self) -> String {
        match (&self.about, self.row.finished_at) {
            (_, None) if self.row.held => "waits for you: r".to_owned(),
            _ if self.is_paused() => "unpause it: r".to_owned(),
            (_, None) if self.driving == Driving::Nobody => "resume it: r".to_owned(),
            (_, None) if self.row.permit == Some(Permit::Waits) => {
                format!("waits for {}", self.row.group.as_deref().unwrap_or_default())
            }
            (About::Read(about), None) => about.running.join(", "),
            (About::Read(about), Some(_)) => format!("exit {}", about.verdict.exit_code()),
            (About::Unreadable, _) => "unreadable".to_owned(),
            (About::Unread, _) => String::new(),
        }
    }
}

impl RunAbout {
    pub fn of(state: &RunState) -> RunAbout {
        const SHOWN: usize = 4;
        let running = state.live().values().take(SHOWN).map(|unit| state.unit_name(*unit)).collect();
        RunAbout { progress: Progress::of(state), verdict: Verdict::of(state), running }
    }
}

impl Output {
    pub fn clear(&mut self, of: Option<(String, u32)>) {
        *self = Output { of, ..Output::default() };
    }

    /// Adds lines; a reader who has scrolled up stays where he is.
    pub fn push(&mut self, lines: impl Iterator<Item = String>, scroll: &mut Scroll) {
        self.lines.extend(lines);
        let over = self.lines.len().saturating_sub(OUTPUT_LINES_MAX);
        self.lines.drain(..over);
        self.cut |= over > 0;
        scroll.top = scroll.top.saturating_sub(over);
    }

    /// How many lines there are to show, the unfinished one and the sign of the cut included.
    pub fn len(&self) -> usize {
        self.lines.len() + usize::from(self.open_line.is_some()) + usize::from(self.cut)
    }

    pub fn line(&self, n: usize) -> Option<&str> {
        let Some(n) = n.checked_sub(usize::from(self.cut)) else { return Some("[earlier output: runward logs]") };
        match self.lines.get(n) {
            Some(line) => Some(line),
            None => self.open_line.as_deref().filter(|_| n == self.lines.len()),
        }
    }
}

/// What deserves a look first: what runs or waits, else what went wrong, else what came last.
pub fn most_interesting(rows: impl Iterator<Item = (Unit, StepStatus)>) -> Option<Unit> {
    let rank = |status: StepStatus| match status {
        StepStatus::Running | StepStatus::Backoff | StepStatus::Waiting | StepStatus::Held => 4,
        StepStatus::Failed | StepStatus::TimedOut | StepStatus::Lost => 3,
        StepStatus::Ready => 2,
        StepStatus::Succeeded | StepStatus::Undone => 1,
        StepStatus::Cancelled | StepStatus::Skipped | StepStatus::Pending => 0,
    };
    let mut best: Option<(u8, Unit)> = None;
    for (unit, status) in rows {
        let rank = rank(status);
        // Of those that went well the last one, of all others the first.
        if best.is_none_or(|(found, _)| rank > found || (rank == found && rank == 1)) {
            best = Some((rank, unit));
        }
    }
    best.map(|(_, unit)| unit)
}
