//! A page as GitHub's Markdown, which most ticket systems show.
//!
//! What came from outside stands in code spans and code blocks, where nothing means anything: no link, no mention, no HTML,
//! no heading. What ends those is counted first.

use super::page::{Block, Cell, Page, Piece};
use crate::text;

pub fn write(page: &Page) -> String {
    let mut out = format!("# {} {}\n", page.title.0, code(&page.title.1));
    for block in &page.blocks {
        out.push('\n');
        match block {
            Block::Section(title) => out += &format!("## {title}\n"),
            Block::Step(cell) => out += &format!("### {}\n", inline(cell)),
            Block::Note(cell) => out += &format!("{}\n", inline(cell)),
            Block::Facts(facts) => {
                let told = facts.iter().filter(|(_, cell)| !is_empty(cell));
                told.for_each(|(name, cell)| out += &format!("- **{name}:** {}\n", inline(cell)));
            }
            Block::Table(head, rows) => table(&mut out, head, rows),
            Block::Code(lines) => fenced(&mut out, lines),
        }
    }
    out
}

fn is_empty(cell: &Cell) -> bool {
    cell.iter().all(|piece| matches!(piece, Piece::Word(word) if word.is_empty()))
}

fn inline(cell: &Cell) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Word(word) => word.clone(),
        Piece::Value(value) => code(value),
    };
    cell.iter().map(piece).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
}

fn table(out: &mut String, head: &[&str], rows: &[Vec<Cell>]) {
    *out += &format!("| {} |\n|{}\n", head.join(" | "), " --- |".repeat(head.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(inline).collect();
        *out += &format!("| {} |\n", cells.join(" | "));
    }
}

/// Longer than any row of backticks in the text.
fn fence(text: &str, least: usize) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(least.max(longest + 1))
}

/// One line that says what it says. In a table a pipe ends its cell wherever it stands, and not every reader knows the same way
/// to say that it does not: each stands between two spans, as an entity.
fn code(value: &str) -> String {
    let value = text::safe(value);
    if value.is_empty() {
        return "(empty)".to_owned();
    }
    value.split('|').map(span).collect::<Vec<_>>().join("&#124;")
}

fn span(value: &str) -> String {
    if value.is_empty() {
        return String::new();
    }
    let fence = fence(value, 1);
    let ends = value.starts_with(['`', ' ']) || value.ends_with(['`', ' ']);
    let pad = if ends && !value.trim().is_empty() { " " } else { "" };
    format!("{fence}{pad}{value}{pad}{fence}")
}

fn fenced(out: &mut String, lines: &[String]) {
    let lines: Vec<String> = lines.iter().flat_map(|line| line.split('\n')).map(text::safe).collect();
    let fence = fence(&lines.join("\n"), 3);
    *out += &format!("{fence}text\n{}\n{fence}\n", lines.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_never_ends_what_it_stands_in() {
        for (value, written) in [
            ("plain", "`plain`"),
            ("a`b", "``a`b``"),
            ("``", "``` `` ```"),
            (" x", "`  x `"),
            ("", "(empty)"),
            ("two\nlines", "`two\u{240a}lines`"),
            (" ", "` `"),
            ("a|b", "`a`&#124;`b`"),
            ("<script>|", "`<script>`&#124;"),
            ("\u{1b}[31mred", "`red`"),
        ] {
            assert_eq!(code(value), written, "{value:?}");
        }
    }

    #[test]
    fn a_block_is_closed_by_nothing_in_it() {
        let mut out = String::new();
        fenced(&mut out, &["a".into(), "````".into(), "~~~\n# b".into()]);
        assert_eq!(out, "`````text\na\n````\n~~~\n# b\n`````\n");
    }
}
