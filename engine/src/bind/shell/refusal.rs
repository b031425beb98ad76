//! Why a value may not stand where it stands, and what to write instead.

use std::ops::Range;

use super::super::expression::{Expression, ExpressionError, Reference};
use super::programs::{SHELLS, changes_environment};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    // No reference has the right meaning here: refused for harmless values too.
    QuotedHereDocument,
    Delimiter,
    AfterDollar,
    AfterBackslash,
    ParameterName,
    Name,
    NotUnderstood,
    /// Inside backticks that quote or escape, where no spelling is right for certain.
    QuotedBackticks,
    /// In single quotes inside `${...}`.
    QuotedInBraces,
    // A reference would do what the author wants, but only for harmless values.
    Arithmetic,
    Subscript,
    Braces,
    Backticks,
    AnsiQuotes,
    LocaleQuotes,
    Command,
    DynamicCommand,
    Evaluated(&'static str),
    OptionOf(&'static str),
    SpecialVariable,
    IntegerVariable,
    TestOperand,
    Interpreter(&'static str),
    InterpreterInput(&'static str),
    Alias,
    Duplication(&'static str),
}

impl Refusal {
    /// Whether it holds for `int` and `enum` parameters as well.
    pub fn is_absolute(self) -> bool {
        use Refusal::*;
        matches!(
            self,
            QuotedHereDocument
                | Delimiter
                | AfterDollar
                | AfterBackslash
                | ParameterName
                | Name
                | NotUnderstood
                | QuotedBackticks
                | QuotedInBraces
        )
    }

    pub fn report(self, expression: &Expression, range: Range<usize>) -> ExpressionError {
        ExpressionError { message: self.message(), help: Some(self.help(expression)), range }
    }

    fn message(self) -> String {
        use Refusal::*;
        match self {
            QuotedHereDocument => "a value in a here-document with a quoted delimiter: nothing is expanded there".into(),
            Delimiter => "a value as the delimiter of a here-document".into(),
            AfterDollar => "a value right after `$`".into(),
            AfterBackslash => "a value right after a backslash".into(),
            ParameterName => "a value as the name of a variable in `${...}`".into(),
            Name => "a value as the name of a variable or function".into(),
            NotUnderstood => "the place of this value could not be understood".into(),
            QuotedBackticks => "a value inside backticks with quotes or backslashes".into(),
            QuotedInBraces => "a value in single quotes inside `${...}`".into(),
            Arithmetic => "a value in arithmetic: the shell evaluates it there as an expression, which can run commands".into(),
            Subscript => "a value in an array subscript: the shell evaluates it there, which can run commands".into(),
            Braces => "a value inside `${...}`".into(),
            Backticks => "a value inside backticks".into(),
            AnsiQuotes => "a value inside `$'...'`".into(),
            LocaleQuotes => "a value inside `$\"...\"`".into(),
            Command => "a value where a command stands: it would choose what is run".into(),
            DynamicCommand => "a value as an argument of a command that is known only when it runs".into(),
            Evaluated(name) => format!("a value as an argument of `{name}`, which evaluates its arguments even when they are quoted"),
            OptionOf(name) => format!("a value where `{name}` looks for options, one of which evaluates what follows"),
            SpecialVariable => "a value assigned to a variable that is not only data: the shell, the loader or a program evaluates it".into(),
            IntegerVariable => {
                "a value assigned in a script that declares integer or reference variables: they evaluate what they are given".into()
            }
            TestOperand => "a value as an operand that this test evaluates, which can run commands".into(),
            Interpreter(name) => format!("a value in what `{name}` runs as code"),
            InterpreterInput(name) => format!("a value in the input of `{name}`, which runs it as code"),
            Duplication(operator) => format!(
                "a value as the target of `{operator}`: it can name a descriptor there, and bash expands it a second time, which can run commands"
            ),
            Alias => "a value in a script that defines aliases: what a command is can no longer be read from the text".into(),
        }
    }

    fn help(self, expression: &Expression) -> String {
        use Refusal::*;
        let name = variable_name(expression);
        let env = format!("give it a name: `env: {{{name}: \"${{{{ {} }}}}\"}}`", expression.source);
        let then = format!("{env}, then write `\"${name}\"`");
        match self {
            QuotedHereDocument => {
                "write the delimiter without quotes (`<<EOF`); there the value is bound as data".into()
            }
            Delimiter => "write a fixed word, for example `<<EOF`".into(),
            AfterDollar | AfterBackslash => format!("{then} without the character before it"),
            Name | ParameterName => format!("write fixed names; {env} and choose with `case \"${name}\" in`"),
            Backticks | QuotedBackticks => format!("write `$(...)` in place of backticks, or {then}"),
            Arithmetic | TestOperand | Subscript | IntegerVariable => format!(
                "declare the parameter as `type: int`, or {env} and check `\"${name}\"` (`case \"${name}\" in *[!0-9]*) exit 2;; esac`) before it counts"
            ),
            Braces | QuotedInBraces | AnsiQuotes | LocaleQuotes | NotUnderstood => {
                format!("{then} outside of it")
            }
            Command => format!("declare the parameter with `enum:`, or {env} and choose with `case \"${name}\" in`"),
            DynamicCommand => format!("{then}, or write the command itself"),
            Duplication("<&") => format!("write `< ${{{{ {} }}}}`", expression.source),
            Duplication("&>>") => format!("write `>> ${{{{ {} }}}} 2>&1`", expression.source),
            Duplication(_) => format!("write `> ${{{{ {} }}}} 2>&1`", expression.source),
            Alias => format!("write a function in place of the alias, or {then}"),
            SpecialVariable => {
                format!("{env}, and set this variable to fixed text; or declare the parameter with `enum:`")
            }
            OptionOf("printf") => {
                format!("write `printf '%s\\n' ${{{{ {} }}}}`, or {then} after `--`", expression.source)
            }
            OptionOf(program) => {
                format!("write `{program} ... -- ${{{{ {} }}}}`, or {then} after `--`", expression.source)
            }
            Evaluated("declare" | "local" | "typeset" | "readonly" | "export") => {
                format!("assign it on its own line first (`{name}=${{{{ {} }}}}`), or {then}", expression.source)
            }
            Evaluated(_) => format!("{env}; the shell can read `${name}` itself, without evaluating it a second time"),
            Interpreter(program) | InterpreterInput(program) if changes_environment(program) => format!(
                "{env}; `{program}` does not hand variables on, so send it in: `printf '%s' \"${name}\" | {program} ... '{name}=$(cat); ...'`"
            ),
            Interpreter(shell) if SHELLS.contains(&shell) => {
                format!("{env}, and hand it over as an argument: `{shell} -c '... \"$1\" ...' {shell} \"${name}\"`")
            }
            InterpreterInput(shell) if SHELLS.contains(&shell) => {
                format!(
                    "{env}, and hand it over as an argument: `{shell} -s -- \"${name}\" <<'END'`, where it is `\"$1\"`"
                )
            }
            Interpreter(program) => format!(
                "{env}; `{program}` inherits it (not through `sudo`, `ssh` or a container): read `{name}` from its environment there, or pass it to a script file as an argument"
            ),
            InterpreterInput(program) => format!(
                "{env}; `{program}` inherits it (not through `sudo`, `ssh` or a container): read `{name}` from its environment there"
            ),
        }
    }
}

/// The name an author would give it: `params.db_host` -> `DB_HOST`.
fn variable_name(expression: &Expression) -> String {
    let name = expression.references.iter().find_map(|(reference, _)| match reference {
        Reference::Param(name) | Reference::Env(name) => Some(name.clone()),
        Reference::Output { step, key } => Some(format!("{step}_{key}")),
        Reference::Status { step } => Some(format!("{step}_status")),
        Reference::Run(field) => Some(format!("run_{field}")),
        Reference::Item => Some("item".into()),
        Reference::Index => Some("index".into()),
        Reference::Outcome(_) => None,
    });
    name.unwrap_or_else(|| "value".into()).to_uppercase()
}
