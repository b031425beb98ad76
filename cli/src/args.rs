//! The command line. Here are the commands and what is given to those that are about runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

pub use command_id::CommandIdArgs;
pub use files::*;
pub use ledger::*;
pub use notify::*;
pub use operator::*;
pub use schedules::*;
pub use secret::*;
pub use worker::*;

mod command_id;
mod files;
mod ledger;
mod notify;
mod operator;
mod schedules;
mod secret;
mod worker;

/// Runs operations runbooks: durable, at most once, on the record
#[derive(Debug, Parser)]
#[command(name = "runward", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Args {
    /// Folder that holds the ledger and the runs [default: $XDG_STATE_HOME/runward] [env: RUNWARD_STATE]
    #[arg(long, global = true, value_name = "DIR", help_heading = EVERYWHERE)]
    pub state: Option<PathBuf>,

    /// Configuration file [default: runward.toml here or above, else /etc/runward/runward.toml] [env: RUNWARD_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = EVERYWHERE)]
    pub config: Option<PathBuf>,

    /// How much runward says about its own work: off, error, warn, info, debug [default: warn] [env: RUNWARD_LOG]
    #[arg(long, global = true, value_name = "LEVEL", help_heading = EVERYWHERE)]
    pub log_level: Option<String>,

    #[command(subcommand)]
    pub command: Command,
}

const EVERYWHERE: &str = "Options of every command";

const EXIT_CODES: &str = "To begin: runward init, then runward run hello -p name=world.\n\
     Something is wrong: runward runs --unfinished, runward show RUN, runward logs RUN, runward doctor.\n\n\
     Exit codes: 0 succeeded, 1 failed or timed out, 2 usage or validation, 4 cancelled, \
     6 failed and rolled back, 7 rollback incomplete, \
     8 outcome unknown (lost), or waiting for somebody (held), 9 ledger unreachable.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first runbook to start from
    ///
    /// The same as `runward new hello`, into any folder.
    Init(InitArgs),
    /// Write a runbook from a template: a verified backup, a deploy, a migration
    New(NewArgs),
    /// Turn what another program runs into runbooks
    Import {
        #[command(subcommand)]
        from: ImportFrom,
    },
    /// Check runbooks and report every problem at once
    Validate(ValidateArgs),
    /// Lay runbooks out well: same values, comments, quotes and order
    Fmt(FmtArgs),
    /// Show what a run would do, without doing it; save it, to be run exactly so
    Plan(PlanArgs),
    /// Draw the steps of a runbook, or of a run with their states
    Graph(GraphArgs),
    /// Run a runbook, and stay until it is at its end
    Run(RunArgs),
    /// List the runbooks of a folder
    List(ListArgs),
    /// List runs, newest first
    Runs(RunsArgs),
    /// Show one run: its steps, attempts and events
    Show(ShowArgs),
    /// Write one run down as evidence: what was planned, who agreed, what ran with which result
    ///
    /// For a ticket, or for somebody who was not there. Made of the verified record alone, so the same run gives the same bytes
    /// whoever asks; times are in UTC. Of a record that was changed there is none.
    Report(ReportArgs),
    /// Print what the steps of a run printed
    Logs(LogsArgs),
    /// Watch runs on a full screen, while they happen; changes nothing, wherever they are driven
    ///
    /// With --format, or a run and no terminal: the lines that `runward run` prints, to the end of the run, and its exit code.
    /// 8 if it waits for people, or nobody drives it; --stay waits for both.
    Watch(WatchArgs),
    /// List schedules: when each is due next, and what became of its last tick
    ///
    /// Those that servers fire, as the ledger knows them, and those in the runbooks of this machine that no server has taken up.
    Schedules(SchedulesArgs),
    /// List who is there in a cluster, what each can do, and what it does now
    Workers(WorkersArgs),
    /// Stop a run: running steps are ended, `finally` still runs
    Cancel(CancelArgs),
    /// Agree to the plan that a run waits with
    ///
    /// What is agreed to is the plan with this hash, in this generation of this run, and nothing else. One person has one
    /// voice. A run that nobody drives goes on with `runward resume`, or with --resume at once.
    Approve(ApproveArgs),
    /// Refuse the plan that a run waits with: the step fails, and the run with it
    Reject(RejectArgs),
    /// Let nothing new start in a run; what runs goes on to its end
    Pause(PauseArgs),
    /// Let a run go on outside of its windows, until its end
    OverrideWindow(OverrideArgs),
    /// Let a paused run go on
    Unpause(UnpauseArgs),
    /// Go on without a step that did not succeed
    ///
    /// It is left out when its turn comes, and those that need it go on. In a run that is at its end this is recorded, and
    /// `resume` goes on without it.
    Skip(SkipArgs),
    /// Start one step once more, that failed, is held or waits for its retry
    ///
    /// Exactly one start, whatever its `retry` says. In a run that is at its end the next generation begins, with this
    /// step and what follows it; what else did not succeed is left to `resume`.
    Retry(RetryArgs),
    /// Pick a run up where it is: adopt what still runs, or try again what failed
    ///
    /// A run whose driver died is carried on. A run that failed, was cancelled or timed out goes on in its next
    /// generation, from the definition it started with: succeeded steps are kept, all others run again. With --from that
    /// step and all after it run again as well, even if they succeeded.
    Resume(ResumeArgs),
    /// Take back what a run did that failed, was cancelled or timed out
    ///
    /// The `undo` of every step that is done, the last one first, then `finally`. A run that waits for this
    /// (`on-failure: {rollback: ask}`) goes on; one that is at its end begins its next generation, which does nothing else.
    Rollback(RollbackArgs),
    /// Say what became of a held step, or of an undo that failed
    Resolve(ResolveArgs),
    /// Show what is configured, and where each value comes from
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Look for everything that can be wrong with this machine and configuration; each with the fix
    ///
    /// Nothing is changed. Exit code 1 if something would keep runs from working, 0 with warnings only.
    Doctor {
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Verify the record
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Look after the ledger: what is in it, whether it is whole, removing old runs
    Db {
        #[command(subcommand)]
        command: DbCommand,
    },
    /// Keep secrets of this machine, sealed, for the steps that name them
    Secret {
        #[command(subcommand)]
        command: SecretCommand,
    },
    /// What people were told of runs, what is on its way to them, and whether a channel works
    Notify {
        #[command(subcommand)]
        command: NotifyCommand,
    },
    /// Print the JSON Schema of runbooks
    Schema,
    /// Print what a shell has to load to complete names, runs, steps and parameters
    ///
    /// bash: `source <(runward completions bash)` in ~/.bashrc; zsh: the same in ~/.zshrc; fish: `runward completions
    /// fish | source` in ~/.config/fish/config.fish.
    Completions(CompletionsArgs),
    /// Print the manual page of a command, or write all of them
    Man(ManArgs),
    /// Carry out steps of a cluster on this host
    ///
    /// It takes every step whose `runs-on` names nothing but its labels, of all runs on the ledger in Postgres, and starts it
    /// here. It ends when it is asked to (TERM, Ctrl-C): it takes nothing new, and what runs goes on without it; the next
    /// worker with the same state folder takes that over, if it comes within 20 s for steps that may be tried again.
    Worker(WorkerArgs),
    /// Fire the schedules of the runbooks, and see to their runs
    ///
    /// It reads every runbook in the folders of runbooks, and again when one is edited. On one machine it also drives the runs
    /// that come of it: it is what a crontab is elsewhere, once for each state folder. In a cluster workers do that, and any
    /// number of servers can run at once: each due time is decided once. It ends when it is asked to (TERM, Ctrl-C), within
    /// seconds; what runs goes on without it, and the next server takes it over.
    Server(ServerArgs),
    /// Drive a run that was detached
    #[command(name = "__drive", hide = true)]
    Drive { run: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RunFormat {
    /// For people
    Text,
    /// One event a line, for programs
    Json,
    /// For GitHub Actions: groups, annotations, a step summary
    Github,
    /// A JUnit report at the end; what happens meanwhile goes to standard error
    Junit,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct ShowingArgs {
    /// Show only what goes wrong, and how it ends
    #[arg(short, long)]
    pub quiet: bool,
    #[arg(long, value_enum, default_value = "text")]
    pub format: RunFormat,
    /// Write a JUnit report, too, when it is over
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Stay while the run waits for people, without a terminal as well
    #[arg(long)]
    pub stay: bool,
}

#[derive(Debug, ClapArgs)]
pub struct ParamArgs {
    /// A parameter of the runbook; may be repeated
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub params: Vec<(String, String)>,
    /// Parameters from a YAML or JSON file, `-` for standard input; -p wins, RUNWARD_PARAM_NAME in the environment loses
    #[arg(long, value_name = "FILE")]
    pub params_file: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct PlanArgs {
    /// A runbook file, or a name in the runbooks folder
    pub runbook: String,
    #[command(flatten)]
    pub params: ParamArgs,
    /// Plan the drill of the runbook: with its scratch values, secrets and connections, and never the real ones
    #[arg(long)]
    pub drill: bool,
    /// Save the plan to this file: `runward run --plan FILE` runs exactly that
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// How long the saved plan may be run
    #[arg(long, value_name = "DURATION", default_value = "24h", requires = "out", value_parser = runward_engine::units::parse_duration)]
    pub valid_for: Duration,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PriorityName {
    High,
    Normal,
    Low,
}

#[derive(Debug, ClapArgs)]
pub struct RunArgs {
    /// A runbook file, or a name in the runbooks folder; with --plan, by default where it was when it was planned
    #[arg(required_unless_present = "plan")]
    pub runbook: Option<String>,
    #[command(flatten)]
    pub params: ParamArgs,
    /// Run exactly what was planned, a drill as a drill, or say what has moved on since; only sensitive parameters are given again
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Run the drill of the runbook: with its scratch values, secrets and connections, and never the real ones
    #[arg(long)]
    pub drill: bool,
    /// Leave it running in the background; prints the run's id
    #[arg(short, long)]
    pub detach: bool,
    /// Show what its `render` steps would change; nothing is started, nothing is recorded
    #[arg(long, conflicts_with_all = ["detach", "key", "quiet", "report"])]
    pub check: bool,
    #[command(flatten)]
    pub showing: ShowingArgs,
    /// Who goes first of those that wait for the same concurrency group
    #[arg(long, value_enum, default_value = "normal")]
    pub priority: PriorityName,
    /// Do not wait for a window: with exit code 5 where it is closed now, and nothing is recorded
    #[arg(long, conflicts_with = "override_window")]
    pub fail_if_closed: bool,
    /// Start outside of its windows, too
    #[arg(long, requires = "reason")]
    pub override_window: bool,
    /// Why the windows are overridden, for the record
    #[arg(long, requires = "override_window", value_parser = operator::reason)]
    pub reason: Option<String>,
    /// A repeated call with the same key is the same run: it is followed to its end, never started again
    #[arg(long, value_parser = idempotency_key)]
    pub key: Option<String>,
    /// Which try of the same job this is: from 2 on, the run of the key is resumed if it failed, once for each number
    #[arg(long = "try", value_name = "N", requires = "key", value_parser = clap::value_parser!(u64).range(1..))]
    pub nth_try: Option<u64>,
}

#[derive(Debug, ClapArgs)]
pub struct RunsArgs {
    /// Only runs of this runbook
    pub name: Option<String>,
    /// Only runs that are not at their end
    #[arg(long)]
    pub unfinished: bool,
    /// Those that are steps of other runs as well
    #[arg(long)]
    pub all: bool,
    /// How they stand against the `objectives` of the runbook, and where that goes
    #[arg(long, requires = "name")]
    pub objectives: bool,
    /// How many
    #[arg(short = 'n', long, default_value_t = 20)]
    pub limit: u32,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

#[derive(Debug, ClapArgs)]
pub struct ShowArgs {
    /// The run's id, its last characters, `key:KEY`, or `last`
    pub run: String,
    /// Every event as well
    #[arg(long)]
    pub events: bool,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

#[derive(Debug, ClapArgs)]
pub struct ReportArgs {
    /// The run's id, its last characters, `key:KEY`, or `last`
    pub run: String,
    #[arg(long, value_enum, default_value = "md")]
    pub format: ReportFormat,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Markdown, as most ticket systems show it
    Md,
    /// One file for a browser, that loads nothing
    Html,
    /// For programs
    Json,
}

#[derive(Debug, Clone, ClapArgs)]
pub struct LogsArgs {
    /// The run's id, its last characters, `key:KEY`, or `last`
    pub run: String,
    /// Only this step, one item of it: `upgrade[3]`, or a step of the run it is: `deploy/backup`
    pub step: Option<String>,
    /// Only this attempt [default: the last one when a step is named, else all]
    #[arg(long)]
    pub attempt: Option<u32>,
    /// Go on until the run is at its end
    #[arg(short, long)]
    pub follow: bool,
    /// The bytes as they were, without names and times, control characters included
    #[arg(long)]
    pub raw: bool,
    /// With --raw: only standard output
    #[arg(long, requires = "raw")]
    pub stdout: bool,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

#[derive(Debug, ClapArgs)]
pub struct WatchArgs {
    /// The run's id, its last characters, `key:KEY`, or `last` [default: all runs]
    pub run: Option<String>,
    /// No screen: lines, to the end of the run and with its exit code [default without a terminal: text]
    #[arg(long, value_enum, requires = "run")]
    pub format: Option<RunFormat>,
    /// Show only what goes wrong, and how it ends
    #[arg(short, long, requires = "format")]
    pub quiet: bool,
    /// Write a JUnit report, too, when it is over
    #[arg(long, value_name = "FILE", requires = "format")]
    pub report: Option<PathBuf>,
    /// Stay while the run waits for people, or for somebody who drives it
    #[arg(long, requires = "run")]
    pub stay: bool,
}

fn idempotency_key(text: &str) -> Result<String, String> {
    runward_engine::plan::params::check_key(text).map(|()| text.to_owned())
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    if name.is_empty() { Err("the name before `=` is empty".into()) } else { Ok((name.to_owned(), value.to_owned())) }
}
