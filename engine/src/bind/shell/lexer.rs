//! Characters and words: quotes, expansions, here-documents. Decides the [`Place`] of each value.

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

    fn hole(&mut self) {
        self.plain = false;
        self.text.push(HOLE);
    }
}

/// A here-document whose body has not been reached yet.
pub(super) struct Pending {
    delimiter: String,
    quoted: bool,
    strip_tabs: bool,
    /// The command that reads it.
    owner: usize,
}

pub(super) struct Lexer<'a> {
    pub symbols: &'a [Symbol],
    pub at: usize,
    /// Reading ends here: the end of the text, or of the here-document that is being read.
    pub end: usize,
    pub places: Vec<Option<Place>>,
    pub refusals: Vec<Option<Refusal>>,
    pub pending: Vec<Pending>,
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

    fn place(&mut self, value: usize, place: Place) {
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
    fn check_no_pending(&self) -> Read<()> {
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

    fn single_quoted(&mut self, word: &mut Word) -> Read<()> {
        let start = self.at;
        self.at += 1;
        while let Some(symbol) = self.peek(0) {
            self.at += 1;
            match symbol {
                Symbol::Byte(b'\'') => return Ok(()),
                Symbol::Byte(byte) => self.quoted_byte(byte, word)?,
                Symbol::Value(value) => {
                    self.place(value, Place::Single);
                    word.values.push(value);
                    word.hole();
                }
            }
        }
        self.at = start;
        self.broken("this quote is never closed")
    }

    fn quoted_byte(&mut self, byte: u8, word: &mut Word) -> Read<()> {
        if byte == b'\n' {
            self.check_no_pending()?;
        }
        if byte.is_ascii() {
            word.text.push(byte as char);
        } else if byte & 0xC0 != 0x80 {
            word.text.push('\u{FFFD}');
        }
        Ok(())
    }

    fn double_quoted(&mut self, word: &mut Word) -> Read<()> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek(0) {
                Some(Symbol::Byte(b'"')) => {
                    self.at += 1;
                    return Ok(());
                }
                Some(_) => self.expanding(word, true)?,
                None => {
                    self.at = start;
                    return self.broken("this quote is never closed");
                }
            }
        }
    }

    /// One piece of text in which `$`, backticks and backslashes mean something: double quotes, here-documents.
    fn expanding(&mut self, word: &mut Word, quotes: bool) -> Read<()> {
        match self.peek(0) {
            Some(Symbol::Value(value)) => {
                self.place(value, Place::Expanding);
                word.values.push(value);
                word.hole();
                self.at += 1;
            }
            Some(Symbol::Byte(b'\\')) => {
                self.at += 1;
                match self.peek(0) {
                    Some(Symbol::Value(value)) => self.value_without_form(value, Refusal::AfterBackslash, word),
                    Some(Symbol::Byte(byte)) => {
                        self.at += 1;
                        if byte != b'\n' {
                            if !matches!(byte, b'$' | b'`' | b'"' | b'\\') {
                                word.text.push('\\');
                            }
                            self.quoted_byte(byte, word)?;
                        } else {
                            self.check_no_pending()?;
                        }
                    }
                    None => {}
                }
            }
            Some(Symbol::Byte(b'$')) => self.dollar(word, true)?,
            Some(Symbol::Byte(b'`')) => self.backticks(word, true)?,
            Some(Symbol::Byte(byte)) => {
                self.at += 1;
                if quotes {
                    self.quoted_byte(byte, word)?;
                }
            }
            None => {}
        }
        Ok(())
    }

    pub fn value_without_form(&mut self, value: usize, refusal: Refusal, word: &mut Word) {
        self.place(value, Place::Expanding);
        self.refuse(value, refusal);
        word.values.push(value);
        word.hole();
        self.at += 1;
    }

    fn backslash(&mut self, word: &mut Word) -> Read<()> {
        self.at += 1;
        match self.peek(0) {
            Some(Symbol::Value(value)) => self.value_without_form(value, Refusal::AfterBackslash, word),
            Some(Symbol::Byte(b'\n')) => {
                self.check_no_pending()?;
                self.at += 1;
            }
            Some(Symbol::Byte(byte)) => {
                self.at += 1;
                self.quoted_byte(byte, word)?;
            }
            None => {}
        }
        Ok(())
    }

    /// What begins with `$`.
    fn dollar(&mut self, word: &mut Word, quoted: bool) -> Read<()> {
        self.at += 1;
        if let Some(Symbol::Value(value)) = self.peek(0) {
            self.value_without_form(value, Refusal::AfterDollar, word);
            return Ok(());
        }
        match self.byte(0) {
            Some(b'(') if self.byte(1) == Some(b'(') => {
                self.at += 2;
                word.hole();
                self.arithmetic(word, b')')
            }
            Some(b'(') => {
                self.at += 1;
                self.substitution(word)
            }
            Some(b'{') => {
                self.at += 1;
                word.hole();
                self.braces(word, quoted)
            }
            Some(b'[') => {
                self.at += 1;
                word.hole();
                self.arithmetic(word, b']')
            }
            Some(b'\'') if !quoted => self.ansi_quoted(word),
            Some(b'"') if !quoted => self.locale_quoted(word),
            Some(byte) if is_name_byte(byte) && !byte.is_ascii_digit() => {
                word.hole();
                while self.byte(0).is_some_and(is_name_byte) {
                    self.at += 1;
                }
                Ok(())
            }
            Some(byte) if byte.is_ascii_digit() || b"@*#?-$!".contains(&byte) => {
                word.hole();
                self.at += 1;
                Ok(())
            }
            _ => {
                word.text.push('$');
                Ok(())
            }
        }
    }

    /// `$( )`, `<( )` and `>( )`, after the opening.
    fn substitution(&mut self, word: &mut Word) -> Read<()> {
        word.hole();
        let outer = std::mem::take(&mut self.pending);
        let had_pending = !outer.is_empty();
        let start = self.at;
        let children = self.nested(|lexer| lexer.command_list_until_paren())?;
        let crossed = self.symbols[start..self.at].contains(&Symbol::Byte(b'\n'));
        if !self.pending.is_empty() || (had_pending && crossed) {
            return self.broken("a here-document and a command substitution in each other's way");
        }
        self.pending = outer;
        for child in children {
            let mut values = Vec::new();
            self.collect_values(child, &mut values);
            word.nested.extend(values);
            word.children.push(child);
        }
        Ok(())
    }

    /// Up to the closing `))` or `]`.
    pub fn arithmetic(&mut self, word: &mut Word, close: u8) -> Read<()> {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match self.peek(0) {
                Some(Symbol::Value(value)) => self.value_without_form(value, Refusal::Arithmetic, word),
                Some(Symbol::Byte(byte)) => match byte {
                    b']' if close == b']' && depth == 0 => {
                        self.at += 1;
                        return Ok(());
                    }
                    b')' if close == b')' && depth == 0 => {
                        if self.byte(1) != Some(b')') {
                            self.at = start;
                            return self.broken("`((` that is not closed by `))`; write `( (` for nested subshells");
                        }
                        self.at += 2;
                        return Ok(());
                    }
                    b'(' | b'[' if (byte == b'(') == (close == b')') => {
                        depth += 1;
                        self.at += 1;
                    }
                    b')' | b']' if (byte == b')') == (close == b')') => {
                        depth = depth.saturating_sub(1);
                        self.at += 1;
                    }
                    _ => self.inside(word, Refusal::Arithmetic, true)?,
                },
                None => {
                    self.at = start;
                    return self.broken("this arithmetic is never closed");
                }
            }
        }
    }

    /// One piece of a place where every value is refused with `refusal`. `singles`: whether `'` quotes.
    fn inside(&mut self, word: &mut Word, refusal: Refusal, singles: bool) -> Read<()> {
        let mut inner = Word::default();
        match self.byte(0) {
            Some(b'\'') if singles => {
                self.single_quoted(&mut inner)?;
                for &value in &inner.values {
                    self.refuse(value, Refusal::QuotedInBraces);
                }
            }
            Some(b'"') => self.nested(|lexer| lexer.double_quoted(&mut inner))?,
            Some(b'$') if singles && self.byte(1) == Some(b'\'') => {
                self.at += 1;
                self.ansi_quoted(&mut inner)?;
            }
            Some(b'\\') => self.backslash(&mut inner)?,
            Some(b'$') => self.nested(|lexer| lexer.dollar(&mut inner, true))?,
            Some(b'`') => self.backticks(&mut inner, true)?,
            Some(b'\n') => {
                self.check_no_pending()?;
                self.at += 1;
            }
            _ => self.at += 1,
        }
        for value in inner.all_values().collect::<Vec<_>>() {
            self.refuse(value, refusal);
        }
        word.take_from(inner);
        Ok(())
    }

    /// `${...}`, after the opening brace.
    fn braces(&mut self, word: &mut Word, quoted: bool) -> Read<()> {
        let start = self.at;
        if let Some(Symbol::Value(value)) = self.peek(0) {
            self.value_without_form(value, Refusal::ParameterName, word);
        }
        if matches!(self.byte(0), Some(b' ' | b'\t' | b'\n' | b'|')) {
            return self.broken("`${` with a command in it");
        }
        if matches!(self.byte(0), Some(b'!' | b'#')) && self.byte(1) != Some(b'}') {
            self.at += 1;
            if let Some(Symbol::Value(value)) = self.peek(0) {
                self.value_without_form(value, Refusal::ParameterName, word);
            }
        }
        while self.byte(0).is_some_and(is_name_byte) {
            self.at += 1;
        }
        if let Some(Symbol::Value(value)) = self.peek(0) {
            self.value_without_form(value, Refusal::ParameterName, word);
        }
        let operator = self.byte(0).unwrap_or(0);
        // In double quotes `'` is a plain character in `${x:-it's}`, and a quote in `${x%'.sql'}`.
        let singles = !quoted || b"#%/^,".contains(&operator);
        loop {
            match self.peek(0) {
                Some(Symbol::Byte(b'}')) => {
                    self.at += 1;
                    return Ok(());
                }
                Some(Symbol::Value(value)) => self.value_without_form(value, Refusal::Braces, word),
                Some(_) => self.inside(word, Refusal::Braces, singles)?,
                None => {
                    self.at = start;
                    return self.broken("`${` is never closed");
                }
            }
        }
    }

    fn ansi_quoted(&mut self, word: &mut Word) -> Read<()> {
        let start = self.at;
        self.at += 1;
        word.hole();
        while let Some(symbol) = self.peek(0) {
            match symbol {
                Symbol::Value(value) => {
                    self.value_without_form(value, Refusal::AnsiQuotes, word);
                    self.place(value, Place::Ansi);
                    continue;
                }
                Symbol::Byte(b'\\') => {
                    self.at += 1;
                    if let Some(Symbol::Value(value)) = self.peek(0) {
                        self.value_without_form(value, Refusal::AfterBackslash, word);
                        continue;
                    }
                }
                Symbol::Byte(b'\n') => self.check_no_pending()?,
                Symbol::Byte(b'\'') => {
                    self.at += 1;
                    return Ok(());
                }
                Symbol::Byte(_) => {}
            }
            self.at += 1;
        }
        self.at = start;
        self.broken("this quote is never closed")
    }

    fn locale_quoted(&mut self, word: &mut Word) -> Read<()> {
        let before = word.values.len();
        word.hole();
        self.double_quoted(word)?;
        for index in before..word.values.len() {
            self.refuse(word.values[index], Refusal::LocaleQuotes);
        }
        Ok(())
    }

    fn backticks(&mut self, word: &mut Word, quoted: bool) -> Read<()> {
        let start = self.at;
        self.at += 1;
        word.hole();
        let mut values = Vec::new();
        let mut simple = !quoted;
        loop {
            let Some(symbol) = self.peek(0) else {
                self.at = start;
                return self.broken("this backtick is never closed");
            };
            self.at += 1;
            match symbol {
                Symbol::Byte(b'`') => break,
                Symbol::Byte(b'\\') => {
                    simple = false;
                    if let Some(Symbol::Byte(_)) = self.peek(0) {
                        self.at += 1;
                    }
                }
                Symbol::Byte(b'\'' | b'"' | b'$' | b'<' | b'#' | b'[') => simple = false,
                Symbol::Byte(b'\n') => self.check_no_pending()?,
                Symbol::Byte(_) => {}
                Symbol::Value(value) => values.push(value),
            }
        }
        for value in values {
            self.place(value, Place::Bare);
            self.refuse(value, if simple { Refusal::Backticks } else { Refusal::QuotedBackticks });
            word.nested.push(value);
        }
        Ok(())
    }

    /// `<<` and `<<-`, after the operator.
    pub fn here_operator(&mut self, strip_tabs: bool, owner: usize) -> Read<()> {
        while matches!(self.byte(0), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        let start = self.at;
        let word = self.word()?;
        for value in word.all_values().collect::<Vec<_>>() {
            self.refuse(value, Refusal::Delimiter);
        }
        let raw: Vec<u8> = self.symbols[start..self.at]
            .iter()
            .filter_map(|symbol| if let Symbol::Byte(byte) = symbol { Some(*byte) } else { None })
            .collect();
        let odd = raw.iter().any(|byte| b"$`(){}*?[~".contains(byte)) || !raw.is_ascii();
        if odd || (!word.is_static() && !word.has_values()) {
            self.at = start;
            return self.broken("the delimiter of a here-document: write a plain word");
        }
        let quoted = raw.iter().any(|byte| b"'\"\\".contains(byte));
        self.pending.push(Pending { delimiter: word.text, quoted, strip_tabs, owner });
        Ok(())
    }

    fn here_document(&mut self, here: &Pending) -> Read<()> {
        let start = self.at;
        let (mut line, mut joined) = (self.at, false);
        loop {
            if line >= self.end {
                self.at = start;
                return self.broken("this here-document never ends");
            }
            let length = self.symbols[line..self.end].iter().position(|symbol| *symbol == Symbol::Byte(b'\n'));
            let line_end = length.map_or(self.end, |length| line + length);
            if self.is_delimiter(line, line_end, here) {
                if joined && !here.quoted {
                    self.at = line;
                    return self.broken("a backslash at the end of a here-document's last line");
                }
                self.here_body(start, line, here)?;
                // The newline after it is left for whoever reads on.
                self.at = (line_end + 1).min(self.end);
                return Ok(());
            }
            joined = line_end > line && self.symbols[line_end - 1] == Symbol::Byte(b'\\');
            line = line_end + 1;
        }
    }

    fn is_delimiter(&self, mut start: usize, end: usize, here: &Pending) -> bool {
        while here.strip_tabs && start < end && self.symbols[start] == Symbol::Byte(b'\t') {
            start += 1;
        }
        let line = &self.symbols[start..end];
        line.len() == here.delimiter.len()
            && line.iter().zip(here.delimiter.bytes()).all(|(symbol, byte)| *symbol == Symbol::Byte(byte))
    }

    fn here_body(&mut self, start: usize, end: usize, here: &Pending) -> Read<()> {
        let outer = std::mem::replace(&mut self.end, end);
        let mut body = Word::default();
        self.at = start;
        if here.quoted {
            for index in start..end {
                if let Symbol::Value(value) = self.symbols[index] {
                    self.place(value, Place::Expanding);
                    self.refuse(value, Refusal::QuotedHereDocument);
                    body.values.push(value);
                }
            }
        } else {
            while self.at < end {
                self.nested(|lexer| lexer.expanding(&mut body, false))?;
            }
        }
        self.end = outer;
        let values: Vec<usize> = body.all_values().collect();
        self.nodes[here.owner].input.extend(values);
        self.nodes[here.owner].children.extend(body.children);
        Ok(())
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
