//! What flows between commands: a value that reaches an interpreter through a pipe, a here-document, a descriptor or a
//! function is code. Judged when the whole script has been read.

use std::collections::{BTreeMap, BTreeSet};

use super::Symbol;
use super::lexer::Lexer;
use super::refusal::Refusal;

/// Functions by name, each with the program in it that runs its input as code.
pub(super) type Readers = BTreeMap<String, &'static str>;

/// Whatever looks like `name()` or `function name`, wherever it stands.
pub(super) fn function_names(symbols: &[Symbol]) -> BTreeSet<String> {
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
    pub fn reading_functions(&self) -> Readers {
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
    pub fn judge_pipelines(&mut self, functions: &Readers) {
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
    pub fn judge_streams(&mut self, functions: &Readers) {
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

    pub fn judge_declarations(&mut self) {
        if self.aliases {
            for value in 0..self.refusals.len() {
                self.refuse(value, Refusal::Alias);
            }
        }
        if self.integer_variables {
            for value in std::mem::take(&mut self.assigned) {
                self.refuse(value, Refusal::IntegerVariable);
            }
        }
    }
}
