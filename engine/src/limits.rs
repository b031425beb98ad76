//! Every limit of the format and of a run, named, with its unit. Each has a test at its edge.

/// A runbook file, in bytes.
pub const RUNBOOK_BYTES_MAX: usize = 1024 * 1024;
/// Steps of one runbook, `finally` included.
pub const STEPS_MAX: usize = 20_000;
/// Nesting of a YAML document.
pub const YAML_DEPTH_MAX: usize = 32;
/// Aliases (`*name`) in a YAML document.
pub const YAML_ALIASES_MAX: usize = 200;
/// YAML nodes after aliases are expanded.
pub const YAML_NODES_MAX: usize = 500_000;
/// What `defaults:` gives to all steps together: its values, and the `${{ }}` in them, times the steps.
pub const DEFAULTS_MERGED_MAX: usize = 200_000;
/// The text of `defaults:` times the steps, in bytes.
pub const DEFAULTS_MERGED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Findings of one kind of check that are kept; a file with more is wrong as a whole.
pub const FINDINGS_KEPT_MAX: usize = 2_000;
/// Names of steps, parameters, outputs and schedules, in characters.
pub const NAME_CHARS_MAX: usize = 100;
/// The `name:` of a runbook, in characters.
pub const RUNBOOK_NAME_CHARS_MAX: usize = 200;
/// Starts of one step in one generation (`retry.attempts`).
pub const ATTEMPTS_MAX: u32 = 100;
/// Items of one `for-each`.
pub const ITEMS_MAX: usize = 10_000;
/// The name of a concurrency group, in characters.
pub const GROUP_CHARS_MAX: usize = 200;
/// Runs that wait for one concurrency group, where the configuration says nothing.
pub const QUEUED_MAX: u32 = 10_000;
/// The key of a run (`--key`), in characters.
pub const KEY_CHARS_MAX: usize = 200;
/// All parameters of a run together, as JSON, in bytes.
pub const PARAMS_BYTES_MAX: usize = 256 * 1024;
/// How deep lists and maps of one value may be nested. (What reads an event goes 128 deep.)
pub const VALUE_DEPTH_MAX: usize = 64;
/// One output value, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// All outputs of one step together, in bytes.
pub const OUTPUTS_BYTES_MAX: usize = 1024 * 1024;
/// One value bound into a step (the kernel allows 128 KiB for one environment string), in bytes.
pub const VALUE_BYTES_MAX: usize = 120 * 1024;
/// All values bound into one step together, in bytes.
pub const VALUES_BYTES_MAX: usize = 1024 * 1024;
/// What the filters of one expression may make of its values, and what it may read of them, in bytes.
pub const FILTERED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Output kept of one attempt, in bytes; beyond it the head and the tail are kept, half each.
pub const LOG_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// A step's `timeout` where the runbook says nothing, in milliseconds.
pub const STEP_TIMEOUT_MS_DEFAULT: u64 = 10 * 60 * 1000;
/// A step's `grace` (between TERM and KILL) where the runbook says nothing, in milliseconds.
pub const STEP_GRACE_MS_DEFAULT: u64 = 10 * 1000;
/// Steps of one run that execute at the same time, where `max-parallel` says nothing.
pub const PARALLEL_DEFAULT: u32 = 16;
/// An attempt that is proven never started goes back to ready; after this many times it counts as lost.
pub const VOIDED_MAX: u32 = 5;
/// A probe (`check`) whose answer was lost this many times in a row is not asked again.
pub const PROBES_LOST_MAX: u32 = 3;
/// How long one step can wait, for a time or for people, in milliseconds.
pub const WAIT_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;
/// What one `notify` step tells, in bytes; what is more is cut off.
pub const NOTICE_TEXT_BYTES_MAX: usize = 16 * 1024;
/// Files pinned with one definition (`files:` and `script:`).
pub const PINNED_FILES_MAX: usize = 10_000;
/// All files pinned with one definition together, in bytes.
pub const PINNED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How deep runbooks may call each other: the run of a `runbook` step is one deeper than the run it belongs to.
pub const CHILD_DEPTH_MAX: usize = 8;
/// Runbooks that one runbook calls, directly or through others.
pub const CALLED_MAX: usize = 1_000;
/// An answer whose body has to be looked into (`expect: {json, contains}`), in bytes.
pub const HTTP_BODY_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Redirects followed by one request.
pub const HTTP_REDIRECTS_MAX: u32 = 5;
/// One request of an `until`, in milliseconds.
pub const HTTP_TRY_MS_MAX: u64 = 30 * 1000;
/// Reaching a server, in milliseconds.
pub const HTTP_CONNECT_MS_MAX: u64 = 10 * 1000;
/// Statements of one `sql` step.
pub const SQL_STATEMENTS_MAX: usize = 100;
/// Rows of one `sql` step that are kept as an output.
pub const SQL_ROWS_MAX: usize = 1_000;
/// Reaching a database, in milliseconds.
pub const SQL_CONNECT_MS_MAX: u64 = 10 * 1000;
/// A rendered file, in bytes.
pub const RENDER_BYTES_MAX: usize = 1024 * 1024;
/// One secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;
/// All secrets of one step together, in bytes.
pub const SECRETS_BYTES_MAX: usize = 256 * 1024;
/// What a program may take to print a secret, in milliseconds.
pub const SECRET_EXEC_MS_MAX: u64 = 30 * 1000;
