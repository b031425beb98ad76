//! What begins with `$` or a backtick. Most of it has no safe form for a value; command substitutions are read as the
//! commands they are.

use super::lexer::{Lexer, Read, Word, is_name_byte};
use super::refusal::Refusal;
use super::{Place, Symbol};

impl Lexer<'_> {
    /// What begins with `$`.
    pub fn dollar(&mut self, word: &mut Word, quoted: bool) -> Read<()> {
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
    pub fn substitution(&mut self, word: &mut Word) -> Read<()> {
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

    pub fn ansi_quoted(&mut self, word: &mut Word) -> Read<()> {
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

    pub fn backticks(&mut self, word: &mut Word, quoted: bool) -> Read<()> {
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
}
