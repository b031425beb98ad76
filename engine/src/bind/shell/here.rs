//! Here-documents: the operator, and the body that follows the end of its line.

use super::lexer::{Lexer, Read, Word};
use super::refusal::Refusal;
use super::{Place, Symbol};

/// A here-document whose body has not been reached yet.
pub(super) struct Pending {
    delimiter: String,
    quoted: bool,
    strip_tabs: bool,
    /// The command that reads it.
    owner: usize,
}

impl Lexer<'_> {
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

    pub fn here_document(&mut self, here: &Pending) -> Read<()> {
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
