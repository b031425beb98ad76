//! Characters and words. Decides, with [`super::quotes`], [`super::expansions`] and [`super::here`], the [`Place`] of each
//! value.

use std::collections::BTreeSet;

use super::refusal::Refusal;
use super::{Broken, Place, Symbol};

pub(super) type Read<T> = Result<T, Broken>;

/// How deep quotes, expansions and compound commands may nest, together.
pub(super) const DEPTH_MAX: usize = 80;

/// How far ahead the end of `{a,b}` is looked for; what is longer counts as one.
const BRACES_MAX: usize = 1024;

/// One word of a command.
#[derive(Debug, Clone, Default)]
pub(super) struct Word {
    /// What it is after quote removal; each part that is known only when it runs is [`HOLE`].
    pub text: String,
    /// It stands in the text as it is: nothing quoted, nothing expanded.
    pub plain: bool,
    /// The values in it, not those in command substitutions.
    pub values: Vec<usize>,
    /// The values in its command and process substitutions.
    pub nested: Vec<usize>,
    /// Assignment: the name before an unquoted `=`.
    pub assigns: Option<String>,
    /// The commands in its substitutions.
    pub children: Vec<usize>,
    /// It has `>(...)`, into which the command writes.
    pub feeds: bool,
}

/// Stands for an expansion, a value, a glob or a brace in [`Word::text`].
pub(super) const HOLE: char = '\u{1}';

impl Word {
    pub fn is_static(&self) -> bool {
        !self.text.contains(HOLE)
    }

    pub fn has_values(&self) -> bool {
        !self.values.is_empty() || !self.nested.is_empty()
    }

    pub fn all_values(&self) -> impl Iterator<Item = usize> + '_ {
        self.values.iter().chain(&self.nested).copied()
    }

    pub fn hole(&mut self) {
        self.plain = false;
        self.text.push(HOLE);
    }
}

pub(super) struct Lexer<'a> {
    pub symbols: &'a [Symbol],
    pub at: usize,
    /// Reading ends here: the end of the text, or of the here-document that is being read.
    pub end: usize,
    pub places: Vec<Option<Place>>,
    pub refusals: Vec<Option<Refusal>>,
    pub pending: Vec<super::here::Pending>,
    pub depth: usize,
    pub nodes: Vec<super::grammar::Node>,
    pub pipelines: Vec<Vec<usize>>,
    /// The functions of the script: name and body.
    pub functions: Vec<(String, usize)>,
    /// The names of all functions of the script, found before anything else is read.
    pub function_names: BTreeSet<String>,
    /// Commands whose redirections last: `exec >file`, `coproc`.
    pub shell_streams: Vec<usize>,
    /// `declare -i`, `declare -n`: assignments evaluate.
    pub integer_variables: bool,
    pub aliases: bool,
    pub assigned: Vec<usize>,
}

pub(super) fn is_name_byte(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

impl Lexer<'_> {
    pub fn peek(&self, ahead: usize) -> Option<Symbol> {
        let index = self.at + ahead;
        if index < self.end { self.symbols.get(index).copied() } else { None }
    }

    pub fn byte(&self, ahead: usize) -> Option<u8> {
        match self.peek(ahead) {
            Some(Symbol::Byte(byte)) => Some(byte),
            _ => None,
        }
    }

    pub fn starts_with(&self, text: &str) -> bool {
        text.bytes().enumerate().all(|(index, byte)| self.byte(index) == Some(byte))
    }

    pub fn broken<T>(&self, message: &'static str) -> Read<T> {
        Err(Broken { message, at: self.at })
    }

    pub fn refuse(&mut self, value: usize, refusal: Refusal) {
        let slot = &mut self.refusals[value];
        if slot.is_none_or(|old| !old.is_absolute()) && (slot.is_none() || refusal.is_absolute()) {
            *slot = Some(refusal);
        }
    }

    pub fn place(&mut self, value: usize, place: Place) {
        self.places[value] = Some(place);
    }

    pub fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.depth >= DEPTH_MAX {
            return self.broken("it is nested too deeply");
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Blanks, continued lines and comments; not newlines.
    pub fn skip_blanks(&mut self) -> Read<()> {
        loop {
            match self.byte(0) {
                Some(b' ' | b'\t') => self.at += 1,
                Some(b'\\') if self.byte(1) == Some(b'\n') => {
                    self.check_no_pending()?;
                    self.at += 2;
                }
                Some(b'#') => self.comment(),
                _ => return Ok(()),
            }
        }
    }

    fn comment(&mut self) {
        while let Some(symbol) = self.peek(0) {
            match symbol {
                Symbol::Byte(b'\n') => return,
                Symbol::Byte(_) => {}
                Symbol::Value(value) => self.place(value, Place::Expanding),
            }
            self.at += 1;
        }
    }

    /// Between a here-document's operator and its body, only the rest of one line is read for certain.
    pub fn check_no_pending(&self) -> Read<()> {
        if self.pending.is_empty() { Ok(()) } else { self.broken("a line break between `<<` and the end of its line") }
    }

    pub fn newline(&mut self) -> Read<()> {
        self.at += 1;
        for here in std::mem::take(&mut self.pending) {
            self.here_document(&here)?;
        }
        Ok(())
    }

    pub fn at_word_end(&self) -> bool {
        match self.peek(0) {
            None => true,
            Some(Symbol::Value(_)) => false,
            Some(Symbol::Byte(byte)) => b" \t\n;&|<>()".contains(&byte),
        }
    }

    /// One word. A `(` after one of `?*+@!` opens an extended pattern.
    pub fn word(&mut self) -> Read<Word> {
        let mut word = Word { plain: true, ..Word::default() };
        let mut subscript = false;
        let start = self.at;
        while let Some(symbol) = self.peek(0) {
            let byte = match symbol {
                Symbol::Value(value) => {
                    self.place(value, Place::Bare);
                    if subscript {
                        self.place(value, Place::Expanding);
                        self.refuse(value, Refusal::Subscript);
                    }
                    word.values.push(value);
                    word.hole();
                    self.at += 1;
                    continue;
                }
                Symbol::Byte(byte) => byte,
            };
            let values_before = word.values.len();
            let mut quoted = true;
            match byte {
                b'\'' => self.single_quoted(&mut word)?,
                b'"' => self.double_quoted(&mut word)?,
                b'\\' => self.backslash(&mut word)?,
                b'$' => self.dollar(&mut word, false)?,
                b'`' => self.backticks(&mut word, false)?,
                b'<' | b'>' if self.byte(1) == Some(b'(') => {
                    word.feeds |= byte == b'>';
                    self.at += 2;
                    self.substitution(&mut word)?;
                }
                b'(' if self.at > start && self.at_extended_pattern() => self.extended_pattern(&mut word)?,
                b'(' if word.assigns.is_some() && self.symbols[self.at - 1] == Symbol::Byte(b'=') => {
                    self.array(&mut word)?
                }
                b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' => break,
                _ => {
                    quoted = false;
                    self.plain_byte(byte, &mut word, &mut subscript);
                }
            }
            if quoted {
                word.plain = false;
            }
            if subscript {
                for index in values_before..word.values.len() {
                    self.refuse(word.values[index], Refusal::Subscript);
                }
            }
        }
        if word.text.is_empty() && word.plain && self.at == start {
            return self.broken("a word is missing");
        }
        Ok(word)
    }

    fn plain_byte(&mut self, byte: u8, word: &mut Word, subscript: &mut bool) {
        match byte {
            b'[' => return self.bracket(word, subscript),
            b']' => *subscript = false,
            b'=' if word.assigns.is_none() => word.assigns = assigned_name(&word.text),
            _ => {}
        }
        let expands = match byte {
            b'*' | b'?' | b'~' => true,
            b'{' => (self.byte(1) != Some(b'}') && !word.text.is_empty()) || self.is_brace_list(),
            _ => false,
        };
        if expands {
            word.text.push(HOLE);
        } else if byte.is_ascii() {
            word.text.push(byte as char);
        } else if byte & 0xC0 != 0x80 {
            // No command or option that matters here has other than ASCII letters.
            word.text.push('\u{FFFD}');
        }
        self.at += 1;
    }

    /// An unquoted `[`: a command, a subscript (`name[`, or an element of an array) or a pattern.
    fn bracket(&mut self, word: &mut Word, subscript: &mut bool) {
        let is_command = word.text.is_empty() && self.is_bracket_command();
        let is_name = word.plain && word.text.bytes().all(is_name_byte);
        *subscript |= is_name && !is_command;
        let literal = is_command || (is_name && !word.text.is_empty());
        word.text.push(if literal { '[' } else { HOLE });
        self.at += 1;
    }

    fn is_bracket_command(&self) -> bool {
        self.starts_with("[[") || matches!(self.peek(1), None | Some(Symbol::Byte(b' ' | b'\t' | b'\n')))
    }

    fn is_brace_list(&self) -> bool {
        let rest = self.symbols[self.at..self.end].iter().take(BRACES_MAX).map_while(|symbol| match symbol {
            Symbol::Byte(b' ' | b'\t' | b'\n' | b';') => None,
            Symbol::Byte(byte) => Some(*byte),
            Symbol::Value(_) => Some(b'x'),
        });
        let rest: Vec<u8> = rest.collect();
        rest.len() == BRACES_MAX || rest.contains(&b',') || rest.windows(2).any(|pair| pair == b"..")
    }

    fn at_extended_pattern(&self) -> bool {
        matches!(self.symbols[self.at - 1], Symbol::Byte(b'?' | b'*' | b'+' | b'@' | b'!'))
    }

    /// `@(a|b)`: words with `|` between them.
    fn extended_pattern(&mut self, word: &mut Word) -> Read<()> {
        self.nested(|lexer| {
            lexer.at += 1;
            word.hole();
            loop {
                match lexer.byte(0) {
                    Some(b')') => {
                        lexer.at += 1;
                        return Ok(());
                    }
                    Some(b'|' | b' ') => lexer.at += 1,
                    Some(b'\n' | b';' | b'&' | b'<' | b'>' | b'(') => return lexer.broken("an extended pattern"),
                    None if lexer.peek(0).is_none() => return lexer.broken("`(` is never closed"),
                    _ => {
                        let inner = lexer.word()?;
                        word.take_from(inner);
                    }
                }
            }
        })
    }

    /// `name=( ... )`.
    fn array(&mut self, word: &mut Word) -> Read<()> {
        self.nested(|lexer| {
            lexer.at += 1;
            word.hole();
            loop {
                lexer.skip_blanks()?;
                match lexer.byte(0) {
                    Some(b')') => {
                        lexer.at += 1;
                        return Ok(());
                    }
                    Some(b'\n') => lexer.newline()?,
                    Some(b';' | b'&' | b'|' | b'(') => return lexer.broken("this in an array"),
                    None if lexer.peek(0).is_none() => return lexer.broken("`(` is never closed"),
                    _ => {
                        let element = lexer.word()?;
                        word.take_from(element);
                    }
                }
            }
        })
    }
}

impl Word {
    /// Takes over what another word holds, without its text.
    pub fn take_from(&mut self, other: Word) {
        self.values.extend(other.values);
        self.nested.extend(other.nested);
        self.children.extend(other.children);
        self.feeds |= other.feeds;
    }
}

/// `name`, `name+` and `name[...]` before `=`.
fn assigned_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('+').unwrap_or(text);
    let name = if name.ends_with(']') { name.split('[').next().unwrap_or_default() } else { name };
    let first = name.bytes().next()?;
    (!first.is_ascii_digit() && name.bytes().all(is_name_byte)).then(|| name.to_owned())
}
