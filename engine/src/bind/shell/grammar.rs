//! Commands: lists, pipelines, simple commands, redirections; compound commands are in [`super::compound`]. Hands each simple command to [`super::commands`].

use super::lexer::{Lexer, Read, Word};
use super::refusal::Refusal;
use super::{Reading, Symbol};

/// A command, simple or compound.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Values among its words.
    pub values: Vec<usize>,
    /// Values in what it reads: here-documents, here-strings, input files.
    pub input: Vec<usize>,
    /// The program that runs its input as code.
    pub reads_code: Option<&'static str>,
    /// The command it runs; it may be a function of the script.
    pub calls: String,
    /// It writes into a `>( )`.
    pub feeds: bool,
    pub children: Vec<usize>,
}

const CLOSERS: &[&str] = &["then", "elif", "else", "fi", "do", "done", "esac", "}"];

pub(super) fn read(symbols: &[Symbol]) -> Reading {
    let count = symbols.iter().filter(|symbol| matches!(symbol, Symbol::Value(_))).count();
    let mut lexer = Lexer {
        symbols,
        at: 0,
        end: symbols.len(),
        places: vec![None; count],
        refusals: vec![None; count],
        pending: Vec::new(),
        depth: 0,
        nodes: Vec::new(),
        pipelines: Vec::new(),
        functions: Vec::new(),
        function_names: super::flow::function_names(symbols),
        shell_streams: Vec::new(),
        integer_variables: false,
        aliases: false,
        assigned: Vec::new(),
    };
    let broken = lexer.script().err();
    let readers = lexer.reading_functions();
    lexer.judge_pipelines(&readers);
    lexer.judge_streams(&readers);
    lexer.judge_declarations();
    let functions = &lexer.function_names;
    let calls = lexer.nodes.into_iter().map(|node| node.calls).filter(|name| !functions.contains(name.as_str()));
    Reading { places: lexer.places, refusals: lexer.refusals, broken, calls: calls.collect() }
}

impl Lexer<'_> {
    fn script(&mut self) -> Read<()> {
        self.list(&[])?;
        if self.peek(0).is_some() {
            return self.broken("this closes nothing");
        }
        if !self.pending.is_empty() {
            return self.broken("a here-document without a body");
        }
        Ok(())
    }

    pub fn node(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    pub fn command_list_until_paren(&mut self) -> Read<Vec<usize>> {
        let commands = self.list(&[])?;
        if self.byte(0) != Some(b')') {
            return self.broken("`(` is never closed");
        }
        self.at += 1;
        Ok(commands)
    }

    /// Commands up to the end, a `)`, a `;;`, or one of the words in `stops`, which is left to be read.
    pub fn list(&mut self, stops: &[&str]) -> Read<Vec<usize>> {
        let mut commands = Vec::new();
        loop {
            self.skip_blanks()?;
            match self.byte(0) {
                Some(b'\n') => self.newline()?,
                Some(b';') if matches!(self.byte(1), Some(b';' | b'&')) => return Ok(commands),
                Some(b';') => self.at += 1,
                Some(b'&') if self.byte(1) == Some(b'>') => commands.extend(self.pipeline()?),
                Some(b'&') => self.at += if self.byte(1) == Some(b'&') { 2 } else { 1 },
                Some(b'|') if self.byte(1) == Some(b'|') => self.at += 2,
                Some(b'|') => return self.broken("a `|` without a command before it"),
                Some(b')') => return Ok(commands),
                None if self.peek(0).is_none() => return Ok(commands),
                _ => {
                    let word = self.plain_word();
                    if stops.contains(&word.as_str()) {
                        return Ok(commands);
                    }
                    if CLOSERS.contains(&word.as_str()) {
                        return self.broken("a word that closes nothing here");
                    }
                    commands.extend(self.pipeline()?);
                }
            }
        }
    }

    fn pipeline(&mut self) -> Read<Vec<usize>> {
        let mut commands = vec![self.nested(Self::command)?];
        loop {
            self.skip_blanks()?;
            if self.byte(0) != Some(b'|') || self.byte(1) == Some(b'|') {
                break;
            }
            self.at += if self.byte(1) == Some(b'&') { 2 } else { 1 };
            self.skip_lines()?;
            commands.push(self.nested(Self::command)?);
        }
        self.pipelines.push(commands.clone());
        Ok(commands)
    }

    pub fn skip_lines(&mut self) -> Read<()> {
        loop {
            self.skip_blanks()?;
            if self.byte(0) != Some(b'\n') {
                return Ok(());
            }
            self.newline()?;
        }
    }

    /// The unquoted word that stands here, if it is one that could be a reserved word.
    pub fn plain_word(&self) -> String {
        let mut word = String::new();
        for ahead in 0.. {
            match self.peek(ahead) {
                Some(Symbol::Value(_)) => return String::new(),
                Some(Symbol::Byte(b'\'' | b'"' | b'\\' | b'$' | b'`')) => return String::new(),
                Some(Symbol::Byte(b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')')) | None => {
                    break;
                }
                Some(Symbol::Byte(byte)) => word.push(byte as char),
            }
        }
        word
    }

    pub fn expect(&mut self, word: &'static str, message: &'static str) -> Read<()> {
        if self.plain_word() != word {
            return self.broken(message);
        }
        self.at += word.len();
        Ok(())
    }

    pub fn command(&mut self) -> Read<usize> {
        self.skip_blanks()?;
        let word = self.plain_word();
        match word.as_str() {
            "!" | "time" => {
                if self.byte(word.len()) == Some(b'(') {
                    return self.broken("write a space between `!` and `(`");
                }
                self.at += word.len();
                self.skip_blanks()?;
                while word == "time" && matches!(self.plain_word().as_str(), "-p" | "--") {
                    self.at += 2;
                    self.skip_blanks()?;
                }
                return self.nested(Self::command);
            }
            "coproc" => {
                self.at += word.len();
                let node = self.nested(Self::command)?;
                self.shell_streams.push(node);
                let mut values = Vec::new();
                self.collect_values(node, &mut values);
                for value in values {
                    self.refuse(value, Refusal::Evaluated("coproc"));
                }
                return Ok(node);
            }
            word if CLOSERS.contains(&word) => return self.broken("a word that closes nothing here"),
            _ => {}
        }
        let node = self.node();
        let children = match word.as_str() {
            "" if self.starts_with("((") => self.arithmetic_command(node)?,
            "" if self.byte(0) == Some(b'(') => {
                self.at += 1;
                self.command_list_until_paren()?
            }
            "{" => self.group()?,
            "if" => self.condition()?,
            "while" | "until" => self.repeat(word.len())?,
            "for" | "select" => self.for_each(node, word.len())?,
            "case" => self.case(node)?,
            "[[" => self.test(node)?,
            "function" => self.function(word.len())?,
            _ => return self.simple(node),
        };
        self.nodes[node].children.extend(children);
        self.redirections(node)?;
        Ok(node)
    }

    /// Whether `( )` stands here: the word before is the name of a function.
    fn at_function_parens(&self) -> Option<usize> {
        let mut ahead = 0;
        for wanted in [b'(', b')'] {
            while matches!(self.byte(ahead), Some(b' ' | b'\t')) {
                ahead += 1;
            }
            if self.byte(ahead) != Some(wanted) {
                return None;
            }
            ahead += 1;
        }
        Some(ahead)
    }

    fn simple(&mut self, node: usize) -> Read<usize> {
        let mut words: Vec<Word> = Vec::new();
        loop {
            self.skip_blanks()?;
            if self.at_redirection() {
                self.redirection(node)?;
                continue;
            }
            if self.at_word_end() && !self.starts_with("<(") && !self.starts_with(">(") {
                break;
            }
            let word = self.word()?;
            if self.is_descriptor(&word) {
                continue;
            }
            if let (true, Some(parens)) = (words.is_empty(), self.at_function_parens()) {
                self.refuse_words(std::slice::from_ref(&word), Refusal::Name);
                self.at += parens;
                self.skip_lines()?;
                let body = self.nested(Self::command)?;
                self.nodes[node].children.push(body);
                self.functions.push((word.text, body));
                return Ok(node);
            }
            words.push(word);
        }
        if self.byte(0) == Some(b'(') {
            return self.broken("this `(`");
        }
        self.judge(node, &words);
        for word in words {
            self.keep(node, word);
        }
        Ok(node)
    }

    /// `2` in `2>file` and `{fd}` in `{fd}>file`.
    fn is_descriptor(&self, word: &Word) -> bool {
        let text = word.text.as_str();
        let number = text.bytes().all(|byte| byte.is_ascii_digit());
        let named = text.starts_with('{') && text.ends_with('}') && text.len() > 2;
        word.plain && (number || named) && matches!(self.byte(0), Some(b'<' | b'>'))
    }

    pub fn at_redirection(&self) -> bool {
        match self.byte(0) {
            Some(b'<' | b'>') => self.byte(1) != Some(b'('),
            Some(b'&') => self.byte(1) == Some(b'>'),
            _ => false,
        }
    }

    fn redirections(&mut self, node: usize) -> Read<()> {
        loop {
            self.skip_blanks()?;
            if self.byte(0).is_some_and(|byte| byte.is_ascii_digit() || byte == b'{') {
                let start = self.at;
                let word = self.word()?;
                if !self.is_descriptor(&word) {
                    self.at = start;
                    return self.broken("a word after a compound command");
                }
            }
            if !self.at_redirection() {
                return Ok(());
            }
            self.redirection(node)?;
        }
    }

    fn redirection(&mut self, node: usize) -> Read<()> {
        if self.starts_with("<<<") {
            self.at += 3;
            return self.input(node);
        }
        if self.starts_with("<<") {
            self.at += 2;
            let strip_tabs = self.byte(0) == Some(b'-');
            self.at += usize::from(strip_tabs);
            return self.here_operator(strip_tabs, node);
        }
        let reads = self.byte(0) == Some(b'<');
        let duplicates = self.duplication();
        self.at += 1;
        while matches!(self.byte(0), Some(b'<' | b'>' | b'&' | b'|'))
            && !self.starts_with("<(")
            && !self.starts_with(">(")
        {
            self.at += 1;
        }
        self.skip_blanks()?;
        let word = self.word()?;
        if let Some(operator) = duplicates {
            self.refuse_words(std::slice::from_ref(&word), Refusal::Duplication(operator));
        }
        if reads {
            self.take_input(node, word);
        } else {
            self.keep(node, word);
        }
        Ok(())
    }

    /// The operator that stands here, where what follows it may be a descriptor as well as a file: bash reads the target
    /// of `>&` twice, quoted or not.
    fn duplication(&self) -> Option<&'static str> {
        ["&>>", "&>", ">&", "<&"].into_iter().find(|operator| self.starts_with(operator))
    }

    fn input(&mut self, node: usize) -> Read<()> {
        self.skip_blanks()?;
        let word = self.word()?;
        self.take_input(node, word);
        Ok(())
    }

    fn take_input(&mut self, node: usize, word: Word) {
        let found = &mut self.nodes[node];
        found.input.extend(word.all_values());
        found.children.extend(word.children);
    }

    /// What a word holds belongs to the command it stands in.
    pub fn keep(&mut self, node: usize, word: Word) {
        let found = &mut self.nodes[node];
        found.values.extend(word.values);
        found.children.extend(word.children);
        // Values inside backticks have no command of their own.
        found.values.extend(word.nested);
        found.feeds |= word.feeds;
    }

    pub fn refuse_words(&mut self, words: &[Word], refusal: Refusal) {
        for value in words.iter().flat_map(|word| word.all_values()).collect::<Vec<_>>() {
            self.refuse(value, refusal);
        }
    }
}
