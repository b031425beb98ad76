//! Which programs a script calls, as far as its text tells: for the plan, which says what is not pinned.

use std::collections::BTreeSet;

use super::{Symbol, grammar};

/// Commands that the shell carries out itself (bash and dash), and its words.
const OWN: &[&str] = &[
    "",
    ".",
    ":",
    "[",
    "[[",
    "((",
    "alias",
    "bg",
    "bind",
    "break",
    "builtin",
    "caller",
    "cd",
    "command",
    "compgen",
    "complete",
    "continue",
    "declare",
    "dirs",
    "disown",
    "echo",
    "enable",
    "eval",
    "exec",
    "exit",
    "export",
    "false",
    "fc",
    "fg",
    "getopts",
    "hash",
    "help",
    "history",
    "jobs",
    "kill",
    "let",
    "local",
    "logout",
    "mapfile",
    "popd",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "return",
    "set",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "times",
    "trap",
    "true",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "wait",
];

/// Names of programs, without their folders. Of a text that cannot be read to its end, those up to there.
pub fn programs_called(script: &str) -> BTreeSet<String> {
    let symbols: Vec<Symbol> = script.bytes().map(Symbol::Byte).collect();
    let mut called = grammar::read(&symbols).calls;
    called.retain(|name| !OWN.contains(&name.as_str()));
    called
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_from_builtins_and_functions() {
        let script = "set -e\nwait_for() { curl -fsS \"$1\"; }\nif test -e x; then ./deploy.sh a | tee log; fi\n\
                      wait_for http://x && sudo systemctl restart nginx\nv=$(git describe)\nfor n in 1 2; do psql -c \"select 1\"; done\n";
        let called: Vec<String> = programs_called(script).into_iter().collect();
        for program in ["curl", "deploy.sh", "git", "psql", "tee"] {
            assert!(called.iter().any(|name| name == program), "{program}: {called:?}");
        }
        for own in ["set", "test", "wait_for", "if", "for"] {
            assert!(!called.iter().any(|name| name == own), "{own}: {called:?}");
        }
    }

    #[test]
    fn a_text_that_is_no_shell_is_no_reason_to_panic() {
        for text in ["", "'", "((", "$(", "cat <<E\n", "\u{0}é `", "case x in"] {
            programs_called(text);
        }
    }
}
