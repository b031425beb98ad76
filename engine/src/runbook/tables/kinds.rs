//! The kinds of steps: of these keys every step has exactly one.

use crate::runbook::shape::{Key, Object, Shape};
use crate::runbook::syntax::Syntax;
use crate::words;

const TEXTS: Shape = Shape::List { of: &Shape::Text(Syntax::Free), min: 1 };
const HEADERS: Shape = Shape::Dict { names: Syntax::Header, of: &Shape::Scalar };
const STATUS: Shape = Shape::Count { min: 100, max: 599 };
const WAITING: Shape = Shape::OneOf(&[SOME_TIME, Shape::Object(&WAIT)]);
const SOME_TIME: Shape = Shape::Duration { zero: false };

/// The names of the kinds, in the order of the contract.
pub const NAMES: &[&str] = &["run", "script", "cmd", "http", "sql", "render", "approve", "wait", "runbook", "notify"];

pub const KEYS: &[Key] = &[
    Key::new("run", Shape::Script, "A shell script, `bash -euo pipefail` by default. Values stand outside its text."),
    Key::new(
        "script",
        Shape::Text(Syntax::Inside),
        "A script file, relative to the runbook's folder; pinned with the runbook.",
    ),
    Key::new("cmd", Shape::List { of: &Shape::Scalar, min: 1 }, "A program and its arguments, without a shell."),
    Key::new("http", Shape::Object(&HTTP), "An HTTP request."),
    Key::new(
        "sql",
        Shape::Object(&SQL),
        "Statements on a named connection, in one transaction; values become bind parameters.",
    ),
    Key::new("render", Shape::Object(&RENDER), "A template file, written to a path in one piece."),
    Key::new("approve", Shape::Object(&APPROVE), "Waits for people to agree; takes no worker."),
    Key::new("wait", WAITING, "Waits for a time; takes no worker, and survives restarts."),
    Key::new(
        "runbook",
        Shape::Text(Syntax::Free),
        "Another runbook, as a run of its own: a path from this file's folder, or a name.",
    ),
    Key::new(
        "notify",
        Shape::Object(&NOTIFY),
        "A text to a channel; takes no worker, and nobody waits until it arrives.",
    ),
];

static HTTP: Object = Object::new(
    "an http step",
    &[&[
        Key::new("url", Shape::Template, "Values in it are percent-encoded.").required(),
        Key::new("method", words!("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"), "Default: GET."),
        Key::new("headers", HEADERS, "Request headers."),
        Key::new("body", Shape::Template, "The body as text."),
        Key::new("json", Shape::Any, "The body as JSON; values keep their types."),
        Key::new("expect", Shape::Object(&HTTP_EXPECT), "What the answer has to be."),
        Key::new("until", SOME_TIME, "Asks again until the answer is as expected, for at most this long."),
        Key::new("every", SOME_TIME, "The time between two requests of `until`. Default: 5s."),
    ]],
);

static HTTP_EXPECT: Object = Object::new(
    "what an http step expects",
    &[&[
        Key::new(
            "status",
            Shape::OneOf(&[STATUS, Shape::List { of: &STATUS, min: 1 }]),
            "The status, or several. Default: 2xx.",
        ),
        Key::new("json", Shape::Any, "These values stand in the JSON answer."),
        Key::new("contains", Shape::Template, "This text stands in the answer."),
    ]],
);

static SQL: Object = Object::new(
    "an sql step",
    &[&[
        Key::new("connection", Shape::Text(Syntax::Id), "The name of a configured connection.").required(),
        Key::new("query", Shape::Template, "The statement, or several separated by `;`.").required(),
        Key::new(
            "expect",
            Shape::Object(&SQL_EXPECT),
            "What the last statement has to bring; else nothing is changed.",
        ),
        Key::new("timeout", SOME_TIME, "How long one statement may take. Default: as long as the step."),
        Key::new("read-only", Shape::Flag, "In a read-only transaction. Default: false."),
    ]],
);

static SQL_EXPECT: Object = Object::new(
    "what an sql step expects",
    &[&[
        Key::new("rows", Shape::Count { min: 0, max: i64::MAX }, "The number of rows that it returned, or changed."),
        Key::new("value", Shape::Any, "The first column of the first row."),
    ]],
);

static RENDER: Object = Object::new(
    "a render step",
    &[&[
        Key::new("template", Shape::Text(Syntax::Inside), "A Tera template, relative to the runbook's folder; pinned.")
            .required(),
        Key::new("to", Shape::Template, "The path to write.").required(),
        Key::new(
            "mode",
            Shape::Text(Syntax::Mode),
            "The file's mode, such as `0644`. Default: as it was; a new file gets 0644.",
        ),
        Key::new("owner", Shape::Text(Syntax::Owner), "Its owner: `user` or `user:group`. Default: as it was."),
        Key::new("backup", Shape::Flag, "Keeps the old file beside it, as `NAME.bak-<time>`. Default: false."),
    ]],
);

static APPROVE: Object = Object::new(
    "an approval",
    &[&[
        Key::new("by", TEXTS, "Groups or users of the machine. Default: everybody who can reach the ledger."),
        Key::new("count", Shape::Count { min: 1, max: 100 }, "How many people. Default: 1."),
        Key::new("not", words!("requester"), "Who may not: whoever asked for the run."),
        Key::new("expires", SOME_TIME, "Fails after this time. Default: 30d."),
    ]],
);

static WAIT: Object = Object {
    one_of: &["for", "until", "window"],
    ..Object::new(
        "a wait",
        &[&[
            Key::new("for", SOME_TIME, "A duration."),
            Key::new("until", Shape::Template, "A point in time, with its zone: `2026-11-22 02:30 Europe/Berlin`."),
            Key::new("window", Shape::Text(Syntax::Window), "Until this window opens."),
        ]],
    )
};

static NOTIFY: Object = Object::new(
    "a notification",
    &[&[
        Key::new("channel", Shape::Text(Syntax::Label), "The name of a configured channel.").required(),
        Key::new("text", Shape::Template, "The text.").required(),
    ]],
);
