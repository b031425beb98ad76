//! What can stand at the cursor of a shell: names of runbooks, ids of runs, steps, parameters and their values.
//!
//! The shell calls this program with what was typed so far. It never asks, never writes, and where it cannot answer it
//! says nothing: an error in the middle of a command line helps nobody.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Command, CommandFactory};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use clap_complete::env::{CompleteEnv, Shells};
use runward_engine::run::rows::{RunRow, units};
use runward_engine::runbook::model::{Param, ValueType};
use runward_store::{PostgresLedger, RunQuery, SqliteLedger, Timetable};

use crate::args::Args;
use crate::config::{self, Config, Flags};
use crate::open::{default_root, find_run};
use crate::view::words::short;
use crate::{runbook_file, text};

/// Set by the scripts of the shells.
const ASKED_BY: &str = "_RUNWARD_COMPLETE";
/// Runs that are offered, newest first.
const RUNS_OFFERED: u32 = 30;

/// Answers a shell and ends the program, where it is a shell that asks.
pub fn answer() {
    if std::env::var_os(ASKED_BY).is_some() {
        CompleteEnv::with_factory(command).var(ASKED_BY).bin("runward").complete();
    }
}

/// What a shell has to load.
pub fn script(shell: &str) -> Option<String> {
    if shell == "bash" {
        return Some(include_str!("complete.bash").to_owned());
    }
    let mut script = Vec::new();
    let shells = Shells::builtins();
    shells.completer(shell)?.write_registration(ASKED_BY, "runward", "runward", "runward", &mut script).ok()?;
    String::from_utf8(script).ok()
}

/// The command line, with whoever knows what can stand in the place of each argument.
fn command() -> Command {
    with_completers(Args::command())
}

fn with_completers(command: Command) -> Command {
    command.mut_subcommands(with_completers).mut_args(|arg| match arg.get_id().as_str() {
        "runbook" | "runbooks" => arg.add(ArgValueCompleter::new(runbooks)),
        "run" => arg.add(ArgValueCompleter::new(runs)),
        "step" | "from" => arg.add(ArgValueCompleter::new(steps)),
        "schedule" => arg.add(ArgValueCompleter::new(schedules)),
        "params" => arg.add(ArgValueCompleter::new(params)),
        _ => arg,
    })
}

/// What was typed: values of options by their id, and the positional words of the innermost command.
#[derive(Default)]
struct Typed {
    options: Vec<(String, String)>,
    words: Vec<String>,
}

impl Typed {
    fn now() -> Typed {
        let args = std::env::args_os().skip_while(|arg| arg != "--").skip(2);
        Typed::of(args.map(|arg| arg.to_string_lossy().into_owned()))
    }

    fn of(mut args: impl Iterator<Item = String>) -> Typed {
        let mut root = Args::command();
        root.build();
        let (mut command, mut typed) = (&root, Typed::default());
        while let Some(arg) = args.next() {
            let (name, inline) = arg.split_once('=').map_or((&arg[..], None), |(name, value)| (name, Some(value)));
            let named = command.get_arguments().find(|known| match name.strip_prefix("--") {
                Some(long) => known.get_long() == Some(long),
                None => name
                    .strip_prefix('-')
                    .is_some_and(|short| known.get_short().map(String::from).as_deref() == Some(short)),
            });
            match (named, command.find_subcommand(&arg)) {
                (Some(known), _) if known.get_action().takes_values() => {
                    let value = inline.map(str::to_owned).or_else(|| args.next());
                    typed.options.push((known.get_id().to_string(), value.unwrap_or_default()));
                }
                (Some(_), _) => {}
                (None, Some(inner)) => {
                    command = inner;
                    typed.words.clear();
                }
                (None, None) if arg.starts_with('-') => {}
                (None, None) => typed.words.push(arg),
            }
        }
        typed
    }

    fn path(&self, id: &str) -> Option<PathBuf> {
        self.options.iter().rev().find(|(known, _)| known == id).map(|(_, value)| PathBuf::from(value))
    }

    fn config(&self) -> Config {
        let flags = Flags { config: self.path("config"), state: self.path("state"), log_level: None };
        config::load(&flags).unwrap_or_default()
    }
}

fn candidates(current: &OsStr, all: impl IntoIterator<Item = (String, String)>) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    all.into_iter()
        .filter(|(value, _)| value.starts_with(&*current) && is_plain(value))
        .map(|(value, about)| {
            let about = text::safe(about.lines().next().unwrap_or_default());
            CompletionCandidate::new(value).help((!about.is_empty()).then(|| about.into()))
        })
        .collect()
}

/// Nothing that a shell would read as something else than a part of a word.
fn is_plain(value: &str) -> bool {
    value.chars().all(|c| c.is_alphanumeric() || "_-./:=[]@%+,".contains(c))
}

fn runbooks(current: &OsStr) -> Vec<CompletionCandidate> {
    let config = Typed::now().config();
    let mut names = Vec::new();
    for folder in &config.settings.runbooks {
        for path in runbook_file::below(folder).unwrap_or_default() {
            let name = path.strip_prefix(folder).unwrap_or(&path).with_extension("");
            names.push((name.display().to_string(), String::new()));
        }
    }
    let is_yaml = |path: &Path| path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let mut found = candidates(current, names);
    found.extend(PathCompleter::any().filter(move |path| path.is_dir() || is_yaml(path)).complete(current));
    found
}

fn runs(current: &OsStr) -> Vec<CompletionCandidate> {
    let rows: Vec<RunRow> = ask(|ledger| async move {
        ledger.runs(&RunQuery { limit: Some(RUNS_OFFERED), ..RunQuery::default() }).await.ok()
    })
    .unwrap_or_default();
    let last = rows.first().map(|row| ("last".to_owned(), about(row)));
    candidates(current, last.into_iter().chain(rows.iter().map(|row| (short(&row.id.0).to_owned(), about(row)))))
}

fn schedules(current: &OsStr) -> Vec<CompletionCandidate> {
    let rows = ask(|ledger| async move { ledger.schedules().await.ok() }).unwrap_or_default();
    let about = |cron: &str| runward_engine::schedule::words::words(cron).unwrap_or_default();
    candidates(
        current,
        rows.into_iter().map(|row| {
            let entry = row.standing.entry;
            (entry.name, about(&entry.schedule.cron))
        }),
    )
}

fn about(row: &RunRow) -> String {
    format!("{} {} {}", row.name, row.status, text::time(row.created_at))
}

fn steps(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(run) = Typed::now().words.into_iter().next() else { return Vec::new() };
    let names = ask(|ledger| async move {
        let id = find_run(&*ledger, &run).await.ok()?;
        let state = ledger.load(&id).await.ok()?.state;
        let name = |unit| (state.unit_name(unit), state.unit(unit).map_or("", |unit| unit.status.as_str()).to_owned());
        Some(units(&state).map(name).collect::<Vec<_>>())
    });
    candidates(current, names.unwrap_or_default())
}

fn params(current: &OsStr) -> Vec<CompletionCandidate> {
    let typed = Typed::now();
    let folders = typed.config().settings.runbooks;
    let file = typed.words.first().and_then(|name| runbook_file::locate(name, &folders).ok());
    let Some(file) = file.and_then(|path| runbook_file::load(&path, &folders).ok()) else { return Vec::new() };
    let text = current.to_string_lossy();
    let given =
        |name: &str| typed.options.iter().any(|(id, value)| id == "params" && value.split('=').next() == Some(name));
    let all = file.runbook.params.iter().flat_map(|param| match text.split_once('=') {
        Some((name, _)) if name == param.name => values(param),
        Some(_) => Vec::new(),
        None if given(&param.name) && text != param.name => Vec::new(),
        None => vec![(format!("{}=", param.name), param.description.clone().unwrap_or_default())],
    });
    candidates(current, all)
}

/// Every value a parameter can have, where they can be counted.
fn values(param: &Param) -> Vec<(String, String)> {
    let texts: Vec<String> = match (&param.choices, param.kind) {
        (Some(choices), _) => {
            choices.iter().map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned)).collect()
        }
        (None, ValueType::Bool) => vec!["true".into(), "false".into()],
        (None, _) => Vec::new(),
    };
    texts.into_iter().map(|text| (format!("{}={text}", param.name), String::new())).collect()
}

/// A database has to answer while somebody waits for the next character of a word.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the ledger, where there is one: a completion makes none.
fn ask<T, F: Future<Output = Option<T>>>(question: impl FnOnce(Box<dyn Timetable>) -> F) -> Option<T> {
    let settings = Typed::now().config().settings;
    let opened = async {
        let Some(database) = settings.database else {
            let path = settings.state.or_else(default_root)?.join("ledger.db");
            let ledger = if path.is_file() { SqliteLedger::open(&path).await.ok() } else { None };
            return Some(Box::new(ledger?) as Box<dyn Timetable>);
        };
        Some(Box::new(PostgresLedger::open(database.whole()).await.ok()?) as Box<dyn Timetable>)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let answered = async { tokio::time::timeout(PATIENCE, async { question(opened.await?).await }).await };
    runtime.block_on(answered).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::{Typed, is_plain};

    #[test]
    fn what_was_typed_is_understood_as_far_as_it_goes() {
        let typed =
            Typed::of("--state /s run -q -p env=prod --param a=b book --key k -p".split(' ').map(str::to_owned));
        assert_eq!(typed.words, ["book"]);
        assert_eq!(typed.path("state"), Some("/s".into()));
        assert_eq!(typed.options.iter().filter(|(id, _)| id == "params").count(), 3);
        assert_eq!(
            Typed::of(["logs".into(), "--format=json".into(), "last".into(), String::new()].into_iter()).words,
            ["last", ""]
        );
    }

    #[test]
    fn nothing_that_a_shell_would_carry_out_is_offered() {
        assert!(is_plain("备份/db-1.2") && is_plain("upgrade[3]"));
        assert!(!["a b", "$(x)", "a;b", "`", "\u{1b}[2J", "a'b"].iter().any(|text| is_plain(text)));
    }
}
