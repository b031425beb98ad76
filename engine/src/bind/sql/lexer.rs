//! Reads SQL as far as it takes to know where a value stands and where a statement ends.

use std::ops::Range;

use super::SqlStatement;
use super::words::{self, Word};
use crate::bind::Template;
use crate::bind::expression::ExpressionError;
use crate::bind::template::Part;

/// Inside of what we are.
#[derive(Debug, Clone, PartialEq)]
enum State {
    Code,
    /// `'...'`; in `E'...'` a backslash hides what follows.
    Text {
        escapes: bool,
    },
    /// `"..."`, or as SQLite has it, with backticks.
    Name(char),
    /// `-- ...`
    Line,
    /// `/* ... */`, so deep.
    Block(usize),
    /// `$tag$ ... $tag$`
    Dollar(String),
}

/// What stands before, without the blanks.
#[derive(Debug, Clone, PartialEq)]
enum Last {
    Nothing,
    Word(String),
    Sign,
    Value,
}

struct Lexer {
    state: State,
    statements: Vec<SqlStatement>,
    errors: Vec<ExpressionError>,
    texts: Vec<String>,
    values: Vec<crate::bind::Expression>,
    /// The first word of this statement.
    first: Option<String>,
    last: Last,
    /// The one before the last word.
    before: Option<String>,
    parentheses: usize,
    /// `CREATE TRIGGER | FUNCTION | PROCEDURE`: a `;` within its BEGIN and END does not end it.
    has_body: bool,
    body: usize,
    /// The value before this character, without anything between.
    touching: bool,
}

/// The statements, and what is wrong with them.
pub(super) fn read(template: &Template) -> (Vec<SqlStatement>, Vec<ExpressionError>) {
    let mut lexer = Lexer {
        state: State::Code,
        statements: Vec::new(),
        errors: Vec::new(),
        texts: vec![String::new()],
        values: Vec::new(),
        first: None,
        last: Last::Nothing,
        before: None,
        parentheses: 0,
        has_body: false,
        body: 0,
        touching: false,
    };
    let mut at = 0;
    let parts = template.parts.iter().enumerate();
    for (n, part) in parts {
        match part {
            Part::Text(text) => {
                let next = matches!(template.parts.get(n + 1), Some(Part::Value { .. }));
                lexer.text(text, at, next);
                at += text.len();
            }
            Part::Value { expression, range } => {
                lexer.value(range);
                lexer.values.push(expression.clone());
                lexer.texts.push(String::new());
                at = range.end;
            }
        }
    }
    lexer.finish(at);
    (lexer.statements, lexer.errors)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || !c.is_ascii()
}

impl Lexer {
    /// `at`: where it begins. `next`: a value follows it at once.
    fn text(&mut self, text: &str, at: usize, next: bool) {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let here = text.len() - rest.len();
            let taken = match &self.state {
                State::Code => self.code(rest, c, at + here, next),
                other => {
                    let (taken, state) = inside(other.clone(), rest, c);
                    self.state = state;
                    taken
                }
            };
            // The end of a statement is not part of it.
            if taken > 0 {
                self.keep(&rest[..taken]);
                rest = &rest[taken..];
            } else {
                rest = &rest[c.len_utf8()..];
            }
        }
    }

    fn keep(&mut self, text: &str) {
        if let Some(last) = self.texts.last_mut() {
            last.push_str(text);
        }
    }

    /// How many bytes were read; none of a `;` that ends a statement.
    fn code(&mut self, rest: &str, c: char, at: usize, next: bool) -> usize {
        let touching = std::mem::take(&mut self.touching);
        if touching && (is_word(c) || matches!(c, '$' | '\'' | '"' | '`')) {
            self.wrong(
                at..at + c.len_utf8(),
                "a value ends here, and something else goes on without a blank",
                words::JOIN,
            );
        }
        if is_word(c) {
            return self.word(rest, at, next);
        }
        let two = rest.get(..2).unwrap_or_default();
        match c {
            _ if c.is_whitespace() => return c.len_utf8(),
            ';' if self.body == 0 => {
                self.finish(at);
                return 0;
            }
            '(' => self.parentheses += 1,
            ')' => self.parentheses = self.parentheses.saturating_sub(1),
            '\'' => self.state = State::Text { escapes: false },
            '"' | '`' => self.state = State::Name(c),
            '$' => return self.dollar(rest, at),
            _ if two == "--" => {
                self.state = State::Line;
                return 2;
            }
            _ if two == "/*" => {
                self.state = State::Block(1);
                return 2;
            }
            _ => {}
        }
        self.last = Last::Sign;
        c.len_utf8()
    }

    fn word(&mut self, rest: &str, at: usize, next: bool) -> usize {
        let len = rest.find(|c| !is_word(c) && c != '$').unwrap_or(rest.len());
        let word = rest[..len].to_ascii_lowercase();
        if len == rest.len() && next {
            let message =
                format!("the value stands in the middle of a name: `{}` is written right before it", &rest[..len]);
            self.wrong(at..at + len, &message, words::NAMES);
        }
        if word == "e" && rest[len..].starts_with('\'') {
            self.state = State::Text { escapes: true };
            self.last = Last::Sign;
            return len + 1;
        }
        if self.first.is_none() {
            self.first = Some(word.clone());
            if let Some((message, help)) = words::refused(&word) {
                self.wrong(at..at + len, &message, help);
            }
        }
        let first = self.first.as_deref().unwrap_or_default();
        match word.as_str() {
            "trigger" | "function" | "procedure" => self.has_body |= first == "create",
            "begin" | "case" if self.has_body => self.body += 1,
            "end" if self.has_body => self.body = self.body.saturating_sub(1),
            "stdin" | "stdout" if first == "copy" => {
                self.wrong(at..at + len, "a step has no input and no output to copy", words::COPY);
            }
            "transaction" if first == "prepare" => {
                self.wrong(at..at + len, "runward itself begins and ends the transaction of a step", words::ENDS);
            }
            _ => {}
        }
        let before = std::mem::replace(&mut self.last, Last::Word(word));
        self.before = if let Last::Word(before) = before { Some(before) } else { None };
        len
    }

    /// `$tag$`, or a parameter of the author's own.
    fn dollar(&mut self, rest: &str, at: usize) -> usize {
        self.last = Last::Sign;
        let inner = &rest[1..];
        let name = inner.find(|c| !is_word(c)).unwrap_or(inner.len());
        if inner[name..].starts_with('$') && !inner.starts_with(|c: char| c.is_ascii_digit()) {
            self.state = State::Dollar(rest[..name + 2].to_owned());
            return name + 2;
        }
        if inner.starts_with(|c: char| c.is_ascii_digit()) {
            let message = format!("`{}` is a parameter that nobody fills", &rest[..=name]);
            self.wrong(at..at + name + 1, &message, "write the value here as `${{ }}`: runward makes it a parameter");
        }
        1 + name
    }

    fn value(&mut self, range: &Range<usize>) {
        let found: Option<(String, String)> = match (&self.state, &self.last) {
            (State::Text { .. }, _) => Some(told("the value stands inside a quoted text", words::QUOTED)),
            (State::Name(_), _) => Some(told("the value stands inside a quoted name", words::NAMES)),
            (State::Line | State::Block(_), _) => {
                Some(told("the value stands in a comment", "take it out of the comment"))
            }
            (State::Dollar(_), _) => Some(told("the value stands inside a dollar-quoted text", words::DOLLAR)),
            (State::Code, Last::Value) if self.touching => {
                Some(told("two values stand together without anything between them", words::JOIN))
            }
            (State::Code, _) => self.misplaced(),
        };
        if let Some((message, help)) = found {
            self.wrong(range.clone(), &message, &help);
        }
        self.touching = self.state == State::Code;
        self.last = Last::Value;
        self.before = None;
    }

    /// A place of the code where a database takes no value.
    fn misplaced(&self) -> Option<(String, String)> {
        let first = self.first.as_deref().unwrap_or_default();
        if let Some(help) = words::takes_no_values(first) {
            return Some((format!("databases take no values in `{}`", first.to_uppercase()), help.to_owned()));
        }
        let Last::Word(word) = &self.last else { return None };
        let place = Word { word, before: self.before.as_deref(), in_parentheses: self.parentheses > 0 };
        words::names_something(place).then(|| {
            (
                format!("after `{}` stands a name, and a value cannot be one", word.to_uppercase()),
                words::NAMES.to_owned(),
            )
        })
    }

    /// The end of a statement.
    fn finish(&mut self, at: usize) {
        let texts = std::mem::replace(&mut self.texts, vec![String::new()]);
        let values = std::mem::take(&mut self.values);
        match &self.state {
            State::Text { .. } => self.wrong(at..at, "a quoted text is never closed", "close it with `'`"),
            State::Name(_) => self.wrong(at..at, "a quoted name is never closed", "close it"),
            State::Block(_) => self.wrong(at..at, "a comment is never closed", "close it with `*/`"),
            State::Dollar(tag) => {
                let help = format!("close it with `{tag}`");
                self.wrong(at..at, "a dollar-quoted text is never closed", &help);
            }
            State::Code | State::Line => {}
        }
        self.state = State::Code;
        // Comments alone are no statement.
        if self.first.take().is_some() || self.last != Last::Nothing {
            self.statements.push(SqlStatement { texts, values });
        }
        (self.last, self.before, self.parentheses) = (Last::Nothing, None, 0);
        (self.has_body, self.body, self.touching) = (false, 0, false);
    }

    fn wrong(&mut self, range: Range<usize>, message: &str, help: &str) {
        self.errors.push(ExpressionError { message: message.to_owned(), help: Some(help.to_owned()), range });
    }
}

fn told(message: &str, help: &str) -> (String, String) {
    (message.to_owned(), help.to_owned())
}

/// What is read of a text, a name or a comment, and where we are then.
fn inside(state: State, rest: &str, c: char) -> (usize, State) {
    let one = c.len_utf8();
    match state {
        State::Text { escapes: true } if c == '\\' => (rest.chars().take(2).map(char::len_utf8).sum(), state),
        State::Text { .. } if rest.starts_with("''") => (2, state),
        State::Text { .. } if c == '\'' => (1, State::Code),
        State::Name(close) if c == close && rest[one..].starts_with(close) => (2 * one, state),
        State::Name(close) if c == close => (one, State::Code),
        State::Line if c == '\n' => (1, State::Code),
        State::Block(depth) if rest.starts_with("/*") => (2, State::Block(depth + 1)),
        State::Block(1) if rest.starts_with("*/") => (2, State::Code),
        State::Block(depth) if rest.starts_with("*/") => (2, State::Block(depth - 1)),
        State::Dollar(tag) if rest.starts_with(tag.as_str()) => (tag.len(), State::Code),
        other => (one, other),
    }
}
