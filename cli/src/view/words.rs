//! Symbols and short words for states.

use runward_engine::run::{RunState, Unit, Verdict};

use crate::text;

pub fn symbol(status: &str) -> &'static str {
    match status {
        "succeeded" => "✓",
        "failed" | "timed_out" => "✗",
        "lost" | "held" => "?",
        "skipped" | "cancelled" => "−",
        "running" => "▶",
        "backoff" => "↻",
        "undone" => "↩",
        "waiting" => "◦",
        "paused" => "‖",
        _ => "·",
    }
}

/// How much of an item's value stands behind its name, in columns.
const ITEM_COLUMNS_MAX: usize = 40;

/// Behind the name of one item of a `for-each`: ` (db2)`. Nothing for other units, and for values nobody may see.
pub fn item(state: &RunState, unit: Unit) -> String {
    let Some(value) = state.shown_item(unit) else { return String::new() };
    let whole = value.as_str().map_or_else(|| text::cells(&value.to_string()), text::cells);
    let shown = text::cut(&whole, ITEM_COLUMNS_MAX);
    let more = if shown.len() < whole.len() { "…" } else { "" };
    format!(" ({shown}{more})")
}

/// The same for a unit that an event names.
pub fn item_named(state: &RunState, unit: &str) -> String {
    state.unit_named(unit).map(|unit| item(state, unit)).unwrap_or_default()
}

/// The end of an id, which `find_run` understands: ids sort by time, so their ends differ most.
pub fn short(id: &str) -> &str {
    id.rsplit('-').next().unwrap_or(id)
}

pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Succeeded => "succeeded",
        Verdict::Failed => "failed",
        Verdict::TimedOut => "timed out",
        Verdict::Rejected => "not approved",
        Verdict::Cancelled => "cancelled",
        Verdict::Busy => "did nothing: its group is busy",
        Verdict::RolledBack => "rolled back",
        Verdict::RollbackIncomplete => "rollback incomplete",
        Verdict::Unknown => "outcome unknown",
        Verdict::Unfinished => "not finished",
    }
}

/// How a run came to its end: `failed, rolled back`.
pub fn ended(state: &RunState, verdict_of: Verdict) -> String {
    let word = verdict(verdict_of);
    match verdict_of {
        Verdict::RolledBack | Verdict::RollbackIncomplete => {
            format!("{}, {word}", state.status.as_str().replace('_', " "))
        }
        _ => word.to_owned(),
    }
}

/// Behind the reason of a failure that `allow-failure` makes no failure of the run.
pub const ALLOWED: &str = "(its failure is allowed)";

/// What the terminal can show: its locale says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    Unicode,
    Ascii,
}

impl Marks {
    /// By the environment, as POSIX orders it: LC_ALL, LC_CTYPE, LANG; without any of them it is ASCII.
    pub fn of_environment() -> Marks {
        Marks::of_locale(["LC_ALL", "LC_CTYPE", "LANG"].map(|name| std::env::var(name).ok()))
    }

    fn of_locale(names: [Option<String>; 3]) -> Marks {
        let locale = names.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") { Marks::Unicode } else { Marks::Ascii }
    }

    pub fn symbol(self, status: &str) -> &'static str {
        match (self, status) {
            (Marks::Unicode, _) => symbol(status),
            (Marks::Ascii, "succeeded") => "+",
            (Marks::Ascii, "failed" | "timed_out") => "x",
            (Marks::Ascii, "lost" | "held") => "?",
            (Marks::Ascii, "skipped" | "cancelled") => "-",
            (Marks::Ascii, "running") => ">",
            (Marks::Ascii, "backoff") => "~",
            (Marks::Ascii, "undone") => "<",
            (Marks::Ascii, "waiting") => ":",
            (Marks::Ascii, "paused") => "=",
            (Marks::Ascii, _) => ".",
        }
    }

    /// Before the `at`th of those that stand side by side.
    pub fn branch(self, at: usize, of: usize) -> &'static str {
        match (self, at, of) {
            (Marks::Unicode, _, 1) => "──",
            (Marks::Unicode, 0, _) => "┬─",
            (Marks::Unicode, at, of) if at + 1 == of => "└─",
            (Marks::Unicode, ..) => "├─",
            (Marks::Ascii, _, 1) => "--",
            (Marks::Ascii, 0, _) => "+-",
            (Marks::Ascii, at, of) if at + 1 == of => "`-",
            (Marks::Ascii, ..) => "|-",
        }
    }

    /// The text as this terminal can show it: without UTF-8 every other character is a question mark, as in `ls`.
    pub fn text(self, text: &str) -> String {
        match self {
            Marks::Unicode => text.to_owned(),
            Marks::Ascii => text.chars().map(ascii).collect(),
        }
    }
}

/// Our own signs have a counterpart.
fn ascii(c: char) -> char {
    match c {
        c if c.is_ascii() => c,
        '✓' => '+',
        '✗' => 'x',
        '−' => '-',
        '▶' => '>',
        '↻' => '~',
        '↩' => '<',
        '·' | '…' => '.',
        '◦' => ':',
        '│' => '|',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_signs_have_a_counterpart_in_ascii() {
        for status in ["succeeded", "failed", "lost", "skipped", "running", "backoff", "undone", "waiting", "pending"] {
            assert_eq!(Marks::Ascii.text(symbol(status)), Marks::Ascii.symbol(status));
        }
        assert_eq!(Marks::Ascii.text("✗ 备份 │ é…"), "x ?? | ?.");
    }

    #[test]
    fn the_locale_says_what_can_be_shown() {
        let of = |names: [&str; 3]| Marks::of_locale(names.map(|name| (name != "-").then(|| name.to_owned())));
        assert_eq!(of(["-", "-", "de_DE.UTF-8"]), Marks::Unicode);
        assert_eq!(of(["", "C.utf8", "C"]), Marks::Unicode);
        assert_eq!(of(["C", "-", "de_DE.UTF-8"]), Marks::Ascii);
        assert_eq!(of(["-", "-", "-"]), Marks::Ascii);
    }
}
