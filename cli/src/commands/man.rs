//! `runward man`: the manual, made from the command line itself.

use std::fmt::Write as _;
use std::fs;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::{print, print_line};
use crate::args::{Args, ManArgs};
use crate::config::{NAMED_BY, SETTINGS};
use crate::failure::Failure;

const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "succeeded; with --detach: started"),
    ("1", "failed, or timed out; of a check: it found something"),
    ("2", "usage, or a runbook or parameter that is wrong: nothing was started"),
    ("4", "cancelled"),
    ("8", "the outcome of a step is unknown (lost), or the run waits for somebody (held)"),
    ("9", "the ledger or the state folder cannot be used; what runs goes on"),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("RUNWARD_PARAM_NAME", "A parameter of the runbook; -p wins"),
    ("CI", "Set by CI systems: the record says that it was one"),
    (
        "GITHUB_STEP_SUMMARY, GITHUB_WORKSPACE",
        "With --format github: where the summary goes, and what paths are relative to",
    ),
    ("NO_COLOR", "No colours"),
    ("XDG_STATE_HOME", "The state folder is runward in it, where nothing else says so"),
];

pub fn run(args: &ManArgs) -> Result<i32, Failure> {
    let mut root = Args::command().disable_help_subcommand(true);
    root.build();
    let pages = pages(&root, "runward");
    let Some(folder) = &args.out else {
        let name = args.command.iter().fold("runward".to_owned(), |name, word| format!("{name}-{word}"));
        let found = pages.into_iter().find(|(page, _)| *page == name);
        let Some((_, text)) = found else {
            let words = args.command.join(" ");
            return Err(Failure::usage(format!("there is no command `{words}`")).help("`runward help` lists them"));
        };
        print(text.trim_end());
        return Ok(0);
    };
    let failed = |error: std::io::Error| Failure::usage(format!("{} cannot be written: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(failed)?;
    for (name, text) in &pages {
        crate::write::atomically(&folder.join(format!("{name}.1")), text.as_bytes()).map_err(failed)?;
    }
    print_line(&format!("wrote {} pages; read one with: man -l {}/runward-run.1", pages.len(), folder.display()));
    Ok(0)
}

/// The page of a command and those of everything below it.
fn pages(command: &Command, name: &str) -> Vec<(String, String)> {
    let mut pages = vec![(name.to_owned(), page(command, name))];
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        pages.extend(self::pages(inner, &format!("{name}-{}", inner.get_name())));
    }
    pages
}

fn page(command: &Command, name: &str) -> String {
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .source(format!("runward {}", env!("CARGO_PKG_VERSION")))
        .manual("runward");
    let mut text = Vec::new();
    let section = |written: std::io::Result<()>| written.expect("memory takes what is written to it");
    section(man.render_title(&mut text));
    section(man.render_name_section(&mut text));
    section(man.render_synopsis_section(&mut text));
    section(man.render_description_section(&mut text));
    section(man.render_options_section(&mut text));
    if command.get_subcommands().any(|inner| !inner.is_hide_set()) {
        section(man.render_subcommands_section(&mut text));
    }
    let mut text = String::from_utf8(text).expect("a page is made of text");
    list(&mut text, "EXIT STATUS", EXIT_STATUS.iter().copied());
    let settings = SETTINGS.iter().map(|setting| (setting.env, setting.about));
    let named = std::iter::once((NAMED_BY, "The configuration file"));
    list(&mut text, "ENVIRONMENT", named.chain(settings).chain(ENVIRONMENT.iter().copied()));
    if name != "runward" {
        let _ = write!(text, ".SH \"SEE ALSO\"\n\\fBrunward\\fR(1)\n");
    }
    text
}

fn list<'a>(text: &mut String, title: &str, entries: impl Iterator<Item = (&'a str, &'a str)>) {
    let _ = writeln!(text, ".SH \"{title}\"");
    for (name, about) in entries {
        let _ = writeln!(text, ".TP\n\\fB{}\\fR\n{}", roff(name), roff(about));
    }
}

/// Text that roff takes as it is.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('`', "\\(ga").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}
