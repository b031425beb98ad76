//! `${{ }}` in the URL of a request: each value is bound by the part of the URL where it stands.
//!
//! | part | a value there |
//! |---|---|
//! | the very start | is itself an `http` or `https` URL; nothing, or a path or query of the author, follows it |
//! | user and password | percent-encoded |
//! | host, port | letters, digits, `.`, `-`, `_`; digits: anything else is refused |
//! | path, query, fragment | percent-encoded, `/` too; it can neither empty a path segment nor make it `.` or `..` |
//!
//! So the number of parts, and everything that the author wrote, is the same whatever the values are. There is no
//! general URL parser in between whose idea of a boundary could differ: the boundaries are in the author's text.

use std::ops::Range;

use super::expression::{EvalError, Expression, ExpressionError};
use super::template::Part;
use super::{Context, Template};

/// What stands where a value that must not be seen would.
pub const HIDDEN: &str = "(sensitive)";

/// The text of a URL with its values taken out, each with the part of the URL it belongs to.
#[derive(Debug, Clone)]
pub struct UrlTemplate {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone)]
enum Piece {
    Text(Spot, char),
    Value(Spot, Expression),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spot {
    /// The value is the whole URL.
    Whole,
    /// The value is the beginning of the URL, up to a path or a query of the author.
    Base,
    Scheme,
    User,
    Host,
    /// Between the brackets of an IPv6 address.
    Address,
    Port,
    Path,
    Query,
    Fragment,
}

/// A URL that can be asked, and how it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundUrl {
    pub url: String,
    pub shown: String,
}

/// A character of the author, with its bytes in the text, or a value.
enum Symbol<'t> {
    Char(char, Range<usize>),
    Value(&'t Expression, Range<usize>),
}

impl UrlTemplate {
    /// The error carries the bytes of the template's text.
    pub fn compile(template: &Template) -> Result<UrlTemplate, ExpressionError> {
        let symbols = symbols(template);
        let end = symbols.last().map_or(0, |symbol| symbol.range().end);
        let (mut pieces, rest) = match &symbols[..] {
            [] => return Err(refuse("the URL is empty", "write for example `https://host/path`", 0..0)),
            [Symbol::Value(value, _)] => return Ok(UrlTemplate::of(vec![Piece::Value(Spot::Whole, (*value).clone())])),
            [Symbol::Value(value, range), rest @ ..] => (vec![based(value, range, rest)?], rest),
            _ => {
                let (pieces, used) = origin(&symbols, end)?;
                (pieces, &symbols[used..])
            }
        };
        let mut spot = Spot::Path;
        for symbol in rest {
            match symbol {
                Symbol::Value(value, _) => pieces.push(Piece::Value(spot, (*value).clone())),
                Symbol::Char(c, range) => {
                    spot = match (spot, c) {
                        (Spot::Path, '?') => Spot::Query,
                        (Spot::Path | Spot::Query, '#') => Spot::Fragment,
                        _ => spot,
                    };
                    if c.is_control() || *c == '\\' {
                        let message = format!("{c:?} cannot stand in a URL");
                        return Err(refuse(&message, "write it percent-encoded if it is meant", range.clone()));
                    }
                    pieces.push(Piece::Text(spot, *c));
                }
            }
        }
        Ok(UrlTemplate::of(pieces))
    }

    fn of(pieces: Vec<Piece>) -> UrlTemplate {
        UrlTemplate { pieces }
    }

    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value(_, expression) => Some(expression),
            Piece::Text(..) => None,
        })
    }

    /// The URL with its values. `secret` tells which of them may not be shown.
    pub fn bind(&self, context: &Context, secret: &dyn Fn(&Expression) -> bool) -> Result<BoundUrl, EvalError> {
        let mut url = String::new();
        let mut segment = Segment::default();
        for (n, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Text(Spot::Path, '/') => {
                    segment.close()?;
                    url.push('/');
                }
                Piece::Text(spot, c) => {
                    if *spot == Spot::Path {
                        segment.text.push(*c)
                    } else {
                        segment.close()?
                    }
                    push_text(&mut url, *c);
                }
                Piece::Value(spot, expression) => {
                    let value = expression.evaluate_text(context)?;
                    if *spot == Spot::Path {
                        segment.text.push_str(&value);
                        segment.value = Some(expression);
                    }
                    let before_path = matches!(self.pieces.get(n + 1), Some(Piece::Text(Spot::Path, '/')));
                    let refused = |message| EvalError::Refused { expression: expression.source.clone(), message };
                    url.push_str(&placed(*spot, &value, before_path).map_err(refused)?);
                }
            }
        }
        segment.close()?;
        Ok(BoundUrl { url, shown: self.show(context, secret) })
    }

    /// The URL for people: passwords and sensitive values hidden, values that are not known yet as they are written.
    pub fn show(&self, context: &Context, secret: &dyn Fn(&Expression) -> bool) -> String {
        let mut shown = String::new();
        let mut user_hidden = false;
        for (n, piece) in self.pieces.iter().enumerate() {
            let (Piece::Text(spot, _) | Piece::Value(spot, _)) = piece;
            if *spot == Spot::User {
                if !std::mem::replace(&mut user_hidden, true) {
                    shown.push_str("***@");
                }
                continue;
            }
            match piece {
                Piece::Text(_, c) => push_text(&mut shown, *c),
                Piece::Value(_, expression) if secret(expression) => shown.push_str(HIDDEN),
                Piece::Value(spot, expression) => {
                    let before_path = matches!(self.pieces.get(n + 1), Some(Piece::Text(Spot::Path, '/')));
                    let value = expression.evaluate_text(context).ok();
                    let text = value.and_then(|value| match spot {
                        Spot::Whole | Spot::Base => whole(&value, *spot == Spot::Base, before_path).ok().map(|it| it.1),
                        _ => placed(*spot, &value, before_path).ok(),
                    });
                    shown.push_str(&text.unwrap_or_else(|| format!("${{{{ {} }}}}", expression.source)));
                }
            }
        }
        shown
    }
}

/// The path segment that is being written, and the value in it.
#[derive(Default)]
struct Segment<'e> {
    text: String,
    value: Option<&'e Expression>,
}

impl Segment<'_> {
    /// A value that empties a segment, or makes it `..`, would name another thing than the author meant.
    fn close(&mut self) -> Result<(), EvalError> {
        let text = std::mem::take(&mut self.text);
        let Some(expression) = self.value.take() else { return Ok(()) };
        let message = match text.as_str() {
            "" => "is empty: the path of the URL would name something else",
            "." | ".." => "is `.` or `..`: the path of the URL would name something else",
            _ => return Ok(()),
        };
        Err(EvalError::Refused { expression: expression.source.clone(), message: message.into() })
    }
}

fn symbols(template: &Template) -> Vec<Symbol<'_>> {
    let (mut symbols, mut at) = (Vec::new(), 0);
    for part in &template.parts {
        match part {
            Part::Text(text) => {
                let chars = text.char_indices().map(|(n, c)| Symbol::Char(c, at + n..at + n + c.len_utf8()));
                symbols.extend(chars);
                at += text.len();
            }
            Part::Value { expression, range } => {
                symbols.push(Symbol::Value(expression, range.clone()));
                at = range.end;
            }
        }
    }
    symbols
}

impl Symbol<'_> {
    fn range(&self) -> Range<usize> {
        match self {
            Symbol::Char(_, range) | Symbol::Value(_, range) => range.clone(),
        }
    }

    fn is(&self, wanted: char) -> bool {
        matches!(self, Symbol::Char(c, _) if *c == wanted)
    }
}

fn refuse(message: &str, help: &str, range: Range<usize>) -> ExpressionError {
    ExpressionError { message: message.to_owned(), help: Some(help.to_owned()), range }
}

/// A value at the very start. What follows it is the author's, and cannot belong to its host.
fn based(value: &Expression, range: &Range<usize>, rest: &[Symbol<'_>]) -> Result<Piece, ExpressionError> {
    if rest.first().is_some_and(|next| next.is('/') || next.is('?')) {
        return Ok(Piece::Value(Spot::Base, value.clone()));
    }
    let message = "a value at the start of a URL has to be its whole beginning: `http://host` or more";
    let help = "let `/` or `?` follow it; or write `https://` out, and only the host as a value";
    Err(refuse(message, help, range.clone()))
}

/// `http://user:password@host:port`, and how many symbols that are.
fn origin(symbols: &[Symbol<'_>], end: usize) -> Result<(Vec<Piece>, usize), ExpressionError> {
    let lead: String = symbols.iter().map_while(|s| if let Symbol::Char(c, _) = s { Some(*c) } else { None }).collect();
    let lower = lead.to_ascii_lowercase();
    let Some(scheme) = ["https://", "http://"].into_iter().find(|scheme| lower.starts_with(scheme)) else {
        return Err(refuse("a URL begins with `http://` or `https://`", "write it out", 0..lead.len().max(1).min(end)));
    };
    let used = symbols[scheme.len()..].iter().position(|s| s.is('/') || s.is('?') || s.is('#'));
    let used = used.map_or(symbols.len(), |n| n + scheme.len());
    let authority = &symbols[scheme.len()..used];
    let mut pieces: Vec<Piece> = scheme.chars().map(|c| Piece::Text(Spot::Scheme, c)).collect();
    let host = match authority.iter().rposition(|symbol| symbol.is('@')) {
        None => authority,
        Some(at) => {
            place(&authority[..=at], Spot::User, &mut pieces)?;
            &authority[at + 1..]
        }
    };
    let host_end = match host.first() {
        Some(first) if first.is('[') => host.iter().position(|symbol| symbol.is(']')).map_or(host.len(), |at| at + 1),
        _ => host.iter().position(|symbol| symbol.is(':')).unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(host_end);
    if name.is_empty() {
        return Err(refuse("this URL has no host", "write for example `https://host/path`", 0..end));
    }
    match name {
        [open, inner @ .., close] if open.is('[') && close.is(']') => {
            pieces.push(Piece::Text(Spot::Host, '['));
            place(inner, Spot::Address, &mut pieces)?;
            pieces.push(Piece::Text(Spot::Host, ']'));
        }
        _ => place(name, Spot::Host, &mut pieces)?,
    }
    if let [colon, number @ ..] = port {
        if !colon.is(':') || number.is_empty() {
            return Err(refuse(
                "after the host stands `:` and a port, or the path",
                "for example `:8443`",
                colon.range(),
            ));
        }
        pieces.push(Piece::Text(Spot::Host, ':'));
        place(number, Spot::Port, &mut pieces)?;
    }
    Ok((pieces, used))
}

/// Takes symbols into one part of the authority, each character of a kind that may stand there.
fn place(symbols: &[Symbol<'_>], spot: Spot, pieces: &mut Vec<Piece>) -> Result<(), ExpressionError> {
    for symbol in symbols {
        match symbol {
            Symbol::Value(value, _) => pieces.push(Piece::Value(spot, (*value).clone())),
            Symbol::Char(c, _) if fits(spot, *c) => pieces.push(Piece::Text(spot, *c)),
            Symbol::Char(c, range) => {
                let message = format!("{c:?} cannot stand in the {} of a URL", part(spot));
                let help = if c.is_ascii() { "write the path after a `/`" } else { "write the host as `xn--...`" };
                return Err(refuse(&message, help, range.clone()));
            }
        }
    }
    Ok(())
}

fn fits(spot: Spot, c: char) -> bool {
    match spot {
        Spot::Host => c.is_ascii_alphanumeric() || ".-_".contains(c),
        Spot::Address => c.is_ascii_hexdigit() || ":.".contains(c),
        Spot::Port => c.is_ascii_digit(),
        Spot::User => c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:%@".contains(c),
        _ => true,
    }
}

fn part(spot: Spot) -> &'static str {
    match spot {
        Spot::Address => "IPv6 address",
        Spot::Port => "port",
        Spot::User => "user",
        _ => "host",
    }
}

/// A value as it stands in its part of the URL; the error says why it cannot.
fn placed(spot: Spot, value: &str, before_path: bool) -> Result<String, String> {
    match spot {
        Spot::Whole | Spot::Base => whole(value, spot == Spot::Base, before_path).map(|it| it.0),
        Spot::Host | Spot::Address | Spot::Port => {
            if value.is_empty() {
                return Err(format!("is empty: it stands in the {} of the URL", part(spot)));
            }
            match value.chars().find(|c| !fits(spot, *c)) {
                None if spot == Spot::Port && value.parse::<std::num::NonZeroU16>().is_err() => {
                    Err("is no port (1 to 65535)".into())
                }
                None => Ok(value.to_owned()),
                Some(c) => Err(format!("has {c:?} in it, which cannot stand in the {} of a URL", part(spot))),
            }
        }
        Spot::Scheme | Spot::User | Spot::Path | Spot::Query | Spot::Fragment => Ok(encoded(value)),
    }
}

/// A value that is a URL, or the beginning of one: as it is asked, and as it is shown.
fn whole(value: &str, base: bool, before_path: bool) -> Result<(String, String), String> {
    let template = Template { parts: vec![Part::Text(value.to_owned())] };
    let compiled = UrlTemplate::compile(&template).map_err(|error| format!("is no URL: {}", error.message))?;
    if base && value.contains(['?', '#']) {
        return Err("has `?` or `#` in it, but the runbook's own path or query follows it".into());
    }
    let bound = compiled.bind(&Context::default(), &|_| false).map_err(|error| error.to_string())?;
    let cut = |text: String| match text.strip_suffix('/') {
        Some(cut) if base && before_path => cut.to_owned(),
        _ => text,
    };
    Ok((cut(bound.url), cut(bound.shown)))
}

/// A character of the author: what a request line cannot hold is percent-encoded, the rest is as written.
fn push_text(url: &mut String, c: char) {
    if c.is_ascii_graphic() && !"\"<>^`{|}".contains(c) {
        url.push(c);
    } else {
        c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| push_encoded(url, byte));
    }
}

/// Everything but the unreserved characters of RFC 3986 as `%XX`.
pub fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            push_encoded(&mut out, byte);
        }
    }
    out
}

fn push_encoded(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(DIGITS[usize::from(byte >> 4)] as char);
    out.push(DIGITS[usize::from(byte & 15)] as char);
}

#[cfg(test)]
mod tests;
