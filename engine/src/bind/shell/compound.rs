//! Compound commands: `{ }`, `if`, loops, `case`, `[[ ]]`, `(( ))`, functions.

use super::lexer::{Lexer, Read, Word};
use super::refusal::Refusal;

impl Lexer<'_> {
    pub fn group(&mut self) -> Read<Vec<usize>> {
        self.at += 1;
        let commands = self.list(&["}"])?;
        self.expect("}", "`{` is never closed")?;
        Ok(commands)
    }

    pub fn arithmetic_command(&mut self, node: usize) -> Read<Vec<usize>> {
        self.at += 2;
        let mut word = Word::default();
        self.arithmetic(&mut word, b')')?;
        self.keep(node, word);
        Ok(Vec::new())
    }

    pub fn condition(&mut self) -> Read<Vec<usize>> {
        self.at += 2;
        let mut commands = self.list(&["then"])?;
        self.expect("then", "`if` without `then`")?;
        loop {
            commands.extend(self.list(&["elif", "else", "fi"])?);
            match self.plain_word().as_str() {
                "elif" => {
                    self.at += 4;
                    commands.extend(self.list(&["then"])?);
                    self.expect("then", "`elif` without `then`")?;
                }
                "else" => self.at += 4,
                _ => break,
            }
        }
        self.expect("fi", "`if` without `fi`")?;
        Ok(commands)
    }

    pub fn repeat(&mut self, keyword: usize) -> Read<Vec<usize>> {
        self.at += keyword;
        let mut commands = self.list(&["do"])?;
        commands.extend(self.body()?);
        Ok(commands)
    }

    fn body(&mut self) -> Read<Vec<usize>> {
        if self.plain_word() == "{" {
            return self.group();
        }
        self.expect("do", "a loop without `do`")?;
        let commands = self.list(&["done"])?;
        self.expect("done", "a loop without `done`")?;
        Ok(commands)
    }

    pub fn for_each(&mut self, node: usize, keyword: usize) -> Read<Vec<usize>> {
        self.at += keyword;
        self.skip_blanks()?;
        if self.starts_with("((") {
            self.arithmetic_command(node)?;
        } else {
            self.name()?;
            self.skip_lines()?;
            if self.plain_word() == "in" {
                self.at += 2;
                self.skip_blanks()?;
                while !self.at_word_end() || self.starts_with("<(") {
                    let word = self.word()?;
                    self.assigned.extend(word.values.iter().copied());
                    self.keep(node, word);
                    self.skip_blanks()?;
                }
            }
        }
        self.skip_blanks()?;
        if self.byte(0) == Some(b';') {
            self.at += 1;
        }
        self.skip_lines()?;
        self.body()
    }

    fn name(&mut self) -> Read<String> {
        let name = self.word()?;
        for value in name.all_values().collect::<Vec<_>>() {
            self.refuse(value, Refusal::Name);
        }
        Ok(name.text)
    }

    pub fn case(&mut self, node: usize) -> Read<Vec<usize>> {
        self.at += 4;
        self.skip_blanks()?;
        let word = self.word()?;
        self.keep(node, word);
        self.skip_lines()?;
        self.expect("in", "`case` without `in`")?;
        let mut commands = Vec::new();
        loop {
            self.skip_lines()?;
            if self.plain_word() == "esac" {
                self.at += 4;
                return Ok(commands);
            }
            if self.byte(0) == Some(b'(') {
                self.at += 1;
            }
            loop {
                self.skip_blanks()?;
                let pattern = self.word()?;
                self.keep(node, pattern);
                self.skip_blanks()?;
                if self.byte(0) != Some(b'|') {
                    break;
                }
                self.at += 1;
            }
            if self.byte(0) != Some(b')') {
                return self.broken("a pattern of `case` without `)`");
            }
            self.at += 1;
            commands.extend(self.list(&["esac"])?);
            if self.byte(0) == Some(b';') {
                self.at += if self.starts_with(";;&") { 3 } else { 2 };
            } else if self.plain_word() != "esac" {
                return self.broken("`case` without `esac`");
            }
        }
    }

    /// `[[ ... ]]`.
    pub fn test(&mut self, node: usize) -> Read<Vec<usize>> {
        self.at += 2;
        let mut words: Vec<Word> = Vec::new();
        loop {
            self.skip_blanks()?;
            match self.byte(0) {
                Some(b'\n') => self.newline()?,
                Some(b'(' | b')' | b'|') => self.at += 1,
                Some(b'<' | b'>') if self.byte(1) != Some(b'(') => self.at += 1,
                Some(b'&') if self.byte(1) == Some(b'&') => self.at += 2,
                Some(b';' | b'&') => return self.broken("this inside `[[ ]]`"),
                None if self.peek(0).is_none() => return self.broken("`[[` is never closed"),
                _ => {
                    let word = self.word()?;
                    if word.plain && word.text == "]]" {
                        break;
                    }
                    words.push(word);
                }
            }
        }
        for (at, word) in words.iter().enumerate() {
            let (before, after) = match word.text.as_str() {
                "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge" => (at.checked_sub(1), Some(at + 1)),
                "-v" | "-R" => (None, Some(at + 1)),
                _ => continue,
            };
            for operand in [before, after].into_iter().flatten().filter_map(|at| words.get(at)) {
                self.refuse_words(std::slice::from_ref(operand), Refusal::TestOperand);
            }
        }
        for word in words {
            self.keep(node, word);
        }
        Ok(Vec::new())
    }

    pub fn function(&mut self, keyword: usize) -> Read<Vec<usize>> {
        self.at += keyword;
        self.skip_blanks()?;
        let name = self.name()?;
        self.skip_blanks()?;
        if self.starts_with("()") {
            self.at += 2;
        }
        self.skip_lines()?;
        let body = self.nested(Self::command)?;
        self.functions.push((name, body));
        Ok(vec![body])
    }
}
