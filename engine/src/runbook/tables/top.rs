//! The top level of the file: parameters, triggers, windows, steps.

use super::step::{DEFAULTS, STEP, TYPES};
use crate::runbook::shape::{Key, Object, Shape};
use crate::runbook::syntax::Syntax;
use crate::words;

const SOME_TIME: Shape = Shape::Duration { zero: false };
const ANY_TIME: Shape = Shape::Duration { zero: true };
const SOME: Shape = Shape::Count { min: 1, max: u32::MAX as i64 };
const FREE: Shape = Shape::Text(Syntax::Free);
const VALUES: Shape = Shape::Dict { names: Syntax::Id, of: &Shape::Any };
const STEPS: Shape = Shape::List { of: &Shape::Object(&STEP), min: 1 };
const BOUND: Shape = Shape::OneOf(&[Shape::Number { min: f64::NEG_INFINITY }, FREE]);

pub static RUNBOOK: Object = Object::new(
    "a runbook",
    &[&[
        Key::new(
            "name",
            Shape::Text(Syntax::Title),
            "Default: the file's path under the runbooks folder, without .yaml.",
        ),
        Key::new("description", Shape::Prose, "For people."),
        Key::new(
            "severity",
            words!("P0", "P1", "P2", "P3"),
            "How bad a failure is; routes notifications. Default: P2.",
        ),
        Key::new("params", Shape::Dict { names: Syntax::Id, of: &Shape::Object(&PARAM) }, "What a run can be given."),
        Key::new("on", Shape::Object(&ON), "What starts it, besides people."),
        Key::new("windows", Shape::Object(&WINDOWS), "When steps may start."),
        Key::new("concurrency", Shape::Object(&CONCURRENCY), "Runs that must not overlap."),
        Key::new("defaults", Shape::Object(&DEFAULTS), "Keys of every step that has no value of its own."),
        Key::new("timeout", SOME_TIME, "The whole run, from its first executing step, waits included."),
        Key::new("max-parallel", SOME, "How many steps execute at the same time."),
        Key::new(
            "secrets",
            Shape::Dict { names: Syntax::Variable, of: &Shape::Object(&SECRET) },
            "Where secrets come from, on the machine that runs the step.",
        ),
        Key::new("objectives", Shape::Object(&OBJECTIVES), "What every run is measured against."),
        Key::new("drill", Shape::Object(&DRILL), "What a drill gets in place of what is real."),
        Key::new(
            "files",
            Shape::List { of: &Shape::Text(Syntax::Inside), min: 0 },
            "Globs: pinned with the runbook and put where the steps run.",
        ),
        Key::new(
            "outputs",
            Shape::Dict { names: Syntax::Name, of: &Shape::Any },
            "What a run hands back when it succeeds, to the `runbook` step that called it.",
        ),
        Key::new("annotations", Shape::Dict { names: Syntax::Free, of: &Shape::Any }, "Free text, for tools."),
        Key::new("steps", STEPS, "The graph. A step without `needs` follows the step above it.").required(),
        Key::new("on-failure", Shape::Object(&ON_FAILURE), "What a failure leads to."),
        Key::new("finally", STEPS, "Steps that always run, last."),
    ]],
);

static PARAM: Object = Object::new(
    "a parameter",
    &[&[
        Key::new("type", TYPES, "Default: string."),
        Key::new("default", Shape::Any, "A value of the type."),
        Key::new("required", Shape::Flag, "A run cannot start without it."),
        Key::new("enum", Shape::List { of: &Shape::Any, min: 1 }, "The values it can have."),
        Key::new("pattern", Shape::Text(Syntax::Regex), "A regular expression for the whole value."),
        Key::new("min", BOUND, "The least value; for text and lists the least length."),
        Key::new("max", BOUND, "The greatest value; for text and lists the greatest length."),
        Key::new("description", Shape::Prose, "For people."),
        Key::new("sensitive", Shape::Flag, "Never shown."),
    ]],
);

static ON: Object = Object::new(
    "on",
    &[&[
        Key::new("schedule", Shape::List { of: &Shape::Object(&SCHEDULE), min: 1 }, "Starts it at due times."),
        Key::new("webhook", Shape::Object(&WEBHOOK), "Starts it from CI.").unbuilt(),
    ]],
);

static SCHEDULE: Object = Object::new(
    "a schedule",
    &[&[
        Key::new("id", Shape::Text(Syntax::Id), "Default: the position."),
        Key::new("cron", Shape::Text(Syntax::Cron), "Five fields with the meaning of Vixie cron.").required(),
        Key::new("timezone", Shape::Text(Syntax::Zone), "An IANA zone. Default: the system's."),
        Key::new("dst", Shape::Object(&DST), "The hour that does not exist and the hour that exists twice."),
        Key::new("missed", words!("none", "latest", "all"), "Which missed ticks run. Default: latest."),
        Key::new("within", SOME_TIME, "A missed tick older than this is skipped. Default: 24h."),
        Key::new(
            "overlap",
            words!("skip", "queue", "cancel-running", "allow"),
            "While a run of it lives. Default: skip.",
        ),
        Key::new("jitter", ANY_TIME, "Starts up to this much later."),
        Key::new("with", VALUES, "Parameters."),
        Key::new("drill", Shape::Flag, "Starts the drill of the runbook, see `drill`."),
    ]],
);

static DST: Object = Object::new(
    "dst",
    &[&[
        Key::new("gap", words!("shift", "skip"), "Default: shift."),
        Key::new("repeat", words!("first", "last", "both"), "Default: first."),
    ]],
);

static WEBHOOK: Object = Object::new(
    "a webhook",
    &[&[
        Key::new("secret", Shape::Text(Syntax::Name), "Signs the requests.").required(),
        Key::new("params", VALUES, "Parameters: values, or places in the body."),
    ]],
);

static WINDOWS: Object = Object::new(
    "windows",
    &[&[
        Key::new(
            "allow",
            Shape::List { of: &Shape::Text(Syntax::Window), min: 1 },
            "Steps start only inside one of these.",
        ),
        Key::new(
            "deny",
            Shape::List { of: &Shape::OneOf(&[Shape::Text(Syntax::Window), Shape::Object(&FREEZE)]), min: 1 },
            "No step starts inside one of these.",
        ),
    ]],
);

static FREEZE: Object = Object::new(
    "a freeze",
    &[&[
        Key::new("from", Shape::Text(Syntax::Date), "The first day.").required(),
        Key::new("to", Shape::Text(Syntax::Date), "The last day.").required(),
        Key::new("reason", Shape::Prose, "For people."),
    ]],
);

static CONCURRENCY: Object = Object::new(
    "concurrency",
    &[&[
        Key::new("group", Shape::Template, "Runs of one group share its limit.").required(),
        Key::new("limit", SOME, "How many runs of the group execute. Default: 1."),
        Key::new("when-busy", words!("queue", "skip", "fail", "cancel-running"), "Default: queue."),
    ]],
);

static SECRET: Object = Object {
    one_of: &["env", "file", "exec", "sealed"],
    ..Object::new(
        "a secret",
        &[&[
            Key::new("env", Shape::Text(Syntax::Name), "An environment variable of runward."),
            Key::new("file", FREE, "A file, by its absolute path."),
            Key::new(
                "exec",
                Shape::List { of: &FREE, min: 1 },
                "A program and its arguments; what it prints is the secret.",
            ),
            Key::new("sealed", Shape::Text(Syntax::Name), "A name that `runward secret set` was given."),
        ]],
    )
};

static OBJECTIVES: Object = Object::new(
    "objectives",
    &[&[
        Key::new("rto", SOME_TIME, "Recovery time objective: from the trigger to the success of the run."),
        Key::new(
            "rpo",
            SOME_TIME,
            "Recovery point objective: how much may be lost; how much was, the run hands back as its output `rpo`.",
        ),
    ]],
);

static DRILL: Object = Object::new(
    "a drill",
    &[&[
        Key::new("with", VALUES, "Parameters that nobody else can give in a drill."),
        Key::new(
            "free",
            Shape::List { of: &Shape::Text(Syntax::Id), min: 1 },
            "Parameters that whoever starts a drill may give.",
        ),
        Key::new(
            "secrets",
            Shape::Dict { names: Syntax::Variable, of: &Shape::Object(&SECRET) },
            "Where a drill gets each secret of the runbook from.",
        ),
        Key::new(
            "connections",
            Shape::Dict { names: Syntax::Id, of: &Shape::Text(Syntax::Id) },
            "Which connection a drill uses in place of each one.",
        ),
    ]],
);

static ON_FAILURE: Object = Object::new(
    "on-failure",
    &[&[
        Key::new("rollback", words!("auto", "ask", "never"), "Default: auto where any step has an undo."),
        Key::new("running", words!("finish", "kill"), "What becomes of running steps. Default: finish."),
    ]],
);
