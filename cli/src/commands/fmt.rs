//! `runward fmt`: runbooks laid out well. What formatting is and keeps: [`crate::formatter`].

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use similar::TextDiff;

use super::{print, print_line};
use crate::args::FmtArgs;
use crate::config::Config;
use crate::failure::{EXIT_USAGE, Failure};
use crate::formatter::{Unformattable, format};
use crate::{runbook_file, text, write};

const EXIT_WOULD_CHANGE: i32 = 1;

pub fn run(config: &Config, args: &FmtArgs) -> Result<i32, Failure> {
    let mut code = 0;
    for path in named(config, args)? {
        let outcome = match path.as_os_str() == "-" {
            true => standard_input(args),
            false => file(&path, args),
        };
        match outcome {
            Ok(changed) if changed && args.check => code = code.max(EXIT_WOULD_CHANGE),
            Ok(_) => {}
            Err(failure) => {
                failure.print();
                code = EXIT_USAGE;
            }
        }
    }
    Ok(code)
}

fn named(config: &Config, args: &FmtArgs) -> Result<Vec<PathBuf>, Failure> {
    let folders = &config.settings.runbooks;
    let mut paths = Vec::new();
    if args.runbooks.is_empty() {
        for folder in folders {
            paths.extend(runbook_file::below(folder)?);
        }
    }
    for text in &args.runbooks {
        match Path::new(text) {
            path if text == "-" => paths.push(path.to_owned()),
            path if path.is_dir() => paths.extend(runbook_file::below(path)?),
            _ => paths.push(runbook_file::locate(text, folders)?),
        }
    }
    Ok(paths)
}

/// Whether the file was, or would be, changed.
fn file(path: &Path, args: &FmtArgs) -> Result<bool, Failure> {
    let name = path.display().to_string();
    let bytes = runbook_file::bytes_of(path)?;
    let before = String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{name} is not UTF-8")))?;
    let after = formatted(&name, &before)?;
    if after == before {
        return Ok(false);
    }
    if args.diff {
        difference(&name, &before, &after);
    }
    match (args.check, args.diff) {
        (true, _) => print_line(&format!("would change {name}")),
        (false, true) => {}
        (false, false) => {
            write::atomically(path, after.as_bytes())
                .map_err(|error| Failure::usage(format!("{name} cannot be written: {error}")))?;
            print_line(&format!("formatted {name}"));
        }
    }
    Ok(true)
}

fn standard_input(args: &FmtArgs) -> Result<bool, Failure> {
    let (mut bytes, max) = (Vec::new(), runward_engine::limits::RUNBOOK_BYTES_MAX as u64);
    let unreadable = |error: std::io::Error| Failure::usage(format!("standard input cannot be read: {error}"));
    std::io::stdin().lock().take(max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let before = String::from_utf8(bytes).map_err(|_| Failure::usage("standard input is not UTF-8"))?;
    let after = formatted("standard input", &before)?;
    match (args.check, args.diff) {
        (_, true) => difference("standard input", &before, &after),
        (true, false) => {}
        // As it is: a filter that changed control characters would change the file.
        (false, false) => _ = std::io::stdout().write_all(after.as_bytes()),
    }
    Ok(after != before)
}

fn formatted(name: &str, before: &str) -> Result<String, Failure> {
    format(before).map_err(|error| match error {
        Unformattable::Broken(report) => Failure::runbook(name, before, &report),
        Unformattable::Refused(why) => Failure::usage(format!("{name} was left as it is: {why}")).help(
            "the file is right as it is; lay it out by hand, block texts with `|+` or an indentation number first",
        ),
    })
}

fn difference(name: &str, before: &str, after: &str) {
    let diff =
        TextDiff::from_lines(before, after).unified_diff().header(name, &format!("{name} (formatted)")).to_string();
    diff.lines().for_each(|line| print(&text::safe(line)));
}
