//! What is given to commands that are about runbooks and other files, not about runs.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};

use super::Format;

#[derive(Debug, ClapArgs)]
pub struct InitArgs {
    /// Folder to put the runbook into
    #[arg(default_value = "runbooks")]
    pub folder: PathBuf,
}

/// What `new` starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// The main ideas in four steps
    Hello,
    /// A folder into an archive that was restored and compared before it gets its name
    Backup,
    /// A release beside the others, switched to, checked, and switched back if it does not work
    Deploy,
    /// SQL files on SQLite, each once, with a lock and a checked backup
    Migrate,
}

#[derive(Debug, Subcommand)]
pub enum ImportFrom {
    /// One runbook for each line of a crontab, that does the same at the same minutes
    ///
    /// The command is kept to the byte, with its shell, folder and environment. A line that cannot become a runbook is named, with
    /// the reason. No file is overwritten. The crontab itself is left as it is: take the lines out when a server fires the
    /// schedules, or both run them.
    ///
    /// Exit code 0 if every line was imported, 1 if some were not.
    Crontab(CrontabArgs),
}

#[derive(Debug, ClapArgs)]
pub struct CrontabArgs {
    /// The crontab; `-` reads standard input [default: what `crontab -l` prints]
    pub file: Option<PathBuf>,
    /// Lines name a user before the command; so they do in /etc/crontab and /etc/cron.d, which needs no saying
    #[arg(long)]
    pub system: bool,
    /// With the system form: whose lines are imported [default: you]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Folder to put the runbooks into [default: the first folder of runbooks]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the runbooks and write nothing
    #[arg(long)]
    pub dry_run: bool,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

#[derive(Debug, ClapArgs)]
pub struct NewArgs {
    /// The name of the runbook: `backup`, `db/backup`
    #[arg(required_unless_present = "list")]
    pub name: Option<String>,
    #[arg(short, long, value_enum, default_value = "hello")]
    pub template: Template,
    /// List the templates
    #[arg(long)]
    pub list: bool,
}

#[derive(Debug, ClapArgs)]
pub struct ValidateArgs {
    /// Runbook files, or names in the runbooks folder
    #[arg(required = true, value_name = "RUNBOOK")]
    pub runbooks: Vec<String>,
    #[arg(long, value_enum, default_value = "text")]
    pub format: CheckFormat,
}

/// How the problems of runbooks are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// For people, and an annotation for GitHub Actions at each place
    Github,
}

#[derive(Debug, ClapArgs)]
pub struct FmtArgs {
    /// Runbook files, folders, names in the runbooks folder, or `-`: from standard input to standard output [default: the
    /// runbooks folders]
    #[arg(value_name = "RUNBOOK")]
    pub runbooks: Vec<String>,
    /// Change nothing, name the files that would change; exit code 1 if there are any
    #[arg(long)]
    pub check: bool,
    /// Change nothing, show what would change
    #[arg(long)]
    pub diff: bool,
}

#[derive(Debug, ClapArgs)]
pub struct ListArgs {
    /// Folder of runbooks [default: those of the configuration, else ./runbooks]
    pub folder: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// For people, layer by layer
    Text,
    /// For wikis and READMEs
    Mermaid,
    /// For Graphviz
    Dot,
    /// A picture in one file
    Svg,
}

#[derive(Debug, ClapArgs)]
pub struct GraphArgs {
    /// A runbook file, a name under ./runbooks, the id of a run, its last characters, `key:KEY`, or `last`
    #[arg(value_name = "RUNBOOK|RUN")]
    pub of: String,
    #[arg(long, value_enum, default_value = "text")]
    pub format: GraphFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShellName {
    Bash,
    Zsh,
    Fish,
    Elvish,
}

#[derive(Debug, ClapArgs)]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    pub shell: ShellName,
}

#[derive(Debug, ClapArgs)]
pub struct ManArgs {
    /// The command, `audit verify` for example [default: runward itself]
    pub command: Vec<String>,
    /// Write every page into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub out: Option<PathBuf>,
}
