//! `${{ }}` in shell scripts: the author's text is read once, and each value becomes a reference to a private
//! environment variable, quoted for the place where it stands. The script's text never contains a value.
//!
//! - `lexer`, `quotes`, `expansions`, `here`: words, quotes, expansions, here-documents: where does a value stand?
//! - `grammar`, `compound`: lists, pipelines, simple and compound commands
//! - `flow`: what reaches an interpreter from elsewhere in the script
//! - `commands`: which commands evaluate what they are given
//! - `interpreters`: programs that take code: what is code and what is data among their arguments
//! - `programs`: the tables of those programs
//! - `called`: which programs a script calls
//! - `refusal`: what the author is told, with the fix to write
//!
//! What it understands is the common ground of bash 5 and dash. Before changing anything: a mistake here cannot put a
//! value into the text; the worst is a reference where a command evaluates its arguments, so whatever is not
//! understood around a value is refused. Not knowable from the text, and therefore the author's: a function or a file
//! of the author that evaluates its arguments, a variable, file or fifo that a value was put into and that is evaluated
//! later, a program of the author that runs its data (awk's `system($0)`, sed's `e`), and an argument that begins with
//! `-` where the program is not known here.

mod called;
mod commands;
mod compound;
mod expansions;
mod flow;
mod grammar;
mod here;
mod interpreters;
mod lexer;
mod programs;
mod quotes;
mod refusal;

use std::collections::BTreeSet;
use std::ops::Range;

use super::Template;
use super::expression::{Expression, ExpressionError};
use super::template::Part;
pub use called::programs_called;
use refusal::Refusal;

/// A shell script whose text is the author's alone: each `${{ }}` has become a reference to an environment variable.
#[derive(Debug, Clone)]
pub struct ShellScript {
    pub text: String,
    /// The n-th value belongs into the variable [`ShellScript::variable`]`(n)`.
    pub values: Vec<Expression>,
}

impl ShellScript {
    /// The name of the private variable of the n-th value, from 0.
    pub fn variable(n: usize) -> String {
        format!("RUNWARD_V{n}")
    }

    /// `inert` tells whether an expression can only ever be harmless text (an `int` or `enum` parameter).
    ///
    /// A script without `${{ }}` comes back as it is, byte for byte. Errors carry the bytes of the `${{ }}` in the
    /// template's text, or of the place that could not be understood, and say what to write instead.
    pub fn compile(
        template: &Template,
        inert: &dyn Fn(&Expression) -> bool,
    ) -> Result<ShellScript, Vec<ExpressionError>> {
        let source = Source::of(template);
        if source.values.is_empty() {
            return Ok(ShellScript { text: source.static_text(), values: Vec::new() });
        }
        let reading = grammar::read(&source.symbols);
        let errors = errors_of(&source, &reading, inert);
        if !errors.is_empty() {
            return Err(errors);
        }
        let values = source.values.iter().map(|(expression, _)| (*expression).clone()).collect();
        Ok(ShellScript { text: source.bound(&reading.places), values })
    }
}

fn errors_of(source: &Source, reading: &Reading, inert: &dyn Fn(&Expression) -> bool) -> Vec<ExpressionError> {
    let mut errors = Vec::new();
    for (value, (expression, range)) in source.values.iter().enumerate() {
        let harmless = inert(expression);
        let refusal = reading.refusals[value].filter(|refusal| refusal.is_absolute() || !harmless);
        let unread = reading.places[value].is_none() && reading.broken.is_none();
        if let Some(refusal) = refusal.or(unread.then_some(Refusal::NotUnderstood)) {
            errors.push(refusal.report(expression, (*range).clone()));
        }
    }
    if let Some(broken) = &reading.broken {
        errors.push(ExpressionError {
            message: format!("this shell text could not be understood: {}", broken.message),
            help: Some(
                "a script with `${{ }}` in it has to be readable for certain: write this place more plainly, or give the \
                 values names in `env:` and use those"
                    .into(),
            ),
            range: source.range_of(broken.at),
        });
    }
    errors
}

/// One symbol of a script: a byte of the author, or a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symbol {
    Byte(u8),
    Value(usize),
}

/// How a value has to be written where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A word or a part of one: `"${V}"`.
    Bare,
    /// In double quotes, in an unquoted here-document, or another place that expands without splitting: `${V}`.
    Expanding,
    /// In single quotes: `'"${V}"'`.
    Single,
    /// In `$'...'`: `'"${V}"$'`.
    Ansi,
}

/// What reading a script found out: per value its place and whether it is refused there.
struct Reading {
    places: Vec<Option<Place>>,
    refusals: Vec<Option<Refusal>>,
    broken: Option<Broken>,
    /// Names of commands that are no functions of the script.
    calls: BTreeSet<String>,
}

/// The text cannot be read on; `at` is the index of a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Broken {
    message: &'static str,
    at: usize,
}

struct Source<'a> {
    symbols: Vec<Symbol>,
    /// The byte in the template's text where each symbol begins.
    offsets: Vec<usize>,
    values: Vec<(&'a Expression, &'a Range<usize>)>,
}

impl<'a> Source<'a> {
    fn of(template: &'a Template) -> Source<'a> {
        let mut source = Source { symbols: Vec::new(), offsets: Vec::new(), values: Vec::new() };
        let mut offset = 0;
        for part in &template.parts {
            match part {
                Part::Text(text) => {
                    source.symbols.extend(text.bytes().map(Symbol::Byte));
                    source.offsets.extend(offset..offset + text.len());
                    offset += text.len();
                }
                Part::Value { expression, range } => {
                    source.symbols.push(Symbol::Value(source.values.len()));
                    source.offsets.push(range.start);
                    source.values.push((expression, range));
                    offset = range.end;
                }
            }
        }
        source.offsets.push(offset);
        source
    }

    fn static_text(&self) -> String {
        self.bound(&[])
    }

    fn bound(&self, places: &[Option<Place>]) -> String {
        let mut text = Vec::with_capacity(self.symbols.len() + 24 * self.values.len());
        for symbol in &self.symbols {
            match symbol {
                Symbol::Byte(byte) => text.push(*byte),
                Symbol::Value(value) => {
                    let variable = format!("${{{}}}", ShellScript::variable(*value));
                    let written = match places[*value] {
                        Some(Place::Expanding) => variable,
                        Some(Place::Single) => format!("'\"{variable}\"'"),
                        Some(Place::Ansi) => format!("'\"{variable}\"$'"),
                        Some(Place::Bare) | None => format!("\"{variable}\""),
                    };
                    text.extend_from_slice(written.as_bytes());
                }
            }
        }
        // Whole parts of UTF-8 text with ASCII between them are UTF-8.
        String::from_utf8(text).unwrap_or_default()
    }

    /// The character that holds the symbol, for a snippet.
    fn range_of(&self, at: usize) -> Range<usize> {
        let at = at.min(self.symbols.len());
        let boundary =
            |index: usize| !matches!(self.symbols.get(index), Some(Symbol::Byte(byte)) if (*byte & 0xC0) == 0x80);
        let start = (0..=at).rev().find(|&index| boundary(index)).unwrap_or(0);
        let end = (at + 1..=self.symbols.len()).find(|&index| boundary(index)).unwrap_or(self.symbols.len());
        self.offsets[start]..self.offsets[end.min(self.symbols.len())]
    }
}

#[cfg(test)]
mod tests;
