//! The file format (docs/runbook-format.md), said once.
//!
//! A key that is not in these tables does not exist; a key marked `unbuilt()` is checked like any other and refused when
//! a run is planned.

/// What other tools say, and the keys here that mean it.
pub const ELSEWHERE: &[(&[&str], &[&str])] = &[
    (&["command", "commands", "exec", "bash", "sh"], &["run", "cmd"]),
    (&["when", "condition", "only-if", "unless"], &["if"]),
    (&["depends", "depends_on", "depends-on", "dependsOn", "after", "requires"], &["needs"]),
    (&["loop", "with_items", "items", "foreach", "matrix"], &["for-each"]),
    (&["retries", "attempts"], &["retry"]),
    (&["ignore_errors", "continue-on-error", "continue_on_error"], &["allow-failure"]),
    (&["working-directory", "working_dir", "workdir", "chdir", "dir"], &["cwd"]),
    (&["environment", "vars"], &["env"]),
    (&["template"], &["render"]),
    (&["uri", "url", "get", "request"], &["http"]),
    (&["rollback", "compensate", "revert"], &["undo"]),
    (&["parameters", "inputs", "arguments", "variables"], &["params"]),
    (&["tasks", "jobs", "stages"], &["steps"]),
    (&["always", "cleanup", "ensure"], &["finally"]),
    (&["schedule", "cron", "triggers"], &["on"]),
];

pub mod kinds;
pub mod step;
pub mod top;

pub use step::{DEFAULTS, KINDS, STEP};
pub use top::RUNBOOK;
