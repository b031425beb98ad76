//! Programs that take code, and programs that start other programs: what is code, what is data, where is the command?
//!
//! A value that stays a separate argument of a known place (`bash tool.sh ${{ x }}`, `psql -d ${{ db }}`) is data.
//! Whatever is not clearly data is refused.

use super::commands::{is_standard_input, program_name};
use super::lexer::{HOLE, Lexer, Word};
use super::programs::*;
use super::refusal::Refusal;

pub(super) fn judge(lexer: &mut Lexer, node: usize, program: &str, words: &[Word]) {
    let program = base_of(program);
    if let Some((name, interpreter)) = interpreter(program) {
        Judge { lexer, node, name }.interpreter(interpreter, words);
    } else if let Some(name) = find(OPAQUE, program) {
        lexer.refuse_words(&words[1..], Refusal::Interpreter(name));
        lexer.nodes[node].reads_code = Some(name);
    } else if let Some(wrapper) = WRAPPERS.iter().find(|wrapper| wrapper.names.contains(&program)) {
        self::wrapper(lexer, node, wrapper, words);
    } else if let Some(name) = find(REMOTE, program) {
        remote(lexer, node, name, words);
    } else if matches!(program, "ssh" | "autossh" | "sshpass" | "mosh") {
        ssh(lexer, node, words);
    } else if program == "find" {
        find_command(lexer, node, words);
    }
}

/// `python3.11` is `python3`.
fn base_of(program: &str) -> &str {
    let base = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    match base {
        "python" | "perl" | "ruby" | "php" | "lua" | "node" | "tclsh" | "pypy" if base.len() < program.len() => base,
        _ => program,
    }
}

fn find(names: &'static [&'static str], program: &str) -> Option<&'static str> {
    names.iter().copied().find(|&name| name == program)
}

fn interpreter(program: &str) -> Option<(&'static str, &'static Interpreter)> {
    INTERPRETERS.iter().find_map(|one| find(one.names, program).map(|name| (name, one)))
}

fn takes_code(word: &Word) -> bool {
    let Some(program) = program_name(&word.text).map(base_of) else { return word.text.starts_with(HOLE) };
    interpreter(program).is_some() || OPAQUE.contains(&program) || matches!(program, "ssh" | "eval" | "source" | ".")
}

struct Judge<'a, 'b> {
    lexer: &'a mut Lexer<'b>,
    node: usize,
    name: &'static str,
}

impl Judge<'_, '_> {
    fn refuse(&mut self, words: &[Word]) {
        self.lexer.refuse_words(words, Refusal::Interpreter(self.name));
    }

    /// Shells also have options that begin with `+`.
    fn is_shell(&self) -> bool {
        self.name.ends_with("sh")
    }

    /// From here on nothing is known to be data.
    fn code(&mut self, words: &[Word]) {
        self.refuse(words);
        self.lexer.nodes[self.node].reads_code = Some(self.name);
    }

    fn interpreter(&mut self, spec: &Interpreter, words: &[Word]) {
        let (mut first, mut ended) = (spec.first, false);
        let mut reads = spec.reads;
        let mut at = 1;
        while let Some(word) = words.get(at) {
            at += 1;
            let text = word.text.as_str();
            if text == "--" {
                ended = true;
            } else if !ended && text.starts_with('+') && self.is_shell() {
                at += usize::from(text.ends_with(['o', 'O']));
            } else if !ended && text.starts_with("--") {
                let name = text.split(['=', HOLE]).next().unwrap_or_default();
                if self.name == "jq" && matches!(name, "--arg" | "--argjson") {
                    self.refuse(&words[at..(at + 1).min(words.len())]);
                    at += 2;
                } else if DATA_OPTIONS.contains(&name) && !text.starts_with(&format!("{name}{HOLE}")) {
                    at += usize::from(!text.contains('='));
                } else if CODE_OPTIONS.contains(&name) || word.has_values() || !word.is_static() {
                    return self.code(&words[at - 1..]);
                }
            } else if !ended && text.len() > 1 && text.starts_with('-') {
                match self.short_option(spec, &text[1..], words, at) {
                    Option::None => return self.code(&words[at - 1..]),
                    Some(ShortOption { takes_next, names_file }) => {
                        if names_file {
                            reads = words.get(at).is_none_or(|file| is_standard_input(&file.text));
                            self.refuse(&words[at..(at + 1).min(words.len())]);
                            if spec.first == First::Script {
                                self.lexer.nodes[self.node].reads_code = reads.then_some(self.name);
                                return;
                            }
                            first = First::Data;
                        }
                        at += usize::from(takes_next);
                    }
                }
            } else {
                match first {
                    First::Script | First::Program => {
                        if word.has_values() || (text.starts_with(HOLE) && !text.contains('/')) {
                            return self.code(&words[at - 1..]);
                        }
                        reads =
                            first == First::Script && is_standard_input(text) && !text.contains('/') || is_device(text);
                        self.lexer.nodes[self.node].reads_code = reads.then_some(self.name);
                        return;
                    }
                    First::ProgramThenOptions => {
                        if word.has_values() || text.starts_with(HOLE) {
                            return self.code(&words[at - 1..]);
                        }
                        first = First::Data;
                    }
                    First::Data if !ended && text.starts_with(HOLE) => {
                        self.lexer.refuse_words(std::slice::from_ref(word), Refusal::OptionOf(self.name));
                    }
                    First::Data => {}
                }
            }
        }
        self.lexer.nodes[self.node].reads_code = reads.then_some(self.name);
    }

    /// What a cluster of short options does; `None`: it takes code, or that cannot be known.
    fn short_option(&mut self, spec: &Interpreter, letters: &str, words: &[Word], at: usize) -> Option<ShortOption> {
        for (index, letter) in letters.char_indices() {
            let rest = &letters[index + letter.len_utf8()..];
            if letter == HOLE || spec.code.contains(letter) {
                return None;
            }
            if spec.data.contains(letter) {
                return Some(ShortOption { takes_next: rest.is_empty(), names_file: false });
            }
            if spec.file.contains(letter) {
                let known = rest.is_empty();
                return known.then_some(ShortOption { takes_next: true, names_file: true });
            }
            if spec.argument.contains(letter) {
                let next = if rest.is_empty() { words.get(at).map_or("", |word| word.text.as_str()) } else { rest };
                let variable =
                    self.name == "psql" && letter == 'v' && next.find('=') < next.find(HOLE) && next.contains('=');
                if !variable && next.contains(HOLE) {
                    return None;
                }
                return Some(ShortOption { takes_next: rest.is_empty(), names_file: false });
            }
        }
        Some(ShortOption { takes_next: false, names_file: false })
    }
}

struct ShortOption {
    takes_next: bool,
    names_file: bool,
}

fn is_device(text: &str) -> bool {
    text.starts_with("/dev/") || text.starts_with("/proc/")
}

fn wrapper(lexer: &mut Lexer, node: usize, wrapper: &Wrapper, words: &[Word]) {
    let name = wrapper.names.iter().copied().find(|&name| words[0].text.ends_with(name)).unwrap_or(wrapper.names[0]);
    let (mut at, mut operands) = (1, wrapper.operands);
    let mut guessed = false;
    while let Some(word) = words.get(at) {
        let text = word.text.as_str();
        if text.len() > 1 && text.starts_with('-') && text != "--" {
            let long = text.starts_with("--");
            let letters = if long { "" } else { &text[1..] };
            let takes = letters.find(|letter| wrapper.argument.contains(letter));
            let code = letters[..takes.unwrap_or(letters.len())].contains(|letter| wrapper.code.contains(letter));
            let long_code =
                matches!(text.split('=').next(), Some("--split-string" | "--shell" | "--login" | "--command"));
            if code || long_code || (takes.is_none() && !long && letters.contains(HOLE)) {
                lexer.refuse_words(&words[at..], Refusal::Interpreter(name));
                lexer.nodes[node].reads_code = Some(name);
                return;
            }
            // An option that is not known may take the next word, so what follows is not for certain the command.
            let namespace = text == "--user" && matches!(name, "unshare" | "nsenter");
            let takes_long = WRAPPER_LONG.contains(&text) && !namespace;
            guessed |= long && !text.contains('=') && !takes_long && !namespace && !WRAPPER_FLAGS.contains(&text);
            at += 1 + usize::from(takes.is_some_and(|found| found + 1 == letters.len()) || takes_long);
        } else if text == "--" {
            at += 1;
        } else if matches!(name, "env" | "sudo" | "doas")
            && text.split_once('=').is_some_and(|(name, _)| !name.contains(HOLE))
        {
            let variable = text.split('=').next().unwrap_or_default().to_owned();
            lexer.assignment(&variable, word);
            at += 1;
        } else if operands > 0 {
            operands -= 1;
            at += 1;
        } else {
            break;
        }
    }
    let rest = words.get(at..).unwrap_or_default();
    lexer.command_words(node, rest);
    if guessed {
        later_starts(lexer, node, name, rest);
    }
    if rest.is_empty() && SHELL_BY_DEFAULT.contains(&name) {
        lexer.nodes[node].reads_code = Some(name);
    }
    if name == "xargs" && rest.iter().any(takes_code) {
        lexer.nodes[node].reads_code = Some("xargs");
    }
}

/// Every word after the first that could be the command.
fn later_starts(lexer: &mut Lexer, node: usize, name: &'static str, rest: &[Word]) {
    let starts: Vec<usize> = (2..rest.len()).filter(|&at| may_start_code(&rest[at])).collect();
    if starts.len() > STARTS_MAX {
        lexer.refuse_words(rest, Refusal::Interpreter(name));
        lexer.nodes[node].reads_code = Some(name);
        return;
    }
    if rest.len() > 1 {
        lexer.command_words(node, &rest[1..]);
    }
    for at in starts {
        lexer.command_words(node, &rest[at..]);
    }
}

/// So many possible commands in one are looked at; more are refused.
const STARTS_MAX: usize = 8;

fn remote(lexer: &mut Lexer, node: usize, name: &'static str, words: &[Word]) {
    let arguments = &words[1..];
    let is_value = |word: &Word| word.has_values() && word.text.chars().all(|c| c == HOLE);
    for (at, word) in arguments.iter().enumerate().skip(1).filter(|(_, word)| is_value(word)) {
        let before = &arguments[at - 1];
        let option = at >= 2 && arguments[at - 2].text.starts_with('-') && arguments[at - 2].text != "--";
        if before.text == "--" || (is_value(before) && !option) {
            lexer.refuse_words(std::slice::from_ref(word), Refusal::Command);
        }
    }
    // `docker exec env sh -c`: whether `env` is a container or the program is not known, so each is judged.
    let starts: Vec<usize> = (0..arguments.len()).filter(|&at| may_start_code(&arguments[at])).collect();
    if !starts.is_empty()
        && (starts.len() > STARTS_MAX || arguments.iter().any(|word| find(REMOTE, &word.text).is_some()))
    {
        lexer.refuse_words(arguments, Refusal::Interpreter(name));
        lexer.nodes[node].reads_code = Some(name);
        return;
    }
    for &at in &starts {
        lexer.command_words(node, &arguments[at..]);
    }
    if starts.is_empty() && matches!(name, "machinectl" | "systemd-nspawn") {
        lexer.nodes[node].reads_code = Some(name);
    }
}

pub(super) fn may_start_code(word: &Word) -> bool {
    let wrapper = || WRAPPERS.iter().any(|one| one.names.contains(&word.text.as_str()));
    word.is_static() && !WORDS_TOO.contains(&word.text.as_str()) && (takes_code(word) || wrapper())
}

/// Everything after the host is read again by the shell there.
fn ssh(lexer: &mut Lexer, node: usize, words: &[Word]) {
    let name = "ssh";
    if !words[0].text.ends_with("ssh") || words[0].text.ends_with("autossh") {
        lexer.refuse_words(&words[1..], Refusal::Interpreter(name));
        lexer.nodes[node].reads_code = Some(name);
        return;
    }
    let (mut at, mut ended) = (1, false);
    while let Some(word) = words.get(at) {
        let text = word.text.as_str();
        if text == "--" {
            ended = true;
            at += 1;
        } else if !ended && text.len() > 1 && text.starts_with('-') {
            let letters = &text[1..];
            let takes = letters.find(|letter| "BbcDEeFIiJLlmOopQRSWw".contains(letter));
            let separate = takes.is_some_and(|found| found + 1 == letters.len());
            let letter = takes.and_then(|found| letters[found..].chars().next());
            let argument = &words[at..(at + 1 + usize::from(separate)).min(words.len())];
            if !matches!(letter, Some('i' | 'p' | 'l' | 'b' | 'E')) {
                lexer.refuse_words(argument, Refusal::Interpreter(name));
            }
            at += argument.len();
        } else {
            break;
        }
    }
    let Some(host) = words.get(at) else { return };
    if !ended && host.has_values() && host.text.starts_with(HOLE) {
        lexer.refuse_words(std::slice::from_ref(host), Refusal::OptionOf(name));
    }
    let command = &words[at + 1..];
    lexer.refuse_words(command, Refusal::Interpreter(name));
    let runs_input = command.is_empty()
        || command.iter().any(|word| {
            let known = |part: &str| interpreter(base_of(part)).is_some() || OPAQUE.contains(&part) || part == "eval";
            let login = |part: &str| matches!(part, "-i" | "-s" | "--login" | "--shell");
            !word.is_static()
                || word.text.split_whitespace().any(login)
                || word.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(known)
        });
    if runs_input {
        lexer.nodes[node].reads_code = Some(name);
    }
}

fn find_command(lexer: &mut Lexer, node: usize, words: &[Word]) {
    let mut at = 1;
    while let Some(word) = words.get(at) {
        at += 1;
        if matches!(word.text.as_str(), "-exec" | "-execdir" | "-ok" | "-okdir") {
            let end = words[at..].iter().position(|word| matches!(word.text.as_str(), ";" | "+"));
            let end = end.map_or(words.len(), |length| at + length);
            lexer.command_words(node, &words[at..end]);
            at = end;
        }
    }
}
