//! One file per command. Each answers with an exit code, or with a failure that says what to do.

mod approve;
mod attend;
mod audit;
mod begin;
mod below;
mod cancel;
mod completions;
mod config;
mod db;
mod doctor;
mod drive;
mod fmt;
mod follow;
mod give;
mod graph;
mod import;
mod init;
mod list;
mod logs;
mod man;
mod new;
mod notify;
mod override_window;
mod params;
mod pause;
mod plan;
mod preview;
mod report;
mod resolve;
mod resume;
mod retry;
mod rollback;
mod run;
mod runs;
mod schedules;
mod secret;
mod server;
mod show;
mod skip;
mod trend;
mod unpause;
mod validate;
mod watch;
mod worker;
mod workers;

pub use plan::steps as planned;
pub use worker::host;

use crate::args::{Args, Command, ImportFrom};
use crate::config::{Config, Flags, Level, Log, Origin, SETTINGS};
use crate::failure::Failure;
use crate::text;

pub async fn run(args: Args) -> Result<i32, Failure> {
    let flags = Flags { config: args.config, state: args.state, log_level: args.log_level };
    let config = &config_for(&args.command, &flags)?;
    crate::logging::start(&log_for(&args.command, config));
    match args.command {
        Command::Config { command } => config::run(config, &command),
        Command::Init(args) => init::run(&args),
        Command::New(args) => new::run(config, &args),
        Command::Import { from: ImportFrom::Crontab(args) } => import::crontab(config, &args),
        Command::Validate(args) => validate::run(config, &args),
        Command::Plan(args) => plan::run(config, &args).await,
        Command::Graph(args) => graph::run(config, &args).await,
        Command::Fmt(args) => fmt::run(config, &args),
        Command::Run(args) => run::run(config, args).await,
        Command::Doctor { format } => doctor::run(config, &flags, format).await,
        Command::List(args) => list::run(config, &args),
        Command::Runs(args) => runs::run(config, args).await,
        Command::Show(args) => show::run(config, &args).await,
        Command::Report(args) => report::run(config, &args).await,
        Command::Logs(args) => logs::run(config, &args).await,
        Command::Watch(args) => watch::run(config, &args).await,
        Command::Schedules(args) => schedules::run(config, args).await,
        Command::Workers(args) => workers::run(config, args).await,
        Command::Cancel(args) => cancel::run(config, args).await,
        Command::Approve(args) => approve::approve(config, args).await,
        Command::Reject(args) => approve::reject(config, args).await,
        Command::OverrideWindow(args) => override_window::run(config, args).await,
        Command::Pause(args) => pause::run(config, args).await,
        Command::Unpause(args) => unpause::run(config, args).await,
        Command::Skip(args) => skip::run(config, args).await,
        Command::Retry(args) => retry::run(config, &args).await,
        Command::Rollback(args) => rollback::run(config, &args).await,
        Command::Resume(args) => resume::run(config, &args).await,
        Command::Resolve(args) => resolve::run(config, args).await,
        Command::Audit { command } => audit::run(config, command).await,
        Command::Db { command } => db::run(config, command).await,
        Command::Notify { command } => notify::run(config, command).await,
        Command::Secret { command } => secret::run(config, command).await,
        Command::Schema => {
            print_json(&runward_engine::runbook::json_schema());
            Ok(0)
        }
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Worker(args) => worker::worker(config, args).await,
        Command::Server(args) => server::run(config, args).await,
        Command::Drive { run } => drive::detached(config, &run).await,
    }
}

/// A member of a cluster has nobody who watches it: it says what it does, unless it was told how much.
fn log_for(command: &Command, config: &Config) -> Log {
    let log = config.settings.log.clone();
    let told = SETTINGS.iter().any(|setting| setting.key == "log.level" && config.origin(setting) != Origin::Default);
    match command {
        Command::Worker(_) | Command::Server(_) if !told => Log { level: Level::Info, ..log },
        _ => log,
    }
}

/// What is configured, for a command that uses it: the others work whatever it says.
fn config_for(command: &Command, flags: &Flags) -> Result<Config, Failure> {
    match command {
        Command::Init(_) | Command::Schema | Command::Completions(_) | Command::Man(_) => Ok(Config::default()),
        Command::Doctor { .. } => Ok(crate::config::what_is_right(flags)),
        _ => crate::config::load(flags),
    }
}

/// One JSON document, indented. JSON itself leaves no control character as it is.
fn print_json(value: &impl serde::Serialize) {
    print(&serde_json::to_string_pretty(value).expect("what is printed is plain data: its JSON cannot fail"));
}

/// Prints a text for people: what came from a file, a parameter or a step cannot drive the terminal.
fn print_line(text: &str) {
    print(&text.split('\n').map(text::safe).collect::<Vec<_>>().join("\n"));
}

/// A reader that went away (`| head`) ends the program quietly, as it does every other.
fn print(text: &str) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}
