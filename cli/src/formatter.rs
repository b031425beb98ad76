//! A runbook's text -> the same runbook, laid out well.
//!
//! The layout is that of `pretty_yaml`. Nothing it does is taken on trust: the new text has to hold the same values, the
//! same comments and the same quotes as the old one, and formatting it again must change nothing. Otherwise the file is
//! left alone. Here is no file and no terminal.

use pretty_yaml::config::{FormatOptions, LanguageOptions, LayoutOptions};
use runward_engine::runbook::Report;
use runward_engine::runbook::node::{self, Data, Node};
use yaml_parser::SyntaxKind;

/// Lines are broken beyond this, where YAML allows it: in `[...]` and `{...}`.
const LINE_CHARS_MAX: usize = 120;
/// The first layout can move what the second one then joins; it has to come to rest.
const ROUNDS_MAX: usize = 4;

#[derive(Debug)]
pub enum Unformattable {
    /// It is not YAML, or beyond the limits: the usual findings.
    Broken(Report),
    /// It is, but the formatter would not keep it as it is.
    Refused(&'static str),
}

/// The formatted text. A byte order mark and line ends of Windows stay.
pub fn format(source: &str) -> Result<String, Unformattable> {
    let windows = source.find('\n').is_some_and(|at| source[..at].ends_with('\r'));
    let (mark, text) = source.strip_prefix('\u{feff}').map_or(("", source), |rest| ("\u{feff}", rest));
    let text = text.replace("\r\n", "\n");
    if node::read(source.as_bytes()).map_err(Unformattable::Broken)?.root.data == Data::Null {
        return Ok(source.to_owned());
    }
    let laid_out = at_rest(&text)?;
    let formatted = format!("{mark}{}", if windows { laid_out.replace('\n', "\r\n") } else { laid_out });
    match same(source, &formatted) {
        true => Ok(formatted),
        false => Err(Unformattable::Refused("the formatter would change a value in it")),
    }
}

fn at_rest(text: &str) -> Result<String, Unformattable> {
    let mut before = text.to_owned();
    for _ in 0..ROUNDS_MAX {
        let after = once(&before)?;
        if after == before {
            return Ok(after);
        }
        before = after;
    }
    Err(Unformattable::Refused("the formatter does not come to rest on it"))
}

fn once(text: &str) -> Result<String, Unformattable> {
    let not_known = |_| Unformattable::Refused("the formatter does not know this kind of YAML");
    let laid_out = pretty_yaml::format_text(text, &options()).map_err(not_known)?;
    let (old, new) = (Tokens::of(text), Tokens::of(&laid_out));
    match (old, new) {
        (Some(old), Some(new)) if old.comments == new.comments => Ok(with_quotes_of(&old, &new, &laid_out)),
        _ => Err(Unformattable::Refused("the formatter would change a comment in it")),
    }
}

fn options() -> FormatOptions {
    let layout = LayoutOptions { print_width: LINE_CHARS_MAX, ..LayoutOptions::default() };
    let language = LanguageOptions {
        brace_spacing: false,
        trailing_comma: false,
        trim_trailing_whitespaces: false,
        ..LanguageOptions::default()
    };
    FormatOptions { layout, language }
}

/// What a layout must not touch: comments, and texts in quotes with their places.
struct Tokens {
    comments: Vec<String>,
    quoted: Vec<(std::ops::Range<usize>, String)>,
}

impl Tokens {
    fn of(text: &str) -> Option<Tokens> {
        let mut tokens = Tokens { comments: Vec::new(), quoted: Vec::new() };
        for element in yaml_parser::parse(text).ok()?.descendants_with_tokens() {
            let Some(token) = element.as_token() else { continue };
            match token.kind() {
                SyntaxKind::COMMENT => tokens.comments.push(token.text().trim_end().to_owned()),
                SyntaxKind::SINGLE_QUOTED_SCALAR | SyntaxKind::DOUBLE_QUOTED_SCALAR => {
                    tokens.quoted.push((token.text_range().into(), token.text().to_owned()));
                }
                _ => {}
            }
        }
        Some(tokens)
    }
}

/// The formatter knows only one kind of quotes; an author chooses them. A text of several lines keeps the new ones.
fn with_quotes_of(old: &Tokens, new: &Tokens, laid_out: &str) -> String {
    if old.quoted.len() != new.quoted.len() {
        return laid_out.to_owned();
    }
    let (mut out, mut done) = (String::with_capacity(laid_out.len()), 0);
    for ((_, old), (place, new)) in old.quoted.iter().zip(&new.quoted) {
        out.push_str(&laid_out[done..place.start]);
        out.push_str(if old.contains('\n') || new.contains('\n') { new } else { old });
        done = place.end;
    }
    out.push_str(&laid_out[done..]);
    out
}

/// Whether two texts are the same runbook, numbers as they are written included.
fn same(old: &str, new: &str) -> bool {
    match (node::read(old.as_bytes()), node::read(new.as_bytes())) {
        (Ok(one), Ok(other)) => same_node(&one.root, old, &other.root, new),
        _ => false,
    }
}

fn same_node(one: &Node, old: &str, other: &Node, new: &str) -> bool {
    match (&one.data, &other.data) {
        (Data::List(one), Data::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_node(one, old, other, new))
        }
        (Data::Map(one), Data::Map(other)) => {
            let same = |((a, one), (b, other)): (&(node::Key, Node), &(node::Key, Node))| {
                a.text == b.text && same_node(one, old, other, new)
            };
            one.len() == other.len() && one.iter().zip(other).all(same)
        }
        (a, b) => a == b && one.scalar_text(old) == other.scalar_text(new),
    }
}

#[cfg(test)]
mod tests;
