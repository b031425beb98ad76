//! Quotes and backslashes, and what keeps its meaning inside of them.

use super::lexer::{Lexer, Read, Word};
use super::refusal::Refusal;
use super::{Place, Symbol};

impl Lexer<'_> {
    pub fn single_quoted(&mut self, word: &mut Word) -> Read<()> {
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

    pub fn quoted_byte(&mut self, byte: u8, word: &mut Word) -> Read<()> {
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

    pub fn double_quoted(&mut self, word: &mut Word) -> Read<()> {
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
    pub fn expanding(&mut self, word: &mut Word, quotes: bool) -> Read<()> {
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

    pub fn backslash(&mut self, word: &mut Word) -> Read<()> {
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
}
