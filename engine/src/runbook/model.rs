//! What a runbook says, once it has been found correct.
//!
//! Only behaviour that is built has a typed place here. Keys that are part of the format but whose behaviour is not
//! built yet are checked by the parser and listed in [`Runbook::unbuilt`]; planning refuses them by name, so that
//! nothing an author wrote is ever silently ignored.

use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use super::drill::Drill;
use super::notify::{Notify, Severity};
use super::secrets::{Received, Secret};
use crate::bind::{
    Condition, Document, Expression, JsonTemplate, Reference, ShellScript, SqlTemplate, Template, UrlTemplate,
};
use crate::schedule::calendar::Windows;
use crate::schedule::entry::Schedule;
use crate::schedule::window::Window;
use crate::units::format_duration;

/// Bytes of the runbook file.
pub type Span = Range<usize>;

/// A value and the place in the file it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

/// A parsed and validated runbook. `steps` holds the main steps first, in file order, then those of `finally`.
#[derive(Debug)]
pub struct Runbook {
    /// `name:`; where it is missing the caller derives one from the file's path.
    pub name: Option<String>,
    pub description: Option<String>,
    /// As written.
    pub severity: Option<Severity>,
    /// In file order.
    pub params: Vec<Param>,
    pub concurrency: Option<Concurrency>,
    /// The whole run, from its first executing step.
    pub timeout: Option<Duration>,
    pub max_parallel: Option<NonZeroU32>,
    pub on_failure: OnFailure,
    /// What every run is measured against.
    pub objectives: Objectives,
    /// What a drill of it gets in place of what is real.
    pub drill: Option<Drill>,
    /// It is the drill of the runbook in the file.
    pub is_drill: bool,
    /// Glob patterns relative to the runbook's folder, pinned with the definition.
    pub files: Vec<Spanned<String>>,
    /// When it starts by itself.
    pub schedules: Vec<Schedule>,
    /// When steps may start.
    pub windows: Windows,
    /// In file order.
    pub secrets: Vec<Secret>,
    pub steps: Vec<Step>,
    /// How many of `steps` are main steps; the rest belong to `finally`.
    pub main_len: usize,
    pub unbuilt: Vec<Unbuilt>,
    /// What a run of it hands back when it succeeds: to the step that called it, and to people.
    pub outputs: Vec<Output>,
    /// Where outputs of `runbook` steps are read; see [`super::calls`].
    pub call_reads: Vec<CallRead>,
    /// Parameters that nothing in the file reads. A template of a `render` step may; see [`super::templates`].
    pub unread: Vec<String>,
}

/// Runs that must not overlap.
#[derive(Debug)]
pub struct Concurrency {
    /// Reads parameters only, none of them sensitive.
    pub group: Template,
    pub limit: NonZeroU32,
    pub when_busy: WhenBusy,
}

/// What becomes of a run whose group has no room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenBusy {
    /// It waits for its turn.
    #[default]
    Queue,
    /// It ends as cancelled, without having done anything.
    Skip,
    /// It ends as failed, without having done anything.
    Fail,
    /// Runs that came before it and hold a permit are cancelled; it waits until they have ended.
    CancelRunning,
}

/// A key whose behaviour is not built yet, for example `steps[2].approve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbuilt {
    pub path: String,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    pub name: String,
    pub kind: ValueType,
    pub required: bool,
    /// Already of the declared type.
    pub default: Option<serde_json::Value>,
    /// Already of the declared type.
    pub choices: Option<Vec<serde_json::Value>>,
    /// The regular expression as written; it has to match the whole value. It compiles (checked).
    pub pattern: Option<String>,
    /// Bounds of int, float, duration (milliseconds), size (bytes); of the length of strings and lists.
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub description: Option<String>,
    /// The value is never shown.
    pub sensitive: bool,
    pub span: Span,
}

/// Types of parameters and declared outputs.
///
/// As JSON: string, path -> string; int, size (bytes), duration (milliseconds) -> integer; float -> number; bool ->
/// bool; list -> array; map -> object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    String,
    Int,
    Float,
    Bool,
    List,
    Map,
    Duration,
    Size,
    Path,
}

#[derive(Debug)]
pub struct Step {
    /// Unique in the file; `step_3` / `finally_1` (1-based) where the author gave none.
    pub id: String,
    pub name: Option<String>,
    /// Indexes into [`Runbook::steps`]; never leaves its own section (main or finally).
    pub needs: Vec<usize>,
    pub condition: Option<Condition>,
    pub for_each: Option<ForEach>,
    pub action: Action,
    /// Sorted.
    pub runs_on: Vec<String>,
    /// Where it runs through ssh, in all of its parts. Only of shell scripts and commands.
    pub host: Option<Template>,
    pub env: Vec<(String, Template)>,
    pub cwd: Option<Template>,
    pub timeout: Duration,
    pub grace: Duration,
    pub retry: Option<Retry>,
    pub on_lost: OnLost,
    /// As written.
    pub lease: Option<Lease>,
    pub orphans: Orphans,
    pub allow_failure: bool,
    pub outputs: Vec<(String, ValueType)>,
    /// Of [`Runbook::secrets`], by their names.
    pub secrets: Vec<Received>,
    /// Nothing can take it back.
    pub irreversible: bool,
    /// Says whether its effect is in place, and changes nothing.
    pub check: Option<Box<Check>>,
    /// What takes its effect back. Never of a step of `finally`.
    pub undo: Option<Box<Undo>>,
    pub span: Span,
}

/// A script that says whether a step's effect is in place: 0 yes, 1 no, anything else fails the step.
#[derive(Debug)]
pub struct Check {
    pub shell: Shell,
    pub script: Script,
}

/// A script that takes back what a step did.
#[derive(Debug)]
pub struct Undo {
    pub shell: Shell,
    pub script: Script,
    pub timeout: Duration,
    pub retry: Option<Retry>,
}

/// How well a run has to do, see [`crate::run::objectives`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Objectives {
    /// From the trigger to the success of the run.
    pub rto: Option<Duration>,
    /// How much of the newest data may be lost.
    pub rpo: Option<Duration>,
}

/// What a failed (or timed-out) run leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OnFailure {
    pub rollback: RollbackPolicy,
    pub running: Running,
}

/// Whether what was done is taken back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RollbackPolicy {
    #[default]
    Auto,
    /// A person says so.
    Ask,
    Never,
}

/// What becomes of the steps that run while another one fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Running {
    #[default]
    Finish,
    Kill,
}

#[derive(Debug)]
pub struct ForEach {
    pub items: Items,
    pub max_parallel: Option<NonZeroU32>,
    /// After this many failed items no further item starts. Default 1, as for a run: the first failure stops.
    pub stop_after_failures: NonZeroU32,
}

#[derive(Debug)]
pub enum Items {
    /// `for-each: ${{ params.nodes }}`: an expression whose value is a list.
    Expression(Expression),
    /// `for-each: [a, b, "${{ params.c }}"]`.
    List(Vec<Template>),
}

#[derive(Debug)]
pub enum Action {
    Shell {
        shell: Shell,
        script: Script,
    },
    /// One argv element each, the program first.
    Cmd(Vec<Template>),
    Http(Box<Http>),
    Sql(Box<Sql>),
    Render(Box<Render>),
    Runbook(Box<Call>),
    /// Takes no worker.
    Wait(Wait),
    /// Takes no worker.
    Approve(Approve),
    /// Takes no worker.
    Notify(Notify),
    /// A kind that is not built yet, by its key. It is also in [`Runbook::unbuilt`], so no such step is ever planned.
    Unbuilt(&'static str),
}

/// Who has to agree before the run goes on.
#[derive(Debug)]
pub struct Approve {
    /// Login names and groups. Empty: everybody who can reach the ledger.
    pub by: Vec<String>,
    /// So many people, each counted once.
    pub count: NonZeroU32,
    pub not_requester: bool,
    /// `None`: as long as anything can wait.
    pub expires: Option<Duration>,
}

/// What a `wait` step waits for.
#[derive(Debug)]
pub enum Wait {
    For(Duration),
    /// Text that names a point in time ([`crate::schedule::moment`]).
    Until(Template),
    Window(Window),
}

/// A request, and what its answer has to be.
#[derive(Debug)]
pub struct Http {
    pub url: UrlTemplate,
    pub method: String,
    /// Names in lower case, each once.
    pub headers: Vec<(String, Template)>,
    pub body: Option<Template>,
    /// Never beside `body`.
    pub json: Option<JsonTemplate>,
    pub expect: Expect,
    pub poll: Option<Poll>,
}

#[derive(Debug)]
pub struct Expect {
    /// Empty: any 2xx.
    pub status: Vec<u16>,
    pub json: Option<JsonTemplate>,
    pub contains: Option<Template>,
}

/// Asks again `every` so often until the answer is as expected, for at most `until`.
#[derive(Debug, Clone, Copy)]
pub struct Poll {
    pub until: Duration,
    pub every: Duration,
}

/// Statements on a database, in one transaction.
#[derive(Debug)]
pub struct Sql {
    /// The name by which the machine that runs the step knows it.
    pub connection: String,
    pub query: SqlTemplate,
    pub expect: SqlExpect,
    /// Of each statement.
    pub timeout: Option<Duration>,
    pub read_only: bool,
}

/// What the last statement has to bring.
#[derive(Debug)]
pub struct SqlExpect {
    pub rows: Option<u64>,
    /// The first column of the first row.
    pub value: Option<JsonTemplate>,
}

/// A file that is made from a template.
#[derive(Debug)]
pub struct Render {
    /// Relative to the runbook's folder; pinned with the definition.
    pub template: Spanned<String>,
    pub to: Template,
    /// `None`: as the old file has it.
    pub mode: Option<u32>,
    /// `user` or `user:group`. `None`: as the old file has it.
    pub owner: Option<String>,
    /// Whether the old file is kept beside the new one.
    pub backup: bool,
}

/// Another runbook, as a run of its own.
#[derive(Debug)]
pub struct Call {
    /// A path relative to the folder of this file, or a name; pinned with the definition.
    pub runbook: Spanned<String>,
    pub with: Vec<Argument>,
    /// Of the whole child run; none by default, and none from `defaults`.
    pub timeout: Option<Duration>,
}

/// A value for a parameter of a called runbook.
#[derive(Debug)]
pub struct Argument {
    pub name: Spanned<String>,
    pub value: JsonTemplate,
    /// Of the value.
    pub span: Span,
}

/// A value that a runbook hands back.
#[derive(Debug)]
pub struct Output {
    pub name: Spanned<String>,
    pub value: JsonTemplate,
}

/// `steps.<step>.outputs.<key>` of a `runbook` step is read here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRead {
    pub step: usize,
    pub key: String,
    pub span: Span,
}

#[derive(Debug)]
pub enum Script {
    /// `run:` for bash and sh, rewritten so that values stand outside the text.
    Bound(ShellScript),
    /// `run:` for any other interpreter: no `${{ }}` inside.
    Verbatim(String),
    /// `script: path`, relative to the runbook's folder; pinned with the definition.
    File(Spanned<String>),
}

/// The interpreter of `run:` and `script:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shell {
    /// `bash -euo pipefail FILE`
    Bash,
    /// `sh -eu FILE`
    Sh,
    /// `NAME FILE`
    Other(String),
}

/// Delay before the n-th retry (n from 1): `delay * backoff^(n-1)`, at most `max_delay`, then jitter.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Starts in all, the first included; at least 2 to mean anything.
    pub attempts: NonZeroU32,
    pub delay: Duration,
    pub backoff: f64,
    pub max_delay: Duration,
    pub jitter: Jitter,
    /// Retry only on these exit codes; empty: on every failure.
    pub on_exit: Vec<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jitter {
    /// Anything from zero to the delay.
    Full,
    /// Half the delay and anything up to the other half.
    Equal,
    None,
}

/// Whether a step goes on when its worker is not heard of any more, in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// It is ended in time, so that it can start elsewhere.
    Strict,
    Detached,
}

/// What becomes of a step when it cannot be known whether its attempt ran to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLost {
    Fail,
    Retry,
    Hold,
    /// Its probe says whether it is done or runs again.
    Check,
}

/// What happens to processes a finished step left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Orphans {
    Kill,
    Leave,
}

impl WhenBusy {
    pub fn as_str(self) -> &'static str {
        match self {
            WhenBusy::Queue => "queue",
            WhenBusy::Skip => "skip",
            WhenBusy::Fail => "fail",
            WhenBusy::CancelRunning => "cancel-running",
        }
    }

    pub fn named(word: &str) -> Option<WhenBusy> {
        [WhenBusy::Queue, WhenBusy::Skip, WhenBusy::Fail, WhenBusy::CancelRunning]
            .into_iter()
            .find(|one| one.as_str() == word)
    }

    /// Whether a run may come to wait.
    pub fn waits(self) -> bool {
        matches!(self, WhenBusy::Queue | WhenBusy::CancelRunning)
    }
}

impl Step {
    /// The outputs of a step that runward carries out itself; `None`: a program writes what it likes.
    pub fn own_outputs(&self) -> Option<&'static [&'static str]> {
        match self.action {
            Action::Http(_) => Some(&["status", "headers", "body", "json"]),
            Action::Sql(_) => Some(&["rows", "row_count", "value", "truncated"]),
            Action::Render(_) => Some(&["changed"]),
            Action::Wait(_) | Action::Notify(_) => Some(&[]),
            Action::Approve(_) => Some(&["who", "when", "comment"]),
            Action::Shell { .. } | Action::Cmd(_) | Action::Runbook(_) | Action::Unbuilt(_) => None,
        }
    }
}

impl Approve {
    /// `dba or alice, not who asked for the run, 2 of them`.
    pub fn needs(&self) -> String {
        format!("{}, {} of them", self.people(), self.count)
    }

    /// `dba or alice, not who asked for the run, 1 of 2`.
    pub fn who(&self, so_far: usize) -> String {
        format!("{}, {so_far} of {}", self.people(), self.count)
    }

    fn people(&self) -> String {
        let who = if self.by.is_empty() { "anybody".to_owned() } else { self.by.join(" or ") };
        let not = if self.not_requester { ", not who asked for the run" } else { "" };
        format!("{who}{not}")
    }
}

impl Wait {
    /// `for 10m`, `until 02:30 Europe/Berlin`, `for the window SAT 01:00-05:00`.
    pub fn shown(&self) -> String {
        match self {
            Wait::For(duration) => format!("for {}", format_duration(*duration)),
            Wait::Until(template) => format!("until {}", template.source()),
            Wait::Window(window) => format!("for the window {}", window.text),
        }
    }
}

impl Action {
    /// Whether a step of this kind begins by itself and is never claimed.
    pub fn takes_no_worker(&self) -> bool {
        matches!(self, Action::Wait(_) | Action::Approve(_) | Action::Notify(_))
    }
}

impl Runbook {
    pub fn step_index(&self, id: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.id == id)
    }

    /// Whether what a text of `step` reads must not be shown: a sensitive parameter, or what holds one.
    pub fn is_secret(&self, step: &Step, reference: &Reference) -> bool {
        let any = |expression: &Expression| self.reads_secret(step, expression);
        match reference {
            Reference::Param(name) => self.params.iter().any(|param| param.sensitive && param.name == *name),
            Reference::Env(name) => {
                let variable = step.env.iter().find(|(known, _)| known == name);
                variable.is_some_and(|(_, template)| template.expressions().any(|(expression, _)| any(expression)))
            }
            Reference::Item => match step.for_each.as_ref().map(|each| &each.items) {
                Some(Items::Expression(expression)) => any(expression),
                Some(Items::List(items)) => {
                    items.iter().flat_map(Template::expressions).any(|(expression, _)| any(expression))
                }
                None => false,
            },
            Reference::Output { .. } | Reference::Status { .. } | Reference::Run(_) => false,
            Reference::Index | Reference::Outcome(_) => false,
        }
    }

    /// Whether the value of this expression in `step` must not be shown.
    pub fn reads_secret(&self, step: &Step, expression: &Expression) -> bool {
        expression.references.iter().any(|(reference, _)| self.is_secret(step, reference))
    }

    /// Whether a file made from this template must not be shown.
    pub fn is_secret_file(&self, step: &Step, document: &Document) -> bool {
        document.references.iter().any(|(reference, _)| self.is_secret(step, reference))
            || document.reads_all_params && self.params.iter().any(|param| param.sensitive)
    }

    /// Whether a time in it means another moment in another time zone.
    pub fn reads_system_zone(&self) -> bool {
        self.windows.reads_system_zone()
            || self
                .steps
                .iter()
                .any(|step| matches!(&step.action, Action::Wait(Wait::Window(window)) if window.zone.is_none()))
    }

    /// Whether the step at `index` belongs to `finally`.
    pub fn is_finally(&self, index: usize) -> bool {
        index >= self.main_len
    }
}
