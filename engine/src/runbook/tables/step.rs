//! What a step may have, whatever its kind.

use super::kinds;
use crate::limits;
use crate::runbook::shape::{Key, Object, Shape};
use crate::runbook::syntax::Syntax;
use crate::words;

pub use super::kinds::NAMES as KINDS;

const ID: Shape = Shape::Text(Syntax::Id);
const LABEL: Shape = Shape::Text(Syntax::Label);
const UNDOING: Shape = Shape::OneOf(&[Shape::Script, Shape::Object(&UNDO)]);
const SECRET: Shape = Shape::Text(Syntax::Variable);
const RECEIVED: Shape = Shape::OneOf(&[SECRET, Shape::Object(&SECRET_FILE)]);
const SOME_TIME: Shape = Shape::Duration { zero: false };
const ANY_TIME: Shape = Shape::Duration { zero: true };
const SOME: Shape = Shape::Count { min: 1, max: u32::MAX as i64 };
/// The types of parameters and outputs.
pub const TYPES: Shape = words!("string", "int", "float", "bool", "list", "map", "duration", "size", "path");

const OWN: &[Key] = &[
    Key::new("id", ID, "Unique in the file. Default: the position, `step_3` or `finally_1`."),
    Key::new("name", Shape::Text(Syntax::Free), "For people."),
    Key::new(
        "needs",
        Shape::OneOf(&[ID, Shape::List { of: &ID, min: 0 }]),
        "The steps this one follows. Without it: the step above. `[]`: starts at once.",
    ),
    Key::new(
        "for-each",
        Shape::OneOf(&[Shape::Template, Shape::List { of: &Shape::Scalar, min: 0 }]),
        "Runs once for each item: a list, or one `${{ expression }}` whose value is a list.",
    ),
    Key::new("with", Shape::Dict { names: Syntax::Id, of: &Shape::Any }, "The parameters of a `runbook` step."),
];

const COMMON: &[Key] = &[
    Key::new(
        "if",
        Shape::OneOf(&[Shape::Flag, Shape::Condition]),
        "A bare expression; the step is skipped where it is false.",
    ),
    Key::new("max-parallel", SOME, "How many items of a for-each execute at the same time."),
    Key::new("stop-after-failures", SOME, "No further item starts after this many failed ones. Default: 1."),
    Key::new(
        "runs-on",
        Shape::OneOf(&[LABEL, Shape::List { of: &LABEL, min: 0 }]),
        "The labels a worker must have, all of them.",
    ),
    Key::new("host", Shape::Template, "Runs it on that machine, through the system's ssh: an alias, or `user@host`."),
    Key::new("env", Shape::Dict { names: Syntax::Variable, of: &Shape::Scalar }, "Environment variables."),
    Key::new("cwd", Shape::Template, "The folder it runs in. Default: the copy of the runbook's folder."),
    Key::new(
        "secrets",
        Shape::OneOf(&[SECRET, Shape::List { of: &RECEIVED, min: 0 }]),
        "Secrets it receives, as environment variables or as files.",
    ),
    Key::new("timeout", SOME_TIME, "For each attempt. Default: 10m."),
    Key::new("grace", ANY_TIME, "Between TERM and KILL. Default: 10s."),
    Key::new("retry", Shape::Object(&RETRY), "When and how often it may start again. Default: never."),
    Key::new(
        "on-lost",
        words!("fail", "retry", "hold", "check"),
        "What becomes of it when its outcome cannot be known. Default: where it may retry, check if it has one, else retry; else fail.",
    ),
    Key::new(
        "lease",
        words!("strict", "detached"),
        "In a cluster: whether it is ended or goes on when its worker falls silent. Default: strict with retry, else detached.",
    ),
    Key::new("orphans", words!("kill", "leave"), "What happens to processes it left behind. Default: kill."),
    Key::new("allow-failure", Shape::Flag, "A failure of it does not stop the run."),
    Key::new(
        "outputs",
        Shape::Dict { names: Syntax::Name, of: &TYPES },
        "The outputs it must write, with their types.",
    ),
    Key::new(
        "check",
        Shape::Script,
        "A read-only shell script: exit code 0 says that the effect is in place, 1 that it is not.",
    ),
    Key::new("undo", UNDOING, "Takes its effect back: a shell script, run when the run is rolled back."),
    Key::new("irreversible", Shape::Flag, "Nothing can take it back: said in the plan, and at a rollback."),
    Key::new("annotations", Shape::Dict { names: Syntax::Free, of: &Shape::Any }, "Free text, for tools."),
    Key::new(
        "shell",
        Shape::Text(Syntax::Program),
        "The interpreter of `run` and `script`, and of what stands beside them. Default: bash.",
    ),
];

pub static STEP: Object = Object {
    what: "a step",
    keys: &[OWN, kinds::KEYS, COMMON],
    one_of: KINDS,
    beside: &[
        ("shell", &["run", "script"]),
        ("max-parallel", &["for-each"]),
        ("stop-after-failures", &["for-each"]),
        ("with", &["runbook"]),
    ],
};

/// What `defaults` may hold: everything that more than one step can share.
pub static DEFAULTS: Object = Object::new("defaults", &[COMMON]);

static SECRET_FILE: Object = Object::new(
    "a secret as a file",
    &[&[Key::new("file", SECRET, "The secret; the variable of its name is the path of the file.").required()]],
);

static RETRY: Object = Object::new(
    "retry",
    &[&[
        Key::new(
            "attempts",
            Shape::Count { min: 1, max: limits::ATTEMPTS_MAX as i64 },
            "Starts in all, the first included.",
        )
        .required(),
        Key::new("delay", ANY_TIME, "Before the second start. Default: 1s."),
        Key::new("backoff", Shape::Number { min: 1.0 }, "Each delay is this many times the one before. Default: 2."),
        Key::new("max-delay", ANY_TIME, "No delay is longer. Default: 5m."),
        Key::new("jitter", words!("full", "equal", "none"), "How much of the delay is random. Default: full."),
        Key::new(
            "on-exit",
            Shape::List { of: &Shape::Count { min: 1, max: 255 }, min: 1 },
            "Only on these exit codes. Default: on every failure.",
        ),
    ]],
);

static UNDO: Object = Object::new(
    "an undo",
    &[&[
        Key::new("run", Shape::Script, "A shell script.").required(),
        Key::new("timeout", SOME_TIME, "For each attempt. Default: 10m."),
        Key::new("retry", Shape::Object(&RETRY), "When and how often it may start again. Default: never."),
    ]],
);
