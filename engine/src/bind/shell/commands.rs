//! Simple commands: which one is it, and does it evaluate what it is given?

use super::interpreters;
use super::lexer::{DEPTH_MAX, HOLE, Lexer, Word};
use super::refusal::Refusal;
use crate::bind::variables;

/// Builtins that evaluate their arguments even when they are quoted, take names, or define what later words mean.
const EVALUATING: &[&str] = &[
    "eval",
    "trap",
    "source",
    ".",
    "let",
    "alias",
    "bind",
    "complete",
    "compgen",
    "compopt",
    "coproc",
    "enable",
    "getopts",
    "mapfile",
    "readarray",
    "read",
    "unset",
    "declare",
    "typeset",
    "local",
    "wait",
    "fc",
    "hash",
    "history",
    "jobs",
];
/// Variables that the shell calculates with or keeps for itself, besides those of [`crate::bind::variables`].
const SPECIAL_VARIABLES: &[&str] = &[
    "BASHPID",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "HISTCMD",
    "LINENO",
    "OPTIND",
    "PPID",
    "RANDOM",
    "SECONDS",
    "SRANDOM",
    "UID",
];

impl Lexer<'_> {
    /// Refuses the values in a simple command that would not stay data.
    pub fn judge(&mut self, node: usize, words: &[Word]) {
        let assignments = words.iter().take_while(|word| word.assigns.is_some()).count();
        for word in &words[..assignments] {
            let name = word.assigns.clone().unwrap_or_default();
            self.assignment(&name, word);
        }
        self.command_words(node, &words[assignments..]);
    }

    pub fn assignment(&mut self, name: &str, word: &Word) {
        if SPECIAL_VARIABLES.contains(&name) || variables::evaluated(name).is_some() {
            self.refuse_words(std::slice::from_ref(word), Refusal::SpecialVariable);
        }
        self.assigned.extend(word.all_values());
    }

    /// `words[0]` stands where a command stands.
    pub fn command_words(&mut self, node: usize, words: &[Word]) {
        if self.depth >= DEPTH_MAX {
            self.refuse_words(words, Refusal::DynamicCommand);
            return;
        }
        self.depth += 1;
        self.known_command(node, words);
        self.depth -= 1;
    }

    fn known_command(&mut self, node: usize, words: &[Word]) {
        let Some((first, arguments)) = words.split_first() else { return };
        if first.has_values() {
            self.refuse_words(std::slice::from_ref(first), Refusal::Command);
        }
        let Some(program) = program_name(&first.text).filter(|_| !first.has_values()) else {
            self.refuse_words(arguments, Refusal::DynamicCommand);
            self.nodes[node].reads_code = Some("a command known only when it runs");
            return;
        };
        self.nodes[node].calls = program.to_owned();
        if let Some(&name) = EVALUATING.iter().find(|&&name| name == program) {
            self.evaluating(node, name, arguments);
            return;
        }
        match program {
            "export" | "readonly" => self.export(program == "export", arguments),
            "printf" => self.printf(arguments),
            // With redirections alone: from here on the shell, and all it starts, reads and writes there.
            "exec" if arguments.is_empty() => self.shell_streams.push(node),
            "test" | "[" => self.test_command(arguments),
            "set" => self.set_command(arguments),
            "command" if arguments.first().is_some_and(|option| matches!(option.text.as_str(), "-v" | "-V")) => {}
            "builtin" => {
                let ended = arguments.first().is_some_and(|word| word.text == "--");
                self.command_words(node, &arguments[usize::from(ended)..]);
            }
            _ if self.function_names.contains(program) => self.function_call(node, arguments),
            _ => interpreters::judge(self, node, program, words),
        }
    }

    fn evaluating(&mut self, node: usize, name: &'static str, arguments: &[Word]) {
        self.refuse_words(arguments, Refusal::Evaluated(name));
        let options = arguments.iter().filter(|word| word.text.starts_with(['-', '+', HOLE]));
        match name {
            "eval" => self.nodes[node].reads_code = Some("eval"),
            "alias" => self.aliases = true,
            "." | "source" if arguments.first().is_some_and(|file| is_standard_input(&file.text)) => {
                self.nodes[node].reads_code = Some(name);
            }
            "declare" | "typeset" | "local" => {
                self.integer_variables |= options.into_iter().any(|word| word.text.contains(['i', 'n', HOLE]));
            }
            _ => {}
        }
    }

    /// `retry() { "$@"; }; retry eval ...`: a function may run its arguments as a command.
    fn function_call(&mut self, node: usize, arguments: &[Word]) {
        let starts = |word: &Word| EVALUATING.contains(&word.text.as_str()) || interpreters::may_start_code(word);
        if let Some(at) = arguments.iter().position(starts) {
            self.refuse_words(&arguments[at..], Refusal::DynamicCommand);
            self.nodes[node].reads_code = Some("a function that is given a program");
        }
    }

    /// `export NAME=value` is an assignment in bash and dash; anything else about a value is a name or an option.
    fn export(&mut self, export: bool, arguments: &[Word]) {
        let command = if export { "export" } else { "readonly" };
        for word in arguments {
            if word.text.starts_with('-') && word.text.contains(['i', HOLE]) {
                self.integer_variables = true;
            }
            let name = word.text.split_once('=').map_or("", |(name, _)| name);
            let is_name = !name.is_empty() && name.bytes().all(super::lexer::is_name_byte);
            if is_name {
                self.assignment(name, word);
            } else {
                self.refuse_words(std::slice::from_ref(word), Refusal::Evaluated(command));
            }
        }
    }

    fn printf(&mut self, arguments: &[Word]) {
        let Some(first) = arguments.first() else { return };
        if first.text.starts_with("-v") {
            self.refuse_words(arguments, Refusal::Evaluated("printf -v"));
        } else if first.text.starts_with(HOLE) || (first.text.starts_with('-') && !first.is_static()) {
            self.refuse_words(arguments, Refusal::OptionOf("printf"));
        }
    }

    /// `[` knows `-v NAME`; an operator can also come out of an expansion: `[ ${{ a }} ${{ b }} ]`.
    fn test_command(&mut self, arguments: &[Word]) {
        for pair in arguments.windows(2) {
            let operator = &pair[0].text;
            if matches!(operator.as_str(), "-v" | "-R") || operator.starts_with(HOLE) {
                self.refuse_words(&pair[1..], Refusal::TestOperand);
            }
        }
    }

    fn set_command(&mut self, arguments: &[Word]) {
        let options = arguments.iter().take_while(|word| !matches!(word.text.as_str(), "--" | "-")).count();
        self.refuse_words(&arguments[..options], Refusal::OptionOf("set"));
    }
}

/// The last part of the path of a program, if it is known: `"$DIR"/tool` is `tool`, `$tool` is not known.
pub(super) fn program_name(text: &str) -> Option<&str> {
    let name = text.rsplit('/').next()?;
    let may_glob = name.contains('[') && !matches!(name, "[" | "[[");
    (!name.contains(HOLE) && !may_glob).then_some(name)
}

pub(super) fn is_standard_input(file: &str) -> bool {
    file == "-" || file.contains("/stdin") || file.contains("/fd/") || file.contains(HOLE)
}
