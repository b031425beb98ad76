//! Offsets -> places people can find.
//!
//! The text of a YAML scalar is not the text of the file: indentation is gone, quotes and escapes are resolved, lines are
//! folded. What stays is the sequence of its visible characters, so a place is found by counting those.

use std::ops::Range;

use super::model::Span;

/// Line and column of a byte offset, both from 1, columns in characters. An offset past the end is the end.
pub fn position(source: &str, offset: usize) -> (usize, usize) {
    let before = &source[..super::node::floor(source, offset)];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let text = before[line_start..].strip_prefix('\u{feff}').unwrap_or(&before[line_start..]);
    (line, text.chars().count() + 1)
}

/// The visible characters of one scalar: where each stands in its decoded text and in the file.
#[derive(Debug)]
pub struct ScalarMap {
    whole: Span,
    /// Pairs of (byte in the decoded text, bytes in the file).
    visible: Vec<(usize, Span)>,
}

impl ScalarMap {
    /// `span` is the scalar in `source`, `decoded` its value. Where both do not fit together, every place of it is `span`.
    pub fn new(source: &str, span: &Span, decoded: &str) -> ScalarMap {
        let raw = source.get(span.clone()).unwrap_or_default();
        let places = match raw.trim_start().as_bytes().first() {
            Some(b'"') => double_quoted(raw),
            Some(b'\'') => single_quoted(raw),
            _ => plain(raw, decoded),
        };
        let inked: Vec<usize> = decoded.char_indices().filter(|(_, c)| !c.is_whitespace()).map(|(at, _)| at).collect();
        let visible = if inked.len() == places.len() {
            let place = |r: Range<usize>| span.start + r.start..span.start + r.end;
            inked.into_iter().zip(places.into_iter().map(place)).collect()
        } else {
            Vec::new()
        };
        ScalarMap { whole: span.clone(), visible }
    }

    /// The bytes of the file that became `range` of the decoded text.
    pub fn place(&self, range: &Range<usize>) -> Span {
        let first = self.visible.partition_point(|(at, _)| *at < range.start);
        let behind = self.visible.partition_point(|(at, _)| *at < range.end);
        let Some((_, start)) = self.visible.get(first) else { return self.whole.clone() };
        match behind.checked_sub(1).and_then(|last| self.visible.get(last)) {
            Some((_, end)) if behind > first => start.start..end.end,
            _ => start.clone(),
        }
    }
}

fn ink(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    text.char_indices().filter(|(_, c)| !c.is_whitespace())
}

/// Plain, literal and folded scalars. A span that begins with the header of a block (`|-`) begins after it.
fn plain(raw: &str, decoded: &str) -> Vec<Range<usize>> {
    let places = |text: &str, base: usize| -> Vec<Range<usize>> {
        ink(text).map(|(at, c)| base + at..base + at + c.len_utf8()).collect()
    };
    let header = raw.starts_with(['|', '>']) && !decoded.trim_start().starts_with(['|', '>']);
    match raw.find('\n').filter(|_| header) {
        Some(end) => places(&raw[end..], end),
        None => places(raw, 0),
    }
}

fn single_quoted(raw: &str) -> Vec<Range<usize>> {
    let Some((inner, base)) = inner(raw, '\'') else { return Vec::new() };
    let mut places = Vec::new();
    let mut characters = inner.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let mut end = at + c.len_utf8();
        if c == '\'' && characters.next_if(|(_, next)| *next == '\'').is_some() {
            end += 1;
        }
        if !c.is_whitespace() {
            places.push(base + at..base + end);
        }
    }
    places
}

fn double_quoted(raw: &str) -> Vec<Range<usize>> {
    let Some((inner, base)) = inner(raw, '"') else { return Vec::new() };
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(c) = inner[at..].chars().next() {
        let start = at;
        at += c.len_utf8();
        let mut visible = !c.is_whitespace();
        if c == '\\' {
            let escaped = inner[at..].chars().next().unwrap_or(' ');
            at += escaped.len_utf8().min(inner.len() - at);
            let digits = match escaped {
                'x' => 2,
                'u' => 4,
                'U' => 8,
                _ => 0,
            };
            let code = inner.get(at..at + digits).unwrap_or_default();
            at = (at + digits).min(inner.len());
            let decoded = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
            visible = match decoded {
                Some(c) => !c.is_whitespace(),
                None => !"ntrvfNLP_ \t\r\n".contains(escaped),
            };
        }
        if visible {
            places.push(base + start..base + at);
        }
        while !inner.is_char_boundary(at) {
            at += 1;
        }
    }
    places
}

/// What stands between the quotes, and where it begins.
fn inner(raw: &str, quote: char) -> Option<(&str, usize)> {
    let start = raw.find(quote)? + 1;
    let end = raw.rfind(quote)?;
    Some((raw.get(start..end)?, start))
}
