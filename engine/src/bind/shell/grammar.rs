//! Commands: lists, pipelines, compound commands, redirections. Hands each simple command to [`super::commands`].

use std::collections::{BTreeMap, BTreeSet};

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

/// Functions by name, each with the program in it that runs its input as code.
type Readers = BTreeMap<String, &'static str>;

const CLOSERS: &[&str] = &["then", "elif", "else", "fi", "do", "done", "esac", "}"];
const ASSIGNMENT_EVALUATES: Refusal = Refusal::IntegerVariable;

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
        function_names: function_names(symbols),
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
    Reading { places: lexer.places, refusals: lexer.refusals, broken }
}

/// Whatever looks like `name()` or `function name`, wherever it stands.
fn function_names(symbols: &[Symbol]) -> BTreeSet<String> {
    let text: String = symbols
        .iter()
        .map(|symbol| match symbol {
            Symbol::Byte(byte) => *byte as char,
            Symbol::Value(_) => '\0',
        })
        .collect();
    let last_word =
        |text: &str| text.split([' ', '\t', '\n', ';', '&', '|', '(', ')', '{', '}']).next_back().map(str::to_owned);
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices('(') {
        if text[at + 1..].trim_start_matches([' ', '\t']).starts_with(')') {
            names.extend(last_word(text[..at].trim_end_matches([' ', '\t'])));
        }
    }
    for (at, keyword) in text.match_indices("function") {
        let rest = text[at + keyword.len()..].trim_start_matches([' ', '\t']);
        names.extend(rest.split([' ', '\t', '\n', '(', '{']).next().map(str::to_owned));
    }
    names.remove("");
    names
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

    pub fn collect_values(&self, node: usize, values: &mut Vec<usize>) {
        let found = &self.nodes[node];
        values.extend(found.values.iter().chain(&found.input));
        for &child in &found.children {
            self.collect_values(child, values);
        }
    }

    fn code_reader(&self, node: usize, functions: &Readers) -> Option<&'static str> {
        let found = &self.nodes[node];
        let children = || found.children.iter().find_map(|&child| self.code_reader(child, functions));
        found.reads_code.or_else(|| functions.get(&found.calls).copied()).or_else(children)
    }

    /// The functions of the script in which something runs its input as code, directly or through each other.
    fn reading_functions(&self) -> Readers {
        let mut readers = Readers::new();
        loop {
            let before = readers.len();
            for (name, body) in &self.functions {
                if let Some(program) = self.code_reader(*body, &readers) {
                    readers.entry(name.clone()).or_insert(program);
                }
            }
            if readers.len() == before {
                return readers;
            }
        }
    }

    fn feeds(&self, node: usize) -> bool {
        self.nodes[node].feeds || self.nodes[node].children.iter().any(|&child| self.feeds(child))
    }

    /// What reaches an interpreter through a pipe, a here-document or `>( )` is code.
    fn judge_pipelines(&mut self, functions: &Readers) {
        for commands in std::mem::take(&mut self.pipelines) {
            for (position, &node) in commands.iter().enumerate() {
                let Some(program) = self.code_reader(node, functions) else { continue };
                let mut values = Vec::new();
                let feeds = self.feeds(node);
                for &earlier in &commands[..position + usize::from(feeds)] {
                    self.collect_values(earlier, &mut values);
                }
                values.extend(&self.nodes[node].input);
                for value in values {
                    self.refuse(value, Refusal::InterpreterInput(program));
                }
            }
        }
    }

    /// A shell behind `exec > >(sh)` or `coproc sh` can be handed any value later on.
    fn judge_streams(&mut self, functions: &Readers) {
        let streams = std::mem::take(&mut self.shell_streams);
        for value in streams.iter().flat_map(|&node| self.nodes[node].input.clone()).collect::<Vec<_>>() {
            self.refuse(value, Refusal::InterpreterInput("exec"));
        }
        if let Some(program) = streams.iter().find_map(|&node| self.code_reader(node, functions)) {
            for value in 0..self.refusals.len() {
                self.refuse(value, Refusal::InterpreterInput(program));
            }
        }
    }

    fn judge_declarations(&mut self) {
        if self.aliases {
            for value in 0..self.refusals.len() {
                self.refuse(value, Refusal::Alias);
            }
        }
        if self.integer_variables {
            for value in std::mem::take(&mut self.assigned) {
                self.refuse(value, ASSIGNMENT_EVALUATES);
            }
        }
    }

    fn node(&mut self) -> usize {
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
    fn list(&mut self, stops: &[&str]) -> Read<Vec<usize>> {
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

    fn skip_lines(&mut self) -> Read<()> {
        loop {
            self.skip_blanks()?;
            if self.byte(0) != Some(b'\n') {
                return Ok(());
            }
            self.newline()?;
        }
    }

    /// The unquoted word that stands here, if it is one that could be a reserved word.
    fn plain_word(&self) -> String {
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

    fn expect(&mut self, word: &'static str, message: &'static str) -> Read<()> {
        if self.plain_word() != word {
            return self.broken(message);
        }
        self.at += word.len();
        Ok(())
    }

    fn command(&mut self) -> Read<usize> {
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

    fn group(&mut self) -> Read<Vec<usize>> {
        self.at += 1;
        let commands = self.list(&["}"])?;
        self.expect("}", "`{` is never closed")?;
        Ok(commands)
    }

    fn arithmetic_command(&mut self, node: usize) -> Read<Vec<usize>> {
        self.at += 2;
        let mut word = Word::default();
        self.arithmetic(&mut word, b')')?;
        self.keep(node, word);
        Ok(Vec::new())
    }

    fn condition(&mut self) -> Read<Vec<usize>> {
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

    fn repeat(&mut self, keyword: usize) -> Read<Vec<usize>> {
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

    fn for_each(&mut self, node: usize, keyword: usize) -> Read<Vec<usize>> {
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

    fn case(&mut self, node: usize) -> Read<Vec<usize>> {
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
    fn test(&mut self, node: usize) -> Read<Vec<usize>> {
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

    fn function(&mut self, keyword: usize) -> Read<Vec<usize>> {
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

    fn at_redirection(&self) -> bool {
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
        self.at += 1;
        while matches!(self.byte(0), Some(b'<' | b'>' | b'&' | b'|'))
            && !self.starts_with("<(")
            && !self.starts_with(">(")
        {
            self.at += 1;
        }
        if reads {
            return self.input(node);
        }
        self.skip_blanks()?;
        let word = self.word()?;
        self.keep(node, word);
        Ok(())
    }

    fn input(&mut self, node: usize) -> Read<()> {
        self.skip_blanks()?;
        let word = self.word()?;
        let found = &mut self.nodes[node];
        found.input.extend(word.all_values());
        found.children.extend(word.children);
        Ok(())
    }

    /// What a word holds belongs to the command it stands in.
    fn keep(&mut self, node: usize, word: Word) {
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
