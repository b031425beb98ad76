//! What is given to the commands by which people act on a run: each names the run, most carry a reason for the record and an
//! id that makes them safe to give again.

use clap::{Args as ClapArgs, ValueEnum};

use super::{CommandIdArgs, Format, ShowingArgs};

#[derive(Debug, ClapArgs)]
pub struct CancelArgs {
    /// The run's id, its last characters, `key:KEY`, or `last`
    pub run: String,
    /// At once: KILL without grace, and the rollback or the `finally` steps too if they are what runs
    #[arg(long)]
    pub force: bool,
    /// Take back what was done: the `undo` of every step that is done, then `finally`
    #[arg(long)]
    pub rollback: bool,
    /// Why, for the record
    #[arg(long)]
    pub reason: Option<String>,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    #[command(flatten)]
    pub id: CommandIdArgs,
}

#[derive(Debug, ClapArgs)]
pub struct PauseArgs {
    /// The run's id, its last characters, `key:KEY`, or `last`
    pub run: String,
    /// Why, for the record and for those who wonder
    #[arg(long)]
    pub reason: Option<String>,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    #[command(flatten)]
    pub id: CommandIdArgs,
}

#[derive(Debug, ClapArgs)]
pub struct UnpauseArgs {
    /// The run's id, its last characters, `key:KEY`, or `last`
    pub run: String,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    #[command(flatten)]
    pub id: CommandIdArgs,
}

/// What is decided about, and what follows.
#[derive(Debug, ClapArgs)]
pub struct DecideArgs {
    /// The run's id, its last characters, `key:KEY`, or `last`
    pub run: String,
    /// The step that asks, where several do
    pub step: Option<String>,
    /// Only if this is the plan's hash, or its beginning
    #[arg(long, value_name = "HASH", value_parser = plan_hash)]
    pub plan: Option<String>,
    /// Carry the run on in the background, if nobody drives it
    #[arg(long)]
    pub resume: bool,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    #[command(flatten)]
    pub id: CommandIdArgs,
}

#[derive(Debug, ClapArgs)]
pub struct ApproveArgs {
    #[command(flatten)]
    pub about: DecideArgs,
    /// For the record, and for the steps after it
    #[arg(long, value_parser = reason)]
    pub comment: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub struct RejectArgs {
    #[command(flatten)]
    pub about: DecideArgs,
    /// Why, for the record
    #[arg(long, value_parser = reason)]
    pub comment: String,
}

#[derive(Debug, ClapArgs)]
pub struct OverrideArgs {
    /// The run's id, its last characters, `key:KEY`, or `last`
    pub run: String,
    /// Why, for the record
    #[arg(long, value_parser = reason)]
    pub reason: String,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    #[command(flatten)]
    pub id: CommandIdArgs,
}

#[derive(Debug, ClapArgs)]
pub struct SkipArgs {
    /// The run's id, its last characters, `key:KEY`, or `last`
    pub run: String,
    /// The step, or one item of it: `upgrade[3]`
    pub step: String,
    /// Why, for the record
    #[arg(long, value_parser = reason)]
    pub reason: String,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    #[command(flatten)]
    pub id: CommandIdArgs,
}

#[derive(Debug, ClapArgs)]
pub struct RetryArgs {
    /// The run's id, its last characters, `key:KEY`, or `last`
    pub run: String,
    /// The step; an item of it, `upgrade[3]`, where the run is not at its end
    pub step: String,
    /// Why, for the record
    #[arg(long)]
    pub reason: Option<String>,
    /// Leave it running in the background
    #[arg(short, long)]
    pub detach: bool,
    #[command(flatten)]
    pub showing: ShowingArgs,
    #[command(flatten)]
    pub id: CommandIdArgs,
}

#[derive(Debug, ClapArgs)]
pub struct ResumeArgs {
    /// The run's id, its last characters, `key:KEY`, or `last`
    pub run: String,
    /// Do this step and all after it once more, even what succeeded
    #[arg(long, value_name = "STEP")]
    pub from: Option<String>,
    /// Why, for the record
    #[arg(long)]
    pub reason: Option<String>,
    /// Leave it running in the background
    #[arg(short, long)]
    pub detach: bool,
    #[command(flatten)]
    pub showing: ShowingArgs,
    #[command(flatten)]
    pub id: CommandIdArgs,
}

#[derive(Debug, ClapArgs)]
pub struct RollbackArgs {
    /// The run's id, its last characters, `key:KEY`, or `last`
    pub run: String,
    /// Why, for the record
    #[arg(long)]
    pub reason: Option<String>,
    /// Leave it running in the background
    #[arg(short, long)]
    pub detach: bool,
    #[command(flatten)]
    pub showing: ShowingArgs,
    #[command(flatten)]
    pub id: CommandIdArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ResolveAs {
    Succeeded,
    Failed,
    Retry,
}

#[derive(Debug, ClapArgs)]
pub struct ResolveArgs {
    /// The run's id, its last characters, `key:KEY`, or `last`
    pub run: String,
    /// The held step, or item: `upgrade[3]`
    pub step: String,
    /// What became of it; `retry` allows exactly one more start
    #[arg(long = "as", value_enum)]
    pub resolution: ResolveAs,
    /// Why, for the record
    #[arg(long)]
    pub reason: Option<String>,
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    #[command(flatten)]
    pub id: CommandIdArgs,
}

fn plan_hash(text: &str) -> Result<String, String> {
    const LEAST: usize = 8;
    let hash = text.to_ascii_lowercase();
    match hash.bytes().all(|byte| byte.is_ascii_hexdigit()) && (LEAST..=64).contains(&hash.len()) {
        true => Ok(hash),
        false => Err(format!("a plan's hash, or at least its first {LEAST} characters")),
    }
}

pub(super) fn reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("say why: it is what others will read".into()) } else { Ok(text.to_owned()) }
}
