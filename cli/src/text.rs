//! Small pieces of text for people: times, control characters made visible.

use chrono::{DateTime, Local};
use std::time::{SystemTime, UNIX_EPOCH};
use unicode_width::UnicodeWidthChar;

/// The clock of this machine, in epoch milliseconds.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// `2026-11-22 02:17:45`, in local time.
pub fn time(at_ms: i64) -> String {
    DateTime::from_timestamp_millis(at_ms)
        .map(|at| at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_default()
}

/// `02:17:45`, in local time.
pub fn clock(at_ms: i64) -> String {
    DateTime::from_timestamp_millis(at_ms)
        .map(|at| at.with_timezone(&Local).format("%H:%M:%S").to_string())
        .unwrap_or_default()
}

/// `1 run`, `2 runs`.
pub fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// How long, or nothing where one end is missing.
pub fn took(from: Option<i64>, to: Option<i64>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => runward_engine::units::format_duration(std::time::Duration::from_millis(
            to.saturating_sub(from).max(0) as u64,
        )),
        _ => String::new(),
    }
}

/// How long, as precisely as a forecast can be.
pub fn about(ms: u64) -> String {
    let secs = (ms + 500) / 1000;
    match secs {
        0 => "a second".to_owned(),
        1..60 => format!("{secs}s"),
        60..600 => match (secs + 5) / 10 * 10 {
            round if round % 60 == 0 => format!("{}m", round / 60),
            round => format!("{}m {:02}s", round / 60, round % 60),
        },
        600..3_600 => format!("{}m", (secs + 30) / 60),
        3_600..86_400 => format!("{}h {:02}m", secs / 3_600, secs / 60 % 60),
        _ => format!("{}d {}h", secs / 86_400, secs / 3_600 % 24),
    }
}

/// A line of output that cannot move the cursor, clear the screen or retitle the terminal: control characters but the
/// tab become visible, colours are dropped.
pub fn safe(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                while let Some(c) = chars.next_if(|c| !('@'..='~').contains(c)) {
                    let _ = c;
                }
                chars.next();
            }
            '\t' => out.push(c),
            '\u{7f}' => out.push('\u{2421}'),
            c if (c as u32) < 0x20 => out.push(char::from_u32(0x2400 + c as u32).unwrap_or(' ')),
            c if c.is_control() || is_direction(c) => {
                out.push('\u{fffd}');
            }
            c => out.push(c),
        }
    }
    out
}

/// A line for a screen of cells: as [`safe`], tabs as a space, and without characters that join or change the one before
/// them, about whose width terminals do not agree.
pub fn cells(line: &str) -> String {
    let joins = |c: &char| matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}');
    safe(line).chars().filter(|c| !joins(c)).map(|c| if c == '\t' { ' ' } else { c }).collect()
}

/// As much of the beginning as fits into `width` columns.
pub fn cut(line: &str, width: usize) -> String {
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= width
    };
    line.chars().take_while(fits).collect()
}

/// What stands at `column` and after it.
pub fn from_column(line: &str, column: usize) -> String {
    let mut used = 0;
    let before = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= column
    };
    line.chars().skip_while(before).collect()
}

/// What a terminal shows of a line that goes back to its beginning: a progress bar as it was last.
pub fn overwritten(line: &str) -> &str {
    line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or("")
}

/// A file's text that cannot drive the terminal, byte for byte as long as it was, so that places in it stay right.
pub fn safe_source(source: &str) -> String {
    let plain = |c: char| matches!(c, '\n' | '\t' | '\r') || !(c.is_control() || is_direction(c));
    source
        .chars()
        .flat_map(|c| std::iter::repeat_n(if plain(c) { c } else { '?' }, if plain(c) { 1 } else { c.len_utf8() }))
        .collect()
}

/// Characters that change the direction of the text around them.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::{cells, cut, from_column, overwritten, safe, safe_source};

    #[test]
    fn wide_characters_take_two_columns_and_joined_ones_fall_apart() {
        assert_eq!((cut("备份数据库", 6), cut("备份数据库", 7)), ("备份数".into(), "备份数".into()));
        assert_eq!((from_column("abc", 1), from_column("备份", 2)), ("bc".into(), "份".into()));
        assert_eq!(cells("a\tb 👩\u{200d}👦❤\u{fe0f}\u{200b}"), "a b 👩👦❤");
    }

    #[test]
    fn a_progress_bar_is_shown_as_it_was_last() {
        assert_eq!(overwritten("10%\r20%\r100%"), "100%");
        assert_eq!(overwritten("10%\r20%\r"), "20%");
        assert_eq!(overwritten("plain"), "plain");
        assert_eq!(overwritten("\r\r"), "");
    }

    #[test]
    fn a_source_keeps_its_places() {
        let source = "a: \u{1b}[2J\u{85}备\u{202e}\n";
        assert_eq!(safe_source(source), "a: ?[2J??备???\n");
        assert_eq!(safe_source(source).len(), source.len());
    }

    #[test]
    fn a_line_of_output_cannot_drive_the_terminal() {
        assert_eq!(safe("\u{1b}[31mred\u{1b}[0m plain"), "red plain");
        assert_eq!(safe("\u{1b}]0;title\u{7}"), "␛]0;title␇");
        assert_eq!(safe("a\tb\rc"), "a\tb␍c");
        assert_eq!(safe("\u{1b}[2J\u{1b}[H备份"), "备份");
        assert_eq!(safe("\u{1b}["), "");
        assert_eq!(safe("user\u{202e}exe.txt"), "user\u{fffd}exe.txt");
    }
}
