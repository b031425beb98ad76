//! A Tera file for `render`: the whole language of Tera, without files beside it, over the names that `${{ }}` knows.
//!
//! Nothing is escaped: what the file is for (nginx, systemd, a shell) is not known here. What the file reads is found by
//! a scan of its tags, so that a name that does not exist is an error when the runbook is checked, at its place in the
//! file. To know before changing anything: the scan may miss a reference (`params` handed on as a whole is one), it must
//! not invent one; Tera itself has the last word when the file is rendered.

use std::collections::BTreeSet;
use std::ops::Range;

use tera::{ErrorKind, Tera};

use super::Context;
use super::expression::evaluate::{language, message_of};
use super::expression::scan::{FILTERS, ROOTS, Spanned, TESTS, Token, name_of, suggest, tokenize, unknown_root_help};
use super::expression::{ExpressionError, Reference};
use super::template::closing;

/// The name Tera knows the file by; without an ending for which it would escape anything.
const NAME: &str = "template";

/// A file that Tera can read.
#[derive(Debug)]
pub struct Document {
    tera: Tera,
    /// What it reads, each with its bytes in the file.
    pub references: Vec<(Reference, Range<usize>)>,
    /// It reads `params` as a whole.
    pub reads_all_params: bool,
}

/// A file that has no text with these values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct DocumentError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    pub message: String,
}

impl DocumentError {
    /// The same without anything of what was read: for a file that reads something sensitive.
    #[must_use]
    pub fn discreet(self) -> DocumentError {
        let message = "this has no text; why is not shown, because the template reads something sensitive".to_owned();
        DocumentError { message, ..self }
    }
}

impl Document {
    /// All errors that can be seen, with their bytes in `text`.
    pub fn parse(text: &str) -> Result<Document, Vec<ExpressionError>> {
        let mut tera = language();
        tera.autoescape_on(Vec::<&str>::new());
        if let Err(error) = tera.add_raw_template(NAME, text) {
            return Err(vec![syntax_error(text, &error)]);
        }
        let tags = tags(text);
        let tokens: Vec<(usize, Vec<Spanned>)> =
            tags.iter().filter_map(|tag| Some((tag.start, tokenize(&text[tag.clone()]).ok()?))).collect();
        let locals: BTreeSet<&str> = tokens.iter().flat_map(|(_, tokens)| bound_names(tokens)).collect();
        let mut scan = Scan { locals, references: Vec::new(), reads_all_params: false, errors: Vec::new() };
        for (start, tokens) in &tokens {
            scan.tag(*start, tokens);
        }
        let free = tera.get_template_variables(NAME).unwrap_or_default();
        for name in free.into_iter().filter(|name| !ROOTS.contains(name) && !scan.locals.contains(name)) {
            let range = first_use(&tokens, name).unwrap_or(0..0);
            let message = format!("`{name}` is not a name that templates know");
            scan.errors.push(ExpressionError { message, help: Some(unknown_root_help(name)), range });
        }
        let Scan { references, reads_all_params, mut errors, .. } = scan;
        errors.sort_by_key(|error| error.range.start);
        if errors.is_empty() { Ok(Document { tera, references, reads_all_params }) } else { Err(errors) }
    }

    /// The text with its values in place.
    pub fn render(&self, context: &Context) -> Result<String, DocumentError> {
        let mut values = tera::Context::new();
        for (name, value) in context.root() {
            values.insert(name.clone(), value);
        }
        self.tera.render(NAME, &values).map_err(|error| match error.kind() {
            ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => DocumentError {
                line: report.span().start_line.max(1),
                column: report.span().start_col + 1,
                message: message_of(&error),
            },
            _ => DocumentError { line: 1, column: 1, message: message_of(&error) },
        })
    }
}

fn syntax_error(text: &str, error: &tera::Error) -> ExpressionError {
    let range = match error.kind() {
        ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report) => {
            let range = report.span().range.clone();
            range.start.min(text.len())..range.end.min(text.len())
        }
        _ => 0..0,
    };
    let message = match error.kind() {
        ErrorKind::Msg(message) => return unknown_name(text, message),
        ErrorKind::MissingParent { parent, .. } => format!("`extends \"{parent}\"`: a template stands for itself"),
        ErrorKind::TemplateNotFound(name) => format!("`include \"{name}\"`: a template stands for itself"),
        _ => message_of(error),
    };
    ExpressionError { message, help: None, range }
}

/// Tera names an unknown filter, test or function without its place.
fn unknown_name(text: &str, message: &str) -> ExpressionError {
    let line = message.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let name = line.split('`').nth(1).unwrap_or_default();
    let used = |tag: &Range<usize>| {
        let tokens = tokenize(&text[tag.clone()]).ok()?;
        let (_, range) = tokens.into_iter().find(|(token, _)| *token == Token::Ident(name))?;
        Some(tag.start + range.start..tag.start + range.end)
    };
    let candidates: Vec<&str> = FILTERS.iter().chain(TESTS).copied().collect();
    let help = suggest(name, &candidates).map(|near| format!("did you mean `{near}`?"));
    ExpressionError { message: line.to_owned(), help, range: tags(text).iter().find_map(used).unwrap_or(0..0) }
}

/// The insides of `{{ }}` and `{% %}`; comments and `{% raw %}` are skipped. Tera has read the text: it is well-formed.
fn tags(text: &str) -> Vec<Range<usize>> {
    let (mut tags, mut at) = (Vec::new(), 0);
    while let Some(start) = text[at..].find('{').map(|n| n + at) {
        let rest = &text[start..];
        let close = match rest.as_bytes().get(1) {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => {
                at = rest.find("#}").map_or(text.len(), |n| start + n + 2);
                continue;
            }
            _ => {
                at = start + 1;
                continue;
            }
        };
        let Some(end) = closing(&text[start + 2..], close).map(|n| start + 2 + n) else { break };
        let inner = text[start + 2..end].strip_prefix('-').map_or(start + 2..end, |_| start + 3..end);
        let inner = inner.start..inner.end - usize::from(text[inner.clone()].ends_with('-'));
        at = end + 2;
        if close == "%}" && text[inner.clone()].trim() == "raw" {
            let raw_end = text[at..]
                .match_indices("{%")
                .find(|(n, _)| text[at + n + 2..].trim_start_matches('-').trim_start().starts_with("endraw"));
            at = raw_end.map_or(text.len(), |(n, _)| at + n);
            continue;
        }
        tags.push(inner);
    }
    tags
}

/// Names that the file itself binds: `{% set x = ... %}`, `{% for k, v in ... %}`, `[x for x in ...]`.
fn bound_names<'t>(tokens: &[Spanned<'t>]) -> Vec<&'t str> {
    let mut names = Vec::new();
    for (at, (token, _)) in tokens.iter().enumerate() {
        match token {
            Token::Ident("set" | "set_global") if at == 0 => {
                if let Some((Token::Ident(name), _)) = tokens.get(1) {
                    names.push(*name);
                }
            }
            Token::Ident("for") => {
                let bound = tokens[at + 1..].iter().take_while(|(token, _)| *token != Token::Ident("in"));
                names.extend(
                    bound.filter_map(|(token, _)| if let Token::Ident(name) = token { Some(*name) } else { None }),
                );
            }
            _ => {}
        }
    }
    names
}

fn first_use(tags: &[(usize, Vec<Spanned>)], name: &str) -> Option<Range<usize>> {
    tags.iter().find_map(|(start, tokens)| {
        let found = tokens.iter().enumerate().find(|(at, (token, _))| {
            *token == Token::Ident(name)
                && !matches!(at.checked_sub(1).map(|at| &tokens[at].0), Some(Token::Sign("." | "?." | "|")))
        });
        found.map(|(_, (_, range))| start + range.start..start + range.end)
    })
}

struct Scan<'t> {
    locals: BTreeSet<&'t str>,
    references: Vec<(Reference, Range<usize>)>,
    reads_all_params: bool,
    errors: Vec<ExpressionError>,
}

impl Scan<'_> {
    fn tag(&mut self, start: usize, tokens: &[Spanned]) {
        let sign = |at: usize| match tokens.get(at) {
            Some((Token::Sign(sign), _)) => *sign,
            _ => "",
        };
        let ident = |at: usize| match tokens.get(at) {
            Some((Token::Ident(name), _)) => Some(*name),
            _ => None,
        };
        let mut at = 0;
        while at < tokens.len() {
            let here = at;
            at += 1;
            let Some(root) = ident(here).filter(|root| ROOTS.contains(root) && !self.locals.contains(root)) else {
                continue;
            };
            let before = here.checked_sub(1).map_or("", sign);
            let is_argument = sign(here + 1) == "=" && matches!(before, "(" | ",");
            if matches!(before, "." | "?." | "|") || is_argument {
                continue;
            }
            let (mut parts, mut end) = (vec![root.to_owned()], tokens[here].1.end);
            while let (true, Some(name)) = (matches!(sign(at), "." | "?."), ident(at + 1)) {
                parts.push(name.to_owned());
                end = tokens[at + 1].1.end;
                at += 2;
            }
            if parts == ["params"] {
                self.reads_all_params = true;
                continue;
            }
            let range = start + tokens[here].1.start..start + end;
            match name_of(&parts, &range) {
                Ok(reference) => self.references.push((reference, range)),
                Err(error) => self.errors.push(error),
            }
        }
    }
}

#[cfg(test)]
mod tests;
