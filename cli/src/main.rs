//! The `runward` binary: asks, shows, and turns every error into something a person can act on.
//!
//! One file per command in [`commands`]; what a run looks like while it happens in [`view`]. Nothing here decides.

mod actor;
mod args;
mod ask;
mod away;
mod cluster;
mod columns;
mod commands;
mod complete;
mod config;
mod doctor;
mod drivers;
mod failure;
mod fetch;
mod formatter;
mod graph;
mod letters;
mod logging;
mod open;
mod outputs;
mod person;
mod refusal;
mod report;
mod runbook_file;
mod schedules;
mod servers;
mod slips;
mod templates;
mod text;
mod timetable;
mod view;
mod watch;
mod write;

use std::path::Path;
use std::process::exit;

use clap::Parser;

fn main() {
    // Before anything else, so that a supervisor costs nothing it does not use and has no thread when it forks.
    let mut raw = std::env::args_os().skip(1);
    let first = raw.next().unwrap_or_default();
    if first == "__supervisor" {
        let dir = raw.next().unwrap_or_default();
        exit(runward_workers::supervisor::supervise(Path::new(&dir)));
    }
    if first == "__step" {
        let request = raw.next().unwrap_or_default();
        exit(runward_workers::step::own::carry_out(Path::new(&request)));
    }
    if first == "__ssh" {
        let order = raw.next().unwrap_or_default();
        exit(runward_workers::step::ssh::carry_out(Path::new(&order)));
    }
    complete::answer();
    let args = args::Args::try_parse().unwrap_or_else(|error| slips::explained(error).exit());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let code = match runtime {
        Ok(runtime) => match runtime.block_on(commands::run(args)) {
            Ok(code) => code,
            Err(failure) => failure.print(),
        },
        Err(error) => {
            eprintln!("runward: the system refuses what every program needs: {error}");
            failure::EXIT_LEDGER
        }
    };
    view::out::finish();
    logging::finish();
    exit(code);
}
