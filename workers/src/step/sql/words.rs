//! What goes wrong with a database, in words that say what to do.

use std::time::Duration;

use runward_engine::run::sql::Statement;
use runward_engine::units::format_duration;

pub(super) const LEDGER: &str = "this database holds a ledger of runward, and no step touches that: give what the step works on a database of its own";
/// Of what went wrong, which may repeat a value, in bytes: its beginning, and its end, where it says what to do.
const HEAD_BYTES_MAX: usize = 2_000;
const TAIL_BYTES_MAX: usize = 500;

/// What went wrong, as one line. Whatever it may repeat has been hidden before.
pub(super) fn line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.len() <= HEAD_BYTES_MAX + TAIL_BYTES_MAX {
        return text;
    }
    let (head, tail) = (text.floor_char_boundary(HEAD_BYTES_MAX), text.ceil_char_boundary(text.len() - TAIL_BYTES_MAX));
    format!("{} ... {}", &text[..head], &text[tail..])
}

/// Which values the parameters in this message are: `$1` is no word of the author's.
pub(super) fn parameters(message: &str, statement: &Statement, sign: char) -> String {
    let named = statement.values.iter().enumerate().filter(|(n, _)| {
        let name = format!("{sign}{}", n + 1);
        message.split(|c: char| !c.is_ascii_alphanumeric() && c != sign).any(|word| word == name)
    });
    let named: Vec<String> =
        named.map(|(n, bound)| format!("{sign}{} is `${{{{ {} }}}}`", n + 1, bound.source)).collect();
    if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
}

/// What an SQLSTATE asks for.
pub(super) fn help(code: &str) -> &'static str {
    match code {
        "28P01" | "28000" => "check the user and the password of the connection",
        "3D000" => "create the database, or correct the connection",
        "53300" => "all connections of the server are taken: try again later, or raise `max_connections`",
        "57P03" | "57P01" | "57P02" => "the server is starting or stopping: try again later",
        "42501" => "grant it to the role of the connection, or use a connection whose role may",
        "25006" => "the step or its connection is read-only: take `read-only` away where it has to change something",
        "25001" => "a step is one transaction, and this cannot be part of one: let a `run` step do it with `psql`",
        "40001" | "40P01" => "another transaction was in the way: give the step a `retry`",
        "42P18" => "say what type the value is to have: `${{ params.x }}::int`",
        "42725" | "42883" => "say what type a value is to have: `${{ params.x }}::int`",
        _ => "",
    }
}

pub(super) fn with_help(said: String, help: &str) -> String {
    if help.is_empty() { said } else { format!("{said}: {help}") }
}

/// The statement was ended by its own `timeout`.
pub(super) fn too_long(limit: Duration) -> String {
    format!(
        "the statement took longer than {} and was cancelled, nothing was changed: give it a longer `timeout`, or look what \
         it waits for",
        format_duration(limit)
    )
}
