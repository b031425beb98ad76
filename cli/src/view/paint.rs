//! A block of lines at the end of a terminal's text, drawn over itself again and again.
//!
//! Nothing is ever cleared before it is written anew, so nothing flickers; and the screen is never cleared from its top, which
//! some terminals take as "keep this": the block leaves no copies of itself in what was scrolled away. Lines are one
//! column shorter than the terminal, so that none wraps and the end of a line can be erased safely. Wrapping is off meanwhile:
//! some terminals are narrower for a moment before they say so (tmux: a quarter of a second), and frames that take the same
//! rows as before lose nothing by it. What such a terminal broke into rows is made up for when the new width is known.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar;

/// The whole row: what is only overwritten may still count as the first part of a line that was broken into rows.
const CLEAR_ROW: &str = "\u{1b}[2K";
/// The kernel passes on a text up to its next newline: with them, a terminal could be resized, and break the block into other
/// rows, while it has drawn half of a frame.
const NEXT_ROW: &str = "\u{1b}[E";
const NO_WRAP: &str = "\u{1b}[?7l";
const WRAP: &str = "\u{1b}[?7h";

#[derive(Debug, Default)]
pub struct Painter {
    /// The lines that stand there, as they were written, and their widths.
    drawn: Vec<(String, usize)>,
    /// The columns of the terminal then.
    width: usize,
}

impl Painter {
    /// What to write so that `above` stays for ever and `lines` stand below it. `width`, `height`: of the terminal.
    pub fn frame(&mut self, above: &[String], lines: &[String], width: usize, height: usize) -> String {
        let lines: Vec<String> =
            lines.iter().take(height.saturating_sub(1).max(1)).map(|line| cut(line, width.saturating_sub(1))).collect();
        let mut rows = self.rows(width, height);
        let mut out = back(rows);
        let resized = width != self.width;
        let moved = !above.is_empty() || resized;
        above.iter().for_each(|line| _ = write!(out, "{CLEAR_ROW}{line}{}", down(&mut rows)));
        out += NO_WRAP;
        for (n, line) in lines.iter().enumerate() {
            let same = !moved && self.drawn.get(n).is_some_and(|(drawn, _)| drawn == line);
            let down = down(&mut rows);
            let _ = match (same, resized) {
                (true, _) => write!(out, "{down}"),
                (false, true) => write!(out, "{CLEAR_ROW}{line}{down}"),
                (false, false) => write!(out, "{line}\u{1b}[K{down}"),
            };
        }
        if moved || lines.len() < self.drawn.len() {
            out += "\u{1b}[J";
        }
        out += WRAP;
        self.drawn = lines.into_iter().map(|line| (line.clone(), columns(&line))).collect();
        self.width = width;
        out
    }

    /// What to write so that these lines stand in the block's place for ever.
    pub fn last(&mut self, lines: &[String], width: usize, height: usize) -> String {
        let mut rows = self.rows(width, height);
        let mut out = back(rows);
        lines.iter().for_each(|line| _ = write!(out, "{CLEAR_ROW}{line}{}", down(&mut rows)));
        if !self.drawn.is_empty() {
            out += "\u{1b}[J";
        }
        self.drawn.clear();
        out
    }

    /// Rows of the screen that the block takes. A terminal that became narrower has broken its lines into several.
    fn rows(&self, width: usize, height: usize) -> usize {
        let rows: usize = self.drawn.iter().map(|(_, columns)| columns.div_ceil(width.max(1)).max(1)).sum();
        rows.min(height.saturating_sub(1))
    }
}

/// To the first row of the block.
fn back(rows: usize) -> String {
    match rows {
        0 => String::new(),
        rows => format!("\r\u{1b}[{rows}A"),
    }
}

/// To the next row: one of the `rows` that are there, or a new one.
fn down(rows: &mut usize) -> &'static str {
    let there = *rows > 0;
    *rows = rows.saturating_sub(1);
    if there { NEXT_ROW } else { "\n" }
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
        let wide = c.width().unwrap_or(0);
        if used + wide > width {
            break;
        }
        used += wide;
        out.push(c);
    }
    if coloured {
        out.push_str("\u{1b}[0m");
    }
    out
}

/// Columns a line takes, colour sequences left out.
fn columns(line: &str) -> usize {
    let mut inside = false;
    let mut columns = 0;
    for c in line.chars() {
        match c {
            '\u{1b}' => inside = true,
            'm' if inside => inside = false,
            c if !inside => columns += c.width().unwrap_or(0),
            _ => {}
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn wide_characters_count_twice_and_colours_not_at_all() {
        assert_eq!(cut("备份数据库", 6), "备份数");
        assert_eq!(cut("备份数据库", 7), "备份数");
        assert_eq!(cut("\u{1b}[32mabcdef\u{1b}[0m", 3), "\u{1b}[32mabc\u{1b}[0m");
        assert_eq!(columns("\u{1b}[32m备份 ab\u{1b}[0m"), 7);
    }

    /// A frame, without the switches of wrapping.
    fn frame(painter: &mut Painter, above: &str, block: &str, width: usize, height: usize) -> String {
        let out = painter.frame(&lines(above), &lines(block), width, height);
        assert!(out.contains(NO_WRAP) && out.ends_with(WRAP));
        out.replace(NO_WRAP, "").replace(WRAP, "")
    }

    #[test]
    fn only_what_changed_is_written_again() {
        let mut painter = Painter::default();
        assert_eq!(frame(&mut painter, "", "a\nb\nc", 80, 24), "\u{1b}[2Ka\n\u{1b}[2Kb\n\u{1b}[2Kc\n\u{1b}[J");
        assert_eq!(frame(&mut painter, "", "a\nB\nc", 80, 24), "\r\u{1b}[3A\u{1b}[EB\u{1b}[K\u{1b}[E\u{1b}[E");
        assert_eq!(frame(&mut painter, "", "a\nB", 80, 24), "\r\u{1b}[3A\u{1b}[E\u{1b}[E\u{1b}[J");
    }

    #[test]
    fn what_stays_is_written_above_and_the_block_below_it() {
        let mut painter = Painter::default();
        frame(&mut painter, "", "a", 80, 24);
        assert_eq!(
            frame(&mut painter, "for ever", "a", 80, 24),
            "\r\u{1b}[1A\u{1b}[2Kfor ever\u{1b}[Ea\u{1b}[K\n\u{1b}[J"
        );
        assert_eq!(painter.last(&lines("end"), 80, 24), "\r\u{1b}[1A\u{1b}[2Kend\u{1b}[E\u{1b}[J");
        assert_eq!(painter.last(&lines("more"), 80, 24), "\u{1b}[2Kmore\n");
    }

    #[test]
    fn a_narrower_terminal_has_broken_the_lines_into_rows() {
        let mut painter = Painter::default();
        frame(&mut painter, "", "0123456789\n01234\n", 80, 24);
        assert!(frame(&mut painter, "", "0\n1", 5, 24).starts_with("\r\u{1b}[3A"), "two rows and one");
        assert_eq!(painter.drawn.len(), 2);
        frame(&mut painter, "", &"line\n".repeat(50), 80, 24);
        assert_eq!(painter.drawn.len(), 23, "one row is left for the cursor");
        assert!(frame(&mut painter, "", "0", 80, 10).starts_with("\r\u{1b}[9A"), "never above the screen");
    }
}
