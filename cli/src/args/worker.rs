//! What is given to a member of a cluster.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use clap::Args as ClapArgs;

use crate::config;

#[derive(Debug, ClapArgs)]
pub struct WorkerArgs {
    /// What this host is or has, separated by commas: it takes the steps whose `runs-on` asks for nothing else
    /// [env: RUNWARD_WORKER_LABELS]
    #[arg(long, value_name = "LABELS", value_delimiter = ',', value_parser = config::label)]
    pub labels: Vec<String>,
    /// How many steps at once [default: 16] [env: RUNWARD_WORKER_CONCURRENCY]
    #[arg(long, value_name = "NUMBER", value_parser = config::concurrency)]
    pub concurrency: Option<NonZeroU32>,
    /// How long to wait for running steps when it is asked to end; they go on without it, too
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = runward_engine::units::parse_duration)]
    pub drain_timeout: Duration,
    #[command(flatten)]
    pub member: MemberArgs,
}

#[derive(Debug, ClapArgs)]
pub struct ServerArgs {
    #[command(flatten)]
    pub member: MemberArgs,
}

#[derive(Debug, ClapArgs)]
pub struct MemberArgs {
    /// Under which name people see it [default: the name of the host]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub name: Option<String>,
    /// Where it answers `/healthz` and `/readyz`, such as 127.0.0.1:9180 [default: nowhere] [env: RUNWARD_WORKER_LISTEN]
    #[arg(long, value_name = "ADDRESS", value_parser = config::listen)]
    pub listen: Option<SocketAddr>,
}

/// Characters of a name.
const NAME_CHARS_MAX: usize = 253;

fn name(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.chars().count() <= NAME_CHARS_MAX && !text.contains(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(format!("1 to {NAME_CHARS_MAX} characters, none of control")) }
}

#[derive(Debug, ClapArgs)]
pub struct WorkersArgs {
    /// Those that are not there any more as well, of the last day
    #[arg(long)]
    pub all: bool,
    #[arg(long, value_enum, default_value = "text")]
    pub format: super::Format,
}
