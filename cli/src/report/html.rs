//! A page as one HTML file: no script, nothing loaded from anywhere, and everything from outside escaped.

use super::page::{Block, Cell, Page, Piece};
use crate::text;

/// Whoever opens it loads and runs nothing, even if something was not escaped.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#1b1f24}
h2{margin-top:2.5rem;border-bottom:1px solid #d0d7de}
table{border-collapse:collapse;display:block;overflow-x:auto}
th,td{border:1px solid #d0d7de;padding:.3rem .6rem;text-align:left;vertical-align:top}
thead th{background:#f6f8fa}
code,pre{font:13px/1.45 ui-monospace,monospace;overflow-wrap:anywhere}
code{background:#f6f8fa;padding:.1rem .25rem;border-radius:3px}
pre{background:#f6f8fa;padding:.6rem .8rem;overflow-x:auto}
@media print{body{margin:0;max-width:none}table{display:table}}
";

pub fn write(page: &Page) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n<title>{} {}</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n<h1>{0} {}</h1>\n",
        page.title.0,
        escaped(&page.title.1),
        code(&page.title.1)
    );
    page.blocks.iter().for_each(|one| block(&mut out, one));
    out += "</body>\n</html>\n";
    out
}

fn block(out: &mut String, block: &Block) {
    match block {
        Block::Section(title) => *out += &format!("<h2>{title}</h2>\n"),
        Block::Step(cell) => *out += &format!("<h3>{}</h3>\n", inline(cell)),
        Block::Note(cell) => *out += &format!("<p>{}</p>\n", inline(cell)),
        Block::Facts(facts) => {
            let row = |(name, cell): &(&str, Cell)| {
                let told = inline(cell);
                if told.is_empty() { told } else { format!("<tr><th>{name}</th><td>{told}</td></tr>\n") }
            };
            *out += &format!("<table>\n<tbody>\n{}</tbody>\n</table>\n", facts.iter().map(row).collect::<String>());
        }
        Block::Table(head, rows) => {
            let head: String = head.iter().map(|name| format!("<th>{name}</th>")).collect();
            let cell = |cell: &Cell| format!("<td>{}</td>", inline(cell));
            let row = |row: &Vec<Cell>| format!("<tr>{}</tr>\n", row.iter().map(cell).collect::<String>());
            let rows: String = rows.iter().map(row).collect();
            *out += &format!("<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n");
        }
        Block::Code(lines) => {
            let lines: Vec<String> = lines.iter().flat_map(|line| line.split('\n')).map(escaped).collect();
            *out += &format!("<pre>{}</pre>\n", lines.join("\n"));
        }
    }
}

fn inline(cell: &Cell) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Word(word) => escaped(word),
        Piece::Value(value) => code(value),
    };
    cell.iter().map(piece).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
}

fn code(value: &str) -> String {
    format!("<code>{}</code>", escaped(value))
}

fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in text::safe(value).chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}
