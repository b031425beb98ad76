//! One file per command. Each answers with an exit code, or with a failure that says what to do.

mod audit;
mod cancel;
mod drive;
mod init;
mod list;
mod logs;
mod params;
mod plan;
mod resolve;
mod resume;
mod run;
mod runs;
mod show;
mod validate;

use crate::args::{Args, Command};
use crate::failure::Failure;
use crate::text;

pub async fn run(args: Args) -> Result<i32, Failure> {
    let state = args.state.as_deref();
    match args.command {
        Command::Init(args) => init::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Run(args) => run::run(state, args).await,
        Command::List(args) => list::run(&args),
        Command::Runs(args) => runs::run(state, args).await,
        Command::Show(args) => show::run(state, &args).await,
        Command::Logs(args) => logs::run(state, &args).await,
        Command::Cancel(args) => cancel::run(state, args).await,
        Command::Resume(args) => resume::run(state, &args).await,
        Command::Resolve(args) => resolve::run(state, args).await,
        Command::Audit { command } => audit::run(state, command).await,
        Command::Schema => {
            print_json(&runward_engine::runbook::json_schema());
            Ok(0)
        }
        Command::Drive { run } => drive::detached(state, &run).await,
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
