//! Words of SQL after which, or in which, no value can stand; and what to write instead.

pub(super) const QUOTED: &str =
    "take the quotes away: the value is bound, and needs none; to join it with text, write `'%' || ${{ }} || '%'`";
pub(super) const NAMES: &str =
    "names of tables and columns cannot be values: write the name out, or one step for each with `if:`";
pub(super) const DOLLAR: &str =
    "begin the query with `select set_config('app.x', ${{ }}, true);`, and read `current_setting('app.x')` here";
pub(super) const JOIN: &str = "separate them, or join them with `||`";
pub(super) const COPY: &str = "let a `run` step do it, with `psql -c '\\copy ...'`";
pub(super) const ENDS: &str =
    "remove it: a step is one transaction, committed when all of its statements have succeeded";

/// A word, and what stands around it.
pub(super) struct Word<'w> {
    pub word: &'w str,
    pub before: Option<&'w str>,
    pub in_parentheses: bool,
}

/// Statements that a step cannot have, by their first word.
pub(super) fn refused(first: &str) -> Option<(String, &'static str)> {
    let shown = first.to_uppercase();
    match first {
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" => {
            Some((format!("`{shown}`: runward itself begins and ends the transaction of a step"), ENDS))
        }
        "attach" | "detach" => Some((
            format!("`{shown}`: a step works on the database of its connection alone"),
            "configure a connection for the other database, and use it in a step of its own",
        )),
        _ => None,
    }
}

/// Statements in which nothing can be bound, and how to do it all the same.
pub(super) fn takes_no_values(first: &str) -> Option<&'static str> {
    match first {
        "set" => Some("write `select set_config('name', ${{ }}, true)`"),
        "notify" => Some("write `select pg_notify('channel', ${{ }})`"),
        "do" => Some(DOLLAR),
        "alter" | "drop" | "grant" | "revoke" | "vacuum" | "analyze" | "reindex" | "listen" | "unlisten"
        | "truncate" | "comment" | "lock" | "pragma" | "copy" | "cluster" | "reset" | "refresh" | "reassign"
        | "security" => Some("write it out: here are names and settings, not data"),
        _ => None,
    }
}

/// Whether what follows this word is a name of something.
pub(super) fn names_something(place: Word<'_>) -> bool {
    match place.word {
        "from" => !place.in_parentheses && place.before != Some("distinct"),
        "update" => place.before.is_none(),
        "join" | "into" | "table" | "by" | "column" | "index" | "schema" | "database" | "role" | "user" | "call"
        | "execute" | "view" => true,
        _ => false,
    }
}
